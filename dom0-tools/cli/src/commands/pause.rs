//! `xlr pause`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::context::Context;
use crate::lookup;

/// What stands behind `xlr pause`.
#[derive(Args, Debug)]
pub struct PauseArgs {
    /// Name or id of the domain
    pub domain: String,
}

/// Runs the command.
pub fn run(args: &PauseArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    context.hypervisor()?.pause_domain(domid)?;
    Ok(ExitCode::SUCCESS)
}
