# Sourced by every area's script, and by every command of one: `. /run/parity-lib.sh AREA`. Runs on Debian's root disk
# with Debian's own tools; nothing here knows which hypervisor is below. What the steps print goes to the file $out, which
# the host reads from the second disk.
area=${1:-$area}
export area
here=/run/parity
out=$here/out
logs=/var/log/xen/console
mkdir -p $here/cfg

# step COMMAND: runs it and records what it printed, and its status. Nothing but the command is executed: on an emulated
# machine each further program would be felt.
step() {
    local lines status
    printf 'PARITY %s %d: %s\n' "$area" $SECONDS "$1"
    printf '@@STEP %s\n' "$1" >> $out
    (eval "$1") < /dev/null > $here/step 2>&1
    status=$?
    mapfile -t lines < $here/step
    if [ ${#lines[@]} != 0 ]; then
        printf '|%s\n' "${lines[@]%$'\r'}" >> $out
        # The console shows how far a boot came that did not end.
        printf '|%s\n' "${lines[@]%$'\r'}"
    fi
    printf '@@STATUS %d\n' $status >> $out
}

# await CONDITION [SECONDS]: a step that prints nothing and whose status says whether the condition came true in time.
# No single quotes in it.
await() { step "eventually '$1' ${2:-}"; }

# eventually CONDITION [SECONDS]: tries until it is true, for as long as a healthy machine could need under heavy load.
eventually() {
    local end=$((SECONDS + ${2:-600}))
    until eval "$1" > /dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.5
    done
}

# small NAME [LINE…]: the configuration of a guest that boots in a moment; the command line's first word is what it does.
small() {
    local name=$1
    shift
    { printf 'name = "%s"\nkernel = "/run/domu"\nmemory = 16\nextra = "sleep"\n' "$name"; printf '%s\n' "$@"; } > $here/cfg/$name.cfg
}

# linux NAME [LINE…]: that of a Linux guest.
linux() {
    local name=$1
    shift
    {
        printf 'name = "%s"\nkernel = "/run/vmlinux"\nramdisk = "/run/initrd"\nextra = "console=hvc0 quiet"\n' "$name"
        printf 'memory = 160\nmaxmem = 256\nvcpus = 1\nmaxvcpus = 4\n'
        printf '%s\n' "$@"
    } > $here/cfg/$name.cfg
}

console_of() { sed 's/\r$//' $logs/guest-$1.log 2> /dev/null; }
console_has() { console_of "$1" | grep -aq -- "$2"; }
# How often a text stands in the console's log, which outlives a reboot.
console_count() { [ "$(console_of "$1" | grep -ac -- "$2")" -ge "$3" ]; }
boots() { console_count "$1" 'GUEST UP' "${2:-1}"; }
gone() { ! xl domid "$1"; }
state_has() { xl list "$1" | awk 'NR == 2 { print $5 }' | grep -q "$2"; }
memory_is() { [ "$(xl list "$1" | awk 'NR == 2 { print $3 }')" = "$2" ]; }
id_of() { xl domid "$1"; }
at() { echo "/local/domain/$(id_of "$1")"; }

# in_guest NAME COMMAND: types a command into the guest's console; prints what it printed, ends with its status.
in_guest() {
    local turn tty
    turn=$(($(cat $here/turn 2> /dev/null || echo 0) + 1))
    echo $turn > $here/turn
    tty=$(xenstore-read "$(at "$1")/console/tty") || return 98
    # The guest computes the marks, so that the echo of the typed line does not hold them.
    echo "echo; echo BEG\$((1000 + $turn)); { $2; } 2>&1; s=\$?; echo; echo END\$((1000 + $turn)) \$s" > "$tty"
    eventually "console_has $1 '^END$((1000 + turn)) '"
    console_of "$1" | sed -n "/^BEG$((1000 + turn))\$/,/^END$((1000 + turn)) /p" | sed '1d;$d' | sed '${/^$/d}'
    return "$(console_of "$1" | sed -n "s/^END$((1000 + turn)) //p" | tail -n 1)"
}

# Ends what an area has left behind, so that the next begins alike.
clean() {
    local name
    for name in $(xl list | awk 'NR > 2 { print $1 }'); do xl destroy "$name"; done > /dev/null 2>&1
    rm -f $logs/guest-*.log $here/cfg/*
}
