//! `xlr block-attach`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use xl_config::{Disk, Uuid};

use crate::context::Context;
use crate::life::devices::backend::is_free;
use crate::life::devices::disk::PreparedDisk;
use crate::life::devices::presence::Presence;
use crate::life::devices::remove;
use crate::life::record::Records;
use crate::life::{DEVICE_TIME, Tools, attach};
use crate::lookup;

/// What stands behind `xlr block-attach`.
#[derive(Args, Debug)]
pub struct BlockAttachArgs {
    /// Name or id of the domain
    pub domain: String,
    /// Disk as in a configuration file; parts are joined with commas
    #[arg(required = true)]
    pub disk: Vec<String>,
}

/// Runs the command.
pub fn run(args: &BlockAttachArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    let text = args.disk.join(",");
    let disk: Disk = text.parse().map_err(|message: String| anyhow!("{text}: {message}"))?;
    if context.options.dry_run {
        println!("{}", serde_json::to_string_pretty(&disk)?);
        return Ok(ExitCode::SUCCESS);
    }
    let (hypervisor, store) = context.both()?;
    let uuid = Uuid(hypervisor.domain_info(domid)?.uuid);
    let backend = attach::backend_domid(hypervisor, store, disk.backend.as_deref())?;
    let prepared = PreparedDisk::new(store, &disk, domid, backend)?;
    let device = prepared.device;
    if !is_free(store, &device)? {
        bail!("{} of domain {domid} is there already; see xlr block-list", disk.vdev);
    }
    let nodes = prepared.nodes();
    store.transaction(|store| nodes.write(store))?;
    if let Err(error) = prepared.finish(store, &Presence::new(), DEVICE_TIME) {
        remove::take_away(store, &[device], DEVICE_TIME).context("and it could not be taken away again")?;
        return Err(error);
    }
    let records = Records::default();
    attach::remember(Tools::new(hypervisor, &records), uuid, |config| {
        config.disks.retain(|known| known.vdev.number != disk.vdev.number);
        config.disks.push(disk.clone());
    })?;
    Ok(ExitCode::SUCCESS)
}
