//! `xlr block-detach`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use xl_config::{Uuid, VirtualDevice};

use crate::context::Context;
use crate::failure::Failure;
use crate::life::devices::{Class, remove};
use crate::life::record::Records;
use crate::life::{DEVICE_TIME, Tools, attach};
use crate::lookup;

/// What stands behind `xlr block-detach`.
#[derive(Args, Debug)]
pub struct BlockDetachArgs {
    /// Do not wait for the guest to let go
    #[arg(long)]
    pub force: bool,
    /// Name or id of the domain
    pub domain: String,
    /// Name in the guest (xvda) or number of the device
    pub device: String,
}

/// Runs the command.
pub fn run(args: &BlockDetachArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    let (hypervisor, store) = context.both()?;
    let wanted = args.device.parse::<VirtualDevice>().ok();
    let devices = remove::devices_of(store, domid)?;
    let mut disks = devices.iter().filter(|device| device.class != Class::Vif);
    let Some(device) = disks.find(|device| wanted.as_ref().is_some_and(|wanted| wanted.number == device.devid)) else {
        return Err(Failure::new(
            1,
            format!("Device {} not connected; see xlr block-list", args.device),
        ));
    };
    if args.force {
        remove::take_away(store, &[*device], DEVICE_TIME)?;
    } else {
        remove::detach(store, device, remove::CONSENT_TIME)?;
    }
    let records = Records::default();
    let uuid = Uuid(hypervisor.domain_info(domid)?.uuid);
    attach::remember(Tools::new(hypervisor, &records), uuid, |config| {
        config.disks.retain(|disk| disk.vdev.number != device.devid);
    })?;
    Ok(ExitCode::SUCCESS)
}
