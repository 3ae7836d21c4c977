//! A domain's physical interrupts (pirqs): numbers of its own for lines that it may use.
//!
//! Numbers below the count of global system interrupts stand for these, one to one; message interrupts get numbers
//! above. Lock order: a domain's table, then functions and pins, then a line.

use super::permission::Permissions;
use super::{device, gsi, line};
use crate::arch::x86::percpu::cpu_id;
use crate::domain::{self, Domain};
use crate::hypercall::preempt_needed;
use crate::mm::frame::{self, Mfn, TypedRef};
use crate::mm::{directmap, logdirty};
use crate::sync::Mutex;
use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicU64, Ordering};
use xen_abi::Errno;
use xen_logic::pci::Sbdf;
use xen_logic::sharers::Sharer;

/// Most pirqs of a domain; the bitmap in a page has room for far more.
const MAX_PIRQS: u32 = 1024;

/// What a pirq stands for.
#[derive(Clone, Copy)]
enum Kind {
    Gsi(u32),
    /// A message of this function; the first of a block says how many there are.
    Message(Sbdf, u8),
}

#[derive(Clone, Copy)]
struct Pirq {
    vector: u8,
    kind: Kind,
}

impl Kind {
    /// Not while a line is locked: the pin's lock comes before it.
    fn needs_eoi(self) -> bool {
        matches!(self, Kind::Gsi(gsi) if gsi::is_level(gsi))
    }
}

/// A domain's part.
pub struct DomainIrqs {
    table: Mutex<BTreeMap<u32, Pirq>>,
    pub(super) permissions: Permissions,
    /// The guest's page with a bit for each pirq that needs `PHYSDEVOP_eoi`.
    eoi_page: Mutex<Option<TypedRef>>,
}

impl DomainIrqs {
    /// No pirqs yet; all of the machine's devices for the hardware domain, none for others.
    pub fn new(hardware: bool) -> Self {
        Self {
            table: Mutex::new(BTreeMap::new()),
            permissions: Permissions::new(hardware),
            eoi_page: Mutex::new(None),
        }
    }

    /// Calls `with` for a pirq and its line, both locked: the line stays the pirq's meanwhile.
    fn with_line<R>(&self, pirq: u32, with: impl FnOnce(&Pirq, &mut line::Line) -> R) -> Option<R> {
        let table = self.table.lock();
        let mapped = table.get(&pirq)?;
        Some(with(mapped, &mut line::allocated(mapped.vector).lock()))
    }

    /// Sets or clears a pirq's bit in the guest's page, if it has given one.
    fn set_eoi_bit(&self, pirq: u32, on: bool) {
        if let Some(page) = &*self.eoi_page.lock() {
            let word = directmap(page.mfn().maddr())
                .cast::<AtomicU64>()
                .wrapping_add(pirq as usize / 64);
            // SAFETY: pirqs are below 32768, so the word is in the page; the reference keeps the page a writable
            // one of the guest's, and an atomic may be shared with it.
            let word = unsafe { &*word };
            let bit = 1 << (pirq % 64);
            if on {
                word.fetch_or(bit, Ordering::Relaxed)
            } else {
                word.fetch_and(!bit, Ordering::Relaxed)
            };
        }
    }
}

/// A free run of `count` pirqs at or above `from`.
fn free_run(table: &BTreeMap<u32, Pirq>, from: u32, count: u32) -> Result<u32, Errno> {
    let mut start = from;
    for taken in table.range(from..).map(|(pirq, _)| *pirq) {
        if taken - start >= count {
            break;
        }
        start = taken + 1;
    }
    if start + count <= MAX_PIRQS {
        Ok(start)
    } else {
        Err(Errno::ENOSPC)
    }
}

/// A pirq number that is free for a line or (`message`) for a message interrupt (`PHYSDEVOP_get_free_pirq`).
///
/// # Errors
/// `ENOSPC`.
pub(crate) fn free_pirq(domain: &Domain, message: bool) -> Result<u32, Errno> {
    let table = domain.irqs.table.lock();
    let pirq = free_run(&table, if message { gsi::count() } else { 16 }, 1)?;
    if message || pirq < gsi::count() {
        Ok(pirq)
    } else {
        Err(Errno::ENOSPC)
    }
}

/// Gives the domain a pirq for line `gsi`: the one it wants, or the line's own number. It is `giver` who must have the
/// right to the line: a toolstack gives that to the domain afterwards.
///
/// # Errors
/// `EINVAL` for no such line, `EPERM` for one that is not the giver's, `EEXIST` if the pirq stands for another.
pub(crate) fn map_gsi(giver: &Domain, domain: &Domain, gsi: u32, wanted: Option<u32>) -> Result<u32, Errno> {
    if gsi >= gsi::count() {
        return Err(Errno::EINVAL);
    }
    if !giver.irqs.permissions.has_irq(gsi) {
        return Err(Errno::EPERM);
    }
    let mut table = domain.irqs.table.lock();
    let same = |p: &Pirq| matches!(p.kind, Kind::Gsi(g) if g == gsi);
    if let Some((pirq, _)) = table.iter().find(|(_, p)| same(p)) {
        return if wanted.is_none_or(|w| w == *pirq) {
            Ok(*pirq)
        } else {
            Err(Errno::EEXIST)
        };
    }
    let pirq = wanted.unwrap_or(gsi);
    if pirq >= MAX_PIRQS {
        return Err(Errno::EINVAL);
    }
    if table.contains_key(&pirq) {
        return Err(Errno::EEXIST);
    }
    let new = Pirq {
        vector: gsi::vector(gsi)?,
        kind: Kind::Gsi(gsi),
    };
    table.insert(pirq, new);
    drop(table);
    domain.irqs.set_eoi_bit(pirq, new.kind.needs_eoi());
    Ok(pirq)
}

/// What kind of message interrupt is wanted.
#[derive(Clone, Copy)]
pub(crate) enum Message {
    /// So many messages of the MSI capability.
    Msi(u8),
    /// This entry of the MSI-X table, behind the base address register that holds this address.
    Msix(u16, u64),
}

/// Gives the domain pirqs for message interrupts of a function; they are consecutive, and the first is returned.
///
/// # Errors
/// As [`device::map_msi`] and [`device::map_msix`]; `ENOSPC` without a free pirq, `EEXIST` if the wanted one is taken.
pub(crate) fn map_message(domain: &Domain, at: Sbdf, what: Message, wanted: Option<u32>) -> Result<u32, Errno> {
    let mut table = domain.irqs.table.lock();
    let count = if let Message::Msi(count) = what {
        count.max(1)
    } else {
        1
    };
    let pirq = match wanted {
        None => free_run(&table, gsi::count(), count as u32)?,
        Some(first) if first as u64 + count as u64 > MAX_PIRQS as u64 => return Err(Errno::EINVAL),
        Some(first) if table.range(first..first + count as u32).next().is_some() => return Err(Errno::EEXIST),
        Some(first) => first,
    };
    let vector = match what {
        Message::Msi(count) => device::map_msi(at, count)?,
        Message::Msix(entry, table_bar) => device::map_msix(at, entry, table_bar)?,
    };
    for index in 0..count {
        let group = if index == 0 { count } else { 0 };
        table.insert(
            pirq + index as u32,
            Pirq {
                vector: vector + index,
                kind: Kind::Message(at, group),
            },
        );
    }
    Ok(pirq)
}

/// Takes a pirq from the domain; for the first of a block of messages, the block.
///
/// A port that is still bound to it stays, and hears nothing more.
///
/// # Errors
/// `EINVAL` for a pirq that the domain has not, or one within a block.
pub(crate) fn unmap(domain: &Domain, pirq: u32) -> Result<(), Errno> {
    let mut table = domain.irqs.table.lock();
    let mapped = *table.get(&pirq).ok_or(Errno::EINVAL)?;
    let count = match mapped.kind {
        Kind::Gsi(_) => 1,
        Kind::Message(_, 0) => return Err(Errno::EINVAL),
        Kind::Message(_, count) => count,
    };
    for number in pirq..pirq + count as u32 {
        if let Some(gone) = table.remove(&number) {
            line::allocated(gone.vector).lock().unbind(Sharer {
                domid: domain.id,
                pirq: number,
            });
        }
    }
    if let Kind::Message(at, _) = mapped.kind {
        device::unmap(at, mapped.vector);
    }
    drop(table);
    domain.irqs.set_eoi_bit(pirq, false);
    Ok(())
}

/// Lets the domain's pirq interrupt (`EVTCHNOP_bind_pirq`); from now on it comes by [`crate::event::send_pirq`].
///
/// `share` says that the guest bears with others on the same line.
///
/// # Errors
/// `EINVAL` for a pirq that the domain has not mapped, `EBUSY` if somebody else has the line.
pub fn bind_pirq(domain: &Domain, pirq: u32, share: bool) -> Result<(), Errno> {
    let bound = domain.irqs.with_line(pirq, |mapped, line| {
        if !line.is_bound() {
            line.set_cpu(cpu_id());
        }
        line.bind(Sharer { domid: domain.id, pirq }, share)?;
        Ok::<Kind, Errno>(mapped.kind)
    });
    let kind = bound.ok_or(Errno::EINVAL)??;
    domain.irqs.set_eoi_bit(pirq, kind.needs_eoi());
    Ok(())
}

/// Stops the domain's pirq (its event channel is closed).
pub fn unbind_pirq(domain: &Domain, pirq: u32) {
    let gone = Sharer { domid: domain.id, pirq };
    let _ = domain.irqs.with_line(pirq, |_, line| line.unbind(gone));
}

/// The guest has served the pirq (`PHYSDEVOP_eoi`).
///
/// # Errors
/// `EINVAL` for a pirq that the domain has not.
pub fn eoi_pirq(domain: &Domain, pirq: u32) -> Result<(), Errno> {
    let served = Sharer { domid: domain.id, pirq };
    let done = domain.irqs.with_line(pirq, |_, line| line.end_service(served));
    done.ok_or(Errno::EINVAL)
}

/// Sends the pirq's line to CPU `cpu` from now on, where the vcpu that serves it runs (`EVTCHNOP_bind_vcpu`).
pub fn set_pirq_affinity(domain: &Domain, pirq: u32, cpu: usize) {
    let _ = domain.irqs.with_line(pirq, |_, line| line.set_cpu(cpu));
}

/// Must the guest say when it has served the pirq, and do others share the line?
///
/// # Errors
/// `EINVAL` for a number that is no pirq.
pub(crate) fn status(domain: &Domain, pirq: u32) -> Result<(bool, bool), Errno> {
    if pirq >= MAX_PIRQS {
        return Err(Errno::EINVAL);
    }
    let found = domain
        .irqs
        .with_line(pirq, |mapped, line| (mapped.kind, line.is_shared()));
    Ok(found.map_or((false, false), |(kind, shared)| (kind.needs_eoi(), shared)))
}

/// A line's mode has changed: guests must know whether to say that they have served it.
pub(crate) fn mode_changed(domain: &Domain, gsi: u32) {
    let same = |p: &Pirq| matches!(p.kind, Kind::Gsi(g) if g == gsi);
    let found = domain
        .irqs
        .table
        .lock()
        .iter()
        .find(|(_, p)| same(p))
        .map(|(pirq, p)| (*pirq, *p));
    if let Some((pirq, mapped)) = found {
        domain.irqs.set_eoi_bit(pirq, mapped.kind.needs_eoi());
    }
}

/// Takes a page of the domain's to show which pirqs need `PHYSDEVOP_eoi` (`PHYSDEVOP_pirq_eoi_gmfn_v2`).
///
/// # Errors
/// `EBUSY` if there is one, or as the page's typing says.
pub(crate) fn set_eoi_page(domain: &Domain, mfn: Mfn) -> Result<(), Errno> {
    let page = frame::get_page_type(mfn, domain, frame::Type::Writable)?;
    let mut slot = domain.irqs.eoi_page.lock();
    if slot.is_some() {
        return Err(Errno::EBUSY);
    }
    logdirty::touched(page.info());
    *slot = Some(page);
    drop(slot);
    let table = domain.irqs.table.lock();
    for (pirq, mapped) in table.iter() {
        domain.irqs.set_eoi_bit(*pirq, mapped.kind.needs_eoi());
    }
    Ok(())
}

/// Takes all pirqs from a dying domain, and lets its page of bits go. `true` if nothing is left; else the caller, who
/// holds no lock, calls it again.
pub fn release(domain: &Domain) -> bool {
    loop {
        let first = domain.irqs.table.lock().keys().next().copied();
        let Some(pirq) = first else { break };
        // The lowest number is never one within a block, which is taken by its first.
        if unmap(domain, pirq).is_err() {
            domain.irqs.table.lock().remove(&pirq);
        }
        if preempt_needed() {
            return false;
        }
    }
    let page = domain.irqs.eoi_page.lock().take();
    drop(page);
    true
}

/// Calls `f` with the frame of the domain's that the hypervisor writes to for its interrupts, if there is one.
pub fn held_frames(domain: &Domain, f: &mut impl FnMut(Mfn)) {
    domain.irqs.eoi_page.lock().iter().map(TypedRef::mfn).for_each(f);
}

/// Tells a domain of an interrupt, if it is still there.
pub(super) fn deliver(guest: Sharer) {
    if let Some(domain) = domain::find(guest.domid) {
        crate::event::send_pirq(&domain, guest.pirq);
    }
}
