//! `xlr restore`.

use std::fs::File;
use std::io::BufReader;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use migration_stream::Source;

use super::start::StartArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::life::create::Request;
use crate::life::record::Records;
use crate::life::{Tools, configuration, supervise};
use crate::migrate::image;
use crate::migrate::progress::Progress;

/// What stands behind `xlr restore`.
#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// How it is started
    #[command(flatten)]
    pub start: StartArgs,
    /// Configuration to be used in the place of the saved one, and the saved domain's file
    #[arg(value_name = "[CONFIG] FILE", num_args = 1..=2, required = true)]
    pub files: Vec<String>,
}

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
    if !args.start.quiet {
        let (mandatory, optional, len) = header.info;
        eprintln!("Loading new save file {path} (new xl fmt info 0x{mandatory:x}/0x{optional:x}/{len})");
        eprintln!(" Savefile contains xl domain config in JSON format");
        eprintln!("Parsing config from {}", config.map_or("<saved>", |config| config));
    }
    if let Some(config) = config {
        let uuid = saved.uuid;
        saved = configuration::load(Some(config), &[], args.start.quiet)?.config;
        saved.uuid = saved.uuid.or(uuid);
    }
    let request = Request {
        config: saved,
        source: path.clone(),
        paused: args.start.made_paused(),
    };
    let mut progress = Progress::new("restoring", args.start.quiet);
    supervise::ensure()?;
    let records = Records::default();
    let (hypervisor, store) = context.both()?;
    let tools = Tools::new(hypervisor, &records);
    let made = image::restore(tools, store, request, &mut from, &mut progress);
    args.start.follow(context, made)
}
