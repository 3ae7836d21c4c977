//! `sysctl`: questions about the machine.

use super::{Outcome, domctl, not_built, xen_version};
use crate::arch::x86::cpu::cpuid;
use crate::arch::x86::smp;
use crate::domain::{self, Domain, Vcpu};
use crate::guest::{GuestPtr, Wire};
use crate::mm::layout::{NR_CPUS, PAGE_SIZE};
use crate::trace::{self, Counter};
use crate::{boot, console, mm};
use alloc::sync::Arc;
use alloc::vec::Vec;
use xen_abi::*;
use zerocopy::FromZeros;

/// The hypercall.
pub fn sysctl(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    if !cur.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    let at = GuestPtr::<xen_sysctl>::new(args[0]);
    let mut request = at.read()?;
    if request.interface_version != XEN_SYSCTL_INTERFACE_VERSION {
        return Err(Errno::EACCES.into());
    }
    match request.cmd {
        XEN_SYSCTL_readconsole => serve(&mut request, read_console),
        XEN_SYSCTL_physinfo => serve(&mut request, physinfo),
        XEN_SYSCTL_sched_id => serve(&mut request, |op: &mut xen_sysctl_sched_id| {
            op.sched_id = XEN_SCHEDULER_CREDIT;
            Ok(())
        }),
        XEN_SYSCTL_getdomaininfolist => serve(&mut request, list_domains),
        XEN_SYSCTL_availheap => serve(&mut request, |op: &mut xen_sysctl_availheap| {
            op.avail_bytes = mm::alloc::free_frames() * PAGE_SIZE;
            Ok(())
        }),
        XEN_SYSCTL_cputopoinfo => serve(&mut request, cpu_topology),
        XEN_SYSCTL_numainfo => serve(&mut request, numa_info),
        XEN_SYSCTL_cpupool_op => serve(&mut request, cpupool),
        XEN_SYSCTL_perfc_op => serve(&mut request, counters),
        XEN_SYSCTL_scheduler_op => return Err(not_built(__HYPERVISOR_sysctl, "scheduler_op")),
        _ => return Err(not_built(__HYPERVISOR_sysctl, "operation")),
    }?;
    at.write(&request)?;
    Ok(0)
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

/// Pages of usable memory that the machine has.
fn ram_pages() -> u64 {
    boot::memory_map()
        .ram()
        .map(|range| (range.end - range.start) / PAGE_SIZE)
        .sum()
}

fn physinfo(op: &mut xen_sysctl_physinfo) -> Result<(), Errno> {
    let cpus = smp::cpu_count() as u32;
    *op = FromZeros::new_zeroed();
    op.threads_per_core = 1;
    op.cores_per_socket = cpus;
    op.nr_cpus = cpus;
    op.max_cpu_id = cpus - 1;
    op.nr_nodes = 1;
    op.cpu_khz = (crate::time::clock::tsc_hz() / 1000) as u32;
    op.capabilities = XEN_SYSCTL_PHYSCAP_pv | XEN_SYSCTL_PHYSCAP_gnttab_v1;
    op.total_pages = ram_pages();
    op.free_pages = mm::alloc::free_frames();
    op.max_mfn = mm::frame::limit() - 1;
    op.hw_cap = feature_words();
    Ok(())
}

/// The CPU's features in the order of Xen's feature words.
fn feature_words() -> [u32; 8] {
    let leaf = |number: u32, sub: u32| {
        let found = cpuid(number, sub);
        [found.eax, found.ebx, found.ecx, found.edx]
    };
    let ([_, _, c1, d1], [_, b7, c7, _]) = (leaf(1, 0), leaf(7, 0));
    let ([_, _, ec1, ed1], [.., ed7]) = (leaf(0x8000_0001, 0), leaf(0x8000_0007, 0));
    [d1, c1, ed1, ec1, leaf(0xd, 1)[0], b7, c7, ed7]
}

fn list_domains(op: &mut xen_sysctl_getdomaininfolist) -> Result<(), Errno> {
    let to = GuestPtr::<xen_domctl_getdomaininfo>::new(op.buffer);
    let mut domains: Vec<Arc<Domain>> = Vec::new();
    domain::for_each(|d| {
        if d.id >= op.first_domain && !d.is_idle() {
            domains.push(d.clone());
        }
    });
    domains.sort_by_key(|d| d.id);
    domains.truncate(op.max_domains as usize);
    for (i, domain) in domains.iter().enumerate() {
        to.at(i as u64).write(&domctl::describe(domain))?;
    }
    op.num_domains = domains.len() as u32;
    Ok(())
}

/// Each CPU a core of one socket, all on one node.
fn cpu_topology(op: &mut xen_sysctl_cputopoinfo) -> Result<(), Errno> {
    let cpus = smp::cpu_count() as u32;
    if op.cputopo != 0 {
        if op.num_cpus < cpus {
            return Err(Errno::ENOBUFS);
        }
        let to = GuestPtr::<xen_sysctl_cputopo>::new(op.cputopo);
        for cpu in 0..cpus {
            to.at(cpu.into()).write(&xen_sysctl_cputopo {
                core: cpu,
                socket: 0,
                node: 0,
            })?;
        }
    }
    op.num_cpus = cpus;
    Ok(())
}

/// One node with all memory.
fn numa_info(op: &mut xen_sysctl_numainfo) -> Result<(), Errno> {
    if op.num_nodes >= 1 {
        if op.meminfo != 0 {
            let info = xen_sysctl_meminfo {
                memsize: ram_pages() * PAGE_SIZE,
                memfree: mm::alloc::free_frames() * PAGE_SIZE,
            };
            GuestPtr::new(op.meminfo).write(&info)?;
        }
        if op.distance != 0 {
            GuestPtr::<u32>::new(op.distance).write(&10)?;
        }
    }
    op.num_nodes = 1;
    Ok(())
}

/// One pool, number 0, with all CPUs.
fn cpupool(op: &mut xen_sysctl_cpupool_op) -> Result<(), Errno> {
    if op.op != XEN_SYSCTL_CPUPOOL_OP_INFO {
        return Err(Errno::EOPNOTSUPP);
    }
    if op.cpupool_id != 0 && op.cpupool_id != XEN_SYSCTL_CPUPOOL_PAR_ANY {
        return Err(Errno::ENOENT);
    }
    op.cpupool_id = 0;
    op.sched_id = XEN_SCHEDULER_CREDIT;
    op.n_dom = 0;
    domain::for_each(|d| op.n_dom += u32::from(!d.is_idle()));
    let cpus = smp::cpu_count() as u32;
    let mask = if cpus >= 64 { u64::MAX } else { (1 << cpus) - 1 };
    write_bitmap(&op.cpumap, mask)
}

/// Copies a mask of up to 64 CPUs into a guest's bitmap, and clears the rest of it.
pub(super) fn write_bitmap(map: &xenctl_bitmap, mask: u64) -> Result<(), Errno> {
    let to = GuestPtr::<u8>::new(map.bitmap);
    let bytes = u64::from(map.nr_bits).div_ceil(8).min(NR_CPUS as u64 / 8);
    let valid = if map.nr_bits >= 64 {
        u64::MAX
    } else {
        (1 << map.nr_bits) - 1
    };
    to.write_slice(&(mask & valid).to_le_bytes()[..bytes as usize])
}

/// The trace counters, a value for each CPU; the last two rows are the exits.
fn counters(op: &mut xen_sysctl_perfc_op) -> Result<(), Errno> {
    let cpus = smp::cpu_count();
    match op.cmd {
        XEN_SYSCTL_PERFCOP_reset => (0..cpus).for_each(trace::reset),
        XEN_SYSCTL_PERFCOP_query => {}
        _ => return Err(Errno::EINVAL),
    }
    op.nr_counters = Counter::COUNT as u32 + 2;
    op.nr_vals = op.nr_counters * cpus as u32;
    if op.desc == 0 {
        return Ok(());
    }
    let names = Counter::ALL
        .iter()
        .map(|c| c.name())
        .chain(["exits by sysret", "exits by iret"]);
    for (i, name) in names.enumerate() {
        // `struct xen_sysctl_perfc_desc`: name, number of values.
        let mut desc = [0u8; 84];
        desc[..80].copy_from_slice(&xen_version::field::<80>(name));
        desc[80..].copy_from_slice(&(cpus as u32).to_le_bytes());
        GuestPtr::<[u8; 84]>::new(op.desc).at(i as u64).write(&desc)?;
        for cpu in 0..cpus {
            let value = trace::value_at(cpu, i);
            GuestPtr::<u32>::new(op.val)
                .at((i * cpus + cpu) as u64)
                .write(&(value as u32))?;
        }
    }
    Ok(())
}
