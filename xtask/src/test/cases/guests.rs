//! Guests, by Dom0's own tools: scenarios from tests/scenarios, which run in Dom0's shell and count their checks.

use anyhow::{Context, Result, bail, ensure};

use super::super::room::{Room, Root};
use super::case::{Case, case, long};
use crate::{guest_program, setup};

/// The tests.
pub const CASES: &[Case] = &[
    case(
        "guests",
        1,
        120,
        "every command of xlr in a Linux guest's life; bad configurations",
        commands,
    ),
    case(
        "guests-peer",
        1,
        120,
        "the same commands with stock Xen below the same tools",
        peer,
    ),
    case(
        "guests-cycles",
        1,
        120,
        "guests come and go, daemons are killed: nothing is left behind, no guest is lost",
        cycles,
    ),
    long(case(
        "guests-cycles-long",
        1,
        600,
        "200 small guests and 5 of Linux come and go",
        cycles_long,
    )),
    case(
        "guests-consoles",
        1,
        80,
        "noisy, hostile and dying guests at the console daemon; its death loses no word",
        consoles,
    ),
    long(case(
        "guests-save",
        1,
        200,
        "a Linux guest is saved and restored with all it has; broken images leave nothing",
        save,
    )),
    long(case(
        "guests-images",
        1,
        300,
        "an image that Debian's xl has saved is restored by xlr, and the other way round",
        images,
    )),
    long(case("guests-images-peer", 1, 400, "the same on stock Xen", images_peer)),
    long(case("guests-save-peer", 1, 300, "the same on stock Xen", save_peer)),
    long(case(
        "guests-rare",
        1,
        120,
        "a watchdog expires, a guest ends with an interrupt bound, a driver domain serves by xlr devd",
        rare,
    )),
    long(case(
        "guests-pvgrub",
        1,
        80,
        "GRUB for paravirtual guests reads the guest's disk and starts Linux in its own place",
        pvgrub,
    )),
    case(
        "guests-smp",
        2,
        100,
        "a guest with four vcpus under load, its results checked",
        smp,
    ),
    long(case(
        "guests-smp-long",
        2,
        400,
        "the same, five times as long",
        smp_long,
    )),
    case(
        "guests-shares",
        1,
        60,
        "two guests and Dom0 share a CPU by weight and cap",
        shares,
    ),
    long(case("guests-nat", 1, 60, "guests that are routed, and behind NAT", nat)),
    case(
        "sides",
        1,
        200,
        "xl and xlr manage each other's guests over our xenstored, under either console daemon",
        sides,
    ),
    long(case(
        "sides-ours",
        1,
        200,
        "the same, and the guests reboot",
        sides_ours,
    )),
    long(case(
        "sides-debian",
        1,
        200,
        "the same over Debian's xenstored",
        sides_debian,
    )),
    long(case(
        "sides-peer",
        1,
        200,
        "the same over our xenstored with stock Xen below",
        sides_peer,
    )),
    case("virsh", 1, 200, "a guest's life by Debian's libvirt", virsh),
    long(case(
        "virsh-long",
        1,
        200,
        "the same, and the guest's console, its reboot and its shutdown",
        virsh_long,
    )),
    long(case("virsh-peer", 1, 150, "the same with stock Xen below", virsh_peer)),
];

/// A script for Dom0: name below /paravane, and text.
#[derive(Clone, Copy, Debug)]
pub struct Script(&'static str, &'static [u8]);

impl From<Script> for (String, Vec<u8>) {
    fn from(script: Script) -> Self {
        (script.0.to_owned(), script.1.to_vec())
    }
}

macro_rules! script {
    ($name:literal) => {
        Script($name, include_bytes!(concat!("../../../../tests/scenarios/", $name)))
    };
}

/// What the scenarios share.
pub const LIB: Script = script!("lib.sh");
/// `cargo xtask demo`.
pub const DEMO: Script = script!("demo.sh");
const COMMANDS: Script = script!("commands.sh");
const BAD_CONFIGS: Script = script!("bad_configs.sh");
const CYCLES: Script = script!("cycles.sh");
const SMP: Script = script!("smp.sh");
const SHARES: Script = script!("shares.sh");
const DAEMONS: Script = script!("daemons.sh");
const CONSOLES: Script = script!("consoles.sh");
const ATTACHMENTS: Script = script!("attachments.sh");
/// What scenarios on Debian's disk share.
pub const DEBIAN: Script = script!("debian.sh");
/// What scenarios by libvirt share.
pub const LIBVIRT: Script = script!("libvirt.sh");
/// What scenarios of two machines share.
pub const PAIR: Script = script!("pair.sh");
/// For two machines.
pub const VIRSH_MIGRATE: Script = script!("virsh_migrate.sh");
const SIDES: Script = script!("sides.sh");
const NAT: Script = script!("nat.sh");
const VIRSH: Script = script!("virsh.sh");
const SAVE: Script = script!("save.sh");
const IMAGES: Script = script!("images.sh");
/// For two machines.
pub const MIGRATE: Script = script!("migrate.sh");
/// For two machines on Debian's disk.
pub const XL_MIGRATE: Script = script!("xl_migrate.sh");
const RARE: Script = script!("rare.sh");
const KERNEL: Script = script!("kernel.sh");
const PVGRUB: Script = script!("pvgrub.sh");

/// Scenarios of one boot, with their arguments.
type Plan<'a> = &'a [(Script, &'a str)];

/// Runs scenarios one behind the other; each must pass all its checks.
fn play(room: &mut Room<'_>, plan: Plan<'_>) -> Result<()> {
    room.args.tools = true;
    room.args.mem = 2048;
    room.add_file("domu", &guest_program::kernel("domu")?)?;
    let command = stage(room, plan, "sh")?;
    let (output, ..) = room.exec(&command)?;
    judge(&output, plan.len())
}

/// A machine whose clock goes by instructions while it is busy. libxl ends hot-plug scripts that take longer than 40 s,
/// which an emulated machine reaches beside others; so counted, they take two.
pub const STEADY: [&str; 2] = ["-icount", "shift=0,sleep=on"];

/// The same on Debian's disk, with Debian's tools beside ours.
fn play_on_debian(room: &mut Room<'_>, plan: Plan<'_>) -> Result<()> {
    room.args.mem = 3072;
    room.args.qemu_args.extend(STEADY.map(Into::into));
    room.files.push(DEBIAN.into());
    let command = stage(room, plan, "bash")?;
    let (output, ..) = room.exec_on(Root::Debian, &command)?;
    judge(&output, plan.len())
}

/// Puts the scenarios into Dom0 and gives the command that runs them.
fn stage(room: &mut Room<'_>, plan: Plan<'_>, shell: &str) -> Result<String> {
    room.files.push(LIB.into());
    room.add_file("dom0-load", &guest_program::dom0_load()?)?;
    let mut command = String::new();
    for (script, arguments) in plan {
        room.files.push((*script).into());
        command += &format!("echo SCENARIO {0}; {shell} /paravane/{0} {arguments};", script.0);
    }
    Ok(format!("{command} true"))
}

/// Every scenario came to its last line, and no check failed.
pub fn judge(output: &str, scenarios: usize) -> Result<()> {
    let ended = output
        .split("SCENARIO ")
        .skip(1)
        .map(counts)
        .collect::<Option<Vec<(u32, u32)>>>()
        .with_context(|| format!("a scenario broke off:\n{output}"))?;
    ensure!(ended.len() == scenarios, "{} of {scenarios} scenarios ran", ended.len());
    ensure!(
        ended.iter().all(|(passed, _)| *passed > 0),
        "a scenario checked nothing"
    );
    let failed: u32 = ended.iter().map(|(_, failed)| failed).sum();
    if failed > 0 {
        let is_bad =
            |line: &&str| line.starts_with("FAIL ") || line.starts_with("    ") || line.starts_with("SCENARIO ");
        let lines: Vec<&str> = output.lines().filter(is_bad).collect();
        bail!("{failed} checks failed:\n  {}", lines.join("\n  "));
    }
    Ok(())
}

/// The counts of the last line that has them.
fn counts(text: &str) -> Option<(u32, u32)> {
    text.lines().rev().find_map(|line| {
        let (passed, failed) = line.trim().strip_suffix(" failed")?.split_once(" passed, ")?;
        Some((passed.parse().ok()?, failed.parse().ok()?))
    })
}

/// Every command, and every bad configuration.
fn commands(room: &mut Room<'_>) -> Result<()> {
    room.args.cold = true;
    play(room, &[(COMMANDS, ""), (BAD_CONFIGS, "")])
}

/// The same commands with stock Xen below.
fn peer(room: &mut Room<'_>) -> Result<()> {
    room.args.hv = Some(setup::xen::find()?);
    play(room, &[(COMMANDS, "")])
}

/// Guests that come and go; daemons that die; devices of every kind, creates that are killed.
fn cycles(room: &mut Room<'_>) -> Result<()> {
    play(room, &[(CYCLES, "20 1"), (DAEMONS, ""), (ATTACHMENTS, "")])
}

/// For long.
fn cycles_long(room: &mut Room<'_>) -> Result<()> {
    play(room, &[(CYCLES, "200 5")])
}

/// A guest that is saved and restored, and broken images.
fn save(room: &mut Room<'_>) -> Result<()> {
    play(room, &[(SAVE, "")])
}

/// The same with stock Xen below.
fn save_peer(room: &mut Room<'_>) -> Result<()> {
    room.args.hv = Some(setup::xen::find()?);
    play(room, &[(SAVE, "")])
}

/// What guests may do to the console daemon.
fn consoles(room: &mut Room<'_>) -> Result<()> {
    play(room, &[(CONSOLES, "")])
}

/// What happens seldom.
fn rare(room: &mut Room<'_>) -> Result<()> {
    play(room, &[(RARE, "")])
}

/// GRUB as a guest's kernel, and Linux from the guest's disk in its place.
fn pvgrub(room: &mut Room<'_>) -> Result<()> {
    room.files.push(KERNEL.into());
    room.add_file("grub", &setup::grub::find()?)?;
    play(room, &[(PVGRUB, "/paravane/grub")])
}

/// Four vcpus on two CPUs.
fn smp(room: &mut Room<'_>) -> Result<()> {
    play(room, &[(SMP, "1")])
}

/// For long.
fn smp_long(room: &mut Room<'_>) -> Result<()> {
    play(room, &[(SMP, "5")])
}

/// Two guests and Dom0 on one CPU. Time is counted instructions, or what else this machine does would be in the shares.
fn shares(room: &mut Room<'_>) -> Result<()> {
    room.args.icount = true;
    play(room, &[(SHARES, "3")])
}

/// Guests that are routed and behind NAT: Debian's disk has what translates addresses.
fn nat(room: &mut Room<'_>) -> Result<()> {
    play_on_debian(room, &[(NAT, "")])
}

/// A guest's life by Debian's libvirt. It gives a guest no more vcpus than the machine has CPUs.
fn virsh(room: &mut Room<'_>) -> Result<()> {
    by_libvirt(room, "short")
}

/// All of it.
fn virsh_long(room: &mut Room<'_>) -> Result<()> {
    by_libvirt(room, "whole")
}

fn by_libvirt(room: &mut Room<'_>, form: &str) -> Result<()> {
    // Counted instructions take one thread of QEMU's, however many CPUs it plays.
    room.args.smp = 2;
    room.files.push(LIBVIRT.into());
    play_on_debian(room, &[(VIRSH, form)])
}

/// The same with stock Xen below.
fn virsh_peer(room: &mut Room<'_>) -> Result<()> {
    room.args.hv = Some(setup::xen::find()?);
    // On an AMD CPU stock Xen hides SYSENTER from Dom0, and libvirt knows no CPU model without.
    room.args.cpu += ",vendor=GenuineIntel";
    virsh_long(room)
}

/// Debian's toolstack and ours over our store daemon, first with our console daemon, then with Debian's.
fn sides(room: &mut Room<'_>) -> Result<()> {
    play_on_debian(room, &[(SIDES, "ours ours debian short")])
}

/// Both over Debian's store daemon, the console daemons in the other order.
fn sides_debian(room: &mut Room<'_>) -> Result<()> {
    play_on_debian(room, &[(SIDES, "debian debian ours")])
}

/// Both over our store daemon, all of it.
fn sides_ours(room: &mut Room<'_>) -> Result<()> {
    play_on_debian(room, &[(SIDES, "ours ours debian")])
}

/// Both with stock Xen below.
fn sides_peer(room: &mut Room<'_>) -> Result<()> {
    room.args.hv = Some(setup::xen::find()?);
    sides_ours(room)
}

/// Images of Debian's xl and of ours, each restored by the other.
fn images(room: &mut Room<'_>) -> Result<()> {
    // The guest has two vcpus. Where one waits for the other with `pause`, as Linux does at its start, a CPU of its own ends
    // that at once; QEMU, counting instructions, takes minutes to come to the end of a turn in such a loop.
    room.args.smp = 2;
    play_on_debian(room, &[(IMAGES, "")])
}

/// The same with stock Xen below.
fn images_peer(room: &mut Room<'_>) -> Result<()> {
    room.args.hv = Some(setup::xen::find()?);
    images(room)
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn a_scenario_must_come_to_its_end() {
        assert!(judge("SCENARIO a\nok x\n1 passed, 0 failed\n", 1).is_ok());
        assert!(judge("SCENARIO a\nok x\n", 1).is_err());
        assert!(judge("SCENARIO a\nok x\n1 passed, 0 failed\n", 2).is_err());
        assert!(judge("SCENARIO a\n0 passed, 0 failed\n", 1).is_err());
    }

    #[test]
    fn failed_checks_are_named() {
        let error = judge("SCENARIO a\nok x\nFAIL y: why\n    said\n1 passed, 1 failed\n", 1).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("FAIL y: why") && text.contains("said") && !text.contains("ok x"),
            "{text}"
        );
    }
}
