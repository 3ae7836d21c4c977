//! `xlr destroy`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use xl_config::Uuid;

use crate::context::Context;
use crate::life::record::Records;
use crate::life::{Tools, teardown};
use crate::lookup;

/// What stands behind `xlr destroy`.
#[derive(Args, Debug)]
pub struct DestroyArgs {
    /// Allow Domain-0 to be named (it is refused all the same: a domain cannot destroy itself)
    #[arg(short = 'f')]
    pub force: bool,
    /// Name or id of the domain
    pub domain: String,
}

/// Runs the command.
pub fn run(args: &DestroyArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    if domid == 0 {
        bail!("Domain-0 cannot be destroyed from Domain-0; use poweroff or reboot");
    }
    let records = Records::default();
    let (hypervisor, store) = context.both()?;
    let uuid = Uuid(hypervisor.domain_info(domid)?.uuid);
    // The supervisor leaves a domain alone whose lock is held; when it is held by another, that one is at the same work.
    let lock = records.lock(uuid)?;
    teardown::tear_down(Tools::new(hypervisor, &records), store, uuid, Some(domid))?;
    records.remove(uuid)?;
    if let Some(lock) = lock {
        lock.release();
    }
    Ok(ExitCode::SUCCESS)
}
