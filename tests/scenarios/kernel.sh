# Whether a kernel serves as a guest: kernel.sh [CONFIG]. `xtask run --guest-kernel FILE --cold` puts it there; this boots
# it and uses console, disk, network, a second vcpu, the balloon and the way out.
. /paravane/lib.sh
cfg=${1:-/etc/paravane/demo.cfg}
check create xlr create "$cfg"
check boot boots demo
check kernel in_guest demo 'uname -r'
cat /tmp/out
check memory in_guest demo 'head -n 2 /proc/meminfo'
write="$data > /mnt/data && sync && echo 3 > /proc/sys/vm/drop_caches && md5sum < /mnt/data"
disk_data() { [ "$(in_guest demo "$write" | tail -n 1)" = "$sum" ]; }
check disk disk_data
check ping in_guest demo 'ping -c 3 -W 10 10.0.0.1'
sent() { [ "$(from_guest "$data" | tail -n 1)" = "$sum" ]; }
check network sent
nproc_is() { [ "$(in_guest demo nproc)" = "$1" ]; }
check vcpu-set xlr vcpu-set --ignore-host demo 2
check vcpu-online eventually nproc_is 2
check vcpu-back xlr vcpu-set demo 1
check vcpu-offline eventually nproc_is 1
memory_is() { [ "$(xlr list | awk '$1 == "demo" { print $3 }')" -eq "$1" ]; }
check mem-set xlr mem-set demo 128
check mem-reached eventually memory_is 128
modprobe brd rd_nr=1 rd_size=16384
check block-attach xlr block-attach demo 'phy:/dev/ram0,xvdb,w'
guest_has() { in_guest demo "[ -e $1 ]"; }
check block-seen eventually guest_has /dev/xvdb
check block-detach xlr block-detach demo xvdb
in_guest demo 'dmesg | grep -E "WARN|BUG|Oops|Call Trace|RIP"' && failed no-warnings "the guest's kernel complains"
check shutdown xlr shutdown -w demo
[ "$failed" -eq 0 ] || console_of demo | tail -n 60
finish
