# A guest with four vcpus under load, its results checked: processes, signals, FPU, timers, threads; disk and network.
. /paravane/lib.sh
mount -o loop /var/lib/paravane/demo/disk.img /mnt && cp /paravane/dom0-load /mnt/load && umount /mnt
sed 's/^vcpus = .*/vcpus = 4/; s/^memory = .*/memory = 224/' /etc/paravane/demo.cfg > /tmp/smp.cfg
check create xlr create /tmp/smp.cfg
check boot boots demo
four() { [ "$(in_guest demo nproc)" = 4 ]; }
check four-vcpus four

# All at once: the program that checks itself, copies on the disk, copies over the network.
in_guest demo "(/mnt/load ${1:-1} > /tmp/load; echo \$? > /tmp/load.status) & (for i in 1 2 3 4; do $data > /mnt/\$i; sync; done; echo 3 > /proc/sys/vm/drop_caches; md5sum < /mnt/1; md5sum < /mnt/2; md5sum < /mnt/3; md5sum < /mnt/4) > /tmp/disk; echo begun" > /dev/null
sent() { [ "$(from_guest "$data" | tail -n 1)" = "$sum" ]; }
got() { [ "$(to_guest "$data")" = "$sum" ]; }
for time in 1 2 3; do
    check "network-out-$time" sent
    check "network-in-$time" got
done
disk() { [ "$(in_guest demo 'cat /tmp/disk' | grep -c "$sum")" = 4 ]; }
check disk disk
loaded() { in_guest demo 'grep . /tmp/load.status'; }
check load/ended eventually loaded
check load in_guest demo 'cat /tmp/load; [ "$(cat /tmp/load.status)" = 0 ]'
for load in fork mmap signal fpu timer threads; do said "load/$load" "^$load: ok"; done
check shutdown xlr shutdown -w demo
finish
