//! `xlr create`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::console;
use crate::context::Context;
use crate::failure::{self, Failure};
use crate::life::create::{Created, Request};
use crate::life::record::Records;
use crate::life::{Tools, configuration, create, supervise, watch_end};

/// What stands behind `xlr create`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Configuration file; a bare NAME is also looked for as /etc/paravane/NAME.cfg and /etc/xen/NAME.cfg
    #[arg(value_name = "CONFIG | KEY=VALUE")]
    pub words: Vec<String>,
    /// Configuration file
    #[arg(short = 'f', long, value_name = "FILE")]
    pub defconfig: Option<String>,
    /// Leave the domain paused
    #[arg(short = 'p')]
    pub paused: bool,
    /// Attach to the console at once
    #[arg(short = 'c')]
    pub console: bool,
    /// Stay in the foreground until the domain has ended
    #[arg(short = 'F')]
    pub foreground: bool,
    /// Do not wait for the domain's death; the supervisor does that in any case
    #[arg(short = 'e')]
    pub exit_after_start: bool,
    /// Print only errors
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Tell more of what is done
    #[arg(short = 'd', hide = true)]
    pub debug: bool,
    /// Check the configuration and print what would be made, make nothing
    #[arg(short = 'n', long = "dryrun")]
    pub dry_run: bool,
    /// Accepted for scripts written for xl; PV guests here have no VNC display
    #[arg(short = 'V', long = "vncviewer", hide = true)]
    pub vnc: bool,
    /// Accepted for scripts written for xl
    #[arg(short = 'A', long = "vncviewer-autopass", hide = true)]
    pub vnc_autopass: bool,
    /// Accepted for scripts written for xl; there are no global masks
    #[arg(long = "ignore-global-affinity-masks", hide = true)]
    pub ignore_affinity: bool,
}

/// The code of xl where a domain cannot be made.
const CANNOT_CREATE: u8 = 3;

/// Runs the command.
pub fn run(args: &CreateArgs, context: &mut Context) -> Result<ExitCode> {
    let loaded = configuration::load(args.defconfig.as_deref(), &args.words, args.quiet)?;
    if !args.quiet {
        eprintln!("Parsing config from {}", loaded.source);
    }
    if args.dry_run || context.options.dry_run {
        println!("{}", serde_json::to_string_pretty(&loaded.config)?);
        return Ok(ExitCode::SUCCESS);
    }
    let request = Request {
        config: loaded.config,
        source: loaded.source,
        paused: args.paused || args.console,
    };
    let created = make(context, request).map_err(|error| match error.downcast::<Failure>() {
        Ok(failure) => failure.into(),
        Err(error) => Failure::new(CANNOT_CREATE, failure::text(&error)),
    })?;
    if args.console {
        return console::attach_to_new(context, created.domid, !args.paused);
    }
    if args.foreground {
        let (hypervisor, store) = context.both()?;
        watch_end::wait_dead(hypervisor, store, created.uuid)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn make(context: &mut Context, request: Request) -> Result<Created> {
    let records = Records::default();
    supervise::ensure()?;
    let (hypervisor, store) = context.both()?;
    create::create(Tools::new(hypervisor, &records), store, request)
}
