//! A guest that goes to and fro between two machines, which a network joins.

use anyhow::{Result, ensure};

use super::super::pair;
use super::super::room::{Room, Root};
use super::case::{Case, case, long};
use super::{downtime, guests};
use crate::guest_program;

/// The tests.
pub const CASES: &[Case] = &[
    case(
        "migration",
        2,
        240,
        "a guest under load moves to another host and back; its connection holds; a broken move leaves it where it is",
        short,
    ),
    long(case("migration-long", 2, 1200, "the same with twenty moves", twenty)),
    long(case(
        "migration-xl",
        2,
        300,
        "the same by Debian's xl, two moves, both hosts on Debian's disk",
        xl,
    )),
    long(case(
        "virsh-migrate",
        2,
        300,
        "a guest moves from one host to another and back by Debian's libvirt",
        virsh,
    )),
];

/// MiB of each machine.
const MEMORY: u32 = 2048;

/// CPUs of each machine.
const CPUS: u32 = 1;

/// Moves of the short forms.
const MOVES: u32 = 2;

/// The guest moves twice.
fn short(room: &mut Room<'_>) -> Result<()> {
    moves(room, MOVES)
}

/// Twenty times.
fn twenty(room: &mut Room<'_>) -> Result<()> {
    moves(room, 20)
}

fn moves(room: &mut Room<'_>, count: u32) -> Result<()> {
    room.args.tools = true;
    room.args.mem = MEMORY;
    room.args.smp = CPUS;
    room.add_file("dom0-load", &guest_program::dom0_load()?)?;
    for script in [guests::LIB, guests::PAIR, guests::MIGRATE] {
        room.files.push(script.into());
    }
    let command = |role: &str| format!("echo SCENARIO {role}; sh /paravane/migrate.sh {role} {count}; true");
    let [here, there] = pair::exec(room, Root::RamDisk, &command("here"), &command("there"))?;
    let both = format!("{here}\n{there}");
    let told = both.lines().filter(|line| line.starts_with("MOVE ")).count();
    for line in both.lines().filter(|line| line.starts_with("MOVE ")) {
        crate::progress::note(line);
    }
    guests::judge(&both, 2)?;
    ensure!(told == count as usize, "{told} of {count} moves told what they took");
    crate::progress::note(downtime::judge(&here, &there, told)?);
    Ok(())
}

/// Debian's xl moves a guest that writes its memory to the other host and back.
fn xl(room: &mut Room<'_>) -> Result<()> {
    on_debian(room, &[guests::XL_MIGRATE], "xl_migrate.sh", MOVES)
}

/// Debian's libvirt moves a guest from one host to another.
fn virsh(room: &mut Room<'_>) -> Result<()> {
    on_debian(room, &[guests::LIBVIRT, guests::VIRSH_MIGRATE], "virsh_migrate.sh", 1)
}

fn on_debian(room: &mut Room<'_>, scripts: &[guests::Script], name: &str, count: u32) -> Result<()> {
    room.args.mem = MEMORY;
    room.args.smp = CPUS;
    room.args.qemu_args.extend(guests::STEADY.map(Into::into));
    for script in [guests::LIB, guests::DEBIAN, guests::PAIR].iter().chain(scripts) {
        room.files.push((*script).into());
    }
    let command = |role: &str| format!("echo SCENARIO {role}; bash /paravane/{name} {role} {count}; true");
    let both = pair::exec(room, Root::Debian, &command("here"), &command("there"))?;
    guests::judge(&both.join("\n"), 2)
}
