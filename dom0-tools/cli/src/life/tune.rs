//! Weights, caps and CPUs of a domain.

use anyhow::{Context, Result};
use xenctrl::{CpuMap, DomId, Hypervisor, SchedParams};
use xl_config::{Affinity, CpuList, DomainConfig, Host};

/// Gives a new domain the share and the CPUs that its configuration asks for.
pub fn tune(hypervisor: &dyn Hypervisor, domid: DomId, config: &DomainConfig) -> Result<()> {
    if config.weight.is_some() || config.cap.is_some() {
        let sched_id = hypervisor.sched_id()?;
        let now = hypervisor.sched_params(domid, sched_id)?;
        let params = SchedParams {
            weight: config.weight.unwrap_or(now.weight),
            cap: config.cap.unwrap_or(now.cap),
        };
        hypervisor.set_sched_params(domid, sched_id, params)?;
    }
    if config.hard_affinity == Affinity::Unset && config.soft_affinity == Affinity::Unset {
        return Ok(());
    }
    let host = host(hypervisor)?;
    for vcpu in 0..config.max_vcpus {
        let hard = map_of(&config.hard_affinity, vcpu, &host).context("cpus")?;
        let soft = map_of(&config.soft_affinity, vcpu, &host).context("cpus_soft")?;
        if hard.is_some() || soft.is_some() {
            hypervisor.set_vcpu_affinity(domid, vcpu, hard.as_ref(), soft.as_ref())?;
        }
    }
    Ok(())
}

fn map_of(affinity: &Affinity, vcpu: u32, host: &Host) -> Result<Option<CpuMap>> {
    affinity.of(vcpu).map(|list| resolve(list, host)).transpose()
}

/// The CPUs of this machine that `list` means.
pub fn resolve(list: &CpuList, host: &Host) -> Result<CpuMap> {
    let flags = list.resolve(host).map_err(anyhow::Error::msg)?;
    let mut map = CpuMap::empty(flags.len());
    flags
        .iter()
        .enumerate()
        .filter(|(_, chosen)| **chosen)
        .for_each(|(cpu, _)| map.insert(cpu));
    Ok(map)
}

/// The machine's CPUs and their nodes.
pub fn host(hypervisor: &dyn Hypervisor) -> Result<Host> {
    let topology = hypervisor.cpu_topology()?;
    let node_of = topology
        .iter()
        .map(|cpu| if cpu.node == u32::MAX { 0 } else { cpu.node })
        .collect();
    Ok(Host { node_of })
}
