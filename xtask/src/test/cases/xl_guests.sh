# Run on the bench's root disk behind toolstack.sh, with GUESTS: Debian's xl runs each, beside its counterpart, and what it
# printed is shown between `GUEST NAME` and `GUEST-END`.
ln -s /run /paravane
mkdir /run/bb
/run/busybox --install -s /run/bb
# Counterparts speak our tools' language.
printf '#!/bin/sh\nexec xl "$@"\n' > /run/bb/xlr
printf '#!/bin/sh\nverb=$1; shift; exec "xenstore-$verb" "$@"\n' > /run/bb/xenstore
chmod +x /run/bb/xlr /run/bb/xenstore
for name in $GUESTS; do
    echo "GUEST $name"
    [ ! -r "/run/$name.disk" ] || truncate -s "$(cat "/run/$name.disk")M" "/tmp/$name.img"
    counterpart=
    if [ -e "/run/$name.peer.sh" ]; then
        PATH=$PATH:/run/bb sh "/run/$name.peer.sh" > /tmp/counterpart 2>&1 < /dev/null &
        counterpart=$!
    fi
    xl create "/run/$name.cfg" > /tmp/out 2>&1 || { echo "xl create $name failed:"; cat /tmp/out; }
    while xl domid "$name" > /dev/null 2>&1; do sleep 0.5; done
    sleep 1
    log=/var/log/xen/console/guest-$name.log
    tr -d '\r' < $log
    if [ -n "$counterpart" ]; then
        wait $counterpart
        ended=$?
        sed 's/^/peer: /' /tmp/counterpart
        echo "peer: exit $ended"
    fi
    if grep -aq 'guest: disk md5' $log; then
        sync
        sum=$(md5sum "/tmp/$name.img")
        echo "peer: disk md5 ${sum%% *}"
    fi
    echo GUEST-END
done
echo GUESTS-END
sync
/run/busybox poweroff -f
