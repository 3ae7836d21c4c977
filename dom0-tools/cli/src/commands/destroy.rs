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
    let records = Records::default();
    let uuid = find_uuid(context, &records, &args.domain)?;
    // Who holds the lock makes the domain, or makes it again: its work is undone when it is done.
    let lock = records.wait_for_lock(uuid)?;
    let (hypervisor, store) = context.both()?;
    let domid = records.load(uuid)?.and_then(|record| record.domid);
    teardown::tear_down(Tools::new(hypervisor, &records), store, uuid, domid)?;
    records.remove(uuid)?;
    lock.release();
    Ok(ExitCode::SUCCESS)
}

/// The UUID of the domain called `text`. In the middle of a restart only its record has the name.
fn find_uuid(context: &mut Context, records: &Records, text: &str) -> Result<Uuid> {
    let (hypervisor, store) = context.both()?;
    let Some(domid) = lookup::find(hypervisor, store, text)? else {
        let record = records.by_name(text)?;
        return record.map(|record| record.uuid).ok_or_else(|| lookup::unknown(text));
    };
    if domid == 0 {
        bail!("Domain-0 cannot be destroyed from Domain-0; use poweroff or reboot");
    }
    match hypervisor.domain_info(domid) {
        Ok(info) => Ok(Uuid(info.uuid)),
        Err(error) if error.is_no_domain() => Err(lookup::unknown(text)),
        Err(error) => Err(error.into()),
    }
}
