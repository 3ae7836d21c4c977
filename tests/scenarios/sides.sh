# Debian's tools and ours side by side: sides.sh STORE FIRST THEN [short]. STORE says whose xenstored runs, FIRST and THEN whose
# console daemon runs first and follows while guests are there: `debian` or `ours`. Guest `left` is made by xl, guest
# `right` by xlr; each toolstack sees and manages both.
. /paravane/lib.sh
. /paravane/debian.sh
store=$1 first=$2 then=$3 form=${4:-whole}

check store machine_up "$store"
check consoled console_daemon "$first"
supervisor
# guest NAME RAM-DISK ADDRESS: a Linux guest's configuration, for either tool.
guest() {
    cat > "/tmp/$1.cfg" << X
name = "$1"
kernel = "/run/vmlinuz"
ramdisk = "/run/initrd"
memory = 160
maxmem = 192
vcpus = 1
maxvcpus = 2
extra = "console=hvc0 quiet ip=$3"
disk = [ "phy:$2,xvda,w" ]
vif = [ "bridge=xenbr0" ]
X
}
guest left /dev/ram0 10.0.0.2
guest right /dev/ram1 10.0.0.3
check left/create xl create -q /tmp/left.cfg
check right/create xlr create /tmp/right.cfg
check left/boot boots left
check right/boot boots right

# Both listings hold both guests, with the same numbers: name, domid, MiB, vcpus.
numbers() { "$1" list | awk 'NR > 1 { print $1, $2, $3, $4 }' | sort; }
same_numbers() { [ "$(numbers xl)" = "$(numbers xlr)" ] && [ "$(numbers xl | wc -l)" -eq 3 ]; }
check list/same same_numbers
same_uuids() { [ "$(xl vm-list | awk 'NR > 2 { print $1, $2, $3 }' | sort)" = "$(xlr vm-list | awk 'NR > 1 { print $1, $2, $3 }' | sort)" ]; }
check vm-list/same eventually same_uuids
# The number and name that the one gives, the other understands.
same_names() { for g in left right; do [ "$(xl domid $g)" = "$(xlr domid $g)" ] && [ "$(xl domname "$(xlr domid $g)")" = $g ] || return; done; }
check domid/same same_names

state_is() { "$1" list | awk -v name="$2" '$1 == name { print $5 }' | grep -q "$3"; }
memory_is() { [ "$("$1" list | awk -v name="$2" '$1 == name { print $3 }')" -eq "$3" ]; }
nproc_is() { [ "$(in_guest "$1" nproc)" = "$2" ]; }
guest_has() { in_guest "$1" "[ -e $2 ]"; }
guest_lacks() { in_guest "$1" "[ ! -e $2 ]"; }
truncate -s 4M /tmp/extra.img
losetup /dev/loop3 /tmp/extra.img

# manage TOOL GUEST: what a person does to a running guest, by the tool that did not make it.
manage() {
    local tool=$1 g=$2
    check "$tool/$g/pause" "$tool" pause "$g"
    check "$tool/$g/paused" state_is "$tool" "$g" p
    check "$tool/$g/unpause" "$tool" unpause "$g"
    check "$tool/$g/answers" in_guest "$g" true
    check "$tool/$g/mem-set" "$tool" mem-set "$g" 128
    check "$tool/$g/mem-reached" eventually memory_is "$tool" "$g" 128
    check "$tool/$g/vcpu-set" "$tool" vcpu-set --ignore-host "$g" 2
    check "$tool/$g/vcpu-online" eventually nproc_is "$g" 2
    check "$tool/$g/vcpu-list" "$tool" vcpu-list "$g"
    check "$tool/$g/vcpu-pin" "$tool" vcpu-pin "$g" 0 0
    check "$tool/$g/rename" "$tool" rename "$g" "other-$g"
    check "$tool/$g/rename-back" "$tool" rename "other-$g" "$g"
    check "$tool/$g/block-attach" "$tool" block-attach "$g" 'phy:/dev/loop3,xvdb,w'
    check "$tool/$g/block-seen" eventually guest_has "$g" /dev/xvdb
    check "$tool/$g/block-list" "$tool" block-list "$g"
    said "$tool/$g/block-list-both" 51728
    check "$tool/$g/block-detach" "$tool" block-detach "$g" xvdb
    check "$tool/$g/block-gone" eventually guest_lacks "$g" /dev/xvdb
    check "$tool/$g/network-attach" "$tool" network-attach "$g" bridge=xenbr0
    check "$tool/$g/network-seen" eventually guest_has "$g" /sys/class/net/eth1
    check "$tool/$g/network-detach" "$tool" network-detach "$g" 1
    check "$tool/$g/network-gone" eventually guest_lacks "$g" /sys/class/net/eth1
    check "$tool/$g/sysrq" "$tool" sysrq "$g" h
    check "$tool/$g/list-long" "$tool" list -l "$g"
    said "$tool/$g/list-long-name" "\"$g\""
}
manage xlr left
manage xl right

# The other console daemon takes over both consoles in mid-life.
check consoled/other console_daemon "$then"
answers() { [ "$(in_guest "$1" 'echo $((40 + 2))')" = 42 ]; }
check consoled/left eventually answers left
check consoled/right eventually answers right

# A reboot from inside is kept by the toolstack that made the guest, once.
if [ $form != short ]; then
    for g in left right; do
        before=$(xl domid $g)
        rounds=$(console_count $g 'GUEST UP')
        type_in $g reboot
        check $g/reboot boots $g $((rounds + 1))
        new_number() { [ "$(xl domid $g)" -gt "$before" ] && [ "$(xl list | grep -c "^$g ")" -eq 1 ]; }
        check $g/reboot-number eventually new_number
    done
fi

# Ended by the other tool, one in good order, one at once; nothing is left of either.
gone() { ! xl domid "$1" && ! xlr domid "$1"; }
left=$(xl domid left) right=$(xl domid right)
check left/shutdown xlr shutdown -w left
check left/gone eventually gone left
check right/destroy xl destroy right
check right/gone eventually gone right
no_nodes() { ! xenstore-ls -f / | grep -E "/(domain|vif|vbd|console|libxl|vm)/($left|$right)(/| )"; }
check end/store eventually no_nodes
no_ports() { [ "$(ls /sys/class/net/xenbr0/brif | wc -l)" -eq 0 ]; }
check end/bridge eventually no_ports
finish
