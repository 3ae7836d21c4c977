# What a person can write wrong: each gives an error that names file, line or object, and leaves nothing behind.
. /paravane/lib.sh
check warm-up warm_up
settled > /tmp/before
# bad NAME TEXT LINES: a configuration of these lines is refused, and the refusal says TEXT.
bad() {
    printf '%b' "$3" > /tmp/bad.cfg
    refused "$1" any "$2" xlr create /tmp/bad.cfg
    check "$1/nothing-left" only_domains Domain-0
}
named='name = "bad"\n'

refused no-file any /nowhere.cfg xlr create /nowhere.cfg
bad syntax 'bad.cfg:4' "${named}${small}disk = [ \"phy:/dev/ram0,xvda,w\n"
bad syntax-word 'bad.cfg:4' "${named}${small}this is no line\n"
bad no-name name "$small"
bad no-kernel kernel "${named}memory = 16\n"
bad kernel-missing /nowhere/vmlinuz "${named}memory = 16\nkernel = \"/nowhere/vmlinuz\"\n"
bad kernel-is-text /etc/paravane/demo.cfg "${named}memory = 16\nkernel = \"/etc/paravane/demo.cfg\"\n"
bad kernel-without-notes note "${named}memory = 16\nkernel = \"/bin/busybox\"\n"
bad ramdisk-missing /nowhere/initrd "${named}${small}ramdisk = \"/nowhere/initrd\"\n"
bad memory-word memory "${named}kernel = \"/paravane/domu\"\nmemory = \"much\"\n"
bad memory-too-small memory "${named}kernel = \"/var/lib/paravane/demo/vmlinuz\"\nmemory = 8\n"
bad memory-too-large memory "${named}kernel = \"/paravane/domu\"\nmemory = 1000000\n"
bad vcpus-too-many vcpus "${named}${small}vcpus = 100000\n"
bad disk-missing /nowhere/disk.img "${named}${small}disk = [ \"format=raw, vdev=xvda, access=rw, target=/nowhere/disk.img\" ]\n"
bad disk-word disk "${named}${small}disk = [ \"frobnicate=1, vdev=xvda, target=/dev/ram0\" ]\n"
bad bridge-missing nobr "${named}${small}vif = [ \"bridge=nobr\" ]\n"
bad mac-malformed MAC "${named}${small}vif = [ \"bridge=xenbr0, mac=zz:zz\" ]\n"
bad on-crash-word on_crash "${named}${small}on_crash = \"weep\"\n"
bad hvm-guest type "${named}${small}type = \"hvm\"\n"

# A key that is not known is named in a warning; the guest is made all the same.
printf '%b' "${named}${small}frobnicate = 1\n" > /tmp/warned.cfg
check unknown-key xlr create /tmp/warned.cfg
said unknown-key/named frobnicate
xlr destroy bad
for command in pause unpause shutdown reboot destroy vcpu-list uptime domid; do
    refused "no-domain/$command" any nobody xlr $command nobody
done
refused no-domain/mem-set any nobody xlr mem-set nobody 16
refused no-command any frobnicate xlr frobnicate
same_resources end/resources /tmp/before
finish
