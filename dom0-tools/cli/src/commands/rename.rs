//! `xlr rename`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use xenctrl::DomId;
use xenstore_client::Store;
use xl_config::Uuid;

use crate::context::Context;
use crate::failure::Failure;
use crate::life::layout::{domain_path, vm_path};
use crate::life::record::Records;
use crate::lookup;

/// What stands behind `xlr rename`.
#[derive(Args, Debug)]
pub struct RenameArgs {
    /// Name or id of the domain
    pub domain: String,
    /// The new name
    pub new_name: String,
}

/// Runs the command.
pub fn run(args: &RenameArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    let name = &args.new_name;
    let is_name = !name.is_empty() && name.len() <= 80 && !name.contains(|c: char| c.is_control() || c == '/');
    if !is_name || name.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Failure::new(
            1,
            format!("{name:?} is no name; use 1 to 80 characters, no slash, not digits only"),
        ));
    }
    let (hypervisor, store) = context.both()?;
    let uuid = Uuid(hypervisor.domain_info(domid)?.uuid);
    let owner = store.transaction(|store| {
        for number in store.directory_or_empty("/local/domain")? {
            let owner: DomId = number.parse().unwrap_or(domid);
            let taken = store.read_optional(&format!("{}/name", domain_path(owner)))?;
            if owner != domid && taken.as_deref() == Some(name) {
                return Ok(Some(owner));
            }
        }
        store.write(&format!("{}/name", domain_path(domid)), name)?;
        if store.exists(&vm_path(uuid))? {
            store.write(&format!("{}/name", vm_path(uuid)), name)?;
        }
        Ok(None)
    })?;
    if let Some(owner) = owner {
        bail!("the name {name:?} is taken by domain {owner}");
    }
    let records = Records::default();
    if let Some(mut record) = records.load(uuid)? {
        record.config.name.clone_from(name);
        records.save(&record)?;
    }
    Ok(ExitCode::SUCCESS)
}
