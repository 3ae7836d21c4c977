//! Dom0 under load: a static program (tests/dom0-load) that checks its own results.

use anyhow::{Result, ensure};

use super::super::room::Room;
use super::case::{Case, case, long};
use crate::guest_program;

/// The tests.
pub const CASES: &[Case] = &[
    case(
        "loads-1",
        1,
        40,
        "fork, mmap, signal, FPU and timer load on one vcpu",
        one,
    ),
    case("loads-2", 2, 50, "the same on two vcpus", two),
    case("loads-4", 2, 60, "the same on four vcpus that share two CPUs", four),
    long(case("loads-4-long", 2, 400, "the same, ten times as long", four_long)),
];

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
fn one(room: &mut Room<'_>) -> Result<()> {
    loaded(room, 1, 1)
}

/// Two vcpus on two CPUs.
fn two(room: &mut Room<'_>) -> Result<()> {
    loaded(room, 2, 1)
}

/// Four vcpus on two CPUs.
fn four(room: &mut Room<'_>) -> Result<()> {
    loaded(room, 4, 1)
}

/// For long.
fn four_long(room: &mut Room<'_>) -> Result<()> {
    loaded(room, 4, 10)
}
