# Each daemon is killed in mid-operation: no guest is lost, and what starts again finds every guest.
. /paravane/lib.sh
cfg=/etc/paravane/demo.cfg
check warm-up warm_up
printf "name = \"small\"\n${small}extra = \"talk\"\n" > /tmp/small.cfg
settled > /tmp/before
check create xlr create $cfg
check boot boots demo
id=$(xlr domid demo)
same_guest() { [ "$(xlr domid demo)" = "$id" ] && in_guest demo true; }
# Whatever became of it, `small` can be ended.
without_small() { ! xlr domid small || xlr destroy small; only_domains Domain-0 demo; }
again() { eventually process_of "$1"; }
kill_daemon() { kill -9 $(process_of "$1"); }

# The console daemon, while a guest talks.
check talk/create xlr create /tmp/small.cfg
check talk/heard eventually console_has small 'line 1'
kill_daemon xenconsoled
check consoled/again again xenconsoled
lines=$(console_count small 'line ')
more_lines() { [ "$(console_count small 'line ')" -gt $((lines + 1)) ]; }
check consoled/goes-on eventually more_lines
check consoled/guest eventually same_guest
check talk/destroy xlr destroy small

# The store, idle and in the middle of a creation.
kill_daemon xenstored
check xenstored/again again xenstored
check xenstored/entries eventually xenstore read /local/domain/$id/name
check xenstored/guest eventually same_guest
check xenstored/guest-asks xlr mem-set demo 144
memory_is() { [ "$(xlr list | awk '$1 == "demo" { print $3 }')" -eq "$1" ]; }
check xenstored/guest-answers eventually memory_is 144
for delay in 0.05 0.2 0.5; do
    xlr create /tmp/small.cfg > /tmp/create 2>&1 &
    creation=$!
    sleep $delay
    kill_daemon xenstored
    wait $creation
    again xenstored
    # It went through or failed with a reason; in both cases the name can be used again.
    check "xenstored/create-$delay" eventually without_small
done

# The command, at any moment of a creation.
for delay in 0.02 0.1 0.2 0.4; do
    xlr create /tmp/small.cfg > /tmp/create 2>&1 &
    creation=$!
    sleep $delay
    kill -9 $creation 2> /dev/null
    wait $creation
    check "xlr/create-$delay" eventually without_small
    check "xlr/create-again-$delay" xlr create /tmp/small.cfg
    check "xlr/destroy-again-$delay" xlr destroy small
done

# The supervisor: it finds its guests again, and keeps on_reboot for one that it has not seen start.
kill_daemon 'xlr supervise'
boots_before=$(console_count demo 'GUEST UP')
type_in demo reboot
check supervisor/again again 'xlr supervise'
check supervisor/reboots boots demo $((boots_before + 1))
id=$(xlr domid demo)
check supervisor/guest same_guest
check shutdown xlr shutdown -w demo
same_resources end/resources /tmp/before 64
finish
