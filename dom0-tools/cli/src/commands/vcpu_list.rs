//! `xlr vcpu-list`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use xenctrl::{Hypervisor, VcpuInfo};

use crate::context::Context;
use crate::view::colour::{Paint, Tone};
use crate::view::cpu_ranges::cpu_ranges;
use crate::view::domains::{self, Domain};
use crate::view::json;

/// What stands behind `xlr vcpu-list`.
#[derive(Args, Debug)]
pub struct VcpuListArgs {
    /// Names or ids of domains; all when none is given
    pub domains: Vec<String>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// A vcpu to be shown.
#[derive(Serialize, Debug)]
struct Vcpu {
    name: Option<String>,
    domid: u16,
    vcpu: u32,
    online: bool,
    running: bool,
    blocked: bool,
    cpu: Option<u32>,
    cpu_time_s: f64,
    hard_affinity: String,
    soft_affinity: String,
}

/// Runs the command.
pub fn run(args: &VcpuListArgs, context: &mut Context) -> Result<ExitCode> {
    let list = domains::gather(context, &args.domains)?;
    let control = context.hypervisor()?;
    let cpus = control.phys_info()?.max_cpu_id as usize + 1;
    let mut vcpus = Vec::new();
    for domain in &list {
        vcpus.extend(vcpus_of(control, domain, cpus)?);
    }
    if args.json {
        return json::print(&vcpus);
    }
    let heading = "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)";
    let mut text = Paint::stdout().tone(Tone::Strong, heading) + "\n";
    for vcpu in &vcpus {
        text += &row(vcpu);
        text.push('\n');
    }
    json::print_text(&text)
}

/// A domain that ends while it is asked has no more vcpus.
fn vcpus_of(control: &dyn Hypervisor, domain: &Domain, cpus: usize) -> Result<Vec<Vcpu>> {
    let domid = domain.info.domid;
    let mut list = Vec::new();
    for number in 0..domain.info.max_vcpu_id.wrapping_add(1) {
        let info = match control.vcpu_info(domid, number) {
            Ok(info) => info,
            Err(error) if error.is_no_domain() => break,
            Err(error) => return Err(error.into()),
        };
        let (hard, soft) = match control.vcpu_affinity(domid, number, cpus) {
            Ok(maps) => maps,
            Err(error) if error.is_no_domain() => break,
            Err(error) => return Err(error.into()),
        };
        let affinity = (cpu_ranges(&hard, cpus), cpu_ranges(&soft, cpus));
        list.push(vcpu(domain, number, info, affinity));
    }
    Ok(list)
}

fn vcpu(domain: &Domain, number: u32, info: VcpuInfo, (hard, soft): (String, String)) -> Vcpu {
    Vcpu {
        name: domain.name.clone(),
        domid: domain.info.domid,
        vcpu: number,
        online: info.online,
        running: info.running,
        blocked: info.blocked,
        cpu: info.online.then_some(info.cpu),
        cpu_time_s: (info.cpu_time as f64 / 1e8).round() / 10.0,
        hard_affinity: hard,
        soft_affinity: soft,
    }
}

fn row(vcpu: &Vcpu) -> String {
    let name = vcpu.name.as_deref().unwrap_or("(null)");
    let letter = |set: bool, letter: char| if set { letter } else { '-' };
    let place = match vcpu.cpu {
        Some(cpu) => format!("{cpu:5}   {}{}- ", letter(vcpu.running, 'r'), letter(vcpu.blocked, 'b')),
        None => "    -   --p ".to_owned(),
    };
    let Vcpu {
        domid,
        vcpu: number,
        cpu_time_s,
        hard_affinity,
        soft_affinity,
        ..
    } = vcpu;
    format!("{name:<32} {domid:5} {number:5}{place}{cpu_time_s:9.1}  {hard_affinity} / {soft_affinity}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::domains::tests::plain;

    #[test]
    fn the_table_is_xl_s() {
        let all = || ("all".to_owned(), "all".to_owned());
        let info = VcpuInfo {
            online: true,
            running: true,
            blocked: false,
            cpu_time: 77_800_000_000,
            cpu: 0,
        };
        assert_eq!(
            row(&vcpu(&plain(0, "Domain-0"), 0, info, all())),
            "Domain-0                             0     0    0   r--      77.8  all / all"
        );
        let info = VcpuInfo {
            online: true,
            running: false,
            blocked: true,
            cpu_time: 13_600_000_000,
            cpu: 0,
        };
        assert_eq!(
            row(&vcpu(&plain(1, "g1"), 0, info, all())),
            "g1                                   1     0    0   -b-      13.6  all / all"
        );
        let info = VcpuInfo { online: false, ..info };
        assert_eq!(
            row(&vcpu(&plain(1, "g1"), 1, info, all())),
            "g1                                   1     1    -   --p      13.6  all / all"
        );
    }
}
