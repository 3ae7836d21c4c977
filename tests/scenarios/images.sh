# Images that one toolstack has saved and the other restores, to and fro: Debian's xl and xlr.
. /paravane/lib.sh
. /paravane/debian.sh
image=/tmp/image
check store machine_up debian
check consoled console_daemon debian
supervisor
cat > /tmp/g.cfg << X
name = "g"
kernel = "/run/vmlinuz"
ramdisk = "/run/initrd"
memory = 128
vcpus = 2
extra = "console=hvc0 quiet"
disk = [ "phy:/dev/ram0,xvda,w" ]
vif = [ "bridge=xenbr0" ]
on_reboot = "restart"
X

# alive NAME: its memory, processes, disk and network are what they were.
alive() {
    check "$1/data" sum_kept
    check "$1/one-life" [ "$(console_count g 'GUEST UP')" -le 1 ]
    check "$1/vcpus" [ "$(in_guest g nproc | tail -n 1)" = 2 ]
    check "$1/disk" in_guest g "echo $1 | dd of=/dev/xvda bs=512 conv=sync,fsync && echo 3 > /proc/sys/vm/drop_caches && head -c 512 /dev/xvda | grep $1"
    check "$1/network" in_guest g 'ping -c 2 -W 20 10.0.0.1'
}
sum_kept() { [ "$(in_guest g 'md5sum < /tmp/kept' | tail -n 1)" = "$sum" ]; }
# turn SAVER RESTORER: one saves and ends it, the other makes it again.
turn() {
    check "$1-$2/save" "$1" save g $image
    check "$1-$2/gone" eventually only_domains Domain-0
    check "$1-$2/restore" "$2" restore $image
    alive "$1-$2"
}

check create xl create -q /tmp/g.cfg
check boot boots g
in_guest g "$data > /tmp/kept" > /dev/null
alive fresh
turn xl xlr
turn xlr xl
check xl/checkpoint xl save -c g $image
alive xl-checkpoint
check xlr/checkpoint xlr save -c g $image
alive xlr-checkpoint
turn xl xl
# What xlr saved of xl's guest is xl's configuration; what it saved of its own says both.
check destroy xl destroy g
check own/create xlr create -q /tmp/g.cfg
check own/boot boots g 2
in_guest g "$data > /tmp/kept" > /dev/null
check own/save xlr save g $image
check own/restore xl restore $image
check own/data sum_kept
check own/shutdown xl shutdown -w g
check own/gone eventually only_domains Domain-0
finish
