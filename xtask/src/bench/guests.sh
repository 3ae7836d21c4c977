# Run by the bench's root disk with TOOL=xl (Debian's tools) or TOOL=xlr (ours): a guest is made and unmade, then reads,
# writes, sends and receives. `BENCH name µs` lines; those of xenstored are in its own units.
ns() { date +%s%N; }
took() { echo "BENCH $1 $((($(ns) - $2) / 1000))"; }
fail() { echo "BENCH $1 failed: $(tr '\n' ' ' < /tmp/out | head -c 1500)"; }
cat > /tmp/g.cfg <<'C'
name = "g1"
kernel = "/run/vmlinuz"
ramdisk = "/run/initrd"
memory = 256
vcpus = 1
extra = "console=hvc0 quiet run=/bench.sh"
disk = [ "phy:/dev/ram0,xvda,w" ]
vif = [ "bridge=xenbr0" ]
C
log=/var/log/xen/console/guest-g1.log
# waited: for how long Dom0's CPU has had nothing to do or waited for its disk, in ns.
waited() {
    read -r cpu user nice system idle iowait rest < /proc/stat
    WAITED=$(((idle + iowait) * 10000000))
}
# made NAME NAME: how long a guest's creation takes, and then its end. The first one is told without the waits too: where
# instructions are counted, a wait is as long as the machine below takes to read a file.
made() {
    waited
    local before=$WAITED begun=$(ns)
    $TOOL create /tmp/g.cfg > /tmp/out 2>&1 || fail $1
    took $1 $begun
    waited
    took $1_busy $((begun + WAITED - before))
    begun=$(ns)
    $TOOL destroy g1 > /tmp/out 2>&1 || fail $2
    took $2 $begun
    sleep 1
}
made create_cold destroy_cold
made create_warm destroy
# Seconds differ from one time to the next as instructions do not.
[ -z "$QUICK" ] || for time in 1 2 3 4; do made create_warm destroy; done
[ -n "$QUICK" ] || {
    # busybox's nc hangs up when either side has nothing more to send; this pipe never ends.
    mkfifo /tmp/never
    (while :; do /run/busybox nc -l -p 5001 <> /tmp/never > /dev/null; done) &
    (while :; do head -c 67108864 /dev/zero | /run/busybox nc -l -p 5002; done) > /dev/null 2>&1 &
    rm -f $log
    $TOOL create /tmp/g.cfg > /tmp/out 2>&1 || fail create
    for i in $(seq 900); do grep -aq BENCH-GUEST-END $log && break; sleep 1; done
    grep -a -o 'BENCH [A-Za-z0-9_]* .*' $log
    $TOOL destroy g1
    daemon=$(pidof xenstored)
    for nodes in $NODES; do /run/dom0-load --store ${daemon%% *} $nodes || echo "BENCH store failed: $nodes nodes"; done
}
echo BENCH-END
sync
/run/busybox poweroff -f
