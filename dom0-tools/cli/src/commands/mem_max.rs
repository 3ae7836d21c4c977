//! `xlr mem-max`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use xenstore_client::Store;

use crate::context::Context;
use crate::life::layout::domain_path;
use crate::life::size::parse_kib;
use crate::lookup;

/// What stands behind `xlr mem-max`.
#[derive(Args, Debug)]
pub struct MemMaxArgs {
    /// Name or id of the domain
    pub domain: String,
    /// Size: MiB unless it ends with t, g, m, k or b
    pub size: String,
}

/// What libxl lets a domain have beyond its maximum, in KiB.
const SLACK_KIB: u64 = 1024;

/// Runs the command.
pub fn run(args: &MemMaxArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    let kib = parse_kib(&args.size)?;
    let (hypervisor, store) = context.both()?;
    let target = store.read_optional(&format!("{}/memory/target", domain_path(domid)))?;
    if let Some(target) = target
        .and_then(|text| text.parse::<u64>().ok())
        .filter(|&target| target > kib)
    {
        bail!(
            "{} is less than the domain's target of {} MiB; lower that first with mem-set",
            args.size,
            target / 1024
        );
    }
    hypervisor.set_max_mem(domid, kib + SLACK_KIB)?;
    Ok(ExitCode::SUCCESS)
}
