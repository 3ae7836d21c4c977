# Every command of xlr, once in the life of a Linux guest. /paravane/ holds lib.sh, dom0-load and the kernel `domu`.
. /paravane/lib.sh
cfg=/etc/paravane/demo.cfg
disk=/var/lib/paravane/demo/disk.img

field() { awk -v name="$2" -v at="$1" '$1 == name { print $at }'; }
state_is() { xlr list | field 5 "$1" | grep -q "$2"; }
nproc_is() { [ "$(in_guest demo nproc)" = "$1" ]; }
memory_is() { [ "$(xlr list | field 3 demo)" -eq "$1" ]; }
guest_total_below() { [ "$(in_guest demo 'free | sed -n 2p' | awk '{print $2}')" -lt "$1" ]; }
guest_has() { in_guest demo "[ -e $1 ]"; }
guest_lacks() { in_guest demo "[ ! -e $1 ]"; }

in_dom0_alone() { only_domains Domain-0; }
check start/only-dom0 in_dom0_alone
xlr events > /tmp/events 2>&1 &
events=$!
check warm-up warm_up
settled > /tmp/before

# A paused start, then the boot.
check create-paused xlr create -p $cfg
check create-paused/state state_is demo p
check unpause xlr unpause demo
check boot boots demo
refused create-again any demo xlr create $cfg

# Listings, as people read them and as programs do.
check list xlr list
said list/name '^demo '
check list-json xlr list --json
said list-json/name '"demo"'
check list-long xlr list -l demo
said list-long/kernel vmlinuz
check vm-list xlr vm-list
said vm-list/name demo
check info xlr info
said info/version 'xen_version'
check info-json xlr info --json
check vcpu-list xlr vcpu-list demo
said vcpu-list/name demo
check vcpu-list-json xlr vcpu-list --json
check uptime xlr uptime demo
said uptime/name demo
check domid xlr domid demo
id=$(xlr domid demo)
check domname xlr domname "$id"
said domname/name demo
check debug-keys xlr debug-keys h
check dmesg xlr dmesg
check completion xlr completion bash
said completion/complete complete
check top xlr top -b -i 1
said top/name demo
# The live form needs a terminal, and ends by itself after two looks.
live() { timeout 60 xlr top -d 0.5 -i 2 < /dev/console > /dev/console; }
check top-live live

# The console: a line in, its answer out.
typed() { (sleep 1; echo 'echo via-$((40 + 2))-console'; sleep 2) | xlr console demo > /tmp/typed; grep -q via-42-console /tmp/typed; }
check console typed

# Its disk holds what it wrote; its network carries what it is given. The sums are compared on both sides.
write="$data > /mnt/data && sync && echo 3 > /proc/sys/vm/drop_caches && md5sum < /mnt/data"
disk_data() { [ "$(in_guest demo "$write" | tail -n 1)" = "$sum" ]; }
check disk-data disk_data
check ping ping -c 3 -W 10 10.0.0.2
ping_out() { in_guest demo 'ping -c 3 -W 10 10.0.0.1'; }
check ping-from-guest ping_out
sent() { [ "$(from_guest "$data" | tail -n 1)" = "$sum" ]; }
check net-data-out sent
got() { [ "$(to_guest "$data")" = "$sum" ]; }
check net-data-in got

# Stopped in its tracks, and going on.
check pause xlr pause demo
check pause/state state_is demo p
silent() { ! ping -c 1 -W 2 10.0.0.2; }
check pause/silent silent
check pause/unpause xlr unpause demo
check pause/goes-on eventually ping -c 1 -W 2 10.0.0.2

# Its name, memory, vcpus, share.
check rename xlr rename demo other
check rename/domid xlr domid other
check rename/back xlr rename other demo
check mem-set xlr mem-set demo 128
check mem-set/reached eventually memory_is 128
check mem-set/back xlr mem-set demo 160
check mem-set/back-reached eventually memory_is 160
check mem-max xlr mem-max demo 192
check vcpu-set xlr vcpu-set --ignore-host demo 2
check vcpu-set/online eventually nproc_is 2
check vcpu-set/back xlr vcpu-set demo 1
check vcpu-set/offline eventually nproc_is 1
check vcpu-pin xlr vcpu-pin demo 0 0
check sched xlr sched -d demo -w 512 -c 50
check sched/shown xlr sched -d demo
said sched/weight 512
check sched/back xlr sched -d demo -w 256 -c 0

# Devices that come and go.
check block-attach xlr block-attach demo 'phy:/dev/ram0,xvdb,w'
check block-attach/seen eventually guest_has /dev/xvdb
blocks() { in_guest demo "$data | dd of=/dev/xvdb bs=4k conv=fsync; echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/xvdb bs=4k count=144 | head -c 589824 | md5sum" | grep -q "$sum"; }
check block-attach/data blocks
check block-list xlr block-list demo
said block-list/both 51728
check block-list-json xlr block-list --json demo
check block-detach xlr block-detach demo xvdb
check block-detach/gone eventually guest_lacks /dev/xvdb
truncate -s 1M /tmp/file.img
check block-attach-file xlr block-attach demo 'format=raw,vdev=xvdc,access=rw,backendtype=qdisk,target=/tmp/file.img'
check block-attach-file/seen eventually guest_has /dev/xvdc
filed() { in_guest demo "$data | dd of=/dev/xvdc bs=4k conv=fsync" && head -c 589824 /tmp/file.img | md5sum | grep -q "$sum"; }
check block-attach-file/data filed
check block-attach-file/detach xlr block-detach demo xvdc
check network-attach xlr network-attach demo bridge=xenbr0
check network-attach/seen eventually guest_has /sys/class/net/eth1
check network-list xlr network-list demo
check network-list-json xlr network-list --json demo
check network-detach xlr network-detach demo 1
check network-detach/gone eventually guest_lacks /sys/class/net/eth1

# A word to the kernel.
check sysrq xlr sysrq demo h
check sysrq/heard eventually console_has demo 'sysrq: HELP'
refused trigger-unknown any nonsense xlr trigger demo nonsense
sed 's/^memory = .*/memory = 144/' $cfg > /tmp/changed.cfg
check config-update xlr config-update demo /tmp/changed.cfg

# Again from the start, with the changed configuration.
boots_before=$(console_count demo 'GUEST UP')
check reboot xlr reboot demo
check reboot/boots boots demo $((boots_before + 1))
other_id() { [ "$(xlr domid demo)" -gt "$id" ]; }
check reboot/new-domain other_id
check reboot/changed memory_is 144

# The orderly end; what it wrote is on its disk.
check shutdown xlr shutdown -w demo
check shutdown/gone in_dom0_alone
on_disk() { mount -o loop,ro $disk /mnt && [ "$(md5sum < /mnt/data)" = "$sum" ]; local result=$?; umount /mnt; return $result; }
check shutdown/disk on_disk

# -c shows the boot from its first line; destroy ends it at once. A key=value overrides the file.
attached() {
    rm -f /tmp/attached
    (eventually grep -q 'GUEST UP' /tmp/attached; sleep 1) |
        xlr create -c $cfg 'name="second"' 'extra="console=hvc0"' > /tmp/attached
    grep -q 'Linux version' /tmp/attached && grep -q 'GUEST UP' /tmp/attached
}
check create-console attached
check create-console/name xlr domid second
check destroy xlr destroy second
check destroy/gone in_dom0_alone
refused destroy-unknown any second xlr destroy second

refused devd any 'driver domain' xlr devd -F
kill $events
check events grep -q demo /tmp/events

same_resources end/resources /tmp/before 64
finish
