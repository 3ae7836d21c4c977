//! `xlr network-attach`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use xenstore_client::Store;
use xl_config::{Uuid, Vif};

use crate::context::Context;
use crate::life::devices::backend::is_free;
use crate::life::devices::remove;
use crate::life::devices::vif::PreparedVif;
use crate::life::layout::domain_path;
use crate::life::record::Records;
use crate::life::{DEVICE_TIME, Tools, attach, random};
use crate::lookup;

/// What stands behind `xlr network-attach`.
#[derive(Args, Debug)]
pub struct NetworkAttachArgs {
    /// Name or id of the domain
    pub domain: String,
    /// Interface as in a configuration file; parts are joined with commas
    pub vif: Vec<String>,
}

/// Runs the command.
pub fn run(args: &NetworkAttachArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    let text = args.vif.join(",");
    let mut vif: Vif = text.parse().map_err(|message: String| anyhow!("{text}: {message}"))?;
    if vif.mac.is_none() {
        vif.mac = Some(random::mac()?);
    }
    let (hypervisor, store) = context.both()?;
    if vif.devid.is_none() {
        let taken = store.directory_or_empty(&format!("{}/device/vif", domain_path(domid)))?;
        vif.devid = (0..).find(|number: &u32| !taken.contains(&number.to_string()));
    }
    let uuid = Uuid(hypervisor.domain_info(domid)?.uuid);
    let backend = attach::backend_domid(hypervisor, store, vif.backend.as_deref())?;
    let prepared = PreparedVif::new(&vif, domid, backend)?;
    let device = prepared.device;
    if !is_free(store, &device)? {
        bail!("{device} is there already; see xlr network-list");
    }
    let nodes = prepared.nodes();
    store.transaction(|store| nodes.write(store))?;
    if let Err(error) = prepared.finish(store, DEVICE_TIME) {
        remove::take_away(store, &[device], DEVICE_TIME).context("and it could not be taken away again")?;
        return Err(error);
    }
    let records = Records::default();
    attach::remember(Tools::new(hypervisor, &records), uuid, |config| {
        config.vifs.push(vif.clone())
    })?;
    Ok(ExitCode::SUCCESS)
}
