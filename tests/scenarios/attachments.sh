# How a guest's devices are connected: bridge, routed, NAT, scripts; and creates that are killed at any moment. The guest
# is the small one, which has no drivers: what is looked at is Dom0's side.
. /paravane/lib.sh
check warm-up warm_up
printf "name = \"small\"\n${small}" > /tmp/small.cfg
settled > /tmp/before
create() { xlr create -q /tmp/small.cfg "$@"; }

check routed create 'vif=["ip=10.9.0.2,gatewaydev=xenbr0"]'
id=$(xlr domid small)
check routed/route grep -q "^vif$id.0[[:space:]]*0200090A" /proc/net/route
check routed/forwards grep -q 1 /proc/sys/net/ipv4/ip_forward
check routed/answers grep -q 1 "/proc/sys/net/ipv4/conf/vif$id.0/proxy_arp"
check routed/destroy xlr destroy small
refused routed/no-address 1 'add ip=' create 'vif=["routed"]'
refused bridge/missing 3 'vif\[0\]: nobridge does not exist; make it with' create 'vif=["bridge=nobridge"]'
refused bridge/not-one 3 'lo is no bridge' create 'vif=["bridge=lo"]'
if command -v nft > /dev/null || command -v iptables > /dev/null; then
    check nat create 'vif=["ip=10.9.0.2,nat"]'
    check nat/destroy xlr destroy small
else
    refused nat 3 'nat needs nft or iptables' create 'vif=["ip=10.9.0.2,nat"]'
fi

# Scripts that the configuration names are run as xl runs them.
cat > /tmp/vif-test << 'SCRIPT'
#!/bin/sh
echo "vif $1 $2 $vif $XENBUS_TYPE $XENBUS_PATH $bridge" >> /tmp/scripts.log
[ "$1" != online ] || xenstore write "$XENBUS_PATH/hotplug-status" connected
SCRIPT
cat > /tmp/block-test << 'SCRIPT'
#!/bin/sh
echo "block $1 $XENBUS_TYPE $XENBUS_PATH" >> /tmp/scripts.log
[ "$1" = add ] || exit 0
xenstore write "$XENBUS_PATH/physical-device" 1:0
xenstore write "$XENBUS_PATH/hotplug-status" connected
SCRIPT
chmod +x /tmp/vif-test /tmp/block-test
: > /tmp/scripts.log
check scripts create 'vif=["script=/tmp/vif-test"]' 'disk=["script=/tmp/block-test,vdev=xvda,target=what-the-script-knows"]'
id=$(xlr domid small)
check scripts/vif grep -q "^vif online type_if=vif vif$id.0 vif backend/vif/$id/0 xenbr0" /tmp/scripts.log
check scripts/block grep -q "^block add vbd backend/vbd/$id/51712" /tmp/scripts.log
check scripts/destroy xlr destroy small
check scripts/offline grep -q "^vif offline" /tmp/scripts.log
check scripts/remove grep -q "^block remove" /tmp/scripts.log
check scripts/once test "$(wc -l < /tmp/scripts.log)" -eq 4
refused scripts/missing 3 'does not exist; leave script= out' create 'vif=["script=/tmp/nothing"]'
refused scripts/failing 3 '/bin/false failed' create 'vif=["script=/bin/false"]'
same_resources connected/nothing-left /tmp/before

# A create that is killed leaves nothing, wherever it had come to.
everything='vif=["bridge=xenbr0"]'
disk='disk=["/var/lib/paravane/demo/disk.img,raw,xvda,w"]'
all_built() { [ -z "$(ls /run/paravane/building)" ] && ! grep -qs building /var/lib/paravane/domains/*.json; }
for delay in 0.01 0.03 0.06 0.1 0.15 0.2 0.3 0.4 0.6 0.9; do
    # Not by the function: the shell that runs it would be killed in the place of xlr.
    xlr create -q /tmp/small.cfg "$everything" "$disk" > /dev/null 2>&1 &
    maker=$!
    sleep $delay
    kill -9 $maker 2> /dev/null
    wait $maker 2> /dev/null
    check "killed/$delay" within 60 all_built
    # One that was fast enough has made its guest.
    xlr destroy small > /dev/null 2>&1
done
same_resources killed/nothing-left /tmp/before
check killed/no-guest only_domains Domain-0
finish
