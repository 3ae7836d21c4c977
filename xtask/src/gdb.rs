//! `cargo xtask gdb`: a debugger at a machine that `run --gdb` holds.

use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Args;

use crate::image;
use crate::run::GDB_PORT;
use crate::setup;
use crate::workspace::{self, Scratch};

const COMMANDS: &str = include_str!("paravane.gdb");

/// Options of `gdb`.
#[derive(Args, Clone, Debug)]
pub struct GdbArgs {
    /// A debugger command to run at the start; may be given several times
    #[arg(long = "ex", value_name = "COMMAND")]
    commands: Vec<String>,
    /// End after those commands
    #[arg(long)]
    batch: bool,
}

/// Attaches.
pub fn gdb(args: &GdbArgs) -> Result<ExitCode> {
    let program = setup::program(
        "gdb",
        "gdb",
        "attach another debugger to the port that `run --gdb` names",
    )?;
    let elf64 = workspace::image_dir().join("paravane.elf64");
    let elf64 = if elf64.is_file() {
        elf64
    } else {
        image::up_to_date()?.elf64
    };
    let scratch = Scratch::new()?;
    let script = scratch.path().join("paravane.gdb");
    std::fs::write(&script, COMMANDS)?;
    let mut line = Command::new(program);
    line.args(["-q", "-nx"]).arg(&elf64).arg("-x").arg(&script);
    line.args(["-ex", &format!("target remote 127.0.0.1:{GDB_PORT}")]);
    for command in &args.commands {
        line.args(["-ex", command]);
    }
    if args.batch {
        line.arg("-batch");
    }
    // The debugger has said itself what was wrong.
    let status = line.status()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
