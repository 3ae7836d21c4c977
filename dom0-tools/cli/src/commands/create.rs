//! `xlr create`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::start::StartArgs;
use crate::context::Context;
use crate::life::create::{Created, Request};
use crate::life::record::Records;
use crate::life::{Tools, configuration, create, supervise};

/// What stands behind `xlr create`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Configuration file; a bare NAME is also looked for as /etc/paravane/NAME.cfg and /etc/xen/NAME.cfg
    #[arg(value_name = "CONFIG | KEY=VALUE")]
    pub words: Vec<String>,
    /// Configuration file
    #[arg(short = 'f', long, value_name = "FILE")]
    pub defconfig: Option<String>,
    /// How it is started
    #[command(flatten)]
    pub start: StartArgs,
    /// Check the configuration and print what would be made, make nothing
    #[arg(short = 'n', long = "dryrun")]
    pub dry_run: bool,
    /// Accepted for scripts written for xl; there are no global masks
    #[arg(long = "ignore-global-affinity-masks", hide = true)]
    pub ignore_affinity: bool,
}

/// Runs the command.
pub fn run(args: &CreateArgs, context: &mut Context) -> Result<ExitCode> {
    let loaded = configuration::load(args.defconfig.as_deref(), &args.words, args.start.quiet)?;
    if !args.start.quiet {
        eprintln!("Parsing config from {}", loaded.source);
    }
    if args.dry_run || context.options.dry_run {
        println!("{}", serde_json::to_string_pretty(&loaded.config)?);
        return Ok(ExitCode::SUCCESS);
    }
    let request = Request {
        config: loaded.config,
        source: loaded.source,
        paused: args.start.made_paused(),
    };
    let made = make(context, request);
    args.start.follow(context, made)
}

fn make(context: &mut Context, request: Request) -> Result<Created> {
    let records = Records::default();
    supervise::ensure()?;
    let (hypervisor, store) = context.both()?;
    create::create(Tools::new(hypervisor, &records), store, request)
}
