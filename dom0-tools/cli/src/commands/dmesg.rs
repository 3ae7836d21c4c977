//! `xlr dmesg`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use xenctrl::Machine;

use crate::context::Context;
use crate::view::json;

/// What stands behind `xlr dmesg`.
#[derive(Args, Debug)]
pub struct DmesgArgs {
    /// Empty the ring afterwards
    #[arg(short = 'c', long)]
    pub clear: bool,
    /// Print an array of lines as JSON
    #[arg(long)]
    pub json: bool,
}

/// Bytes read at once. No ring is known to be larger; if one is, it is read in pieces.
const ROOM: usize = 1 << 20;

/// Runs the command.
pub fn run(args: &DmesgArgs, context: &mut Context) -> Result<ExitCode> {
    let control = context.hypervisor()?;
    let bytes = read_ring(control)?;
    if args.clear {
        control.read_console(true, false, 0, 1)?;
    }
    let text = String::from_utf8_lossy(&bytes);
    if args.json {
        return json::print(&text.lines().collect::<Vec<_>>());
    }
    json::print_text(&text)
}

/// All that the ring holds.
fn read_ring(control: &(impl Machine + ?Sized)) -> Result<Vec<u8>> {
    let (mut bytes, mut index) = (Vec::new(), 0);
    loop {
        let piece = control.read_console(false, true, index, ROOM)?;
        if piece.bytes.is_empty() {
            return Ok(bytes);
        }
        bytes.extend(&piece.bytes);
        // A hypervisor that does not move the index would be read for ever.
        if piece.index == index || piece.bytes.len() < ROOM {
            return Ok(bytes);
        }
        index = piece.index;
    }
}
