# Sourced on the bench's root disk with TOOL=xl (Debian's tools) or TOOL=xlr (ours): a bridge and the daemons.
mkdir -p /run/xen /run/xenstored /run/paravane /run/lock /var/log/paravane /var/log/xen/console /var/lib/paravane \
    /var/cache/paravane /var/lib/xenstored /etc/paravane
export PATH=/usr/bin:/bin:/usr/sbin:/sbin:/usr/lib/xen-4.17/bin
mount -t devpts pts /dev/pts
ip link set lo up
ip link add xenbr0 type bridge && ip addr add 10.0.0.1/24 dev xenbr0 && ip link set xenbr0 up
if [ $TOOL = xl ]; then
    /lib/systemd/systemd-udevd --daemon 2> /dev/null
    udevadm settle
    xenstored --pid-file=/run/xenstored.pid
    sleep 1
    xen-init-dom0 > /dev/null
    xenconsoled --log=all --log-dir=/var/log/xen/console
else
    PATH=/run/tools:$PATH
    xenstored --foreground > /tmp/xenstored.log 2>&1 &
    for i in $(seq 200); do [ -S /run/xenstored/socket ] && break; sleep 0.05; done
    xlr init-dom0
    xenconsoled --interactive > /tmp/xenconsoled.log 2>&1 &
    xlr supervise --foreground > /tmp/supervise.log 2>&1 &
    sleep 1
fi
