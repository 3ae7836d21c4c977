# Sourced behind debian.sh by the scenarios that use Debian's libvirt.
v() { timeout "${patience:-300}" virsh -q -c xen:///system "$@"; }

# libvirt_up [OPTION…]: the daemon. Where it does not come up, nothing can pass: that is said at once, and is the end.
answers() { timeout 60 virsh -q -c xen:///system version; }
answers_or_ended() { answers || grep -q 'libvirtd ended' /tmp/libvirtd.log; }
connects() { eventually answers_or_ended && answers; }
libvirt_up() {
    # What the package libvirt-daemon-system makes; the daemon ends without.
    mkdir -p /var/log/libvirt /var/lib/libvirt /run/libvirt
    getent group kvm > /dev/null || echo 'kvm:x:64055:' >> /etc/group
    getent group libvirt-qemu > /dev/null || echo 'libvirt-qemu:x:64056:' >> /etc/group
    getent passwd libvirt-qemu > /dev/null ||
        echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin' >> /etc/passwd
    (
        /usr/sbin/libvirtd "$@"
        echo "libvirtd ended with $?"
    ) > /tmp/libvirtd.log 2>&1 &
    check connect connects
    [ "$failed" -eq 0 ] || { cat /tmp/libvirtd.log; finish; exit; }
}

# define_guest [DISK]: v1, a Linux guest with two vcpus at most, one of them there at first.
define_guest() {
    cat > /tmp/v1.xml << X
<domain type='xen'>
  <name>v1</name>
  <uuid>6c4a3a5e-4c1c-4f0e-8f0e-1d5f1c1c1c11</uuid>
  <memory unit='MiB'>192</memory>
  <currentMemory unit='MiB'>160</currentMemory>
  <vcpu current='1'>2</vcpu>
  <os>
    <type>linux</type><kernel>/run/vmlinuz</kernel><initrd>/run/initrd</initrd>
    <cmdline>console=hvc0 quiet</cmdline>
  </os>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    ${1:+<disk type='block' device='disk'><driver name='phy'/><source dev='$1'/><target dev='xvda' bus='xen'/></disk>}
    <interface type='bridge'><mac address='00:16:3e:01:02:03'/><source bridge='xenbr0'/></interface>
    <console type='pty'><target type='xen' port='0'/></console>
  </devices>
</domain>
X
    v define /tmp/v1.xml
}
state_is() { [ "$(v domstate "$1")" = "$2" ]; }
# libvirt takes a guest for shut off a moment before it has let go of its number, and until then refuses to start it.
is_off() { state_is "$1" 'shut off' && [ "$(v domid "$1")" = - ]; }

# What libvirt's own records say of a failure.
libvirt_records() {
    tail -n 40 /tmp/libvirtd.log
    tail -n 40 /var/log/libvirt/libxl/*.log
}
