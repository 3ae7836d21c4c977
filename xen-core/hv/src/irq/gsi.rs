//! Global system interrupts: the pins of the IO-APICs, with what firmware and Dom0 say of their signals.

use super::line::{self, Source};
use crate::arch::x86::ioapic;
use crate::sync::Mutex;
use alloc::vec::Vec;
use xen_abi::Errno;
use xen_logic::acpi::Override;
use xen_logic::interrupt_line::{Polarity, Route, Trigger, default_mode, override_mode};

/// One pin.
#[derive(Clone, Copy)]
struct Gsi {
    trigger: Trigger,
    polarity: Polarity,
    vector: Option<u8>,
}

/// The pins by number, and where ISA lines stand. Taken before a line's lock.
static PINS: Mutex<Vec<Gsi>> = Mutex::new(Vec::new());
static OVERRIDES: Mutex<Vec<Override>> = Mutex::new(Vec::new());

/// Sets every pin's mode as firmware has it; the IO-APICs are started.
pub(super) fn init(overrides: &[Override]) {
    let mut pins = PINS.lock();
    *pins = (0..ioapic::gsi_count())
        .map(|gsi| {
            let (trigger, polarity) = default_mode(gsi);
            Gsi {
                trigger,
                polarity,
                vector: None,
            }
        })
        .collect();
    for o in overrides {
        if let Some(pin) = pins.get_mut(o.gsi as usize) {
            (pin.trigger, pin.polarity) = override_mode(o.flags);
        }
    }
    *OVERRIDES.lock() = overrides.to_vec();
}

/// How many there are.
pub fn count() -> u32 {
    PINS.lock().len() as u32
}

/// Where an ISA line stands.
pub fn of_isa(irq: u8) -> u32 {
    OVERRIDES
        .lock()
        .iter()
        .find(|o| o.irq == irq)
        .map_or(irq as u32, |o| o.gsi)
}

/// The vector of a pin, which gets one and a masked route at the first call.
pub(super) fn vector(gsi: u32) -> Result<u8, Errno> {
    let mut pins = PINS.lock();
    let pin = pins.get_mut(gsi as usize).ok_or(Errno::EINVAL)?;
    if let Some(vector) = pin.vector {
        return Ok(vector);
    }
    let vector = line::alloc_vectors(1)?;
    let mut line = line::allocated(vector).lock();
    let (trigger, polarity) = (pin.trigger, pin.polarity);
    let route = Route {
        vector,
        apic_id: line.target(),
        trigger,
        polarity,
        masked: true,
    };
    ioapic::set_route(gsi, route);
    line.source = Source::Gsi(gsi, route);
    pin.vector = Some(vector);
    Ok(vector)
}

/// Says how a pin's signal looks (`PHYSDEVOP_setup_gsi`).
///
/// # Errors
/// `EINVAL` for no such pin; `EEXIST` while somebody uses it: a mode does not change under a driver.
pub(super) fn set_mode(gsi: u32, trigger: Trigger, polarity: Polarity) -> Result<(), Errno> {
    let vector = vector(gsi)?;
    let mut pins = PINS.lock();
    let mut line = line::allocated(vector).lock();
    if line.is_bound() {
        return Err(Errno::EEXIST);
    }
    let Source::Gsi(_, route) = &mut line.source else {
        return Err(Errno::EINVAL);
    };
    (route.trigger, route.polarity, route.masked) = (trigger, polarity, true);
    ioapic::set_route(gsi, *route);
    let pin = &mut pins[gsi as usize];
    (pin.trigger, pin.polarity) = (trigger, polarity);
    Ok(())
}

/// Is the pin's signal a level? Then a guest must say when it has served it.
pub(super) fn is_level(gsi: u32) -> bool {
    PINS.lock()
        .get(gsi as usize)
        .is_some_and(|pin| pin.trigger == Trigger::Level)
}

/// Gives a pin to the hypervisor itself: `handler` runs with interrupts off, and quiets the device.
///
/// # Errors
/// `EINVAL` for no such pin, `EBUSY` if it is in use, `ENOSPC` if vectors have run out.
pub fn request(gsi: u32, handler: fn()) -> Result<(), Errno> {
    line::allocated(vector(gsi)?).lock().set_handler(handler)
}
