# A Linux guest is saved and restored, with its memory, disk and network; images that are broken leave nothing.
. /paravane/lib.sh
check warm-up warm_up
settled > /tmp/before
image=/tmp/demo.img
check create xlr create demo
check boot boots demo
# Data in memory, a process that counts, a file that is open, a mount.
in_guest demo "$data > /tmp/kept; (n=0; while :; do n=\$((n + 1)); echo \$n > /tmp/count; sleep 0.1; done) & exec 7> /mnt/open; echo first >&7" > /dev/null
sum_kept() { [ "$(in_guest demo 'md5sum < /tmp/kept' | tail -n 1)" = "$sum" ]; }
check data-before sum_kept
count() { in_guest demo 'cat /tmp/count' | tail -n 1; }
counted=$(count)

check save xlr save demo $image
said save/rate 'MiB/s'
check save/gone only_domains Domain-0
same_resources save/nothing-left /tmp/before 512
check restore xlr restore $image
said restore/rate 'MiB/s'
works() {
    check "$1/data" sum_kept
    check "$1/one-life" test "$(console_count demo 'GUEST UP')" -le 1
    check "$1/processes" eventually counts_on
    check "$1/network" in_guest demo 'ping -c 2 -W 20 10.0.0.1'
    check "$1/open-file" in_guest demo "echo $1 >&7; sync; grep $1 /mnt/open"
}
counts_on() { local now=$(count) && [ "${now:-0}" -gt "${counted:-0}" ] && counted=$now; }
works restored

check checkpoint xlr save -c demo $image
works checkpoint
check pause xlr save -p demo $image
paused() { xlr list demo | tail -n 1 | grep -q -- '--p---'; }
check pause/paused eventually paused
check unpause xlr unpause demo
works unpaused
refused second-of-it any 'there is a domain with UUID' xlr restore $image
check destroy xlr destroy demo
check again xlr restore -p $image
check again/paused paused
check again/unpause xlr unpause demo
works again

refused no-domain any 'invalid domain identifier' xlr save nobody /tmp/nobody.img
refused dom0 any 'cannot be saved' xlr save 0 /tmp/nobody.img
refused no-place any 'cannot write' xlr save demo /nowhere/demo.img
works refused
check shutdown xlr shutdown -w demo
gone() { only_domains Domain-0; }
check gone eventually gone

# Broken images: short at several places, wrong at several places.
size=$(stat -c %s $image)
for at in 0 20 100 2000 5000 1000000 $((size - 20)); do
    head -c "$at" $image > /tmp/broken.img
    refused "short-$at" any 'at byte\|before its end' xlr restore /tmp/broken.img
done
rm -f /tmp/broken.img
for at in 3 36 $((size - 16)); do
    cp $image /tmp/broken.img
    printf '\377\377\377\377' | dd of=/tmp/broken.img bs=1 seek="$at" conv=notrunc 2> /dev/null
    refused "wrong-$at" any 'at byte' xlr restore /tmp/broken.img
    rm -f /tmp/broken.img
done
same_resources nothing-left /tmp/before 512
rm -f $image
finish
