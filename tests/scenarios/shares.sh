# shares.sh SECONDS: two guests that never rest and Dom0 share one CPU: weights 256:512, then a cap.
. /paravane/lib.sh
seconds=${1:-10}
for name in light heavy; do
    printf "name = \"$name\"\n${small}extra = \"spin\"\ncpus = \"0\"\n" > /tmp/$name.cfg
    check create-$name xlr create /tmp/$name.cfg
done
check weight-light xlr sched -d light -w 256
check weight-heavy xlr sched -d heavy -w 512
# Hundredths of a second since the boot.
now() { read -r up rest < /proc/uptime; echo "${up%.*}${up#*.}"; }
time_of() { /paravane/dom0-load --cpu-time "$(xlr domid "$1")"; }
# within_5_percent VALUE WANTED
within_5_percent() { echo "$1, $2 expected"; awk -v value="$1" -v wanted="$2" 'BEGIN { exit !(value > wanted * 0.95 && value < wanted * 1.05) }'; }
sleep 2
light=$(time_of light)
heavy=$(time_of heavy)
sleep "$seconds"
light=$(($(time_of light) - light))
heavy=$(($(time_of heavy) - heavy))
check weights within_5_percent $((heavy * 1000 / light)) 2000
check cap xlr sched -d heavy -c 30
sleep 2
begun=$(now)
heavy=$(time_of heavy)
sleep "$seconds"
heavy=$(($(time_of heavy) - heavy))
check cap/kept within_5_percent $((heavy / 10000 / ($(now) - begun))) 300
check destroy-light xlr destroy light
check destroy-heavy xlr destroy heavy
finish
