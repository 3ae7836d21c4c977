//! `xlr info`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Map, Value};
use xenctrl::{Hypervisor, PhysInfo, XenVersion};

use crate::context::Context;
use crate::view::{json, scheduler};

/// What stands behind `xlr info`.
#[derive(Args, Debug)]
pub struct InfoArgs {
    /// Also the CPUs' and the memory's topology
    #[arg(short = 'n', long)]
    pub numa: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// A line of the output: name, and a value that is a number in JSON where it is one.
type Line = (&'static str, Value);

/// Runs the command.
pub fn run(args: &InfoArgs, context: &mut Context) -> Result<ExitCode> {
    let control = context.hypervisor()?;
    let (mut lines, version) = (system_lines()?, control.version()?);
    lines.extend(machine_lines(&control.phys_info()?));
    lines.push(("free_cpus", free_cpus(control)?.into()));
    let mut rest = version_lines(&version);
    rest.insert(
        XEN_SCHEDULER_AT,
        ("xen_scheduler", scheduler::name(control.sched_id()?).into()),
    );
    if args.json {
        let all = lines.into_iter().chain(rest);
        let mut all: Map<String, Value> = all.map(|(name, value)| (name.to_owned(), value)).collect();
        if args.numa {
            all.insert("topology".into(), topology_json(control)?);
        }
        return json::print(&all);
    }
    let mut text = table(&lines);
    if args.numa {
        text += &topology_table(control)?;
    }
    json::print_text(&(text + &table(&rest)))
}

/// Where the scheduler stands among what the hypervisor says of itself.
const XEN_SCHEDULER_AT: usize = 5;

fn table(lines: &[Line]) -> String {
    lines
        .iter()
        .map(|(name, value)| format!("{name:<23}: {}\n", plain(value)))
        .collect()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn system_lines() -> Result<Vec<Line>> {
    let system = nix::sys::utsname::uname().context("uname")?;
    let text = |part: &std::ffi::OsStr| Value::from(part.to_string_lossy());
    Ok(vec![
        ("host", text(system.nodename())),
        ("release", text(system.release())),
        ("version", text(system.version())),
        ("machine", text(system.machine())),
    ])
}

fn machine_lines(info: &PhysInfo) -> Vec<Line> {
    let features: Vec<String> = info.hw_cap.iter().map(|word| format!("{word:08x}")).collect();
    let mebibytes = |pages: u64| Value::from(pages / 256);
    vec![
        ("nr_cpus", info.nr_cpus.into()),
        ("max_cpu_id", info.max_cpu_id.into()),
        ("nr_nodes", info.nr_nodes.into()),
        ("cores_per_socket", info.cores_per_socket.into()),
        ("threads_per_core", info.threads_per_core.into()),
        ("cpu_mhz", megahertz(info.cpu_khz)),
        ("hw_caps", features.join(":").into()),
        ("virt_caps", virtualisation(info.capabilities).into()),
        ("total_memory", mebibytes(info.total_pages)),
        (
            "free_memory",
            mebibytes(info.free_pages.saturating_sub(info.outstanding_pages)),
        ),
        // Pages are never shared between domains here, and xl says 0 where the hypervisor cannot.
        ("sharing_freed_memory", 0.into()),
        ("sharing_used_memory", 0.into()),
        ("outstanding_claims", mebibytes(info.outstanding_pages)),
    ]
}

/// MHz with exactly three places.
fn megahertz(khz: u32) -> Value {
    format!("{}.{:03}", khz / 1000, khz % 1000).into()
}

/// The words for `XEN_SYSCTL_PHYSCAP_*`, in xl's order.
fn virtualisation(bits: u32) -> String {
    const HVM: u32 = 1;
    const PV: u32 = 1 << 1;
    const DIRECTIO: u32 = 1 << 2;
    let words = [
        (PV, "pv"),
        (HVM, "hvm"),
        (HVM | DIRECTIO, "hvm_directio"),
        (PV | DIRECTIO, "pv_directio"),
        (1 << 3, "hap"),
        (1 << 4, "shadow"),
        (1 << 5, "iommu_hap_pt_share"),
        (1 << 6, "vmtrace"),
        (1 << 7, "vpmu"),
        (1 << 8, "gnttab-v1"),
        (1 << 9, "gnttab-v2"),
    ];
    let has = words.iter().filter(|(mask, _)| bits & mask == *mask);
    has.map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
}

/// CPUs that are in no pool.
fn free_cpus(control: &dyn Hypervisor) -> Result<usize> {
    let pooled = control.cpupool(0).map_or(0, |pool| pool.cpus.iter().count());
    let cpus = control.phys_info()?.nr_cpus as usize;
    Ok(cpus.saturating_sub(pooled))
}

fn version_lines(version: &XenVersion) -> Vec<Line> {
    let XenVersion {
        major, minor, extra, ..
    } = version;
    vec![
        ("xen_major", (*major).into()),
        ("xen_minor", (*minor).into()),
        ("xen_extra", extra.as_str().into()),
        ("xen_version", format!("{major}.{minor}{extra}").into()),
        ("xen_caps", version.capabilities.as_str().into()),
        ("xen_pagesize", version.pagesize.into()),
        (
            "platform_params",
            format!("virt_start={:#x}", version.virt_start).into(),
        ),
        ("xen_changeset", version.changeset.as_str().into()),
        ("xen_commandline", version.commandline.as_str().into()),
        ("cc_compiler", version.compiler.as_str().into()),
        ("cc_compile_by", version.compile_by.as_str().into()),
        ("cc_compile_domain", version.compile_domain.as_str().into()),
        ("cc_compile_date", version.compile_date.as_str().into()),
        ("build_id", version.build_id.as_str().into()),
        ("xend_config_format", 4.into()),
    ]
}

fn topology_table(control: &dyn Hypervisor) -> Result<String> {
    let mut text = "cpu_topology           :\ncpu:    core    socket     node\n".to_owned();
    for (number, cpu) in control
        .cpu_topology()?
        .iter()
        .enumerate()
        .filter(|(_, cpu)| cpu.core != u32::MAX)
    {
        text += &format!(
            "{number:3}:    {:4}     {:4}     {:4}\n",
            cpu.core, cpu.socket, cpu.node
        );
    }
    // Which device is at which node is not asked for: with one node there is nothing to tell.
    text += "device topology        :\ndevice           node\nNo device topology data available\n";
    text += "numa_info              :\nnode:    memsize    memfree    distances\n";
    for (number, node) in control.numa_info()?.iter().enumerate() {
        let distances: Vec<String> = node.distances.iter().map(u32::to_string).collect();
        let (size, free) = (node.size >> 20, node.free >> 20);
        text += &format!("{number:4}:    {size:6}     {free:6}      {}\n", distances.join(","));
    }
    Ok(text)
}

fn topology_json(control: &dyn Hypervisor) -> Result<Value> {
    let cpus = control.cpu_topology()?;
    let cpus: Vec<Value> = cpus
        .iter()
        .enumerate()
        .filter(|(_, cpu)| cpu.core != u32::MAX)
        .map(|(number, cpu)| {
            serde_json::json!({ "cpu": number, "core": cpu.core, "socket": cpu.socket, "node": cpu.node })
        })
        .collect();
    let nodes = control.numa_info()?;
    let nodes: Vec<Value> = nodes
        .iter()
        .enumerate()
        .map(|(number, node)| {
            let (size, free) = (node.size >> 20, node.free >> 20);
            serde_json::json!({ "node": number, "memory_mib": size, "free_mib": free, "distances": node.distances })
        })
        .collect();
    Ok(serde_json::json!({ "cpus": cpus, "nodes": nodes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_told_as_xl_tells_them() {
        assert_eq!(virtualisation(0b11_0000_1011), "pv hvm hap gnttab-v1 gnttab-v2");
        assert_eq!(virtualisation(0b01_0000_0110), "pv pv_directio gnttab-v1");
        assert_eq!(virtualisation(0), "");
    }

    #[test]
    fn frequencies_keep_their_zeros() {
        assert_eq!(megahertz(2_445_025), "2445.025");
    }
}
