//! Dom0 under load: a static program (tests/dom0-load) that checks its own results.

use anyhow::{Result, ensure};

use super::super::room::Room;
use crate::guest_program;

fn loaded(room: &mut Room<'_>, vcpus: u32, rounds: u32) -> Result<()> {
    room.args.hv_append = format!("dom0_max_vcpus={vcpus}");
    let program = guest_program::dom0_load()?;
    room.add_file("dom0-load", &program)?;
    let output = room.must(&format!("nproc; /paravane/dom0-load {rounds}"))?;
    ensure!(
        output.starts_with(&format!("{vcpus}\n")),
        "Dom0 has other than {vcpus} vcpus: {output}"
    );
    for load in ["fork", "mmap", "signal", "fpu", "timer", "threads"] {
        ensure!(
            output.contains(&format!("{load}: ok")),
            "{load} did not end well: {output}"
        );
    }
    Ok(())
}

/// One vcpu.
pub fn one(room: &mut Room<'_>) -> Result<()> {
    loaded(room, 1, 1)
}

/// Two vcpus on two CPUs.
pub fn two(room: &mut Room<'_>) -> Result<()> {
    loaded(room, 2, 1)
}

/// Four vcpus on two CPUs.
pub fn four(room: &mut Room<'_>) -> Result<()> {
    loaded(room, 4, 1)
}

/// For long.
pub fn four_long(room: &mut Room<'_>) -> Result<()> {
    loaded(room, 4, 10)
}
