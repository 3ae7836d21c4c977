# xl_migrate.sh ROLE MOVES: Debian's xl moves a Linux guest under load to and fro between two hosts on Debian's disk.
role=$1
. /paravane/lib.sh
. /paravane/debian.sh
. /paravane/pair.sh
moves=$2
check store machine_up debian
check consoled console_daemon debian
join_network

move() { when_listening 'Connection refused' xl migrate -s "" g "socat -t 60 STDIO TCP:$1:$port,nodelay"; }
# What stands at standard error here is said by the sender there.
receive() { socat TCP-LISTEN:$port,reuseaddr,nodelay EXEC:'xl migrate-receive',nofork; }
arrived() { xl domid g; }
went() { said "send-$1/said" 'Migration successful'; }
came() { check "receive-$1/here" eventually arrived; }

if [ "$role" = there ]; then
    moves_there "$moves"
    finish
    exit
fi

cat > /tmp/g.cfg << X
name = "g"
kernel = "/run/vmlinuz"
ramdisk = "/run/initrd"
memory = 112
extra = "console=hvc0 quiet"
vif = [ "bridge=xenbr0" ]
X
check create xl create -q /tmp/g.cfg
check boot boots g
check other-host eventually ping -c 1 -W 5 $there
load g
moves_here "$moves"
intact g
check shutdown xl shutdown -w g
finish
