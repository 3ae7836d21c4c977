# migrate.sh ROLE MOVES: xlr moves a Linux guest under load to and fro between two hosts. Pings tell when it was away.
role=$1
. /paravane/lib.sh
. /paravane/pair.sh
moves=$2
guest=10.0.0.2
join_network

# move ADDRESS, receive ADDRESS: with times, from which the pings that were lost are judged.
move() { when_listening 'cannot reach' xlr -v -T migrate demo "tcp:$1:$port"; }
receive() { xlr -v -T migrate-receive --listen "$1:$port"; }
# went N: when the guest stood still, and at last how long.
went() {
    grep 'asked to suspend\|runs on the other host' /tmp/out
    sed -n "s/^.* xlr: migrated in/MOVE $1 in/p" /tmp/out
}
# came N: when the guest was whole here.
came() { [ "$role" = there ] || grep 'connected its devices' /tmp/out; }

if [ "$role" = there ]; then
    # The first comer is dropped in the middle of its move: nothing of it may stay.
    xlr migrate-receive --listen $there:$port > /tmp/dropped 2>&1 &
    receiver=$!
    begun() { xlr list | grep -q incoming; }
    check dropped/begun eventually begun
    sleep 1
    kill -9 $receiver
    check dropped/nothing-stays eventually only_domains Domain-0
    moves_there "$moves"
    finish
    exit
fi

grep -v "^disk" /etc/paravane/demo.cfg | sed "s/^memory = .*/memory = 112/" > /tmp/demo.cfg
check create xlr create /tmp/demo.cfg
check boot boots demo
check other-host eventually ping -c 1 -W 5 $there
load demo
/paravane/dom0-load --pings $guest > /tmp/pings 2>&1 &
pings=$!
refused broken any 'goes on here\|runs here' move $there
goes_on broken/guest-runs demo
moves_here "$moves"
intact demo
kill $pings
check pings wait $pings
cat /tmp/pings
check shutdown xlr shutdown -w demo
finish
