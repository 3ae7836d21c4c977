//! `xlr supervise`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::context::Context;
use crate::life::record::Records;
use crate::life::{Tools, supervise};
use crate::message;

/// What stands behind `xlr supervise`.
#[derive(Args, Debug)]
pub struct SuperviseArgs {
    /// Stay in the foreground
    #[arg(short = 'F', long)]
    pub foreground: bool,
    /// Leave the session of who started it
    #[arg(long, hide = true)]
    pub detach: bool,
}

/// Runs the command.
pub fn run(args: &SuperviseArgs, context: &mut Context) -> Result<ExitCode> {
    if !args.foreground {
        match supervise::take_place()? {
            None => message::say("there is a supervisor already"),
            Some(place) => {
                drop(place);
                supervise::start()?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.detach {
        nix::unistd::setsid().context("the session cannot be left")?;
    }
    // Started by another xlr, it goes when there is one already. Started by init, it waits for its turn, and is there
    // when the other one ends.
    let place = if args.detach {
        supervise::take_place_soon()?
    } else {
        Some(supervise::wait_for_place()?)
    };
    let Some(mut place) = place else {
        return Ok(ExitCode::SUCCESS);
    };
    place.sign()?;
    let records = Records::default();
    let (hypervisor, store) = context.both()?;
    let tools = Tools::new(hypervisor, &records);
    supervise::run(tools, store)?;
    Ok(ExitCode::SUCCESS)
}
