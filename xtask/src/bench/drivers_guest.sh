#!/bin/busybox sh
# First process of the Linux guest whose requests are measured.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
requests=$(sed -n 's/.*requests=\([0-9]*\).*/\1/p' /proc/cmdline)
modprobe -a xen_blkfront xen_netfront
for turn in $(seq 200); do
    [ -b /dev/xvda ] && [ -e /sys/class/net/eth0 ] && break
    usleep 50000
done
# A queue without a scheduler is the quicker one.
echo none > /sys/block/xvda/queue/scheduler
ip link set eth0 up
ip addr add 10.0.0.2/24 dev eth0
for turn in $(seq 200); do
    grep -q 1 /sys/class/net/eth0/carrier && break
    usleep 50000
done
dom0-load --disk-requests /dev/xvda "$requests"
disk=$?
# A bridge forwards nothing at first.
for turn in $(seq 50); do
    ping -c 1 -W 1 10.0.0.1 > /dev/null && break
done
dom0-load --echo-requests 10.0.0.1 "$requests"
echo "guest: exit $((disk + $?))"
poweroff -f
