# A Linux guest's life by Debian's libvirt, with Debian's daemons, saving and restoring included: virsh.sh [short].
form=${1:-whole}
. /paravane/lib.sh
. /paravane/debian.sh
. /paravane/libvirt.sh

check store machine_up debian
check consoled console_daemon debian
libvirt_up
check version v version
said version/hypervisor 'Running hypervisor: Xen 4.17.0'
check nodeinfo v nodeinfo
said nodeinfo/cells 'NUMA cell(s): *1'
check freecell v freecell
check capabilities v capabilities
said capabilities/pv '<machine>xenpv</machine>'

check define define_guest /dev/ram0
check define/off eventually is_off v1
check start v start v1
check start/running state_is v1 running
check boot boots v1
check list v list --all
said list/name '^ *[1-9][0-9]* *v1 *running'
check dominfo v dominfo v1
said dominfo/memory 'Used memory: *163840 KiB'
said dominfo/most 'Max memory: *196608 KiB'
check vcpuinfo v vcpuinfo v1
said vcpuinfo/cpu '^CPU: *[0-9]'
check vcpucount v vcpucount --current --live v1
said vcpucount/one '^1$'
check domblklist v domblklist v1
said domblklist/disk 'xvda */dev/ram0'
check domiflist v domiflist v1
said domiflist/bridge 'xenbr0.*00:16:3e:01:02:03'
check dumpxml v dumpxml v1
said dumpxml/tty "console type='pty' tty='/dev/pts/"
check domblkstat v domblkstat v1 xvda
check cpu-stats v cpu-stats v1
check schedinfo v schedinfo v1
said schedinfo/weight 'weight *: *256'
check schedinfo-set v schedinfo v1 --weight 512
check schedinfo-reads v schedinfo v1
said schedinfo-reads/weight 'weight *: *512'
check vcpupin v vcpupin v1 0 0
same_in_xl() { [ "$(xl domid v1)" -gt 0 ] && [ "$(xl domid v1)" = "$(v domid v1)" ]; }
check domid/xl same_in_xl
# libvirt's guests are there for our tools, too.
same_in_xlr() { [ "$(xlr domid v1)" -gt 0 ] && [ "$(xlr domid v1)" = "$(v domid v1)" ]; }
check domid/xlr same_in_xlr

# The console by virsh: a line in, its answer out. It discards what is typed before it is ready.
printf '#!/bin/sh\nexec virsh -c xen:///system console v1 --force\n' > /tmp/con
chmod +x /tmp/con
typed() {
    rm -f /tmp/typed
    {
        eventually grep -q 'Escape character' /tmp/typed && sleep 1
        printf '\necho via-$((40 + 2))-virsh\n'
        within 60 grep -q via-42-virsh /tmp/typed
        printf '\035'
        sleep 1
    } | socat - EXEC:/tmp/con,pty,setsid,ctty > /tmp/typed 2>&1
    grep -q via-42-virsh /tmp/typed
}
[ $form = short ] || check console typed

nproc_is() { [ "$(in_guest v1 nproc)" = "$1" ]; }
memory_is() { v dominfo v1 | grep -q "Used memory: *$1 KiB"; }
guest_has() { in_guest v1 "[ -e $1 ]"; }
guest_lacks() { in_guest v1 "[ ! -e $1 ]"; }
# libvirt gives a guest no more vcpus than the machine has CPUs.
if [ "$(xl info nr_cpus)" -gt 1 ]; then
    check setvcpus v setvcpus v1 2
    check setvcpus/online eventually nproc_is 2
    check setvcpus-back v setvcpus v1 1
    check setvcpus-back/offline eventually nproc_is 1
else
    refused setvcpus any 'greater than max' v setvcpus v1 2
fi
check setmem v setmem v1 128M
check setmem/reached eventually memory_is 131072
check setmem-back v setmem v1 160M
check setmem-back/reached eventually memory_is 163840
truncate -s 4M /tmp/extra.img
check loop losetup /dev/loop3 /tmp/extra.img
check attach-disk v attach-disk v1 /dev/loop3 xvdb --driver phy
check attach-disk/seen eventually guest_has /dev/xvdb
check domblklist-two v domblklist v1
said domblklist-two/disk 'xvdb */dev/loop3'
check detach-disk v detach-disk v1 xvdb
check detach-disk/gone eventually guest_lacks /dev/xvdb
if [ $form != short ]; then
    check attach-interface v attach-interface v1 bridge xenbr0 --mac 00:16:3e:01:02:04
    check attach-interface/seen eventually guest_has /sys/class/net/eth1
    check detach-interface v detach-interface v1 bridge --mac 00:16:3e:01:02:04
    check detach-interface/gone eventually guest_lacks /sys/class/net/eth1
fi
check suspend v suspend v1
check suspend/paused state_is v1 paused
check resume v resume v1
check resume/running state_is v1 running
check resume/answers in_guest v1 true

# Saved and restored: what was in its memory, on its disk and on the wire goes on.
check mark in_guest v1 'echo kept-in-memory > /tmp/kept; (sleep 100000 &)'
check save v save v1 /tmp/v1.save
check save/off eventually is_off v1
check restore v restore /tmp/v1.save
check restore/running state_is v1 running
kept() { in_guest v1 'grep -q kept-in-memory /tmp/kept && pidof sleep'; }
check restore/memory eventually kept
check restore/disk in_guest v1 'dd if=/dev/xvda of=/dev/null bs=64k count=16'
check restore/network in_guest v1 'ping -c 3 -W 10 10.0.0.1'

if [ $form != short ]; then
    boots_before=$(console_count v1 'GUEST UP')
    check reboot v reboot v1
    check reboot/boots boots v1 $((boots_before + 1))
    check shutdown v shutdown v1
    check shutdown/off eventually is_off v1
    check start-paused v start --paused v1
    check start-paused/state state_is v1 paused
    check start-paused/resume v resume v1
fi
check destroy v destroy v1
check destroy/off eventually is_off v1
check undefine v undefine v1
refused undefine/gone any 'failed to get domain' v dominfo v1
refused start-unknown any 'failed to get domain' v start nosuch
only_dom0() { [ "$(xl list | wc -l)" -eq 2 ]; }
check end/only-dom0 eventually only_dom0
no_nodes() { ! xenstore-ls -f / | grep -E '/(domain|vif|vbd|console|libxl|vm)/[1-9][0-9]*(/| )'; }
check end/store eventually no_nodes
[ "$failed" -eq 0 ] || libvirt_records
finish
