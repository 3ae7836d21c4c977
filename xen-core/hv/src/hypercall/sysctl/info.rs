//! The machine, its CPUs, memory and domains.

use crate::arch::x86::smp;
use crate::cpuid;
use crate::guest::GuestPtr;
use crate::hypercall::domctl;
use crate::mm::layout::PAGE_SIZE;
use crate::{boot, domain, irq, mm, sched};
use xen_abi::*;
use xen_logic::cpuid::policy;
use xen_logic::pci::Sbdf;
use zerocopy::FromZeros;

/// Pages of usable memory that the machine has.
fn ram_pages() -> u64 {
    boot::memory_map()
        .ram()
        .map(|range| (range.end - range.start) / PAGE_SIZE)
        .sum()
}

/// Size and abilities of the machine (`physinfo`).
pub(super) fn machine(op: &mut xen_sysctl_physinfo) -> Result<(), Errno> {
    let cpus = smp::cpu_count() as u32;
    *op = FromZeros::new_zeroed();
    op.threads_per_core = 1;
    op.cores_per_socket = cpus;
    op.nr_cpus = cpus;
    op.max_cpu_id = cpus - 1;
    op.nr_nodes = 1;
    op.cpu_khz = (crate::time::clock::tsc_hz() / 1000) as u32;
    op.capabilities = XEN_SYSCTL_PHYSCAP_pv | XEN_SYSCTL_PHYSCAP_gnttab_v1 | XEN_SYSCTL_PHYSCAP_gnttab_v2;
    op.total_pages = ram_pages();
    op.free_pages = mm::alloc::free_frames();
    op.outstanding_pages = mm::alloc::outstanding_claims();
    op.max_mfn = mm::frame::limit() - 1;
    // The first eight words of features in Xen's order; the ninth is not asked for.
    let words = policy::feature_words(cpuid::raw);
    op.hw_cap = core::array::from_fn(|n| words[n]);
    Ok(())
}

/// The domains from `first_domain` on, by number.
pub(super) fn list_domains(op: &mut xen_sysctl_getdomaininfolist) -> Result<(), Errno> {
    let to = GuestPtr::<xen_domctl_getdomaininfo>::new(op.buffer);
    let (mut next, mut count) = (Some(op.first_domain), 0);
    while let Some(from) = next
        && count < op.max_domains
        && let Some(domain) = domain::next_from(from)
    {
        to.at(count.into()).write(&domctl::describe(&domain))?;
        count += 1;
        next = domain.id.checked_add(1);
    }
    op.num_domains = count;
    Ok(())
}

/// How long each CPU has been idle.
pub(super) fn cpu_idle_times(op: &mut xen_sysctl_getcpuinfo) -> Result<(), Errno> {
    let cpus = (smp::cpu_count() as u32).min(op.max_cpus);
    let to = GuestPtr::<xen_sysctl_cpuinfo>::new(op.info);
    for cpu in 0..cpus {
        let idletime = sched::idle_time(cpu as usize);
        to.at(cpu.into()).write(&xen_sysctl_cpuinfo { idletime })?;
    }
    op.nr_cpus = cpus;
    Ok(())
}

/// Each CPU a core of one socket, all on one node.
pub(super) fn cpu_topology(op: &mut xen_sysctl_cputopoinfo) -> Result<(), Errno> {
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
pub(super) fn numa_nodes(op: &mut xen_sysctl_numainfo) -> Result<(), Errno> {
    if op.num_nodes >= 1 {
        if op.meminfo != 0 {
            let info = xen_sysctl_meminfo {
                // A node's size is that of its range, holes and all.
                memsize: boot::memory_map().ram_end(),
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

/// Devices that one call looks at; the caller goes on where it ended.
const DEVICES_AT_ONCE: u32 = 64;

/// The node of each PCI device: none is said of those that are there.
pub(super) fn device_nodes(op: &mut xen_sysctl_pcitopoinfo) -> Result<(), Errno> {
    if op.devs == 0 || op.nodes == 0 {
        return Err(Errno::EINVAL);
    }
    op.num_devs = op.num_devs.min(DEVICES_AT_ONCE);
    let (devices, nodes) = (
        GuestPtr::<physdev_pci_device>::new(op.devs),
        GuestPtr::<u32>::new(op.nodes),
    );
    for at in 0..u64::from(op.num_devs) {
        let device = devices.at(at).read()?;
        let is_known = irq::has_function(Sbdf::new(device.seg, device.bus, device.devfn));
        let node = if is_known { XEN_INVALID_NODE_ID } else { XEN_INVALID_DEV };
        nodes.at(at).write(&node)?;
    }
    Ok(())
}
