# A guest that begins with GRUB: pvgrub.sh GRUB-IMAGE. Its disk holds kernel, RAM disk and grub.cfg, as an installed system
# does; GRUB reads them by its own frontends and starts the kernel in its own place.
folder=/var/lib/paravane/demo
disk=/tmp/grub.img
truncate -s 64M $disk
mke2fs -F $disk > /dev/null
mkdir -p /tmp/grub
mount -o loop $disk /tmp/grub
mkdir -p /tmp/grub/boot/grub
cp $folder/vmlinuz $folder/initrd /tmp/grub/boot/
cat > /tmp/grub/boot/grub/grub.cfg << X
linux /boot/vmlinuz console=hvc0 quiet
initrd /boot/initrd
boot
X
umount /tmp/grub
sed -e "s|^kernel *=.*|kernel = \"$1\"|" -e '/^ramdisk/d' -e '/^extra/d' -e "s|$folder/disk.img|$disk|" \
    /etc/paravane/demo.cfg > /tmp/pvgrub.cfg
set -- /tmp/pvgrub.cfg
. /paravane/kernel.sh
