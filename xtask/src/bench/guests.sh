# Run by the bench's root disk with TOOL=xl (Debian's tools) or TOOL=xlr (ours): a guest is made and unmade, then reads,
# writes, sends and receives. `BENCH name µs` lines; those of xenstored are in its own units.
ns() { date +%s%N; }
took() { echo "BENCH $1 $((($(ns) - $2) / 1000))"; }
fail() { echo "BENCH $1 failed: $(tr '\n' ' ' < /tmp/out | head -c 1500)"; }
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
# made NAME: how long a guest's creation takes, and then its end.
made() {
    local begun=$(ns)
    $TOOL create /tmp/g.cfg > /tmp/out 2>&1 || fail $1
    took $1 $begun
    begun=$(ns)
    $TOOL destroy g1 > /tmp/out 2>&1 || fail $2
    took $2 $begun
    sleep 1
}
made create_cold destroy_cold
made create_warm destroy
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
    for nodes in 10 $NODES; do /run/dom0-load --store ${daemon%% *} $nodes || echo "BENCH store failed: $nodes nodes"; done
}
echo BENCH-END
sync
/run/busybox poweroff -f
