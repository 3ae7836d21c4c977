# Beside the guest `abuse`: a bystander that must go on undisturbed, and Dom0 itself.
. /paravane/bystander.sh
failed=0
complain() { echo "FAIL $1"; failed=1; }
start_bystander || { echo "FAIL no bystander"; exit 1; }
until id=$(xlr domid abuse 2> /dev/null); do sleep 0.2; done
asked=0
while xlr domid abuse > /dev/null 2>&1; do
    asked=$((asked + 1))
    ask_bystander "round-$asked" || complain "the bystander did not answer in round $asked"
    sleep 1
done
[ $asked -gt 0 ] || complain "nobody was asked while the attacks ran"
ask_bystander after || complain "the bystander did not answer after the attacks"
bystander_said 'memory is as it was' || complain "the bystander's memory was not checked"
bystander_said 'memory has CHANGED' && complain "the bystander's memory has changed"
xlr destroy bystander || complain "the bystander could not be destroyed"
[ "$(xlr list | wc -l)" -eq 2 ] || complain "other domains are left: $(xlr list)"
dmesg | grep -E 'BUG:|Oops|general protection' && complain "Dom0's kernel was hurt"
xlr dmesg | grep -iE 'panic|\(PV\) BUG' && complain "the hypervisor was hurt"
for daemon in xenstored xenconsoled; do
    grep -H 'ended with' "/var/log/paravane/$daemon.log" && complain "$daemon died"
done
echo "the bystander answered $asked times meanwhile"
exit $failed
