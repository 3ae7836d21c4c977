//! Machines of different sizes, and the kernel in its two forms.

use anyhow::{Result, ensure};

use super::super::room::Room;
use super::case::{Case, case};

/// The tests.
pub const CASES: &[Case] = &[
    case("smp1", 1, 15, "one CPU: Dom0 sees Xen and is the control domain", smp),
    case("smp2", 2, 20, "two CPUs, two vcpus", smp),
    case("smp4", 4, 40, "four CPUs, four vcpus", smp),
    case("mem512", 1, 30, "a machine of 512 MiB, all of it Dom0's", mem512),
    case("mem6g", 1, 30, "a machine of 6 GiB, most of it Dom0's", mem6g),
    case("max-vcpus", 2, 20, "dom0_max_vcpus limits Dom0's vcpus", max_vcpus),
    case(
        "exec-status",
        1,
        15,
        "run --exec ends with the command's status",
        status,
    ),
    case("bzimage", 1, 40, "the hypervisor decompresses a bzImage", bzimage),
];

const IDENTITY: &str = "cat /sys/hypervisor/type; nproc; cat /proc/xen/capabilities";

/// Dom0 on as many CPUs as the machine has.
fn smp(room: &mut Room<'_>) -> Result<()> {
    let cpus = room.args.smp;
    let output = room.must(IDENTITY)?;
    ensure!(output == format!("xen\n{cpus}\ncontrol_d\n"), "Dom0 says {output:?}");
    Ok(())
}

/// Dom0's memory in MiB, and whether it can be used.
fn usable_memory(room: &mut Room<'_>) -> Result<u64> {
    let fill = "awk '/^MemTotal/ {print int($2/1024)}' /proc/meminfo; free=$(awk '/^MemAvailable/ {print int($2/1024)}' /proc/meminfo); \
         mkdir -p /big; mount -t tmpfs -o size=95% t /big; \
         dd if=/dev/zero of=/big/fill bs=1M count=$((free * 8 / 10)) 2>/dev/null || exit 1; \
         cmp -n $((free * 8 / 10 * 1048576)) /big/fill /dev/zero || exit 2; rm /big/fill";
    let output = room.must(fill)?;
    Ok(output.trim().parse()?)
}

/// The smallest machine.
fn mem512(room: &mut Room<'_>) -> Result<()> {
    room.args.mem = 512;
    let total = usable_memory(room)?;
    ensure!(total > 270, "Dom0 has {total} MiB of 512");
    Ok(())
}

/// A machine with memory above 4 GiB.
fn mem6g(room: &mut Room<'_>) -> Result<()> {
    room.args.mem = 6144;
    room.args.hv_append = "dom0_mem=5G".to_owned();
    let output = room.must("awk '/^MemTotal/ {print int($2/1024)}' /proc/meminfo")?;
    let total: u64 = output.trim().parse()?;
    ensure!(total > 4500, "Dom0 has {total} MiB of 5120");
    Ok(())
}

/// Fewer vcpus than CPUs.
fn max_vcpus(room: &mut Room<'_>) -> Result<()> {
    room.args.hv_append = "dom0_max_vcpus=1".to_owned();
    let output = room.must("nproc")?;
    ensure!(output == "1\n", "Dom0 has {output:?} vcpus");
    Ok(())
}

/// A failing command.
fn status(room: &mut Room<'_>) -> Result<()> {
    let (output, status, _) = room.exec("echo some; exit 7")?;
    ensure!(
        (output.as_str(), status) == ("some\n", 7),
        "{output:?} and status {status}"
    );
    Ok(())
}

/// The kernel as Debian ships it.
fn bzimage(room: &mut Room<'_>) -> Result<()> {
    room.args.bzimage = true;
    smp(room)
}
