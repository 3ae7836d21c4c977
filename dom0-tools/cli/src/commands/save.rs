//! `xlr save`.

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use migration_stream::xl;
use xenctrl::DomId;
use xl_config::Uuid;

use crate::context::Context;
use crate::life::record::Records;
use crate::life::{Tools, configuration, teardown};
use crate::migrate::progress::Progress;
use crate::migrate::{image, libxl_config, suspend};
use crate::{failure, lookup, message};

/// What stands behind `xlr save`.
#[derive(Args, Debug)]
pub struct SaveArgs {
    /// Let the domain go on running after it was saved
    #[arg(short = 'c')]
    pub checkpoint: bool,
    /// Keep the domain, paused, after it was saved
    #[arg(short = 'p')]
    pub paused: bool,
    /// Print only errors
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Name or id of the domain
    pub domain: String,
    /// The file to be written
    pub file: String,
    /// Configuration to be saved in the place of the one it has now
    pub config: Option<String>,
}

/// Runs the command.
pub fn run(args: &SaveArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    if domid == 0 {
        bail!("Domain-0 cannot be saved");
    }
    let records = Records::default();
    let (hypervisor, store) = context.both()?;
    let uuid = Uuid(hypervisor.domain_info(domid)?.uuid);
    let lock = records.wait_for_lock(uuid)?;
    let config = match &args.config {
        Some(path) => serde_json::to_vec_pretty(&libxl_config::write(
            &configuration::load(Some(path), &[], args.quiet)?.config,
        )?)?,
        None => image::configuration(hypervisor, store, &records, domid)?,
    };
    let tools = Tools::new(hypervisor, &records);
    let mut progress = Progress::new("saving", args.quiet);
    let mut suspended = false;
    let mut write = || -> Result<()> {
        let file = File::create(&args.file).with_context(|| format!("cannot write {}", args.file))?;
        let mut to = io::BufWriter::with_capacity(1 << 20, &file);
        let (mandatory, optional, len) = xl::write(&mut to, &config)?;
        if !args.quiet {
            eprintln!(
                "Saving to {} new xl format (info 0x{mandatory:x}/0x{optional:x}/{len})",
                args.file
            );
        }
        image::write(hypervisor, domid, &mut to, &mut progress, false, &mut || {
            suspended = true;
            suspend::suspend(hypervisor, store, domid)
        })?;
        to.flush()?;
        // Before the domain goes, its image must be safe. Pipes and the like cannot be synchronised.
        if file.metadata()?.is_file() {
            file.sync_all()?;
        }
        Ok(())
    };
    if let Err(error) = write() {
        return Err(give_up(args, context, domid, suspended, error));
    }
    if args.checkpoint || args.paused {
        if args.paused {
            hypervisor.pause_domain(domid)?;
        }
        suspend::resume(hypervisor, store, domid)?;
    } else {
        teardown::tear_down(tools, store, uuid, Some(domid))?;
        records.remove(uuid)?;
    }
    lock.release();
    Ok(ExitCode::SUCCESS)
}

/// The domain goes on, and what was written of it goes.
fn give_up(
    args: &SaveArgs,
    context: &mut Context,
    domid: DomId,
    suspended: bool,
    error: anyhow::Error,
) -> anyhow::Error {
    if std::fs::metadata(&args.file).is_ok_and(|file| file.is_file()) {
        // Half an image is of no use to anybody.
        let _ = std::fs::remove_file(&args.file);
    }
    let error = error.context("the domain cannot be saved");
    let Ok((hypervisor, store)) = context.both() else {
        return error;
    };
    let is_suspended = hypervisor
        .domain_info(domid)
        .is_ok_and(|info| info.shutdown == Some(xenctrl::ShutdownReason::Suspend));
    if suspended && is_suspended {
        message::say("Failed to save domain, resuming domain");
        if let Err(second) = suspend::resume(hypervisor, store, domid) {
            return error.context(format!("and it cannot go on ({})", failure::text(&second)));
        }
    }
    error
}
