# Sourced by the scenarios, which run in Dom0's shell (busybox). Nothing here knows which hypervisor is below.
logs=/var/log/xen/console
passed=0
failed=0
# Each scenario begins without guests, and without what earlier ones have said.
rm -f $logs/guest-*.log

# ok NAME / FAIL NAME WHY, when (seconds since the boot), and a count of both.
up() { read -r up rest < /proc/uptime; echo "$up"; }
passed() { passed=$((passed + 1)); echo "ok $1, $(up)"; }
failed() {
    failed=$((failed + 1))
    echo "FAIL $1: $2, $(up)"
    [ ! -s "${3:-/nowhere}" ] || tail -n 12 "$3" | sed 's/^/    /'
}

# check NAME COMMAND…: the command must succeed; what it printed is kept in /tmp/out.
check() {
    local name=$1
    shift
    if "$@" > /tmp/out 2>&1 < /dev/null; then passed "$name"; else failed "$name" "\`$*\` ended with $?" /tmp/out; fi
}

# refused NAME STATUS TEXT COMMAND…: the command must end with that status and print that text. `any` is any but 0.
refused() {
    local name=$1 status=$2 text=$3 got
    shift 3
    "$@" > /tmp/out 2>&1 < /dev/null
    got=$?
    if [ "$got" -eq 0 ] || { [ "$status" != any ] && [ "$got" -ne "$status" ]; }; then
        failed "$name" "\`$*\` ended with $got" /tmp/out
    elif ! grep -q -- "$text" /tmp/out; then
        failed "$name" "\`$*\` did not say \`$text\`" /tmp/out
    else
        passed "$name"
    fi
}

# said NAME TEXT: the last command that was checked printed that.
said() {
    if grep -q -- "$2" /tmp/out; then passed "$1"; else failed "$1" "\`$2\` is not in the output" /tmp/out; fi
}

# within SECONDS COMMAND…: tries until the command succeeds.
within() {
    local end=$(($(date +%s) + $1))
    shift
    until "$@" > /tmp/try 2>&1 < /dev/null; do
        [ "$(date +%s)" -lt $end ] || return 1
        sleep 0.2
    done
}

# eventually COMMAND…: the same, for as long as a healthy machine could need under heavy load.
eventually() { within "${patience:-300}" "$@"; }

# A guest's console log, without time stamps.
console_of() { sed 's/^\[[^]]*\] //; s/\r$//' "$logs/guest-$1.log" 2> /dev/null; }
console_has() { console_of "$1" | grep -aq -- "$2"; }

# The number of lines in a guest's console that hold a text.
console_count() { console_of "$1" | grep -ac -- "$2"; }

# boots NAME [COUNT]: the guest's init has come to its shell, for the COUNTth time.
boots_again() { [ "$(console_count "$1" 'GUEST UP')" -ge "$2" ]; }
boots() { eventually boots_again "$1" "${2:-1}"; }

# type_in NAME LINE: types a line into a guest's console.
type_in() {
    local id tty
    id=$(xlr domid "$1") || return 99
    tty=$(xenstore read "/local/domain/$id/console/tty") || return 98
    echo "$2" > "$tty"
}

# in_guest NAME COMMAND: types a command into the guest's console; prints what it printed, ends with its status.
in_guest() {
    local name=$1 end=$(($(date +%s) + ${patience:-300})) turn
    # In a file, since this also runs in subshells.
    turn=$(($(cat /tmp/turn 2> /dev/null || echo 0) + 1))
    echo $turn > /tmp/turn
    # The marks are computed by the guest, so that the echo of the typed line does not hold them.
    type_in "$name" "echo; echo BEG\$((1000 + $turn)); { $2; } 2>&1; status=\$?; echo; echo END\$((1000 + $turn)) \$status" || return
    until console_has "$name" "^END$((1000 + turn)) "; do
        [ "$(date +%s)" -lt $end ] || return 97
        sleep 0.1
    done
    console_of "$name" | sed -n "/^BEG$((1000 + turn))\$/,/^END$((1000 + turn)) /p" | sed '1d;$d' | sed '${/^$/d}'
    return "$(console_of "$name" | sed -n "s/^END$((1000 + turn)) //p" | tail -n 1)"
}

# Debian's disk has none of its own.
[ -e /bin/busybox ] || ln -s /run/busybox /bin/busybox
# A command that prints the same 589824 bytes in Dom0 and in guests, and their checksum.
data="head -c 589824 /bin/busybox"
sum=$(eval "$data" | md5sum)

# Whether domains of these names, and no others, are there.
only_domains() { [ "$(xlr list | sed 1d | awk '{print $1}' | sort | tr '\n' ' ')" = "$(printf '%s\n' "$@" | sort | tr '\n' ' ')" ]; }

# What a guest may leave behind: free memory in KiB, this domain's event channels, all domains' grants, the store's nodes.
resources() {
    /paravane/dom0-load --resources
    echo "xenstore nodes $(xenstore ls -f / | wc -l)"
    echo "loop devices $(losetup -a | wc -l)"
    echo "bridge ports $(ls /sys/class/net/xenbr0/brif | wc -l)"
}

# The same, once it no longer changes.
settled() {
    local last= now
    while now=$(resources) && [ "$now" != "$last" ]; do
        last=$now
        sleep 1
    done
    echo "$now"
}

# same_resources NAME BEFORE [KIB]: nothing has been left behind since `resources > BEFORE`, but for so much memory that
# the hypervisor may have taken for Dom0's own tables, which grow with the first guest of a kind. Memory is scrubbed
# after a domain's end, and backends go a moment after it, so this is tried for a while.
resources_like() {
    resources > /tmp/now
    [ "$(grep -v '^free' "$1")" = "$(grep -v '^free' /tmp/now)" ] &&
        [ $(($(awk '$1 == "free" { print $2 }' "$1") - $(awk '$1 == "free" { print $2 }' /tmp/now))) -le "$2" ]
}
same_resources() {
    if eventually resources_like "$2" "${3:-0}"; then
        passed "$1"
    else
        diff "$2" /tmp/now > /tmp/out
        failed "$1" "something is left behind" /tmp/out
    fi
}

# warm_up: one small guest with a disk and a network card. The first of its kind makes what stays for the next: folders
# of the store, rings and threads of Dom0.
small='kernel = "/paravane/domu"\nmemory = 16\n'
warm_up() {
    modprobe brd rd_nr=1 rd_size=16384
    printf "name = \"small\"\n${small}disk = [ \"phy:/dev/ram0,xvda,w\" ]\nvif = [ \"bridge=xenbr0\" ]\n" > /tmp/small.cfg
    xlr create /tmp/small.cfg && eventually console_has small 'DOMU UP' && xlr destroy small
}

# process_of WORDS: the processes whose command line begins so. There is no pgrep, and a program run for each process
# takes half a minute on a busy machine; `read` drops the zeros between the words.
process_of() {
    local file line found=1
    for file in /proc/[0-9]*/cmdline; do
        line=
        read -r line < "$file"
        case $line in
            "${1// /}"*)
                found=0
                echo "${file//[!0-9]/}"
                ;;
        esac
    done 2> /dev/null
    return $found
}

# busybox's nc hangs up when either side has nothing more to send, so the side that only receives reads from a pipe that
# never ends.
never=/tmp/never
[ -p $never ] || mkfifo $never
# received PORT FILE: one connection's data.
received() { /bin/busybox nc -l -p "$1" <> $never > "$2"; }
# from_guest COMMAND: what a command of the guest `demo` sends over the network, as a checksum.
from_guest() {
    received 5001 /tmp/received &
    local listener=$!
    in_guest demo "$1 | nc -w 30 10.0.0.1 5001"
    wait $listener
    md5sum < /tmp/received
}
# to_guest COMMAND: what a command of Dom0 sends to the guest `demo`, as the guest's checksum.
to_guest() {
    sh -c "$1" | nc -l -p 5002 &
    in_guest demo '[ -p /tmp/never ] || mkfifo /tmp/never; nc 10.0.0.1 5002 <> /tmp/never | md5sum' | tail -n 1
}

finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
