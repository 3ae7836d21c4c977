//! Debian's own tools on both hypervisors: short forms of `cargo xtask parity`.

use anyhow::{Result, ensure};

use super::super::room::Room;
use crate::parity::{self, ParityArgs};

fn compare(room: &mut Room<'_>, areas: &[&str]) -> Result<()> {
    let args = ParityArgs::plain(areas, room.shared.hv.clone(), room.limit());
    let matrix = parity::matrix(&args, &room.shared.over)?;
    room.keep_text(parity::terminal(&matrix));
    ensure!(matrix.holds(), "differences:\n{}", matrix.complaints());
    Ok(())
}

/// Areas that need no Linux guest.
pub fn short(room: &mut Room<'_>) -> Result<()> {
    compare(room, &["errors", "events", "information"])
}

/// All areas.
pub fn long(room: &mut Room<'_>) -> Result<()> {
    compare(room, &[])
}
