# Run in Dom0: guests whose requests are measured, one after the other, on the same RAM disk and the same bridge. Their
# lines go to the console behind the name of what they are.
# Of each measurement.
REQUESTS=500
modprobe brd rd_nr=1 rd_size=65536
mkfifo /tmp/never
# WHOSE NAME KERNEL MEMORY WORDS DEVICES
run() {
    cat > "/tmp/$2.cfg" << C
name = "$2"
kernel = "$3"
memory = $4
vcpus = 1
extra = "$5"
$6
on_poweroff = "destroy"
on_reboot = "destroy"
on_crash = "destroy"
C
    xlr create -q -c "/tmp/$2.cfg" <> /tmp/never > /tmp/said 2>&1
    sed "s/^/$1: /" /tmp/said
}
disk='disk = [ "phy:/dev/ram0,xvda,w" ]'
net='vif = [ "bridge=xenbr0" ]'
# Every frame of the disk is there before anybody asks for it.
dd if=/dev/zero of=/dev/ram0 bs=1M 2> /dev/null
run linux linux /var/lib/paravane/demo/vmlinuz 256 "console=hvc0 quiet loglevel=4 requests=$REQUESTS" \
    "ramdisk = \"/paravane/linux.initrd\"
$disk
$net"
run ours blk /paravane/blk 32 "bench requests=$REQUESTS" "$disk"
run ours net /paravane/net 32 "echoes=$REQUESTS" "$net"
