//! `xlr migrate-receive`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::context::Context;
use crate::life::record::Records;
use crate::life::{Tools, supervise};
use crate::message;
use crate::migrate::progress::Progress;
use crate::migrate::receiver;
use crate::migrate::transport::Transport;

/// What stands behind `xlr migrate-receive`.
#[derive(Args, Debug)]
pub struct MigrateReceiveArgs {
    /// Leave the domain paused
    #[arg(short = 'p')]
    pub paused: bool,
    /// Accepted as xl has it
    #[arg(short = 'e', hide = true)]
    pub exit_after_start: bool,
    /// Accepted as xl has it
    #[arg(short = 'd', hide = true)]
    pub debug: bool,
    /// Wait for one sender at this address in the place of standard input; whoever connects is believed
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Print only errors
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

/// Runs the command.
pub fn run(args: &MigrateReceiveArgs, context: &mut Context) -> Result<ExitCode> {
    supervise::ensure()?;
    let mut transport = match &args.listen {
        Some(address) => Transport::listen(address)?,
        None => Transport::inherited()?,
    };
    let records = Records::default();
    let (hypervisor, store) = context.both()?;
    let tools = Tools::new(hypervisor, &records);
    let mut progress = Progress::new("receiving", args.quiet);
    let name = receiver::receive(tools, store, &mut transport, args.paused, &mut progress)?;
    if !args.quiet {
        message::say(format_args!("{name} has moved here"));
    }
    Ok(ExitCode::SUCCESS)
}
