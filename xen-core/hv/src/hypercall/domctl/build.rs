//! Making a domain, and its properties until it runs.

use super::Request;
use crate::domain::{self, Config};
use crate::hypercall::{Stop, bitmap, preempt_needed};
use crate::mm::layout::{MAX_VCPUS, PAGE_SIZE};
use crate::time::{clock, wallclock};
use crate::{mm, sched, time, trap};
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::*;

/// Most frames of a grant table, and of 512 mappings each, that a toolstack can ask for.
const MAX_GRANT_FRAMES: u32 = 4096;
const MAX_MAPTRACK_FRAMES: u32 = 8192;
/// The highest version of the grant table.
const GRANT_VERSION: u32 = 2;

/// A new domain, paused once, without vcpus and memory.
pub(super) fn create(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_createdomain = r.ask.payload();
    let config = config(&ask)?;
    let id = match r.ask.domain {
        0 | DOMID_FIRST_RESERVED.. => domain::next_id()?,
        wanted => wanted,
    };
    // "Any" is the first one: domains in no pool, as Xen makes for tests, there are not.
    let pool = Some(ask.cpupool_id)
        .filter(|pool| *pool != XEN_SYSCTL_CPUPOOL_PAR_ANY)
        .unwrap_or(0);
    if !sched::pool_info(pool).is_some_and(|info| info.id == pool && info.cpus != 0) {
        return Err(Errno::ENODEV);
    }
    let domain = domain::create(id, &config)?;
    // It has no vcpus yet. Where the pool has lost its last CPU since, it stays in the first one.
    let _ = sched::move_domain(&domain, pool);
    domain::life::pause(&domain)?;
    r.ask.domain = id;
    Ok(())
}

/// Checks what the toolstack wants.
fn config(ask: &xen_domctl_createdomain) -> Result<Config, Errno> {
    let refused = |what: &str| {
        crate::console::limited!(log::Level::Warn, "createdomain: {what}: not for a PV domain here");
        Errno::EINVAL
    };
    let known = XEN_DOMCTL_CDF_xs_domain | XEN_DOMCTL_CDF_s3_integrity;
    if ask.flags & !known != 0 {
        return Err(refused("flags other than xs_domain (HVM, HAP, IOMMU, nested, vPMU)"));
    }
    if ask.iommu_opts != 0 || ask.vmtrace_size != 0 {
        return Err(refused("IOMMU options or processor tracing"));
    }
    if ask.arch.emulation_flags != 0 || ask.arch.misc_flags & !XEN_X86_MSR_RELAXED != 0 {
        return Err(refused("emulated devices"));
    }
    if ask.max_vcpus == 0 || ask.max_vcpus as usize > MAX_VCPUS {
        return Err(Errno::EINVAL);
    }
    Ok(Config {
        privileged: false,
        max_vcpus: ask.max_vcpus,
        max_pages: 0,
        max_evtchn_port: ask.max_evtchn_port.min(i32::MAX as u32),
        max_grant_frames: limit(ask.max_grant_frames, domain::DEFAULT_GRANT_FRAMES, MAX_GRANT_FRAMES)?,
        max_maptrack_frames: limit(
            ask.max_maptrack_frames,
            domain::DEFAULT_MAPTRACK_FRAMES,
            MAX_MAPTRACK_FRAMES,
        )?,
        max_grant_version: match ask.grant_opts & XEN_DOMCTL_GRANT_version_mask {
            version @ 1..=GRANT_VERSION if ask.grant_opts == version => version,
            _ => return Err(Errno::EINVAL),
        },
        handle: ask.handle,
        flags: ask.flags,
    })
}

/// A limit as the toolstack gives it: negative for the default.
fn limit(asked: i32, default: u32, most: u32) -> Result<u32, Errno> {
    match u32::try_from(asked) {
        Ok(asked) if asked <= most => Ok(asked),
        Ok(_) => Err(Errno::EINVAL),
        Err(_) => Ok(default),
    }
}

/// Makes the vcpus: all that the domain was made for.
pub(super) fn max_vcpus(r: &mut Request) -> Result<(), Stop> {
    let ask: xen_domctl_max_vcpus = r.ask.payload();
    let domain = r.other()?;
    if ask.max != domain.max_vcpus() {
        return Err(Errno::EINVAL.into());
    }
    for id in 0..ask.max {
        if domain.vcpu(id).is_none() {
            domain.add_vcpu(id)?;
        }
        if id % 8 == 7 && preempt_needed() {
            return Err(Stop::Again(*r.args));
        }
    }
    Ok(())
}

/// Sets how much memory it may have; it may have more by now, and then gets no more.
pub(super) fn max_mem(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_max_mem = r.ask.payload();
    let domain = r.living()?;
    mm::set_max_pages(&domain, (ask.max_memkb / (PAGE_SIZE / 1024)).min(u32::MAX.into()));
    Ok(())
}

/// Fills the hypercall page that a domain's kernel has a place for.
pub(super) fn hypercall_init(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_hypercall_init = r.ask.payload();
    trap::emulate::fill_hypercall_page(&*r.living()?, ask.gmfn).map_err(|_| Errno::EACCES)
}

pub(super) fn set_address_size(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_address_size = r.ask.payload();
    r.living()?;
    if ask.size == 64 { Ok(()) } else { Err(Errno::EINVAL) }
}

pub(super) fn get_address_size(r: &mut Request) -> Result<(), Errno> {
    r.domain()?;
    r.ask.set_payload(&xen_domctl_address_size { size: 64 });
    Ok(())
}

/// `tsc_mode` values (`XEN_CPUID_TSC_MODE`): by default, and always, the guest reads the machine's counter.
const TSC_DEFAULT: u32 = 0;
const TSC_NEVER_EMULATE: u32 = 2;

/// Chooses how the time-stamp counter is shown. It is the machine's own here, so emulation is refused.
pub(super) fn set_tsc_info(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_tsc_info = r.ask.payload();
    r.other()?;
    match ask.tsc_mode {
        TSC_DEFAULT | TSC_NEVER_EMULATE => Ok(()),
        mode => {
            crate::console::limited!(
                log::Level::Warn,
                "d{}: TSC mode {mode} needs an emulated counter, which is not built: use \"default\" or \"native\"",
                r.ask.domain
            );
            Err(Errno::EOPNOTSUPP)
        }
    }
}

pub(super) fn get_tsc_info(r: &mut Request) -> Result<(), Errno> {
    r.domain()?;
    r.ask.set_payload(&xen_domctl_tsc_info {
        tsc_mode: TSC_DEFAULT,
        gtsc_khz: (clock::tsc_hz() / 1000) as u32,
        incarnation: 0,
        pad: 0,
        elapsed_nsec: time::now(),
    });
    Ok(())
}

/// Puts the domain's wall clock so many seconds ahead of the machine's.
pub(super) fn set_time_offset(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_settimeoffset = r.ask.payload();
    let domain = r.living()?;
    domain.time.offset_seconds.store(ask.time_offset_seconds, Relaxed);
    wallclock::update(&domain);
    Ok(())
}

pub(super) fn set_handle(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_setdomainhandle = r.ask.payload();
    *r.living()?.handle.lock() = ask.handle;
    Ok(())
}

/// There is one node, number 0.
pub(super) fn set_node_affinity(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_nodeaffinity = r.ask.payload();
    r.living()?;
    if bitmap::read(&ask.nodemap)? & 1 == 0 {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

pub(super) fn get_node_affinity(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_nodeaffinity = r.ask.payload();
    r.domain()?;
    bitmap::write(&ask.nodemap, 1)
}
