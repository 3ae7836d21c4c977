//! `xlr unpause`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::context::Context;
use crate::lookup;

/// What stands behind `xlr unpause`.
#[derive(Args, Debug)]
pub struct UnpauseArgs {
    /// Name or id of the domain
    pub domain: String,
}

/// Runs the command.
pub fn run(args: &UnpauseArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    context.hypervisor()?.unpause_domain(domid)?;
    Ok(ExitCode::SUCCESS)
}
