# Run by the sample guest where its command line says `run=/bench.sh`: its disk and its network, one line each, in
# hundredths of a second. Behind 10.0.0.1 port 5001 swallows, port 5002 gives 64 MiB.
now() { read -r up rest < /proc/uptime; echo "${up%.*}${up#*.}"; }
t() {
    local name=$1 begun=$(now)
    shift
    "$@" > /tmp/out 2>&1 || echo "BENCH $name failed: $(tail -n 1 /tmp/out)"
    echo "BENCH $name $(($(now) - begun))0000"
}
t disk_read_1M dd if=/dev/xvda of=/dev/null bs=1M iflag=direct count=256
t disk_read_4k dd if=/dev/xvda of=/dev/null bs=4k iflag=direct count=4000
t disk_write_1M dd if=/dev/zero of=/dev/xvda bs=1M oflag=direct count=256
t disk_write_4k dd if=/dev/zero of=/dev/xvda bs=4k oflag=direct count=4000
t tcp_out sh -c 'dd if=/dev/zero bs=64k count=1024 2> /dev/null | nc -w 5 10.0.0.1 5001'
# busybox's nc hangs up when its input ends, before all has come.
mkfifo /tmp/never
t tcp_in sh -c 'nc 10.0.0.1 5002 <> /tmp/never | wc -c | grep -q 67108864'
t ping_2000 ping -q -A -c 2000 10.0.0.1
echo "BENCH-GUEST-END"
