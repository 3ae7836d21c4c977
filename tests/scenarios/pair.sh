# Sourced behind lib.sh (and debian.sh) by the scenarios of two hosts, `here` and `there`, which a network joins; $role
# says which one this is. A guest goes to and fro between them under load.
here=10.0.0.1
there=10.0.0.3
port=8002
patience=1200
[ "$role" = here ] && own=$here other=$there || own=$there other=$here

# join_network: this host's bridge at its address, with the card that leads to the other host.
join_network() {
    ip link set eth0 mtu 9000 up
    ip link set eth0 master xenbr0
    ip link set xenbr0 mtu 9000
    ip addr flush dev xenbr0 && ip addr add $own/24 dev xenbr0
}

# A guest that has come is called otherwise until it is whole, and the console daemon goes on with that log.
console_of() { cat "$logs/guest-$1.log" "$logs/guest-$1--incoming.log" 2> /dev/null | sed 's/^\[[^]]*\] //; s/\r$//'; }

# when_listening TEXT COMMAND…: the command, again for as long as it fails with that text, since nobody listens yet.
when_listening() {
    local end=$(($(date +%s) + patience)) text=$1 status
    shift
    while :; do
        "$@" > /tmp/sent 2>&1
        status=$?
        [ $status -ne 0 ] && grep -q "$text" /tmp/sent && [ "$(date +%s)" -lt $end ] || break
        sleep 1
    done
    cat /tmp/sent
    return $status
}

# moves_there COUNT, moves_here COUNT: the turns of each host; odd ones lead there. The scenario says how: `move ADDRESS`
# sends the guest and `receive ADDRESS` takes it in; behind the Nth move `went N` and `came N` look at it.
moves_there() {
    local turn=1
    while [ $turn -le "$1" ]; do
        check "receive-$turn" receive $there
        came $turn
        [ $((turn + 1)) -gt "$1" ] || check "send-$((turn + 1))" move $here
        [ $((turn + 1)) -gt "$1" ] || went $((turn + 1))
        turn=$((turn + 2))
    done
}
moves_here() {
    local turn=1
    while [ $turn -le "$1" ]; do
        check "send-$turn" move $there
        went $turn
        check "send-$turn/gone" eventually only_domains Domain-0
        [ $((turn + 1)) -gt "$1" ] || check "receive-$((turn + 1))" receive $here
        [ $((turn + 1)) -gt "$1" ] || came $((turn + 1))
        turn=$((turn + 2))
    done
}

# load NAME: the guest writes memory and checks what it has written, has data that only stays, and counts over a
# connection.
load() {
    in_guest "$1" "$data > /tmp/kept; (n=0; while :; do $data > /tmp/written; [ \"\$(md5sum < /tmp/written)\" = '$sum' ] || echo bad >> /tmp/bad; n=\$((n + 1)); echo \$n > /tmp/turns; done) & echo begun" > /dev/null
    received 5003 /tmp/counted &
    in_guest "$1" "(n=0; while :; do n=\$((n + 1)); echo \$n; sleep 0.2; done | nc $here 5003) > /dev/null 2>&1 & echo begun" > /dev/null
    check connection eventually counts
}
counts() { [ "$(wc -l < /tmp/counted)" -gt "${1:-5}" ]; }
turns() { in_guest "$1" 'cat /tmp/turns' | tail -n 1; }
runs_on() { local now=$(turns "$1") && [ "${now:-0}" -gt "$2" ]; }
# goes_on CHECK NAME: the load has not stopped.
goes_on() {
    local turned=$(turns "$2")
    check "$1" eventually runs_on "$2" "${turned:-0}"
}

# intact NAME: nothing of the load was lost or changed.
sum_kept() { [ "$(in_guest "$1" 'md5sum < /tmp/kept' | tail -n 1)" = "$sum" ]; }
none_bad() { in_guest "$1" '[ ! -e /tmp/bad ]'; }
in_order() { awk '{ n++ } $1 != n { exit 1 }' /tmp/counted; }
intact() {
    check data sum_kept "$1"
    check written-data none_bad "$1"
    goes_on load-goes-on "$1"
    check connection-holds eventually counts "$(wc -l < /tmp/counted)"
    check connection/nothing-lost in_order
}
