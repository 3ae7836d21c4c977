//! IO-APICs: interrupt pins to messages for local APICs, and the two old interrupt controllers, which stay silent.

use super::port;
use crate::mm::paging::{Cache, map_vmap};
use crate::sync::{Mutex, Once};
use alloc::vec::Vec;
use xen_logic::acpi;
use xen_logic::interrupt_line::{RTE_MASKED, Route};

/// One IO-APIC.
struct IoApic {
    place: acpi::IoApic,
    pins: u32,
    registers: Mutex<Registers>,
}

/// Index and data register.
struct Registers {
    select: *mut u32,
    window: *mut u32,
}

// SAFETY: the pointers lead to device registers mapped for ever, used under the lock only.
unsafe impl Send for Registers {}

const REG_VERSION: u32 = 1;
const REG_FIRST_ENTRY: u32 = 0x10;

impl Registers {
    fn map(address: u64) -> Self {
        let base = map_vmap(address, 0x20, Cache::Uncached);
        Self {
            select: base.cast(),
            window: base.wrapping_add(0x10).cast(),
        }
    }

    fn read(&mut self, reg: u32) -> u32 {
        // SAFETY: both are registers of the IO-APIC, mapped uncached; exclusive by `&mut`.
        unsafe {
            self.select.write_volatile(reg);
            self.window.read_volatile()
        }
    }

    fn write(&mut self, reg: u32, value: u32) {
        // SAFETY: as for `read`. What is written has been made by `Route::encode` or differs in the mask only.
        unsafe {
            self.select.write_volatile(reg);
            self.window.write_volatile(value);
        }
    }
}

static IOAPICS: Once<Vec<IoApic>> = Once::new();

fn all() -> &'static [IoApic] {
    IOAPICS.get().map_or(&[], |v| v.as_slice())
}

/// Maps the IO-APICs, masks every pin, and silences the old interrupt controllers; once.
pub fn init(places: &[acpi::IoApic]) {
    silence_8259();
    IOAPICS.call_once(|| places.iter().map(|place| start(*place)).collect());
}

fn start(place: acpi::IoApic) -> IoApic {
    let mut registers = Registers::map(place.address as u64);
    let pins = (registers.read(REG_VERSION) >> 16 & 0xff) + 1;
    for pin in 0..pins {
        let entry = REG_FIRST_ENTRY + 2 * pin;
        registers.write(entry, RTE_MASKED);
        registers.write(entry + 1, 0);
    }
    log::info!(
        "IO-APIC {} at {:#x}: GSI {} to {}",
        place.id,
        place.address,
        place.gsi_base,
        place.gsi_base + pins - 1
    );
    IoApic {
        place,
        pins,
        registers: Mutex::new(registers),
    }
}

/// Masks every line of the two 8259s.
fn silence_8259() {
    // SAFETY: these ports are the mask registers; nothing relies on the 8259s.
    unsafe {
        port::write(0x21, 1, 0xff);
        port::write(0xa1, 1, 0xff);
    }
}

/// How many global system interrupts there are.
pub fn gsi_count() -> u32 {
    all().iter().map(|a| a.place.gsi_base + a.pins).max().unwrap_or(0)
}

/// The register pages, which no domain may map.
pub fn addresses() -> impl Iterator<Item = u64> {
    all().iter().map(|a| a.place.address as u64)
}

fn find(gsi: u32) -> Option<(&'static IoApic, u32)> {
    let apic = all()
        .iter()
        .find(|a| (a.place.gsi_base..a.place.gsi_base + a.pins).contains(&gsi))?;
    Some((apic, REG_FIRST_ENTRY + 2 * (gsi - apic.place.gsi_base)))
}

/// Sets the pin of a global system interrupt; nothing if it has none.
pub fn set_route(gsi: u32, route: Route) {
    if let Some((apic, entry)) = find(gsi) {
        let [low, high] = route.encode();
        let mut registers = apic.registers.lock();
        // Masked while the halves do not fit together.
        registers.write(entry, low | RTE_MASKED);
        registers.write(entry + 1, high);
        registers.write(entry, low);
    }
}

/// Sends a pin, whose route is `route` but for that, to another local APIC.
///
/// One write, with the pin as open as it was: a masked pin would forget an edge.
pub fn set_destination(gsi: u32, route: Route) {
    if let Some((apic, entry)) = find(gsi) {
        apic.registers.lock().write(entry + 1, route.encode()[1]);
    }
}

/// Masks or unmasks the pin of a global system interrupt, whose route is `route` but for that.
pub fn set_masked(gsi: u32, route: Route, masked: bool) {
    if let Some((apic, entry)) = find(gsi) {
        apic.registers
            .lock()
            .write(entry, Route { masked, ..route }.encode()[0]);
    }
}

/// Reads register `reg` of the IO-APIC at `address`, for a Dom0 that looks at it.
pub fn read_register(address: u64, reg: u32) -> Option<u32> {
    let apic = all().iter().find(|a| a.place.address as u64 == address)?;
    let known = reg <= 2 || (REG_FIRST_ENTRY..REG_FIRST_ENTRY + 2 * apic.pins).contains(&reg);
    known.then(|| apic.registers.lock().read(reg))
}
