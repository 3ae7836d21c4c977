//! `xlr vcpu-pin`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use xenctrl::CpuMap;
use xl_config::{CpuList, Host};

use crate::context::Context;
use crate::failure::Failure;
use crate::life::tune;
use crate::lookup;

/// What stands behind `xlr vcpu-pin`.
#[derive(Args, Debug)]
pub struct VcpuPinArgs {
    /// Also undo a temporary pinning by the guest
    #[arg(short = 'f', long)]
    pub force: bool,
    /// Name or id of the domain
    pub domain: String,
    /// Number of the vcpu, or all
    pub vcpu: String,
    /// CPUs it may run on: 0,2-4,^3, all, or - to leave them
    #[arg(allow_hyphen_values = true)]
    pub hard: String,
    /// CPUs it should run on
    #[arg(allow_hyphen_values = true)]
    pub soft: Option<String>,
    /// Accepted for scripts written for xl; there are no global masks
    #[arg(long = "ignore-global-affinity-masks", hide = true)]
    pub ignore_affinity: bool,
}

/// Runs the command.
pub fn run(args: &VcpuPinArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    let dry_run = context.options.dry_run;
    let hypervisor = context.hypervisor()?;
    let host = tune::host(hypervisor)?;
    let hard = cpus(&args.hard, &host)?;
    let soft = args
        .soft
        .as_deref()
        .map(|text| cpus(text, &host))
        .transpose()?
        .flatten();
    let most = hypervisor.domain_info(domid)?.max_vcpu_id.saturating_add(1);
    let vcpus = match &*args.vcpu {
        "all" => 0..most,
        text => {
            let vcpu = text.parse().ok().filter(|&vcpu: &u32| vcpu < most);
            let vcpu = vcpu.ok_or_else(|| Failure::new(1, format!("{text:?} is no vcpu of a domain with {most}")))?;
            vcpu..vcpu + 1
        }
    };
    if dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    for vcpu in vcpus {
        let set = hypervisor.set_vcpu_affinity(domid, vcpu, hard.as_ref(), soft.as_ref());
        set.with_context(|| format!("vcpu {vcpu}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn cpus(text: &str, host: &Host) -> Result<Option<CpuMap>> {
    if text == "-" {
        return Ok(None);
    }
    let list: CpuList = text.parse().map_err(|message: String| anyhow!(message))?;
    tune::resolve(&list, host).map(Some)
}
