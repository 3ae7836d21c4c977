# xl_migrate.sh ROLE MOVES: Debian's xl moves a Linux guest that writes its memory to and fro between two hosts, `here`
# and `there`, which run from Debian's disk and which a network joins.
. /paravane/lib.sh
. /paravane/debian.sh
role=$1
moves=$2
port=8002
here=10.0.0.1
there=10.0.0.3
patience=1200
check store machine_up debian
check consoled console_daemon debian
ip link set eth0 mtu 9000 up
ip link set eth0 master xenbr0
ip link set xenbr0 mtu 9000
[ "$role" = here ] || { ip addr flush dev xenbr0 && ip addr add $there/24 dev xenbr0; }
console_of() { cat "$logs/guest-$1.log" "$logs/guest-$1--incoming.log" 2> /dev/null | sed 's/\r$//'; }

# move ADDRESS: to the receiver at ADDRESS, as soon as it listens.
move() {
    local end=$(($(date +%s) + patience)) status
    while :; do
        xl migrate -s "" g "socat -t 60 STDIO TCP:$1:$port,nodelay" > /tmp/move 2>&1
        status=$?
        [ $status -ne 0 ] && grep -q 'Connection refused' /tmp/move && [ "$(date +%s)" -lt $end ] || break
        sleep 1
    done
    cat /tmp/move
    return $status
}
# receive: what stands at standard error here is said by the sender there.
receive() { socat TCP-LISTEN:$port,reuseaddr,nodelay EXEC:'xl migrate-receive',nofork; }
arrived() { xl domid g; }

if [ "$role" = there ]; then
    turn=1
    while [ $turn -le "$moves" ]; do
        check "receive-$turn" receive
        check "receive-$turn/there" eventually arrived
        [ $((turn + 1)) -gt "$moves" ] || check "send-$((turn + 1))" move $here
        turn=$((turn + 2))
    done
    finish
    exit
fi

cat > /tmp/g.cfg << X
name = "g"
kernel = "/run/vmlinuz"
ramdisk = "/run/initrd"
memory = 112
extra = "console=hvc0 quiet"
vif = [ "bridge=xenbr0" ]
X
check create xl create -q /tmp/g.cfg
check boot boots g
check other-host eventually ping -c 1 -W 5 $there
# A load that writes memory and checks what it has written; data that only stays; a connection that counts.
in_guest g "$data > /tmp/kept; (n=0; while :; do $data > /tmp/written; [ \"\$(md5sum < /tmp/written)\" = '$sum' ] || echo bad >> /tmp/bad; n=\$((n + 1)); echo \$n > /tmp/turns; done) & echo begun" > /dev/null
socat -u TCP-LISTEN:5003,reuseaddr CREATE:/tmp/counted &
in_guest g "(n=0; while :; do n=\$((n + 1)); echo \$n; sleep 0.2; done | nc $here 5003) > /dev/null 2>&1 & echo begun" > /dev/null
counts() { [ "$(wc -l < /tmp/counted)" -gt "${1:-5}" ]; }
check connection eventually counts

turn=1
while [ $turn -le "$moves" ]; do
    check "send-$turn" move $there
    said "send-$turn/said" 'Migration successful'
    check "send-$turn/gone" eventually only_domains Domain-0
    if [ $((turn + 1)) -le "$moves" ]; then
        check "receive-$((turn + 1))" receive
        check "receive-$((turn + 1))/here" eventually arrived
    fi
    turn=$((turn + 2))
done
sum_kept() { [ "$(in_guest g 'md5sum < /tmp/kept' | tail -n 1)" = "$sum" ]; }
check data sum_kept
none_bad() { in_guest g '[ ! -e /tmp/bad ]'; }
check written-data none_bad
turns() { in_guest g 'cat /tmp/turns' | tail -n 1; }
turned=$(turns)
runs_on() { local now=$(turns) && [ "${now:-0}" -gt "${turned:-0}" ]; }
check load-goes-on eventually runs_on
before=$(wc -l < /tmp/counted)
check connection-holds eventually counts "$before"
in_order() { awk '{ n++ } $1 != n { exit 1 }' /tmp/counted; }
check connection/nothing-lost in_order
check shutdown xl shutdown -w g
finish
