//! Interrupt lines: what stands behind each vector, and who is told.
//!
//! A line belongs to the hypervisor (a handler) or to guests (sharers, who get it as an event). Message
//! interrupts and edges are acknowledged at once. A level would come again for as long as the device holds it, so
//! its pin is masked until every sharer that was told has said that it is done; the local APIC is never kept
//! waiting for a guest.

use super::msi::{MsiSlot, MsixSlot};
use crate::arch::x86::{apic, ioapic};
use crate::sync::Mutex;
use xen_abi::Errno;
use xen_logic::interrupt_line::{Route, Trigger};
use xen_logic::sharers::{self, MAX_SHARERS, Sharer, Sharers};
use xen_logic::vectors::{FIRST_DEVICE, LAST_DEVICE, Vectors};

/// The hardware end of a line.
pub(super) enum Source {
    /// Nothing: the vector is free.
    Free,
    /// A pin of an IO-APIC.
    Gsi(u32, Route),
    /// A message of a function's MSI capability.
    Msi(MsiSlot),
    /// An entry of a function's MSI-X table.
    Msix(MsixSlot),
}

/// One vector's line.
pub(super) struct Line {
    /// The hardware.
    pub(super) source: Source,
    /// The hypervisor's own handler.
    handler: Option<fn()>,
    /// The guests, unless the line is the hypervisor's.
    sharers: Sharers,
    /// The CPU that it interrupts.
    cpu: usize,
}

/// The lines, by vector from [`FIRST_DEVICE`] on. A line's lock is a leaf but for the hardware's own locks.
static LINES: [Mutex<Line>; (LAST_DEVICE - FIRST_DEVICE) as usize + 1] =
    [const { Mutex::new(Line::new()) }; (LAST_DEVICE - FIRST_DEVICE) as usize + 1];

/// Which vectors are taken.
static VECTORS: Mutex<Vectors> = Mutex::new(Vectors::new());

/// The line of a device vector.
pub(super) fn of(vector: u8) -> Option<&'static Mutex<Line>> {
    LINES.get((vector as usize).wrapping_sub(FIRST_DEVICE as usize))
}

/// The line of a vector that was allocated.
pub(super) fn allocated(vector: u8) -> &'static Mutex<Line> {
    &LINES[(vector - FIRST_DEVICE) as usize]
}

/// Takes `count` consecutive vectors; see [`Vectors::alloc`].
pub(super) fn alloc_vectors(count: u8) -> Result<u8, Errno> {
    VECTORS.lock().alloc(count).ok_or(Errno::ENOSPC)
}

/// Gives a vector back; its line forgets everything.
pub(super) fn release(vector: u8) {
    *allocated(vector).lock() = Line::new();
    VECTORS.lock().free(vector);
}

impl Line {
    const fn new() -> Self {
        Self {
            source: Source::Free,
            handler: None,
            sharers: Sharers::new(),
            cpu: 0,
        }
    }

    /// Does the line hold until its device is served?
    pub(super) fn is_level(&self) -> bool {
        matches!(
            self.source,
            Source::Gsi(
                _,
                Route {
                    trigger: Trigger::Level,
                    ..
                }
            )
        )
    }

    /// Is anybody told?
    pub(super) fn is_bound(&self) -> bool {
        self.handler.is_some() || !self.sharers.is_empty()
    }

    /// More than one guest?
    pub(super) fn is_shared(&self) -> bool {
        self.sharers.iter().nth(1).is_some()
    }

    /// Masks or unmasks at the source.
    pub(super) fn set_masked(&mut self, masked: bool) {
        match &mut self.source {
            Source::Free => {}
            Source::Gsi(gsi, route) => {
                route.masked = masked;
                ioapic::set_masked(*gsi, *route, masked);
            }
            Source::Msi(slot) => slot.set_masked(masked),
            Source::Msix(slot) => slot.set_masked(masked),
        }
    }

    /// Sends the line to `cpu` from now on.
    pub(super) fn set_cpu(&mut self, cpu: usize) {
        if self.cpu == cpu {
            return;
        }
        self.cpu = cpu;
        let apic_id = apic_id(cpu);
        match &mut self.source {
            Source::Free => {}
            Source::Gsi(gsi, route) => {
                route.apic_id = apic_id;
                ioapic::set_destination(*gsi, *route);
            }
            Source::Msi(slot) => slot.set_target(apic_id),
            Source::Msix(slot) => slot.set_target(apic_id),
        }
    }

    /// Local APIC that the line goes to.
    pub(super) fn target(&self) -> u8 {
        apic_id(self.cpu)
    }

    /// Gives the line to the hypervisor, and opens it.
    pub(super) fn set_handler(&mut self, handler: fn()) -> Result<(), Errno> {
        if self.is_bound() {
            return Err(Errno::EBUSY);
        }
        self.handler = Some(handler);
        self.set_masked(false);
        Ok(())
    }

    /// Tells a guest of the line from now on; the first one opens it.
    pub(super) fn bind(&mut self, guest: Sharer, share: bool) -> Result<(), Errno> {
        if self.handler.is_some() {
            return Err(Errno::EBUSY);
        }
        let effect = self.sharers.bind(guest, share)?;
        self.apply(effect);
        Ok(())
    }

    /// Tells a guest no more; the last one closes it.
    pub(super) fn unbind(&mut self, guest: Sharer) {
        let effect = self.sharers.unbind(guest);
        self.apply(effect);
    }

    /// A guest has served the device.
    pub(super) fn end_service(&mut self, guest: Sharer) {
        let effect = self.sharers.end_service(guest);
        self.apply(effect);
    }

    fn apply(&mut self, effect: sharers::Source) {
        match effect {
            sharers::Source::Keep => {}
            sharers::Source::Mask => self.set_masked(true),
            sharers::Source::Unmask => self.set_masked(false),
        }
    }

    /// The line has interrupted: what is to be called or told.
    fn take(&mut self) -> Taken {
        if let Some(handler) = self.handler {
            return Taken::Handler(handler);
        }
        if self.is_level() {
            let effect = self.sharers.begin_service();
            self.apply(effect);
        }
        let mut told = [None; MAX_SHARERS];
        told.iter_mut()
            .zip(self.sharers.iter())
            .for_each(|(slot, guest)| *slot = Some(guest));
        Taken::Guests(told)
    }
}

/// What an interrupt leads to.
enum Taken {
    Handler(fn()),
    Guests([Option<Sharer>; MAX_SHARERS]),
}

/// A device has interrupted this CPU.
///
/// The line is unlocked before anybody is told: event channels have locks of their own, and under one of them
/// a guest binds and unbinds lines.
pub fn dispatch(vector: u8) {
    let taken = of(vector).map(|line| line.lock().take());
    match taken {
        // A handler quiets its device before the local APIC may deliver the level again.
        Some(Taken::Handler(handler)) => {
            handler();
            apic::eoi();
        }
        Some(Taken::Guests(told)) => {
            apic::eoi();
            for guest in told.into_iter().flatten() {
                super::domain::deliver(guest);
            }
        }
        None => apic::eoi(),
    }
}

/// The local APIC identifier of a CPU. Destinations have 8 bits: a CPU beyond them leaves its lines to the boot CPU.
fn apic_id(cpu: usize) -> u8 {
    u8::try_from(apic::id_of(cpu)).unwrap_or(apic::id_of(0) as u8)
}
