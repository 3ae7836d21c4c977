# Guests on other networks than the bridge's, on Debian's disk, which has nft: one behind NAT, one that is routed. Behind
# Dom0 lies another host, in a name space of its own, that knows no way to the first one's address.
. /paravane/lib.sh
. /paravane/debian.sh

check store machine_up ours
check consoled console_daemon ours
supervisor
in_world() { ip netns exec world "$@"; }
world_up() {
    ip netns add world && ip link add toworld type veth peer name eth0 netns world &&
        ip addr add 192.0.2.1/24 dev toworld && ip link set toworld up &&
        in_world ip addr add 192.0.2.2/24 dev eth0 && in_world ip link set eth0 up
}
check world world_up

# guest NAME VIF: a Linux guest's configuration.
guest() {
    cat > "/tmp/$1.cfg" << X
name = "$1"
kernel = "/run/vmlinuz"
ramdisk = "/run/initrd"
memory = 128
extra = "console=hvc0 quiet"
vif = [ "$2" ]
X
}
# addressed NAME ADDRESS GATEWAY: gives the guest's interface an address and a way out.
addressed() {
    in_guest "$1" "ip addr flush dev eth0; ip addr add $2/32 dev eth0; ip route add $3 dev eth0 && ip route add default via $3"
}
tables() { nft list tables | grep -c paravane; }

guest hidden ip=10.9.0.5,nat
guest routed ip=10.9.0.6,gatewaydev=toworld
check hidden/create xlr create /tmp/hidden.cfg
check routed/create xlr create /tmp/routed.cfg
check hidden/boot boots hidden
check routed/boot boots routed
check hidden/address addressed hidden 10.9.0.5 10.9.0.132
check routed/address addressed routed 10.9.0.6 192.0.2.1

refused hidden/no-way-back any unreachable in_world ping -c 1 10.9.0.5
check hidden/ping in_guest hidden 'ping -c 3 -W 5 192.0.2.2'
said hidden/answers '3 packets received'
# What comes out carries Dom0's address.
in_world socat -u TCP-LISTEN:7,reuseaddr,fork SYSTEM:'echo $SOCAT_PEERADDR >> /tmp/peers; cat > /dev/null' &
check hidden/connects eventually in_guest hidden 'echo x | nc -w 5 192.0.2.2 7'
check hidden/translated eventually grep -qx 192.0.2.1 /tmp/peers
one_table() { [ "$(tables)" -eq 1 ]; }
check hidden/table one_table

# The routed one is known by its own address, in both directions.
check routed/world in_world ip route add 10.9.0.6 via 192.0.2.1
check routed/ping in_guest routed 'ping -c 3 -W 5 192.0.2.2'
said routed/answers '3 packets received'
check routed/from-outside in_world ping -c 3 -W 5 10.9.0.6
check routed/connects eventually in_guest routed 'echo x | nc -w 5 192.0.2.2 7'
check routed/own-address eventually grep -qx 10.9.0.6 /tmp/peers

check hidden/destroy xlr destroy hidden
no_table() { [ "$(tables)" -eq 0 ]; }
check hidden/table-gone no_table
check routed/destroy xlr destroy routed
no_routes() { ! ip route | grep '^10\.9\.'; }
check routed/route-gone eventually no_routes
kill $!
finish
