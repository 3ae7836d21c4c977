# What happens seldom: a watchdog that expires, an interrupt line in a guest's hands at its end, a driver domain that
# serves a guest by `xlr devd`.
. /paravane/lib.sh
check warm-up warm_up
for word in watchdog pirq; do
    printf "name = \"$word\"\n${small}extra = \"$word\"\non_watchdog = \"preserve\"\n" > /tmp/$word.cfg
done

# Two seconds after it was set, nobody has looked after it.
check watchdog/create xlr create /tmp/watchdog.cfg
check watchdog/set eventually console_has watchdog 'WATCHDOG 1'
supervised() { grep -q "$1" /var/log/paravane/xlr.log; }
check watchdog/expires eventually supervised 'watchdog.*Preserve after Watchdog'
is_shut_down() { xlr list watchdog | sed 1d | awk '{ print $5 }' | grep -q s; }
check watchdog/ended is_shut_down
check watchdog/destroy xlr destroy watchdog

# The domain ends while its port is bound; the next one can have the line. The second time nothing is new any more.
pirq_life() {
    rm -f $logs/guest-pirq.log
    check "pirq$1/create" xlr create /tmp/pirq.cfg
    check "pirq$1/given" /paravane/dom0-load --give-line "$(xlr domid pirq)" 5
    check "pirq$1/bound" eventually console_has pirq "PIRQ $(cat /tmp/out) at "
    check "pirq$1/destroy" xlr destroy pirq
    check "pirq$1/gone" eventually only_domains Domain-0
}
pirq_life 1
settled > /tmp/before
pirq_life 2
same_resources pirq/nothing-left /tmp/before

# A driver domain: the sample guest with the tools and Dom0's drivers in its RAM disk. It serves an interface at a bridge
# of its own.
mkdir -p /tmp/driver/bin
cp /bin/xlr /tmp/driver/bin
cp -r /lib /tmp/driver
(cd /tmp/driver && find . | cpio -o -H newc 2> /dev/null) > /tmp/driver.cpio
demo=/var/lib/paravane/demo
(cat $demo/initrd && head -c $((-$(wc -c < $demo/initrd) & 511)) /dev/zero && cat /tmp/driver.cpio) > /tmp/driver.initrd
rm -r /tmp/driver /tmp/driver.cpio
sed -e 's/"demo"/"driver"/; s,^ramdisk = .*,ramdisk = "/tmp/driver.initrd",; s/^memory = .*/memory = 256/' \
    -e '/^disk/d; /^vif/d; /^maxmem/d' /etc/paravane/demo.cfg > /tmp/driver.cfg
check driver/create xlr create /tmp/driver.cfg
check driver/boots boots driver
check driver/modules in_guest driver 'modprobe -a bridge xen_netback xen_blkback xen_gntdev xen_evtchn xen_privcmd'
check driver/bridge in_guest driver 'ip link add br0 type bridge && ip link set br0 up'
# The image of a disk that it serves.
check driver/disk in_guest driver 'modprobe loop; head -c 4194304 /dev/zero > /tmp/image'
in_guest driver '(xlr devd -F > /tmp/devd 2>&1 &)' > /tmp/out 2>&1
printf "name = \"small\"\n${small}vif = [ \"backend=driver,bridge=br0\" ]\n" > /tmp/small.cfg
check devd/create xlr create /tmp/small.cfg
id=$(xlr domid small)
check devd/at-the-bridge in_guest driver "ls /sys/class/net/br0/brif/vif$id.0"
check devd/not-here test ! -e "/sys/class/net/vif$id.0"
check devd/destroy xlr destroy small
gone_there() { in_guest driver "test ! -e /sys/class/net/vif$id.0"; }
check devd/interface-gone eventually gone_there
told_there() { in_guest driver 'cat /tmp/devd' | grep -q 'has gone'; }
check devd/told eventually told_there
check driver/destroy xlr destroy driver
check end/only-dom0 eventually only_domains Domain-0
finish
