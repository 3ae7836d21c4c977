# What is asked of the network guest, and what must come back. Runs in Dom0 beside it; 10.0.0.2 is the guest.
# Where a driver domain serves the guest, this runs on the host, behind QEMU's network: a forwarded port, and no pings.
url=${GUEST_URL:-http://10.0.0.2}
file=/tmp/net-body
failed=0

check() { # NAME EXPECTED FOUND
    if [ "$2" = "$3" ]; then
        echo "$1: ok"
    else
        echo "$1: expected $2, found $3"
        failed=1
    fi
}

# Text alone: busybox posts a file up to its first zero byte.
make_body() { # BYTES
    head -c "$1" /dev/urandom | base64 | head -c "$1" > $file
}

for attempt in $(seq 1 90); do
    greeting=$(timeout 2 wget -q -O - $url/ 2> /dev/null) && break
    sleep 1
done
check greeting "hello from a guest in Rust" "$greeting"

for size in 0 1 1400 65536 1000000; do
    make_body $size
    timeout 60 wget -q -O $file.back --post-file=$file $url/echo
    check "echo of $size bytes" "$(md5sum < $file)" "$(md5sum < $file.back)"
done

start=$(date +%s)
sum=$(timeout 120 wget -q -O - $url/data/8388608 | md5sum)
check "8 MiB from the guest ($(($(date +%s) - start)) s)" "$(timeout 120 wget -q -O - $url/md5/8388608)" "${sum%% *}"

make_body 8388608
start=$(date +%s)
sum=$(timeout 120 wget -q -O - --post-file=$file $url/md5)
expected=$(md5sum < $file)
check "8 MiB to the guest ($(($(date +%s) - start)) s)" "${expected%% *}" "$sum"

[ -n "$GUEST_URL" ] || check ping "0% packet loss" "$(ping -c 5 -s 1400 10.0.0.2 | grep -o '[0-9.]*% packet loss')"
check farewell goodbye "$(timeout 10 wget -q -O - $url/end)"
rm -f $file $file.back
exit $failed
