# Consoles of guests that are noisy, hostile or dying: nobody else is harmed, and no word is lost.
. /paravane/lib.sh
check warm-up warm_up
for word in talk flood spoil crash; do
    printf "name = \"$word\"\n${small}extra = \"$word\"\non_crash = \"destroy\"\n" > /tmp/$word.cfg
done

# The last number that a guest's log has behind a word. A flooded log is long: nobody reads all of it here.
last_of() { tail -n 2 "$logs/guest-$1.log" | sed -n "s/.*$2 \([0-9]*\).*/\1/p" | head -n 1; }
beyond() { [ "$(last_of "$1" "$2")" -gt "$3" ]; }
size_of() { wc -c < "$logs/guest-$1.log"; }

# no_gaps NAME WORD FROM: numbers in the order in which they were printed, in the 400 KiB behind a place of the log. One
# may come twice (the daemon died between log and ring), none may be missing. The first and last lines may be cut off.
no_gaps() {
    dd if="$logs/guest-$1.log" bs=4096 skip="$3" count=100 2> /dev/null | sed '1d; $d; s/^\[[^]]*\] //' | awk -v word="$2" '
        $1 == word { if (seen && $2 > last + 1) { print "after " last " comes " $2; bad = 1 } last = $2; seen = 1 }
        END { exit bad || !seen }'
}

check talk/create xlr create /tmp/talk.cfg
check flood/create xlr create /tmp/flood.cfg
check flood/heard eventually beyond flood flood 1000
check talk/heard eventually beyond talk line 1
check talk/heard-beside-flood eventually beyond talk line $(($(last_of talk line) + 2))

# The daemon dies in the middle of the flood; what is in the rings is still there for the next.
before=$(($(size_of flood) / 4096 - 2))
kill -9 $(process_of xenconsoled)
number=$(last_of flood flood)
check killed/again eventually process_of xenconsoled
check killed/flood-goes-on eventually beyond flood flood $((number + 1000))
check killed/no-gaps no_gaps flood flood $before
check talk/no-gaps no_gaps talk line 0

# A ring that makes no sense.
check spoil/create xlr create /tmp/spoil.cfg
daemon=$(process_of xenconsoled)
check spoil/others-go-on eventually beyond talk line $(($(last_of talk line) + 2))
same_daemon() { [ "$(process_of xenconsoled)" = "$daemon" ]; }
check spoil/daemon-lives same_daemon
check spoil/destroy xlr destroy spoil

# The last words of a guest that dies at once.
check crash/create xlr create /tmp/crash.cfg
check crash/gone eventually only_domains Domain-0 talk flood
check crash/last-words eventually console_has crash 'DOMU UP crash'

# A console that somebody is at ends with its domain, after the last line.
(sleep 1000) | xlr console talk > /tmp/attached 2>&1 &
person=$!
sleep 2
check attached/destroy xlr destroy talk
ended() { ! kill -0 $person 2> /dev/null; }
check attached/ends eventually ended
said_at_console() { grep -q 'line ' /tmp/attached; }
check attached/shown said_at_console

# Rotation.
mv $logs/guest-flood.log /tmp/moved
kill -HUP $daemon
check rotated/anew eventually test -s $logs/guest-flood.log
check flood/destroy xlr destroy flood
check end/only-dom0 eventually only_domains Domain-0
finish
