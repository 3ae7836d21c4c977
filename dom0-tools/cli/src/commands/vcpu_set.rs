//! `xlr vcpu-set`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use xenstore_client::Store;

use crate::context::Context;
use crate::life::layout::domain_path;
use crate::lookup;

/// What stands behind `xlr vcpu-set`.
#[derive(Args, Debug)]
pub struct VcpuSetArgs {
    /// Name or id of the domain
    pub domain: String,
    /// How many
    pub count: u32,
    /// Allow more than the machine has CPUs
    #[arg(short = 'i', long = "ignore-host")]
    pub ignore_host: bool,
}

/// Runs the command.
pub fn run(args: &VcpuSetArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    if args.count == 0 {
        bail!("a domain keeps at least one vcpu");
    }
    let (hypervisor, store) = context.both()?;
    let most = hypervisor.domain_info(domid)?.max_vcpu_id.saturating_add(1);
    if args.count > most {
        bail!(
            "{} is more than the {most} vcpus that the domain was made with; see maxvcpus=",
            args.count
        );
    }
    let cpus = hypervisor.phys_info()?.nr_cpus;
    if args.count > cpus && !args.ignore_host {
        bail!(
            "{} is more than the machine's {cpus} CPUs; use -i to allow it",
            args.count
        );
    }
    let path = domain_path(domid);
    store.transaction(|store| {
        for vcpu in 0..most {
            let availability = if vcpu < args.count { "online" } else { "offline" };
            store.write(&format!("{path}/cpu/{vcpu}/availability"), availability)?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}
