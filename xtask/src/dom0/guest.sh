#!/bin/busybox sh
# The sample guest's first process: drivers, disk, network, then a shell on the console.
# Words of the kernel's command line: ip=ADDRESS (10.0.0.2), run=FILE (run from the disk before the shell).
export PATH=/bin HOME=/root TERM=linux
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
mount -t tmpfs tmp /tmp
address=10.0.0.2
for word in $(cat /proc/cmdline); do
    case $word in
        ip=*) address=${word#ip=} ;;
        run=*) run=${word#run=} ;;
    esac
done
modprobe -a xen_blkfront xen_netfront 2>/dev/null
# Frontends connect a moment after their driver is there.
i=0
while [ -n "$(ls /sys/bus/xen/devices 2>/dev/null | grep vbd)" ] && [ ! -b /dev/xvda ] && [ $i -lt 100 ]; do
    sleep 0.05
    i=$((i + 1))
done
[ ! -b /dev/xvda ] || mount -t ext4 /dev/xvda /mnt 2>/dev/null || echo "GUEST: /dev/xvda holds no file system"
# What udev does elsewhere: a vcpu that Dom0 gives is there, but offline until somebody asks for it.
(
    while sleep 1; do
        for cpu in /sys/devices/system/cpu/cpu[1-9]*/online; do
            [ "$(cat "$cpu" 2> /dev/null)" != 0 ] || echo 1 > "$cpu"
        done
    done
) 2> /dev/null &
ip link set lo up
if [ -e /sys/class/net/eth0 ]; then
    ip link set eth0 up
    ip addr add "$address/24" dev eth0
    ip route add default via 10.0.0.1 2>/dev/null
fi
read -r up rest < /proc/uptime
echo "GUEST UP $up $(uname -r)"
[ -z "$run" ] || sh "$run"
hostname demo
cd /root
# What `poweroff` and `reboot` tell the first process.
trap /sbin/poweroff USR1 USR2
trap /sbin/reboot TERM
while :; do
    PS1='demo# ' setsid cttyhack sh &
    wait $!
    sleep 1
done
