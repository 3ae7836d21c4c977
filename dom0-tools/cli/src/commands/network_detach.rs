//! `xlr network-detach`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use xenstore_client::Store;
use xl_config::{MacAddress, Uuid};

use crate::context::Context;
use crate::failure::Failure;
use crate::life::devices::{Class, remove};
use crate::life::record::Records;
use crate::life::{DEVICE_TIME, Tools, attach};
use crate::lookup;

/// What stands behind `xlr network-detach`.
#[derive(Args, Debug)]
pub struct NetworkDetachArgs {
    /// Do not wait for the guest to let go
    #[arg(long)]
    pub force: bool,
    /// Name or id of the domain
    pub domain: String,
    /// Number of the interface, or its MAC address
    pub device: String,
}

/// Runs the command.
pub fn run(args: &NetworkDetachArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    let (hypervisor, store) = context.both()?;
    let mut found = None;
    for device in remove::devices_of(store, domid)?
        .into_iter()
        .filter(|device| device.class == Class::Vif)
    {
        let mac = store.read_optional(&format!("{}/mac", device.backend()))?;
        let wanted = args.device.parse::<MacAddress>().ok().map(|mac| mac.to_string());
        if args.device == device.devid.to_string() || wanted.is_some() && wanted == mac {
            found = Some(device);
        }
    }
    let Some(device) = found else {
        return Err(Failure::new(
            1,
            format!("Unknown device {}; see xlr network-list", args.device),
        ));
    };
    if args.force {
        remove::take_away(store, &[device], DEVICE_TIME)?;
    } else {
        remove::detach(store, &device, remove::CONSENT_TIME)?;
    }
    let records = Records::default();
    let uuid = Uuid(hypervisor.domain_info(domid)?.uuid);
    attach::remember(Tools::new(hypervisor, &records), uuid, |config| {
        config.vifs.retain(|vif| vif.devid != Some(device.devid));
    })?;
    Ok(ExitCode::SUCCESS)
}
