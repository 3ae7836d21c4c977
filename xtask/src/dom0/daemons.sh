# Sourced by Dom0's init: what stands between a Linux kernel and guests. Drivers, folders, a bridge, the daemons.
modprobe -qa xen_evtchn xen_gntdev xen_gntalloc xen_privcmd xen_blkback xen_netback bridge loop tun 2>/dev/null
[ -e /proc/xen/capabilities ] || mount -t xenfs xen /proc/xen
mkdir -p /run/xenstored /run/paravane /run/xen /var/lib/paravane /var/lib/xenstored /var/cache/paravane \
    /var/log/paravane /var/log/xen/console
ip link set lo up
ip link add xenbr0 type bridge && ip addr add 10.0.0.1/24 dev xenbr0 && ip link set xenbr0 up
echo 1 > /proc/sys/net/ipv4/ip_forward
# The sample guest's disk: sparse, so that it takes no more of Dom0's memory than is written to it.
if [ ! -e /var/lib/paravane/demo/disk.img ]; then
    truncate -s 64M /var/lib/paravane/demo/disk.img
    mke2fs -F /var/lib/paravane/demo/disk.img > /dev/null
fi

# Runs a daemon, and runs it again whenever it ends.
keep() {
    [ -x "/bin/$1" ] || return 0
    (
        while :; do
            "$@" < /dev/null >> "/var/log/paravane/$1.log" 2>&1
            echo "$* ended with $?" >> "/var/log/paravane/$1.log"
            sleep 0.3
        done
    ) &
}
keep xenstored --foreground
if [ -x /bin/xenstored ]; then
    i=0
    while [ ! -S /run/xenstored/socket ] && [ $i -lt 200 ]; do sleep 0.05; i=$((i + 1)); done
    [ -S /run/xenstored/socket ] || { echo "Dom0: xenstored made no socket:"; tail -n 5 /var/log/paravane/xenstored.log; }
fi
if [ -x /bin/xlr ]; then
    xlr init-dom0 >> /var/log/paravane/init-dom0.log 2>&1 ||
        { echo "Dom0: xlr init-dom0 failed:"; tail -n 5 /var/log/paravane/init-dom0.log; }
fi
keep xenconsoled --interactive --log=guest --timestamp=guest
keep xlr supervise --foreground
