# Sourced behind lib.sh by the scenarios that run on Debian's disk, in bash: Debian's daemons and ours, either at choice.
ours=/run/tools
mkdir -p /run/xen /run/xenstored /run/paravane /run/lock /var/log/paravane /var/log/xen/console /var/lib/paravane \
    /var/cache/paravane /var/lib/xenstored /etc/paravane /etc/xen /dev/pts
[ -e /etc/xen/xl.conf ] || : > /etc/xen/xl.conf
mountpoint -q /dev/pts || mount -t devpts pts /dev/pts
ln -sfn /proc/self/fd /dev/fd
export NO_COLOR=1
xlr() { "$ours/xlr" "$@"; }

# machine_up STORE: a bridge, hot-plug events, the store daemon (`debian` or `ours`) and Dom0's nodes in it.
machine_up() {
    ip link set lo up
    ip link add xenbr0 type bridge && ip addr add 10.0.0.1/24 dev xenbr0 && ip link set xenbr0 up
    /lib/systemd/systemd-udevd --daemon 2> /dev/null
    udevadm settle
    case $1 in
        debian) /usr/lib/xen-4.17/bin/xenstored --pid-file=/run/xenstored.pid ;;
        ours) $ours/xenstored --foreground > /tmp/xenstored.log 2>&1 & ;;
    esac
    within 120 test -S /run/xenstored/socket && within 120 xenstore-ls / && case $1 in
        debian) /usr/lib/xen-4.17/bin/xen-init-dom0 ;;
        ours) xlr init-dom0 ;;
    esac
}

# console_daemon WHOSE: ends the console daemon that runs and starts Debian's or ours.
console_daemon() {
    if [ -s /run/consoled.pid ]; then
        kill "$(cat /run/consoled.pid)"
        within 60 no_process "$(cat /run/consoled.pid)" || return
        rm -f /run/consoled.pid
    fi
    case $1 in
        debian) /usr/lib/xen-4.17/bin/xenconsoled --log=guest --log-dir=$logs --pid-file=/run/consoled.pid ;;
        ours)
            $ours/xenconsoled --interactive --log=guest --log-dir $logs --pid-file /run/consoled.lock \
                > /tmp/xenconsoled.log 2>&1 &
            echo $! > /run/consoled.pid
            ;;
    esac
    within 60 test -s /run/consoled.pid
}
no_process() { ! kill -0 "$1" 2> /dev/null; }

# supervisor: what keeps the guests that xlr makes.
supervisor() { $ours/xlr supervise --foreground > /tmp/supervise.log 2>&1 & }

# The same as in lib.sh, without our tools.
type_in() {
    local id tty
    id=$(xl domid "$1") || return 99
    tty=$(xenstore-read "/local/domain/$id/console/tty") || return 98
    echo "$2" > "$tty"
}
