#!/bin/busybox sh
# Conformance cases of Linux's frontends against the backends that serve this guest: its first process. Each case is an
# expected behaviour of a header of Xen's public/io; the lines are those of the cases' guest (`case NAME pass`).
# Words of the kernel's command line: peer=PORT (10.0.0.1 sends back there what it is sent), only=PREFIX, broken=CASE.
export PATH=/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
for word in $(cat /proc/cmdline); do
    case $word in
        peer=* | only=* | broken=*) eval "${word%%=*}=\${word#*=}" ;;
    esac
done
XVDA=device/vbd/51712 VIF=device/vif/0
XEN=/sys/bus/xen
# Where on the disk the life before a reboot leaves its word, in sectors.
MARK=122880

# WHAT EXPECTED FOUND: the case goes on as if it had held, and fails for the first that did not.
expect() {
    [ -z "$why" ] || return 0
    if [ "$case" = "$broken" ] && [ -z "$turned" ]; then
        turned=yes
        [ "$2" != "$3" ] || why="$1: $3, which was not to be"
    elif [ "$2" != "$3" ]; then
        why="$1: expected $2, found $3"
    fi
}

# WHAT COMMAND...: the command ends with 0.
works() {
    what=$1
    shift
    "$@" > /tmp/said 2>&1
    expect "$what" 0 $?
}

# TENTHS COMMAND...: waits until the command ends with 0.
wait_for() {
    left=$1
    shift
    until "$@" > /dev/null 2>&1; do
        left=$((left - 1))
        [ $left -gt 0 ] || return 1
        usleep 100000
    done
}

node() { xenstore read "$1" 2> /dev/null; }
backend() { node "$(node "$1/backend")/$2"; }
backend_is() { [ "$(backend "$1" state)" = "$2" ]; }
gone() { [ ! -e "$1" ]; }

# Asks for what only a toolstack can do; see iodom_core::request. The answer without its number.
number=0
answered() { [ "$(node data/answer | cut -d ' ' -f 1)" = "$number" ]; }
ask() {
    number=$((number + 1))
    xenstore write data/request "$number $*"
    wait_for 300 answered || { echo "no answer"; return; }
    node data/answer | cut -d ' ' -f 2-
}

sum() { md5sum | cut -d ' ' -f 1; }
# What stands at the disk's beginning, read from the disk and not from memory.
sum_of_disk() {
    echo 3 > /proc/sys/vm/drop_caches
    dd if="${1:-/dev/xvda}" bs=1M count=8 2> /dev/null | sum
}
# Bytes out to the peer and back.
echoed() { timeout 120 nc 10.0.0.1 "$peer" < "$1" 2> /dev/null | sum; }
link_up() {
    wait_for 300 test -e /sys/class/net/eth0 || return 1
    ip link set eth0 up
    ip addr add 10.0.0.2/24 dev eth0 2> /dev/null
    wait_for 100 grep -q 1 /sys/class/net/eth0/carrier
}

xenbus_own_directory() {
    expect "the node name" linux "$(node name)"
    expect "the own directory by its absolute path" linux "$(node "/local/domain/$(node domid)/name")"
}

xenbus_write_read() {
    works "writing" xenstore write data/note "a word"
    expect "what was written" "a word" "$(node data/note)"
}

xenbus_remove() {
    xenstore write data/gone/below x
    works "removing" xenstore rm data/gone
    expect "a node below what was removed" "" "$(node data/gone/below)"
}

xenbus_not_its_own() {
    xenstore write /tool/linux x 2> /dev/null
    expect "writing to another's node" 1 $?
    expect "that node" "" "$(node /tool/linux)"
}

xenbus_backend_is_named() {
    domid=$(node domid)
    expect "the disk's backend" "/local/domain/0/backend/vbd/$domid/51712" "$(node $XVDA/backend)"
    expect "the backend's frontend" "/local/domain/$domid/$XVDA" "$(backend $XVDA frontend)"
}

# The network device: Linux's disk driver does not come back to a device that it has closed.
xenbus_closes_and_returns() {
    wait_for 100 backend_is $VIF 4
    echo vif-0 > $XEN/drivers/vif/unbind
    wait_for 100 backend_is $VIF 6
    expect "the backend of a frontend that has closed" 6 "$(backend $VIF state)"
    echo vif-0 > $XEN/drivers/vif/bind
    wait_for 100 backend_is $VIF 4
    expect "the backend of one that has come back" 4 "$(backend $VIF state)"
    expect "the frontend" 4 "$(node $VIF/state)"
}

block_disk_is_described() {
    expect "sectors" "$(backend $XVDA sectors)" "$(cat /sys/block/xvda/size)"
    expect "bytes of a sector" "$(backend $XVDA sector-size)" "$(cat /sys/block/xvda/queue/logical_block_size)"
    expect "a disk to be written is read only" 0 "$(cat /sys/block/xvda/ro)"
    expect "a disk to be read is read only" 1 "$(cat /sys/block/xvdb/ro)"
}

block_write_then_read() {
    head -c 8388608 /dev/urandom > /tmp/disk
    works "writing 8 MiB" dd if=/tmp/disk of=/dev/xvda bs=1M conv=fsync,notrunc
    expect "the sum of what is read" "$(sum < /tmp/disk)" "$(sum_of_disk)"
    expect "the same by the disk that is read only" "$(sum < /tmp/disk)" "$(sum_of_disk /dev/xvdb)"
}

block_read_only_disk() {
    dd if=/dev/zero of=/dev/xvdb bs=4k count=1 conv=fsync,notrunc 2> /dev/null
    expect "writing to it" 1 $?
    expect "its contents" "$(sum < /tmp/disk)" "$(sum_of_disk)"
}

block_flush() {
    expect "the cache" "write back" "$(cat /sys/block/xvda/queue/write_cache)"
    before=$(awk '{ print $16 }' /sys/block/xvda/stat)
    works "a write that is flushed" dd if=/tmp/disk of=/dev/xvda bs=4k count=1 conv=fsync,notrunc
    expect "more flushes than before" yes \
        "$([ "$(awk '{ print $16 }' /sys/block/xvda/stat)" -gt "$before" ] && echo yes)"
}

block_discard() {
    expect "it can discard" yes "$([ "$(cat /sys/block/xvda/queue/discard_max_bytes)" -gt 0 ] && echo yes)"
    works "discarding 8 MiB" blkdiscard -o 16777216 -l 8388608 /dev/xvda
    expect "what stands before it" "$(sum < /tmp/disk)" "$(sum_of_disk)"
}

block_persistent_grants() {
    expect "the frontend's word" 1 "$(node $XVDA/feature-persistent)"
    expect "the kernel's word" enabled "$(dmesg | sed -n 's/.*xvda:.*persistent grants: \([a-z]*\);.*/\1/p' | head -n 1)"
}

block_indirect_requests() {
    expect "segments of a request" 64 "$(cat /sys/block/xvda/queue/max_segments)"
    expect "requests of more than a page of segments" "$(sum < /tmp/disk)" "$(dd if=/dev/xvda bs=1M count=8 iflag=direct 2> /dev/null | sum)"
}

block_rings_of_several_pages() {
    expect "the ring's size as an order of pages" 1 "$(node $XVDA/ring-page-order)"
}

block_several_queues() {
    expect "queues in the store" 2 "$(node $XVDA/multi-queue-num-queues)"
    expect "queues of the disk" 2 "$(ls /sys/block/xvda/mq | wc -l)"
}

block_full_ring() {
    mkdir /tmp/parts
    for part in $(seq 10 41); do
        dd if=/dev/xvda of=/tmp/parts/$part bs=4k count=64 skip=$(((part - 10) * 64)) iflag=direct 2> /dev/null &
        readers="$readers $!"
    done
    wait $readers
    expect "what 32 readers have read" "$(sum < /tmp/disk)" "$(cat /tmp/parts/* | sum)"
    rm -r /tmp/parts
}

block_reconnect() {
    for round in 1 2; do
        expect "the answer to its going" done "$(ask block-detach 51712)"
        wait_for 300 gone /sys/block/xvda
        expect "the answer to its coming back" done "$(ask block-attach 51712)"
        wait_for 300 test -b /dev/xvda
        expect "the sum after connection $round" "$(sum < /tmp/disk)" "$(sum_of_disk)"
    done
}

block_backend_dies() {
    head -c 8388608 /dev/urandom > /tmp/disk
    dd if=/tmp/disk of=/dev/xvda bs=64k conv=fsync,notrunc 2> /dev/null &
    writer=$!
    for round in 1 2 3; do
        expect "the toolstack's answer" done "$(ask backend-kill vbd)"
    done
    wait $writer
    expect "the writer's end" 0 $?
    expect "the sum of what is read" "$(sum < /tmp/disk)" "$(sum_of_disk)"
}

block_unplugged_under_load() {
    while dd if=/dev/xvdb of=/dev/null bs=64k iflag=direct 2> /dev/null; do :; done &
    reader=$!
    expect "the toolstack's answer" done "$(ask block-detach 51728)"
    usleep 500000
    kill $reader 2> /dev/null
    killall dd 2> /dev/null
    wait $reader
    wait_for 300 gone /sys/block/xvdb
    expect "the disk is gone" yes "$([ ! -e /sys/block/xvdb ] && echo yes)"
    expect "the answer to its coming back" done "$(ask block-attach 51728)"
    wait_for 300 test -b /dev/xvdb
    expect "what it holds" "$(sum < /tmp/disk)" "$(sum_of_disk /dev/xvdb)"
}

net_connects() {
    link_up
    expect "the carrier" 1 "$(cat /sys/class/net/eth0/carrier)"
    expect "the address" "$(backend $VIF mac)" "$(cat /sys/class/net/eth0/address)"
    expect "the backend" 4 "$(backend $VIF state)"
}

net_several_queues() {
    expect "queues in the store" 2 "$(node $VIF/multi-queue-num-queues)"
    expect "queues of the interface" 2 "$(ls -d /sys/class/net/eth0/queues/rx-* | wc -l)"
}

net_split_event_channels() {
    expect "the backend offers them" 1 "$(backend $VIF feature-split-event-channels)"
    expect "ports of a queue" 2 "$(xenstore list $VIF/queue-0 | grep -c event-channel-)"
}

net_one_piece() {
    echo "a few bytes" > /tmp/few
    expect "what has come back" "$(sum < /tmp/few)" "$(echoed /tmp/few)"
}

net_full_ring() {
    expect "8 MiB out and back" "$(sum < /tmp/disk)" "$(echoed /tmp/disk)"
}

net_reconnects() {
    echo vif-0 > $XEN/drivers/vif/unbind
    wait_for 100 gone /sys/class/net/eth0
    echo vif-0 > $XEN/drivers/vif/bind
    link_up
    expect "what has come back" "$(sum < /tmp/few)" "$(echoed /tmp/few)"
}

net_backend_death() {
    echoed /tmp/disk > /tmp/echoed &
    client=$!
    for round in 1 2 3; do
        expect "the toolstack's answer" done "$(ask backend-kill vif)"
    done
    wait $client
    expect "8 MiB out and back" "$(sum < /tmp/disk)" "$(cat /tmp/echoed)"
}

net_unplug_under_load() {
    timeout 60 nc 10.0.0.1 "$peer" < /dev/zero > /dev/null 2>&1 &
    client=$!
    expect "the toolstack's answer" done "$(ask network-detach 0)"
    wait_for 300 gone /sys/class/net/eth0
    kill $client 2> /dev/null
    wait $client
    expect "the interface is gone" yes "$([ ! -e /sys/class/net/eth0 ] && echo yes)"
    expect "the answer to its coming back" done "$(ask network-attach 0)"
    link_up
    expect "what has come back" "$(sum < /tmp/few)" "$(echoed /tmp/few)"
}

# What has come is looked at by whoever reads the console: 16 KiB, eight times what the ring holds.
console_more_than_the_ring() {
    seq 1 256 | while read -r line; do
        printf 'console %d ....................................................\n' "$line"
    done
}

CASES="xenbus/own-directory xenbus/write-read xenbus/remove xenbus/not-its-own xenbus/backend-is-named
    xenbus/closes-and-returns
    block/disk-is-described block/write-then-read block/read-only-disk block/flush block/discard block/persistent-grants
    block/indirect-requests block/rings-of-several-pages block/several-queues block/full-ring block/reconnect
    block/backend-dies block/unplugged-under-load
    net/connects net/several-queues net/split-event-channels net/one-piece net/full-ring net/reconnects
    net/backend-death net/unplug-under-load console/more-than-the-ring"
# Those that need what an earlier one has left.
PREPARE="block/write-then-read net/connects net/one-piece"

report() {
    if [ -z "$why" ]; then echo "case $1 pass"; else echo "case $1 fail $why"; fi
}

# NAME: its function, and what came of it.
carry_out() {
    case=$1 why= turned=
    "$(echo "$1" | tr / _ | tr - _)"
}

end() {
    echo "guest: exit 0"
    sync
    poweroff -f
}

# Linux keeps a page for each segment of each request that a ring has room for: 16 MiB for each queue.
modprobe xen_blkfront max_indirect_segments=64 max_ring_page_order=1 max_queues=2
modprobe xen_netfront max_queues=2
wait_for 300 test -b /dev/xvda
wait_for 300 test -b /dev/xvdb

# The second life: the disk holds the first one's word.
if [ "$(dd if=/dev/xvda skip=$MARK count=1 2> /dev/null | head -c 8)" = rebooted ]; then
    case=machine/reboot why= turned=
    expect "the guest's number is another one" yes \
        "$([ "$(dd if=/dev/xvda skip=$MARK count=1 2> /dev/null | sed -n 2p)" != "$(node domid)" ] && echo yes)"
    report $case
    dd if=/dev/zero of=/dev/xvda seek=$MARK count=1 conv=fsync,notrunc 2> /dev/null
    end
fi

chosen=
for name in $CASES machine/reboot; do
    case $name in "$only"*) chosen="$chosen $name" ;; esac
done
echo "cases $(echo $chosen | wc -w)"
for name in $CASES; do
    case " $chosen $PREPARE " in *" $name "*) carry_out "$name" ;; *) continue ;; esac
    # The console's case is judged by its reader.
    [ "$name" != console/more-than-the-ring ] || continue
    case " $chosen " in *" $name "*) report "$name" ;; esac
done
case " $chosen " in
    *" machine/reboot "*)
        printf 'rebooted\n%s\n' "$(node domid)" > /tmp/mark
        dd if=/tmp/mark of=/dev/xvda seek=$MARK count=1 conv=fsync,notrunc 2> /dev/null
        sync
        reboot -f
        ;;
esac
end
