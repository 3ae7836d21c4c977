//! Kernels of our own (tests/kernels) in Dom0's place.

use anyhow::{Result, ensure};

use super::super::room::Room;
use super::case::{Case, case, long};
use super::guests;
use crate::guest_program;
use crate::machine::Machine;
use crate::machine::guest::{Guest, Seen};

/// The tests.
pub const CASES: &[Case] = &[
    case(
        "kernel-smap",
        1,
        10,
        "SMAP on, a guest that makes no far return: copies, traps, user mode",
        smap,
    ),
    case(
        "kernel-abuse",
        1,
        10,
        "every hypercall with bad pointers, frames and numbers gives an errno",
        abuse,
    ),
    case(
        "kernel-grants",
        1,
        10,
        "grants of both versions and event channels, used well and wrongly",
        grants,
    ),
    case(
        "kernel-grants-2",
        2,
        20,
        "the same, and two vcpus at the same entry, handle or port at once",
        grants,
    ),
    case(
        "kernel-foreign",
        2,
        10,
        "other domains' memory: limits, claims, foreign mappings, page tables, ends with frames in use",
        foreign,
    ),
    case(
        "kernel-rare",
        1,
        10,
        "operations that Linux and the tools seldom or never use: each rightly, its effect looked at, and wrongly",
        rare,
    ),
    case(
        "kernel-churn-2",
        2,
        20,
        "page tables of two vcpus change at once, flushes cross",
        churn,
    ),
    case(
        "kernel-churn-4",
        4,
        40,
        "page tables of four vcpus change at once, flushes cross",
        churn,
    ),
    long(case(
        "kernel-churn-long",
        4,
        200,
        "the same, ten times as long",
        churn_long,
    )),
    case(
        "kernel-turns",
        2,
        10,
        "counted instructions: a CPU that is never idle and has no timer leaves the other its share",
        turns,
    ),
    case(
        "kernel-wild",
        1,
        20,
        "a wild Dom0 is killed and the hypervisor says why",
        wild,
    ),
];

fn machine(room: &mut Room<'_>, kernel: &str, words: &str) -> Result<Machine> {
    room.args.mem = 1024;
    room.args.hv_append = "dom0_mem=128M guest_loglvl=all".to_owned();
    let mut machine = room.machine(None)?;
    // The attacks are a guest's, which does its worst in Dom0's place, too.
    let image = if kernel == "abuse" {
        guest_program::guest(kernel)?
    } else {
        guest_program::kernel(kernel)?
    };
    machine.kernel = Some((image, words.to_owned()));
    machine.initrd = None;
    Ok(machine)
}

/// The counts of a kernel's last line.
fn counts(text: &str) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let (passed, failed) = line.trim().strip_suffix(" failed")?.split_once(" passed, ")?;
        Some((passed.parse().ok()?, failed.parse().ok()?))
    })
}

/// Boots a kernel that checks and counts, and wants none failed.
fn checked(room: &mut Room<'_>, kernel: &str, words: &str) -> Result<()> {
    let machine = machine(room, kernel, words)?;
    counted(room, &machine)
}

fn counted(room: &mut Room<'_>, machine: &Machine) -> Result<()> {
    let guest = Guest::start(machine)?;
    let seen = guest.wait_for(room.limit(), counts);
    room.keep(&guest);
    match seen {
        Seen::Found((passed, 0)) => ensure!(passed > 0, "the kernel checked nothing"),
        Seen::Found((_, failed)) => {
            let lines: Vec<&str> = room.console().lines().filter(|line| line.contains("FAIL ")).collect();
            anyhow::bail!("{failed} of the kernel's checks failed:\n  {}", lines.join("\n  "));
        }
        _ => anyhow::bail!("the kernel did not come to its end"),
    }
    Ok(())
}

/// With SMAP, which Linux does not survive under this emulator.
fn smap(room: &mut Room<'_>) -> Result<()> {
    room.args.cpu = "max".to_owned();
    checked(room, "smap", "")
}

/// Bad arguments.
fn abuse(room: &mut Room<'_>) -> Result<()> {
    checked(room, "abuse", "")
}

/// Grants and event channels.
fn grants(room: &mut Room<'_>) -> Result<()> {
    checked(room, "grants", "")
}

/// Other domains' memory. Strictly: of stock Xen less is asked.
fn foreign(room: &mut Room<'_>) -> Result<()> {
    checked(room, "foreign", "strict")
}

/// What is seldom used. It wants a function with MSI-X.
fn rare(room: &mut Room<'_>) -> Result<()> {
    let mut machine = machine(room, "rare", "")?;
    machine.extra(&["-device", "virtio-rng-pci"]);
    counted(room, &machine)
}

/// All vcpus at once. Four of them take turns on two cores, so they do less.
fn churn(room: &mut Room<'_>) -> Result<()> {
    let rounds = if room.args.smp > 2 { "12" } else { "40" };
    checked(room, "churn", rounds)
}

/// For long.
fn churn_long(room: &mut Room<'_>) -> Result<()> {
    checked(room, "churn", "400")
}

/// By counted instructions, all CPUs in one thread.
fn turns(room: &mut Room<'_>) -> Result<()> {
    room.args.qemu_args.extend(guests::STEADY.map(Into::into));
    checked(room, "turns", "")
}

/// Ends of a kernel that it cannot handle, and what the hypervisor must say then.
fn wild(room: &mut Room<'_>) -> Result<()> {
    for word in ["ud2", "stack", "iret", "panic"] {
        let machine = machine(room, "crash", word)?;
        let guest = Guest::start(&machine)?;
        let seen = guest.wait_for(room.limit(), |text| {
            let (_, after) = text.split_once(&format!("about to: {word}"))?;
            // Which domain, why where the guest does not know it, and its registers.
            let reason = if word == "panic" {
                "hardware domain crashed"
            } else {
                "domain 0 crashed on vcpu 0: "
            };
            (after.contains(reason) && after.contains("rip: ")).then_some(())
        });
        room.keep(&guest);
        ensure!(
            matches!(seen, Seen::Found(())),
            "{word}: the hypervisor did not say why the domain crashed"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn counts_are_read_from_a_line_of_their_own() {
        assert_eq!(counts("ok a\n12 passed, 3 failed\n"), Some((12, 3)));
        assert_eq!(counts("ok passed, failed\n"), None);
    }
}
