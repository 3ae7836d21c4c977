#!/bin/busybox sh
# Dom0's first process: mounts, drivers, then a command whose output stands between two marks, or a shell.
export PATH=/bin HOME=/root TERM=linux
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
read -r up rest < /proc/uptime
echo "INIT UP $up"
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs tmp /tmp
# Scripts of Debian's tools spin without these.
ln -sf /proc/self/fd /dev/fd
ln -sf fd/0 /dev/stdin && ln -sf fd/1 /dev/stdout && ln -sf fd/2 /dev/stderr
if [ -d /sys/hypervisor ] && [ ! -e /paravane/script ]; then
    modprobe -q xenfs && mount -t xenfs xen /proc/xen
    modprobe -q xen_evtchn
fi
# Buses appear one behind the other: PCI, then virtio or SCSI.
for bus in pci virtio scsi; do
    aliases=$(cat /sys/bus/$bus/devices/*/modalias 2>/dev/null)
    [ -z "$aliases" ] || modprobe -qba $aliases 2>/dev/null
    [ "$bus" != scsi ] || break
    [ ! -d /sys/bus/pci/drivers/ahci ] || [ "$bus" != virtio ] || sleep 2
done
# With a script the real root is the first virtio disk, and the script runs there.
if [ -e /paravane/script ]; then
    i=0
    while [ ! -b /dev/vda ] && [ $i -lt 100 ]; do sleep 0.05; i=$((i + 1)); done
    mount -t ext4 /dev/vda /mnt && mount -t tmpfs run /mnt/run && mount -t tmpfs tmp /mnt/tmp
    cp /paravane/* /bin/busybox $(find /lib/modules -name xen-privcmd.ko) /mnt/run
    # For guests: drivers, which the root disk does not have, the tools, and what the sample guest is made of.
    if [ -e /paravane/modules ]; then
        modprobe -a $(cat /paravane/modules)
        modprobe brd rd_nr=4 rd_size=262144
        mount -t xenfs xen /proc/xen
        mkdir /mnt/run/tools
        for tool in xlr xenstored xenconsoled xenstore blkd; do [ ! -x /bin/$tool ] || cp /bin/$tool /mnt/run/tools; done
        cp /var/lib/paravane/demo/* /mnt/run
        [ ! -d /var/cache/paravane ] || cp -r /var/cache/paravane /mnt/var/cache
    fi
    umount /dev/pts
    for folder in dev proc sys; do mount --move /$folder /mnt/$folder; done
    exec switch_root /mnt /bin/bash /run/script
fi
if [ -e /etc/paravane/daemons ] && [ -d /proc/xen ] && [ -d /sys/hypervisor ]; then
    . /etc/paravane/daemons
fi
cd /root
if [ -e /paravane/command ]; then
    read -r mark < /paravane/mark
    echo 1 > /proc/sys/kernel/printk
    # The console is a terminal, but who reads it here is a program.
    export NO_COLOR=1
    printf '\n%s BEGIN\n' "$mark"
    sh /paravane/command < /dev/null 2>&1
    printf '\n%s END %d\n' "$mark" $?
    sync
else
    echo "Dom0 is up: $(uname -sr), $(nproc) vcpu(s). exit or poweroff ends it; Ctrl-A X ends QEMU."
    # What `poweroff` and `reboot` tell the first process.
    trap 'poweroff -f' USR1 USR2
    trap 'reboot -f' TERM
    setsid cttyhack sh -l &
    wait $!
fi
poweroff -f
sleep 60
