//! `xlr console`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use xenctrl::DomId;

use crate::console::{self, Options, parse_escape};
use crate::context::Context;
use crate::failure::Failure;
use crate::lookup;

/// Kinds of console.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The paravirtual console
    Pv,
    /// An emulated serial line, of HVM guests only
    Serial,
}

/// What stands behind `xlr console`.
#[derive(Args, Debug)]
pub struct ConsoleArgs {
    /// Kind of console
    #[arg(short = 't', value_name = "TYPE", value_enum, default_value_t = Kind::Pv)]
    pub kind: Kind,
    /// Number of the console
    #[arg(short = 'n', value_name = "NUMBER", default_value_t = 0)]
    pub number: u32,
    /// Character that, with ctrl, leaves the console
    #[arg(short = 'e', long, value_name = "CHAR", default_value = "^]", value_parser = parse_escape)]
    pub escape: u8,
    /// Seconds to wait for the console daemon to offer the console
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub wait: u64,
    /// When input from a pipe has ended: seconds of silence after which this ends, too
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    pub linger: u64,
    /// Name or id of the domain
    pub domain: String,
}

/// Runs the command.
pub fn run(args: &ConsoleArgs, context: &mut Context) -> Result<ExitCode> {
    if args.kind == Kind::Serial {
        return Err(Failure::new(
            1,
            "serial consoles belong to HVM guests, which there are none of: use -t pv",
        ));
    }
    let domid = lookup::domain(context, &args.domain)?;
    let options = Options {
        number: args.number,
        escape: args.escape,
        wait: Duration::from_secs(args.wait),
        linger: Duration::from_secs(args.linger),
        unpause: false,
    };
    console::attach(context, domid, &options)?;
    Ok(ExitCode::SUCCESS)
}

/// Attaches to a domain that was just made and is still paused, then lets it run if `unpause` says so. A domain whose
/// console cannot be had runs all the same: it was to be started.
///
/// # Errors
/// It has no console, or it cannot be unpaused.
pub fn attach_to_new(context: &mut Context, domid: DomId, unpause: bool) -> Result<ExitCode> {
    let options = Options {
        unpause,
        ..Options::default()
    };
    if let Err(error) = console::attach(context, domid, &options) {
        let control = context.hypervisor()?;
        if unpause && control.domain_info(domid).is_ok_and(|info| info.paused) {
            control.unpause_domain(domid)?;
        }
        return Err(error.context(format!("domain {domid} was made, but its console cannot be attached")));
    }
    Ok(ExitCode::SUCCESS)
}
