//! `xlr rename`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use xl_config::Uuid;

use crate::context::Context;
use crate::failure::Failure;
use crate::life::record::Records;
use crate::life::{Tools, name};
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
    let wanted = &args.new_name;
    let is_name = !wanted.is_empty() && wanted.len() <= 80 && !wanted.contains(|c: char| c.is_control() || c == '/');
    if !is_name || wanted.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Failure::new(
            1,
            format!("{wanted:?} is no name; use 1 to 80 characters, no slash, not digits only"),
        ));
    }
    let (hypervisor, store) = context.both()?;
    let uuid = Uuid(hypervisor.domain_info(domid)?.uuid);
    let records = Records::default();
    name::give(Tools::new(hypervisor, &records), store, domid, uuid, wanted)?;
    Ok(ExitCode::SUCCESS)
}
