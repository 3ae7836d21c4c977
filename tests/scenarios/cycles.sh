# cycles.sh SMALL LINUX: guests come and go; nothing of them stays.
. /paravane/lib.sh
check warm-up warm_up
settled > /tmp/before

small_cycle() { xlr create /tmp/small.cfg && xlr destroy small; }
cycles() {
    local count=0
    while [ $count -lt "$1" ]; do
        "$2" || { echo "cycle $count"; return 1; }
        count=$((count + 1))
    done
}
check "small" cycles "$1" small_cycle
same_resources small/resources /tmp/before
linux_cycle() {
    xlr create /etc/paravane/demo.cfg && boots demo && ping -c 1 -W 10 10.0.0.2 && xlr shutdown -w demo
    local result=$?
    rm $logs/guest-demo.log
    return $result
}
check linux/warm-up linux_cycle
settled > /tmp/before
check linux cycles "$2" linux_cycle
same_resources linux/resources /tmp/before
finish
