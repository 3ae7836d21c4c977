//! The devices of QEMU's q35, driven by Linux's own drivers in Dom0.

use anyhow::{Result, ensure};

use super::super::room::Room;
use super::case::{Case, case};

/// The tests.
pub const CASES: &[Case] = &[
    case("virtio-blk", 1, 20, "a virtio disk keeps what Dom0 writes", virtio_blk),
    case("virtio-net", 1, 20, "a virtio network card carries pings", virtio_net),
    case("ahci", 1, 20, "an AHCI disk keeps what Dom0 writes", ahci),
    case("e1000", 1, 20, "an e1000 network card carries pings", e1000),
    case("rtc", 1, 15, "Dom0 reads the clock chip and its time agrees", rtc),
    case("msi-off", 1, 20, "a virtio disk by its interrupt line", virtio_intx),
];

const DISK_BYTES: u64 = 64 << 20;

/// Writes a file system's worth of data to a disk, drops the caches and reads it again.
fn check_disk(room: &mut Room<'_>, device: &str) -> Result<()> {
    let command = format!(
        "ls /dev/{device} || exit 1; mke2fs -q /dev/{device} >/dev/null 2>&1 || mkfs.ext2 /dev/{device} >/dev/null || exit 2; \
         mount -t ext4 /dev/{device} /mnt || exit 3; \
         seq 1 300000 > /mnt/numbers; a=$(md5sum < /mnt/numbers); umount /mnt; echo 3 > /proc/sys/vm/drop_caches; \
         mount -t ext4 /dev/{device} /mnt || exit 4; b=$(md5sum < /mnt/numbers); umount /mnt; \
         [ \"$a\" = \"$b\" ] && seq 1 300000 | md5sum | grep -q \"${{a%% *}}\" || exit 5; \
         grep -c {device} /proc/interrupts; grep -E 'virtio|ahci' /proc/interrupts; echo written"
    );
    let output = room.must(&command)?;
    ensure!(output.ends_with("written\n"), "the disk said: {output}");
    Ok(())
}

/// MSI-X by default.
fn virtio_blk(room: &mut Room<'_>) -> Result<()> {
    let disk = room.blank_file("disk", DISK_BYTES)?;
    room.args.disk.push(disk);
    check_disk(room, "vda")
}

/// The same by a line interrupt.
fn virtio_intx(room: &mut Room<'_>) -> Result<()> {
    room.args.append = "pci=nomsi".to_owned();
    virtio_blk(room)
}

/// A disk at q35's own SATA controller.
fn ahci(room: &mut Room<'_>) -> Result<()> {
    let disk = room.blank_file("disk", DISK_BYTES)?;
    let drive = format!("file={},if=none,id=d0,format=raw", disk.display());
    room.args
        .qemu_args
        .extend(["-drive", &drive, "-device", "ide-hd,drive=d0"].map(Into::into));
    check_disk(room, "sda")
}

/// Pings QEMU's gateway.
fn check_network(room: &mut Room<'_>, model: &str) -> Result<()> {
    room.args
        .qemu_args
        .extend(["-nic", &format!("user,model={model}")].map(Into::into));
    let output = room.must(
        "ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0 || exit 1; sleep 2; \
         ping -c 1 -W 10 10.0.2.2 >/dev/null; ping -c 20 -i 0.1 -s 1400 -W 5 10.0.2.2 | tail -n 3; cat /proc/interrupts | grep -E 'eth|virtio|input'",
    )?;
    ensure!(output.contains(" 0% packet loss"), "the network said: {output}");
    Ok(())
}

/// virtio-net.
fn virtio_net(room: &mut Room<'_>) -> Result<()> {
    check_network(room, "virtio-net-pci")
}

/// e1000.
fn e1000(room: &mut Room<'_>) -> Result<()> {
    check_network(room, "e1000")
}

/// The clock chip, and that Dom0's time is right.
fn rtc(room: &mut Room<'_>) -> Result<()> {
    let output = room.must("hwclock -u -r >/dev/null || exit 1; cat /sys/class/rtc/rtc0/since_epoch; date +%s")?;
    let numbers: Vec<i64> = output.lines().filter_map(|line| line.trim().parse().ok()).collect();
    ensure!(numbers.len() == 2, "two times expected: {output}");
    ensure!(
        (numbers[0] - numbers[1]).abs() <= 10,
        "the clock chip and Dom0 differ: {output}"
    );
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs();
    ensure!(
        numbers[1].abs_diff(i64::try_from(now)?) <= 120,
        "Dom0's time is not this machine's: {output}"
    );
    Ok(())
}
