# Run on the bench's root disk behind toolstack.sh, with COUNT: so many small guests are made one after the other, each is
# asked over the store and at its console, and all are destroyed. Lines: `CREATE N ns`, `MEMORY before loaded after` (KiB
# free in the hypervisor), `ANSWERS store console`, `GONE seconds`.
# Without a process for each look at the clock or moment of waiting: those of hundreds of guests would be most of all.
ns() { echo "${EPOCHREALTIME/./}000"; }
[ -p /tmp/never ] || mkfifo /tmp/never
exec 9<> /tmp/never
doze() { read -r -t "$1" -u 9 || :; }
if [ $TOOL = xl ]; then
    node_read() { xenstore-read "$1"; }
    node_write() { xenstore-write "$1" "$2"; }
else
    node_read() { xenstore read "$1"; }
    node_write() { xenstore write "$1" "$2"; }
fi 2> /dev/null
free() { /run/dom0-load --resources | sed -n 's/^free //p'; }
settled() {
    local last= now
    while now=$(free) && [ "$now" != "$last" ]; do last=$now; doze 1; done
    echo "$now"
}
# until_true SECONDS COMMAND…
until_true() {
    local end=$((EPOCHSECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ $EPOCHSECONDS -lt $end ] || return 1
        doze 0.02
    done
}
node_is() { [ "$(node_read "$1" 2> /dev/null)" = "$2" ]; }
logged() { [[ $(< "/var/log/xen/console/guest-$1.log") == *"$2"* ]]; } 2> /dev/null
make() {
    printf 'name = "%s"\nkernel = "/run/small"\nmemory = 8\nvcpus = 1\non_poweroff = "destroy"\n' "$1" > /tmp/small.cfg
    $TOOL create /tmp/small.cfg > /tmp/out 2>&1
}
# The first of its kind makes what stays: folders of the store, caches of the tools.
make warm && until_true 60 logged warm 'SMALL UP' && $TOOL destroy warm || { echo "FAILED warm: $(cat /tmp/out)"; }
before=$(settled)
made=0
for i in $(seq $COUNT); do
    begun=${EPOCHREALTIME/./}000
    make "s$i" || { echo "FAILED create $i: $(tail -n 3 /tmp/out | tr '\n' ' ')"; break; }
    ended=${EPOCHREALTIME/./}000
    echo "CREATE $i $((ended - begun))"
    made=$i
    until_true 60 logged "s$i" 'SMALL UP' || echo "FAILED up $i"
done
loaded=$(settled)
store=0
console=0
i=0
# Names come in the order of the domains' numbers, which is that of their creation.
for id in $($TOOL list | awk '$1 ~ /^s[0-9]+$/ { print $2 }'); do
    i=$((i + 1))
    node_write "/local/domain/$id/data/ping" "word-$i"
    until_true 60 node_is "/local/domain/$id/data/pong" "word-$i" && store=$((store + 1))
    tty=$(node_read "/local/domain/$id/console/tty" 2>&1)
    [ -c "$tty" ] || { echo "FAILED console $i (domain $id): $tty"; continue; }
    echo "line-$i" > "$tty"
    until_true 60 logged "s$i" "heard line-$i" && console=$((console + 1))
done
echo "ANSWERS $store $console"
begun=$(ns)
for i in $(seq $made); do $TOOL destroy "s$i" > /tmp/out 2>&1 || echo "FAILED destroy $i: $(tail -n 1 /tmp/out)"; done
alone() { [ "$($TOOL list | wc -l)" -eq 2 ]; }
until_true 120 alone || echo "FAILED gone: $($TOOL list | tail -n 3 | tr '\n' ' ')"
echo "GONE $((($(ns) - begun) / 1000000))"
echo "MEMORY $before $loaded $(settled)"
echo DENSITY-END
sync
/run/busybox poweroff -f
