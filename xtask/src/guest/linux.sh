# Runs a guest under Dom0's tools and shows its console: sh guest.sh NAME. Beside it lie NAME.cfg, the guest's image and,
# where the guest has a counterpart (its peer.sh, which needs nothing but the network, or its dom0.sh), NAME.peer.sh,
# which is run while the guest is up; its failure is the run's.
name=$1
log=/var/log/xen/console/guest-$name.log
[ ! -r "/paravane/$name.disk" ] || {
    read -r size < "/paravane/$name.disk"
    truncate -s "${size}M" "/tmp/$name.img"
}
mkfifo /tmp/never
counterpart=
if [ -e "/paravane/$name.peer.sh" ]; then
    sh "/paravane/$name.peer.sh" > /tmp/counterpart 2>&1 < /dev/null &
    counterpart=$!
fi
if [ -e /paravane/typed ]; then
    xlr create -q -c "/paravane/$name.cfg" < /dev/console
else
    xlr create -q -c "/paravane/$name.cfg" <> /tmp/never
fi
status=$?
# The console ends with the domain; its record is the whole of what was printed.
if [ -n "$counterpart" ]; then
    wait $counterpart
    ended=$?
    sed 's/^/peer: /' /tmp/counterpart
    echo "peer: exit $ended"
fi
if [ -r "/tmp/$name.img" ] && grep -aq 'guest: disk ' "$log"; then
    sync
    algorithm=$(sed -n 's/.*guest: disk \([a-z0-9]*\) .*/\1/p' "$log" | tail -n 1)
    case $algorithm in
        crc32) sum=$(crc32 "/tmp/$name.img") ;;
        *) sum=$("${algorithm}sum" "/tmp/$name.img") ;;
    esac
    echo "peer: disk $algorithm ${sum%% *}"
fi
exit $status
