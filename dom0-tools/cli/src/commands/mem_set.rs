//! `xlr mem-set`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use xenstore_client::Store;
use xl_config::Uuid;

use crate::context::Context;
use crate::life::layout::{domain_path, vm_path};
use crate::life::size::parse_kib;
use crate::lookup;

/// What stands behind `xlr mem-set`.
#[derive(Args, Debug)]
pub struct MemSetArgs {
    /// Name or id of the domain
    pub domain: String,
    /// Size: MiB unless it ends with t, g, m, k or b
    pub size: String,
}

/// What libxl lets a domain have beyond its target, in KiB.
const SLACK_KIB: u64 = 1024;
/// Less than this no Linux survives, in KiB.
const LEAST_KIB: u64 = 4096;

/// Runs the command.
pub fn run(args: &MemSetArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    let kib = parse_kib(&args.size)?;
    let (hypervisor, store) = context.both()?;
    let info = hypervisor.domain_info(domid)?;
    let path = format!("{}/memory", domain_path(domid));
    let most = match store
        .read_optional(&format!("{path}/static-max"))?
        .and_then(|text| text.parse().ok())
    {
        Some(kib) => kib,
        // Domain-0 has no such node until somebody sets its memory.
        None => info.max_pages.saturating_mul(4),
    };
    if kib < LEAST_KIB {
        bail!("{} is less than 4 MiB", args.size);
    }
    if kib > most {
        bail!(
            "{} is more than the domain's maximum of {} MiB; see maxmem=",
            args.size,
            most / 1024
        );
    }
    let video: u64 = store
        .read_optional(&format!("{path}/videoram"))?
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    if kib > info.tot_pages.saturating_mul(4) {
        let free = hypervisor.phys_info()?.free_pages.saturating_mul(4);
        let missing = kib - info.tot_pages * 4;
        if missing > free {
            bail!(
                "{} MiB more are needed and {} MiB are free",
                missing / 1024,
                free / 1024
            );
        }
    }
    // Domain-0's limit is the hypervisor's; a guest's follows its target.
    if domid != 0 {
        hypervisor.set_max_mem(domid, kib + SLACK_KIB)?;
    }
    let uuid = Uuid(info.uuid);
    store.transaction(|store| {
        if !store.exists(&format!("{path}/static-max"))? {
            store.write(&format!("{path}/static-max"), most.to_string())?;
        }
        store.write(&format!("{path}/target"), kib.saturating_sub(video).to_string())?;
        if store.exists(&vm_path(uuid))? {
            store.write(&format!("{}/memory", vm_path(uuid)), (kib / 1024).to_string())?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}
