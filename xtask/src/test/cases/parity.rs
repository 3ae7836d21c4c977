//! Debian's own tools on both hypervisors: short forms of `cargo xtask parity`.

use anyhow::{Result, ensure};

use super::super::room::Room;
use super::case::{Case, case, long};
use crate::parity::{self, ParityArgs};

/// The tests.
pub const CASES: &[Case] = &[
    case(
        "parity",
        2,
        240,
        "Debian's own tools print the same on both hypervisors: errors, events and xenstore, information",
        short,
    ),
    long(case("parity-long", 2, 2400, "the same, all areas", whole)),
];

fn compare(room: &mut Room<'_>, areas: &[&str]) -> Result<()> {
    let args = ParityArgs::plain(areas, room.shared.hv.clone(), room.limit());
    let matrix = parity::matrix(&args, &room.shared.over)?;
    room.keep_text(parity::terminal(&matrix));
    ensure!(matrix.holds(), "differences:\n{}", matrix.complaints());
    Ok(())
}

/// Areas that need no Linux guest.
fn short(room: &mut Room<'_>) -> Result<()> {
    compare(room, &["errors", "events", "information"])
}

/// All areas.
fn whole(room: &mut Room<'_>) -> Result<()> {
    compare(room, &[])
}
