//! `xlr reboot`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::context::Context;
use crate::life::control::{Request, ask_to_end};

/// What stands behind `xlr reboot`.
#[derive(Args, Debug)]
pub struct RebootArgs {
    /// All guests
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Wait until the domain has ended for its restart
    #[arg(short = 'w', long, action = clap::ArgAction::Count)]
    pub wait: u8,
    /// Fall back to an ACPI event; PV guests have none
    #[arg(short = 'F')]
    pub fallback: bool,
    /// Name or id of the domain
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub domain: Option<String>,
}

/// Runs the command.
pub fn run(args: &RebootArgs, context: &mut Context) -> Result<ExitCode> {
    ask_to_end(context, Request::Reboot, args.domain.as_deref(), args.wait)?;
    Ok(ExitCode::SUCCESS)
}
