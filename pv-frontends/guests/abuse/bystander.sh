# A guest that answers (guests/small), for those who want to see that it goes on.
log=/var/log/xen/console/guest-bystander.log
bystander_said() { grep -aq -- "$1" $log; }
# soon COMMAND…: within half a minute.
soon() {
    local end=$(($(date +%s) + 30))
    until "$@" > /dev/null 2>&1; do
        [ "$(date +%s)" -lt $end ] || return 1
        sleep 0.1
    done
}
start_bystander() {
    printf 'name = "bystander"\nkernel = "/paravane/small"\nmemory = 8\non_crash = "destroy"\n' > /tmp/bystander.cfg
    xlr create -q /tmp/bystander.cfg || return
    bystander=/local/domain/$(xlr domid bystander)
    soon bystander_said 'SMALL UP'
}
pong_is() { [ "$(xenstore read $bystander/data/pong)" = "$1" ]; }
# ask_bystander WORD: by the store and at the console.
ask_bystander() {
    xenstore write $bystander/data/ping "$1" && soon pong_is "$1" || return
    echo "typed-$1" > "$(xenstore read $bystander/console/tty)"
    soon bystander_said "heard typed-$1"
}
