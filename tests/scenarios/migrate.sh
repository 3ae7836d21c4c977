# migrate.sh ROLE MOVES: a Linux guest that writes its memory goes to and fro between two hosts, `here` and `there`, that
# a network joins; its connections hold, what it holds in memory stays as it was.
. /paravane/lib.sh
role=$1
moves=$2
port=8002
here=10.0.0.1
there=10.0.0.3
guest=10.0.0.2
patience=1200
ip link set eth0 mtu 9000 up
ip link set eth0 master xenbr0
ip link set xenbr0 mtu 9000
[ "$role" = here ] || { ip addr flush dev xenbr0 && ip addr add $there/24 dev xenbr0; }
# A guest that has come is called otherwise until it is whole, and the console daemon goes on with that log.
console_of() { cat "$logs/guest-$1.log" "$logs/guest-$1--incoming.log" 2> /dev/null | sed 's/^\[[^]]*\] //; s/\r$//'; }

# move ADDRESS: to the receiver at ADDRESS, as soon as it listens.
move() {
    local end=$(($(date +%s) + patience)) status
    while :; do
        xlr -v -T migrate demo "tcp:$1:$port" > /tmp/move 2>&1
        status=$?
        [ $status -ne 0 ] && grep -q 'cannot reach' /tmp/move && [ "$(date +%s)" -lt $end ] || break
        sleep 1
    done
    cat /tmp/move
    return $status
}
receive() { xlr -v -T migrate-receive --listen "$1:$port"; }
# took N: what the sender says of a move: when the guest stood still, and at last how long.
took() {
    grep 'asked to suspend\|runs on the other host' /tmp/out
    sed -n "s/^.* xlr: migrated in/MOVE $1 in/p" /tmp/out
}
# came: when the guest was whole here.
came() { grep 'connected its devices' /tmp/out; }

if [ "$role" = there ]; then
    # The first comer is dropped in the middle of its move: nothing of it may stay.
    xlr migrate-receive --listen $there:$port > /tmp/dropped 2>&1 &
    receiver=$!
    begun() { xlr list | grep -q incoming; }
    check dropped/begun eventually begun
    sleep 1
    kill -9 $receiver
    check dropped/nothing-stays eventually only_domains Domain-0
    turn=1
    while [ $turn -le "$moves" ]; do
        check "receive-$turn" receive $there
        [ $((turn + 1)) -gt "$moves" ] || check "send-$((turn + 1))" move $here
        took $((turn + 1))
        turn=$((turn + 2))
    done
    finish
    exit
fi

grep -v "^disk" /etc/paravane/demo.cfg | sed "s/^memory = .*/memory = 112/" > /tmp/demo.cfg
check create xlr create /tmp/demo.cfg
check boot boots demo
check other-host eventually ping -c 1 -W 5 $there
# A load that writes memory and checks what it has written; data that only stays; a connection that counts.
in_guest demo "$data > /tmp/kept; (n=0; while :; do $data > /tmp/written; [ \"\$(md5sum < /tmp/written)\" = '$sum' ] || echo bad >> /tmp/bad; n=\$((n + 1)); echo \$n > /tmp/turns; done) & echo begun" > /dev/null
nc -l -p 5003 <> $never > /tmp/counted &
in_guest demo "(n=0; while :; do n=\$((n + 1)); echo \$n; sleep 0.2; done | nc $here 5003) > /dev/null 2>&1 & echo begun" > /dev/null
counts() { [ "$(wc -l < /tmp/counted)" -gt "${1:-5}" ]; }
check connection eventually counts
/paravane/dom0-load --pings $guest > /tmp/pings 2>&1 &
pings=$!

refused broken any 'goes on here\|runs here' move $there
turns() { in_guest demo 'cat /tmp/turns' | tail -n 1; }
counted=$(turns)
runs_on() { local now=$(turns) && [ "${now:-0}" -gt "${counted:-0}" ]; }
check broken/guest-runs eventually runs_on

turn=1
while [ $turn -le "$moves" ]; do
    check "send-$turn" move $there
    took $turn
    check "send-$turn/gone" only_domains Domain-0
    if [ $((turn + 1)) -le "$moves" ]; then
        check "receive-$((turn + 1))" receive $here
        came
    fi
    turn=$((turn + 2))
done
sum_kept() { [ "$(in_guest demo 'md5sum < /tmp/kept' | tail -n 1)" = "$sum" ]; }
check data sum_kept
none_bad() { in_guest demo '[ ! -e /tmp/bad ]'; }
check written-data none_bad
counted=$(turns)
check load-goes-on eventually runs_on
before=$(wc -l < /tmp/counted)
check connection-holds eventually counts "$before"
in_order() { awk '{ n++ } $1 != n { exit 1 }' /tmp/counted; }
check connection/nothing-lost in_order
kill $pings
check pings wait $pings
cat /tmp/pings
check shutdown xlr shutdown -w demo
finish
