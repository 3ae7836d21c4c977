//! Domains and their vcpus.

pub mod context;
pub mod dom0;
mod end;
mod shared;
mod vcpu;

pub use context::vcpu_initialise;
pub use end::{crash_current, shutdown};
pub use shared::{
    deliver_nmi, dummy_info, guest_cr2, set_guest_cr2, set_upcall_mask, upcall_mask, update_fast_paths, visible_iopl,
};
pub use vcpu::{Hot, Vcpu};

use crate::mm::layout::MAX_VCPUS;
use crate::mm::perdomain::PerDomain;
use crate::sync::{Once, RwLock};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
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
    /// The CPUs whose TLB may hold translations of this domain.
    pub dirty_cpus: AtomicU64,
    /// The domain has asked to shut down, or has crashed: its vcpus do not run.
    pub shutting_down: AtomicBool,
    /// `SHUTDOWN_*` reason, valid once `shutting_down` is set.
    pub shutdown_code: AtomicU32,
    /// Vcpus by number; a slot is filled once and never changes.
    vcpus: Box<[Once<Box<Vcpu>>]>,
}

/// Every domain, in no order.
static DOMAINS: RwLock<Vec<Arc<Domain>>> = RwLock::new(Vec::new());

/// The domain with this number; the idle domain is nobody's to ask for.
pub fn find(id: u16) -> Option<Arc<Domain>> {
    DOMAINS.read().iter().find(|d| d.id == id && !d.is_idle()).cloned()
}

/// Calls `f` for each domain, the list locked: `f` takes no lock above it in the order.
pub fn for_each(mut f: impl FnMut(&Arc<Domain>)) {
    DOMAINS.read().iter().for_each(&mut f);
}

/// Makes a domain without memory and without vcpus, and lists it.
///
/// # Errors
/// `EEXIST` for a number in use, `EINVAL` for too many vcpus, `ENOMEM`.
pub fn create(id: u16, privileged: bool, max_vcpus: u32, max_pages: u64) -> Result<Arc<Domain>, Errno> {
    if max_vcpus == 0 || max_vcpus as usize > MAX_VCPUS {
        return Err(Errno::EINVAL);
    }
    let domain = Arc::new(Domain {
        id,
        privileged,
        mm: crate::mm::DomainMm::new(max_pages),
        perdomain: PerDomain::new(max_vcpus)?,
        events: crate::event::DomainEvents::new(),
        irqs: crate::irq::DomainIrqs::new(privileged),
        io: crate::trap::emulate::DomainIo::new(),
        grants: crate::grant::DomainGrants::new(),
        vm_assist: AtomicU64::new(0),
        time: crate::time::DomainTime::new(),
        sched: crate::sched::DomainSched::new(),
        dirty_cpus: AtomicU64::new(0),
        shutting_down: AtomicBool::new(false),
        shutdown_code: AtomicU32::new(0),
        vcpus: (0..max_vcpus).map(|_| Once::new()).collect(),
    });
    if id != IDLE {
        crate::event::init_domain(&domain)?;
    }
    let mut all = DOMAINS.write();
    if all.iter().any(|d| d.id == id) {
        return Err(Errno::EEXIST);
    }
    all.push(domain.clone());
    Ok(domain)
}

impl Domain {
    /// Vcpu `id`, if it exists.
    #[inline]
    pub fn vcpu(&self, id: u32) -> Option<&'static Vcpu> {
        let v: &Vcpu = self.vcpus.get(id as usize)?.get()?;
        // SAFETY: a vcpu is freed with its domain only, which happens after all its vcpus have left every CPU and
        // every queue; callers do not keep the reference across that.
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
        self.perdomain.add_vcpu(id)?;
        let vcpu = Vcpu::new(self, id)?;
        slot.call_once(|| vcpu);
        let vcpu = self.vcpu(id).ok_or(Errno::ENOMEM)?;
        crate::event::init_vcpu(vcpu);
        crate::sched::insert_vcpu(vcpu)?;
        Ok(vcpu)
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
    let idle = create(IDLE, false, cpus, 0)?;
    for cpu in 0..cpus {
        idle.add_vcpu(cpu)?;
    }
    Ok(idle)
}
