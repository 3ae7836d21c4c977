# `cargo xtask demo`: one guest's life, each step with its outcome.
. /paravane/lib.sh
number=0
status=0

# step TEXT COMMAND…: what the command prints is shown below the step.
step() {
    local text=$1 begun now result
    shift
    number=$((number + 1))
    printf '\n%d. %s\n   $ %s\n' $number "$text" "${shown:-$*}"
    shown=
    begun=$(date +%s)
    "$@" > /tmp/step 2>&1 < /dev/null
    result=$?
    now=$(date +%s)
    sed 's/^/     /' /tmp/step
    if [ $result -eq 0 ]; then
        echo "   ok, $((now - begun)) s"
    else
        echo "   FAILED with $result"
        status=1
    fi
}
booted() { boots demo && console_of demo | grep -a 'GUEST UP'; }
write_file() { in_guest demo "$data > /mnt/data && sync && md5sum /mnt/data"; }
read_file() {
    mount -o loop,ro /var/lib/paravane/demo/disk.img /mnt || return 1
    md5sum < /mnt/data
    echo "$sum, as it should be"
    [ "$(md5sum < /mnt/data)" = "$sum" ]
    result=$?
    umount /mnt
    return $result
}
gone() { xlr list; only_domains Domain-0; }

step "Create a Linux guest with a disk and a network card" xlr create /etc/paravane/demo.cfg
shown="grep 'GUEST UP' $logs/guest-demo.log"
step "Its kernel boots; its init reports" booted
step "What runs here" xlr list
shown="echo \"$data > /mnt/data; sync; md5sum /mnt/data\" | xlr console demo"
step "Write a file to the guest's disk" write_file
step "Ping the guest" ping -c 3 10.0.0.2
step "Shut it down, and wait" xlr shutdown -w demo
shown="xlr list"
step "Nothing of it is left" gone
shown="mount -o loop,ro /var/lib/paravane/demo/disk.img /mnt; md5sum < /mnt/data"
step "What it wrote is on its disk" read_file
echo
if [ $status -eq 0 ]; then echo "The demonstration went through: $number steps."; else echo "The demonstration failed."; fi
exit $status
