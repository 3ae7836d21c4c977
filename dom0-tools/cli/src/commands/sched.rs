//! `xlr sched`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use xenctrl::{DomId, SchedParams};

use crate::context::Context;
use crate::failure::Failure;
use crate::lookup;
use crate::view::json;

/// What stands behind `xlr sched`.
#[derive(Args, Debug)]
pub struct SchedArgs {
    /// The domain; all when none is named
    #[arg(short = 'd', long)]
    pub domain: Option<String>,
    /// Weight, 1 to 65535; 256 is normal
    #[arg(short = 'w', long, requires = "domain")]
    pub weight: Option<u16>,
    /// Most CPU time in percent of one CPU; 0 for no limit
    #[arg(short = 'c', long, requires = "domain")]
    pub cap: Option<u16>,
    /// Only domains of this pool; there is Pool-0
    #[arg(short = 'p', long)]
    pub cpupool: Option<String>,
    /// The scheduler's own parameters
    #[arg(short = 's', long, conflicts_with = "domain")]
    pub schedparam: bool,
    /// Time slice in milliseconds
    #[arg(short = 't', long = "tslice_ms", requires = "schedparam")]
    pub tslice: Option<u32>,
    /// Least time in microseconds between switches
    #[arg(short = 'r', long = "ratelimit_us", requires = "schedparam")]
    pub ratelimit: Option<u32>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn run(args: &SchedArgs, context: &mut Context) -> Result<ExitCode> {
    if let Some(pool) = args.cpupool.as_deref().filter(|pool| !matches!(*pool, "Pool-0" | "0")) {
        return Err(Failure::new(1, format!("unknown cpupool '{pool}'; there is Pool-0")));
    }
    match &args.domain {
        Some(domain) => {
            let domid = lookup::domain(context, domain)?;
            if args.weight.is_none() && args.cap.is_none() {
                return list(context, &[domid], args.json, None);
            }
            set(context, domid, args)?;
        }
        None if args.tslice.is_some() || args.ratelimit.is_some() => set_global(context, args)?,
        None => {
            let hypervisor = context.hypervisor()?;
            let sched_id = hypervisor.sched_id()?;
            let (tslice, ratelimit) = hypervisor.sched_global(sched_id).unwrap_or((0, 0));
            let all = hypervisor.list_domains(0)?;
            let domids: Vec<DomId> = all.iter().filter(|info| !info.dying).map(|info| info.domid).collect();
            let domids = if args.schedparam { Vec::new() } else { domids };
            let slice = if tslice > 0 {
                format!("tslice={tslice}ms ")
            } else {
                String::new()
            };
            return list(
                context,
                &domids,
                args.json,
                Some(format!("Cpupool Pool-0: {slice}ratelimit={ratelimit}us")),
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn set(context: &mut Context, domid: DomId, args: &SchedArgs) -> Result<()> {
    let hypervisor = context.hypervisor()?;
    if args.weight == Some(0) {
        bail!("a weight is 1 to 65535");
    }
    let sched_id = hypervisor.sched_id()?;
    let now = hypervisor.sched_params(domid, sched_id)?;
    let params = SchedParams {
        weight: args.weight.unwrap_or(now.weight),
        cap: args.cap.unwrap_or(now.cap),
    };
    let most = hypervisor.domain_info(domid)?.online_vcpus.max(1).saturating_mul(100);
    if u32::from(params.cap) > most {
        bail!(
            "a cap of {} is more than the domain's vcpus can use ({most})",
            params.cap
        );
    }
    Ok(hypervisor.set_sched_params(domid, sched_id, params)?)
}

fn set_global(context: &mut Context, args: &SchedArgs) -> Result<()> {
    let hypervisor = context.hypervisor()?;
    let sched_id = hypervisor.sched_id()?;
    let (tslice, ratelimit) = hypervisor.sched_global(sched_id)?;
    let (tslice, ratelimit) = (args.tslice.unwrap_or(tslice), args.ratelimit.unwrap_or(ratelimit));
    Ok(hypervisor.set_sched_global(sched_id, tslice, ratelimit)?)
}

fn list(context: &mut Context, domids: &[DomId], as_json: bool, heading: Option<String>) -> Result<ExitCode> {
    let (hypervisor, store) = context.both()?;
    let sched_id = hypervisor.sched_id()?;
    let mut rows = Vec::new();
    for &domid in domids {
        let name = lookup::name_of(store, domid)?.unwrap_or_else(|| "(null)".into());
        let params = match hypervisor.sched_params(domid, sched_id) {
            Ok(params) => params,
            Err(error) if error.is_no_domain() => continue,
            Err(error) => return Err(error.into()),
        };
        rows.push((name, domid, params));
    }
    if as_json {
        let row = |(name, domid, params): &(String, DomId, SchedParams)| serde_json::json!({ "name": name, "domid": domid, "weight": params.weight, "cap": params.cap });
        return json::print(&rows.iter().map(row).collect::<Vec<_>>());
    }
    let mut text = heading.map_or_else(String::new, |heading| heading + "\n");
    if !domids.is_empty() {
        let _ = writeln!(text, "{:<33} {:>4} {:>6} {:>4}", "Name", "ID", "Weight", "Cap");
    }
    for (name, domid, params) in rows {
        let _ = writeln!(text, "{name:<33} {domid:>4} {:>6} {:>4}", params.weight, params.cap);
    }
    json::print_text(&text)
}
