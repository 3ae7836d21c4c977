//! `sysctl`: questions about the machine, and what a tool sets for the whole of it. Privilege is checked here once.

mod counters;
mod cpu_policy;
mod debug_keys;
mod info;
mod power;
mod sched;

use super::{Outcome, not_built};
use crate::console;
use crate::domain::Vcpu;
use crate::guest::{GuestPtr, Wire};
use crate::mm::{self, layout::PAGE_SIZE};
use xen_abi::*;

/// The hypercall: the request.
pub fn sysctl(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    if !cur.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    let at = GuestPtr::<xen_sysctl>::new(args[0]);
    let mut request = at.read()?;
    if request.interface_version != XEN_SYSCTL_INTERFACE_VERSION {
        return Err(Errno::EACCES.into());
    }
    let r = &mut request;
    match r.cmd {
        XEN_SYSCTL_readconsole => serve(r, read_console),
        XEN_SYSCTL_debug_keys => serve(r, debug_keys::press),
        XEN_SYSCTL_physinfo => serve(r, info::machine),
        XEN_SYSCTL_getdomaininfolist => serve(r, info::list_domains),
        XEN_SYSCTL_getcpuinfo => serve(r, info::cpu_idle_times),
        XEN_SYSCTL_cputopoinfo => serve(r, info::cpu_topology),
        XEN_SYSCTL_numainfo => serve(r, info::numa_nodes),
        XEN_SYSCTL_pcitopoinfo => serve(r, info::device_nodes),
        XEN_SYSCTL_get_pmstat => serve(r, power::idle_states),
        XEN_SYSCTL_pm_op => serve(r, power::operate),
        XEN_SYSCTL_availheap => serve(r, |op: &mut xen_sysctl_availheap| {
            // There is node 0, and none by number for all of them.
            op.avail_bytes = if op.node > 0 {
                0
            } else {
                mm::alloc::free_frames() * PAGE_SIZE
            };
            Ok(())
        }),
        XEN_SYSCTL_sched_id => serve(r, sched::id),
        XEN_SYSCTL_scheduler_op => serve(r, sched::scheduler_op),
        XEN_SYSCTL_cpupool_op => serve(r, sched::cpupool),
        XEN_SYSCTL_get_cpu_featureset => serve(r, cpu_policy::feature_set),
        XEN_SYSCTL_get_cpu_policy => serve(r, cpu_policy::policy),
        XEN_SYSCTL_get_cpu_levelling_caps => serve(r, |op: &mut xen_sysctl_cpu_levelling_caps| {
            op.caps = 0;
            Ok(())
        }),
        XEN_SYSCTL_perfc_op => serve(r, counters::operate),
        // An image that counts what is covered is built apart; Debian's answers so, too.
        XEN_SYSCTL_coverage_op => return Err(Errno::EOPNOTSUPP.into()),
        cmd => return Err(not_built(__HYPERVISOR_sysctl, operation(cmd))),
    }?;
    at.write(&request)?;
    Ok(0)
}

/// What a `sysctl` that is not built is called in the log.
fn operation(cmd: u32) -> &'static str {
    match cmd {
        XEN_SYSCTL_tbuf_op => "tbuf_op",
        XEN_SYSCTL_cpu_hotplug => "cpu_hotplug",
        _ => "operation",
    }
}

/// Takes one arm out of the request, lets `answer` change it, and puts it back.
fn serve<T: Wire>(request: &mut xen_sysctl, answer: impl FnOnce(&mut T) -> Result<(), Errno>) -> Result<(), Errno> {
    let mut arm: T = request.payload();
    answer(&mut arm)?;
    request.set_payload(&arm);
    Ok(())
}

/// Copies the console ring's text out, `count` bytes at most.
fn read_console(op: &mut xen_sysctl_readconsole) -> Result<(), Errno> {
    let to = GuestPtr::<u8>::new(op.buffer);
    let (mut chunk, mut done) = ([0u8; 256], 0);
    // Everything that is still there, unless the caller says where it stopped.
    let mut from = if op.incremental != 0 { u64::from(op.index) } else { 0 };
    while done < op.count {
        let room = chunk.len().min((op.count - done) as usize);
        let (len, next) = console::ring::read(from, &mut chunk[..room]);
        if len == 0 {
            break;
        }
        to.at(done.into()).write_slice(&chunk[..len])?;
        done += len as u32;
        from = next;
    }
    if op.clear != 0 {
        console::ring::clear();
    }
    op.count = done;
    op.index = from as u32;
    Ok(())
}
