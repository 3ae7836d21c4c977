//! Domains and their vcpus.

mod config;
pub mod context;
pub mod destroy;
pub mod dom0;
mod end;
mod guest_context;
pub mod life;
mod list;
pub mod quiesce;
mod shared;
mod vcpu;

pub use config::{Config, DEFAULT_GRANT_FRAMES, DEFAULT_MAPTRACK_FRAMES};
pub use end::{crash_current, name_end, resume, shutdown};
pub use guest_context::{hold_tables, vcpu_change, vcpu_describe, vcpu_initialise};
pub use list::{find, find_alive, for_each, frames_gone, next_from, next_id, reap};
pub use shared::{
    deliver_nmi, dummy_info, guest_cr2, set_guest_cr2, set_upcall_mask, upcall_mask, update_fast_paths, visible_iopl,
};
pub use vcpu::{Hot, Vcpu};

use crate::mm::layout::MAX_VCPUS;
use crate::mm::perdomain::PerDomain;
use crate::sync::{Mutex, Once};
use crate::{mm, sched};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use life::Life;
use xen_abi::Errno;

/// The number of the domain that the idle vcpus belong to (`DOMID_IDLE`).
pub const IDLE: u16 = 0x7fff;

/// A domain: what a guest is to the hypervisor.
///
/// Each subsystem keeps its own part in a struct of its own, with its own lock.
pub struct Domain {
    /// The domain's number (`domid_t`).
    pub id: u16,
    /// May it use the operations reserved for Dom0?
    pub privileged: bool,
    /// Page accounting and address-space state.
    pub mm: crate::mm::DomainMm,
    /// The windows for its vcpus' descriptor tables.
    pub perdomain: PerDomain,
    /// Event channels.
    pub events: crate::event::DomainEvents,
    /// Physical interrupts, I/O ports and I/O memory it may use.
    pub irqs: crate::irq::DomainIrqs,
    /// Port latches that the hypervisor keeps for it.
    pub io: crate::trap::emulate::DomainIo,
    /// Grant table.
    pub grants: crate::grant::DomainGrants,
    /// `VMASST_TYPE_*` bits that are on.
    pub vm_assist: AtomicU64,
    /// Time offsets and wall clock.
    pub time: crate::time::DomainTime,
    /// Its share of the CPUs.
    pub sched: crate::sched::DomainSched,
    /// What the toolstack knows it by: a UUID.
    pub handle: Mutex<[u8; 16]>,
    /// `XEN_DOMCTL_CDF_*` flags that it was made with.
    pub flags: u32,
    /// What of the machine's CPUID it sees.
    pub cpuid: crate::cpuid::DomainCpuid,
    /// How far it is in its life, and who holds it still.
    pub life: Life,
    /// The CPUs whose TLB may hold translations of this domain.
    pub dirty_cpus: AtomicU64,
    /// The domain has asked to shut down, or has crashed: its vcpus do not run.
    pub shutting_down: AtomicBool,
    /// `SHUTDOWN_*` reason, where there is one.
    pub shutdown_code: AtomicU32,
    /// Vcpus by number; a slot is filled once and never changes. Freed with the domain, see [`list::reap`].
    vcpus: Box<[Once<Box<Vcpu>>]>,
}

/// Makes a domain without memory and without vcpus, and lists it.
///
/// # Errors
/// `EEXIST` for a number in use, `EINVAL` for too many vcpus, `ENOMEM`.
pub fn create(id: u16, config: &Config) -> Result<Arc<Domain>, Errno> {
    if config.max_vcpus == 0 || config.max_vcpus as usize > MAX_VCPUS {
        return Err(Errno::EINVAL);
    }
    // Domains are made one at a time. Its shared page will name it as owner by its number, so that must be free.
    if list::find(id).is_some() {
        return Err(Errno::EEXIST);
    }
    spare_memory()?;
    let mut vcpus = Vec::new();
    vcpus
        .try_reserve_exact(config.max_vcpus as usize)
        .map_err(|_| Errno::ENOMEM)?;
    vcpus.extend((0..config.max_vcpus).map(|_| Once::new()));
    let domain = Arc::new(Domain {
        id,
        privileged: config.privileged,
        mm: mm::DomainMm::new(config.max_pages),
        perdomain: PerDomain::new(config.max_vcpus)?,
        events: crate::event::DomainEvents::new(config),
        irqs: crate::irq::DomainIrqs::new(config.privileged),
        io: crate::trap::emulate::DomainIo::new(),
        grants: crate::grant::DomainGrants::new(config),
        vm_assist: AtomicU64::new(0),
        time: crate::time::DomainTime::new(),
        sched: sched::DomainSched::new(),
        handle: Mutex::new(config.handle),
        flags: config.flags,
        cpuid: crate::cpuid::DomainCpuid::new(),
        life: Life::new(),
        dirty_cpus: AtomicU64::new(0),
        shutting_down: AtomicBool::new(false),
        shutdown_code: AtomicU32::new(end::NO_CODE),
        vcpus: vcpus.into_boxed_slice(),
    });
    if id != IDLE {
        crate::event::init_domain(&domain)?;
    }
    // The shared page must not outlive a domain that cannot be listed.
    list::add(&domain).inspect_err(|_| while !crate::event::release(&domain) {})?;
    Ok(domain)
}

/// Frames that must be free for a domain or a vcpu to be made: many times what either takes of the heap.
const SPARE_FRAMES: u64 = 64;

/// Refuses to make something new when memory is so short that the small allocations behind it could fail: they have no
/// way to say so.
///
/// # Errors
/// `ENOMEM`.
fn spare_memory() -> Result<(), Errno> {
    mm::alloc::check_free(SPARE_FRAMES)
}

impl Domain {
    /// Vcpu `id`, if it exists.
    #[inline]
    pub fn vcpu(&self, id: u32) -> Option<&'static Vcpu> {
        let v: &Vcpu = self.vcpus.get(id as usize)?.get()?;
        // SAFETY: a vcpu is freed with its domain only, by `list::reap`: after it has left every CPU, queue and timer,
        // and after every CPU has since been on its way out of the hypervisor. No CPU keeps the reference so long.
        Some(unsafe { &*core::ptr::from_ref(v) })
    }

    /// The vcpus that exist, by number.
    pub fn vcpus(&self) -> impl Iterator<Item = &'static Vcpu> {
        (0..self.vcpus.len() as u32).filter_map(|id| self.vcpu(id))
    }

    /// How many vcpus it may have.
    pub fn max_vcpus(&self) -> u32 {
        self.vcpus.len() as u32
    }

    /// Is it the domain of the idle vcpus?
    pub fn is_idle(&self) -> bool {
        self.id == IDLE
    }

    /// Makes vcpu `id`, not yet initialised and not running.
    ///
    /// # Errors
    /// `EINVAL` past the limit, `EEXIST`, `ENOMEM`.
    pub fn add_vcpu(&self, id: u32) -> Result<&'static Vcpu, Errno> {
        let slot = self.vcpus.get(id as usize).ok_or(Errno::EINVAL)?;
        if slot.is_completed() {
            return Err(Errno::EEXIST);
        }
        spare_memory()?;
        self.perdomain.add_vcpu(id)?;
        let vcpu = Vcpu::new(self, id)?;
        slot.call_once(|| vcpu);
        let vcpu = self.vcpu(id).ok_or(Errno::ENOMEM)?;
        crate::event::init_vcpu(vcpu);
        sched::insert_vcpu(vcpu)?;
        self.life.hold_new(self, vcpu);
        Ok(vcpu)
    }

    /// Is it the toolstack's wish that it ends? It gets nothing new any more.
    #[inline]
    pub fn is_dying(&self) -> bool {
        self.life.is_dying()
    }

    /// Notes that CPU `cpu` may cache translations of this domain.
    #[inline]
    pub fn mark_dirty(&self, cpu: usize) {
        let bit = 1 << cpu;
        if self.dirty_cpus.load(Ordering::Relaxed) & bit == 0 {
            self.dirty_cpus.fetch_or(bit, Ordering::SeqCst);
        }
    }
}

/// Makes the idle domain with one vcpu for each of `cpus` CPUs.
///
/// # Errors
/// `ENOMEM`.
pub fn create_idle(cpus: u32) -> Result<Arc<Domain>, Errno> {
    let idle = create(IDLE, &Config::idle(cpus))?;
    for cpu in 0..cpus {
        idle.add_vcpu(cpu)?;
    }
    Ok(idle)
}
