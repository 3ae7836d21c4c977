//! `xlr restore`.

use std::fs::File;
use std::io::BufReader;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use migration_stream::Source;

use super::console;
use crate::context::Context;
use crate::failure::{self, Failure};
use crate::life::create::Request;
use crate::life::record::Records;
use crate::life::{Tools, configuration, supervise, watch_end};
use crate::migrate::image;
use crate::migrate::progress::Progress;

/// What stands behind `xlr restore`.
#[derive(Args, Debug)]
pub struct RestoreArgs {
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
    /// Accepted for scripts written for xl; PV guests here have no VNC display
    #[arg(short = 'V', long = "vncviewer", hide = true)]
    pub vnc: bool,
    /// Accepted for scripts written for xl
    #[arg(short = 'A', long = "vncviewer-autopass", hide = true)]
    pub vnc_autopass: bool,
    /// Configuration to be used in the place of the saved one, and the saved domain's file
    #[arg(value_name = "[CONFIG] FILE", num_args = 1..=2, required = true)]
    pub files: Vec<String>,
}

/// The code of xl where a domain cannot be made.
const CANNOT_CREATE: u8 = 3;

/// Runs the command.
pub fn run(args: &RestoreArgs, context: &mut Context) -> Result<ExitCode> {
    let (config, path) = match &args.files[..] {
        [config, path] => (Some(config), path),
        [path] => (None, path),
        _ => return Err(Failure::new(2, "restore takes a file, or a configuration and a file")),
    };
    let file = File::open(path).with_context(|| format!("cannot read {path}"))?;
    let mut from = Source::new(BufReader::with_capacity(1 << 20, file));
    let (mut saved, header) = image::read_configuration(&mut from).with_context(|| path.clone())?;
    if !args.quiet {
        let (mandatory, optional, len) = header.info;
        eprintln!("Loading new save file {path} (new xl fmt info 0x{mandatory:x}/0x{optional:x}/{len})");
        eprintln!(" Savefile contains xl domain config in JSON format");
        eprintln!("Parsing config from {}", config.map_or("<saved>", |config| config));
    }
    if let Some(config) = config {
        let uuid = saved.uuid;
        saved = configuration::load(Some(config), &[], args.quiet)?.config;
        saved.uuid = saved.uuid.or(uuid);
    }
    let request = Request {
        config: saved,
        source: path.clone(),
        paused: args.paused || args.console,
    };
    let mut progress = Progress::new("restoring", args.quiet);
    supervise::ensure()?;
    let records = Records::default();
    let (hypervisor, store) = context.both()?;
    let tools = Tools::new(hypervisor, &records);
    let created = image::restore(tools, store, request, &mut from, &mut progress)
        .map_err(|error| Failure::new(CANNOT_CREATE, failure::text(&error)))?;
    if args.console {
        return console::attach_to_new(context, created.domid, !args.paused);
    }
    if args.foreground {
        let (hypervisor, store) = context.both()?;
        watch_end::wait_dead(hypervisor, store, created.uuid)?;
    }
    Ok(ExitCode::SUCCESS)
}
