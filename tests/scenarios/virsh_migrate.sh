# virsh_migrate.sh ROLE: a running Linux guest moves from host `here` to host `there`, and back, by Debian's libvirt.
role=$1
. /paravane/lib.sh
. /paravane/debian.sh
. /paravane/libvirt.sh
. /paravane/pair.sh

check store machine_up debian
join_network
check consoled console_daemon debian
# Who connects is believed: the wire has two ends.
mkdir -p /etc/libvirt
printf 'listen_tls = 0\nlisten_tcp = 1\nauth_tcp = "none"\n' > /etc/libvirt/libvirtd.conf
libvirt_up --listen
far() { timeout $patience virsh -q -c "xen+tcp://$other/system" "$@"; }
check other-host eventually far version

# move: to the other host; this one says where it can be reached.
move() { timeout $patience virsh -q -c xen:///system migrate --live v1 "xen+tcp://$other/system" "tcp://$other"; }
came() { state_is v1 running; }
has_mark() { in_guest v1 'grep -q kept-in-memory /tmp/kept && pidof sleep'; }
connected() { in_guest v1 "ping -c 3 -W 10 $own"; }
if [ "$role" = there ]; then
    check came eventually came
    check came/memory eventually has_mark
    check came/network eventually connected
    check back move
    refused back/gone any 'failed to get domain' v dominfo v1
    finish
    exit
fi

check define define_guest
check start v start v1
check boot boots v1
check mark in_guest v1 'echo kept-in-memory > /tmp/kept; (sleep 100000 &)'
check move move
check move/gone state_is v1 'shut off'
check back eventually came
check back/memory eventually has_mark
check back/network eventually connected
left() { ! far dominfo v1; }
check back/left eventually left
check destroy v destroy v1
check destroy/off eventually is_off v1
[ "$failed" -eq 0 ] || libvirt_records
finish
