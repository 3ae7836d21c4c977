//! PCI configuration space, raw: by the ports 0xCF8 and 0xCFC, or memory-mapped where that does not reach.

use super::port;
use crate::mm::paging::{Cache, map_vmap};
use crate::sync::{Mutex, Once};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use xen_logic::acpi::EcamRange;
use xen_logic::pci::{Mmcfg, Sbdf, encode_cf8};

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
/// Bytes of memory-mapped configuration space for one bus.
const BUS_BYTES: usize = 1 << 20;

/// The address port and the data port belong together; who holds this may use both.
static PORTS: Mutex<()> = Mutex::new(());

/// The windows that the MCFG table describes.
static WINDOWS: Once<Vec<Mmcfg>> = Once::new();

/// Buses mapped so far: segment and bus to the address of the mapping.
static MAPPED: Mutex<BTreeMap<(u16, u8), usize>> = Mutex::new(BTreeMap::new());

/// Takes the windows from the MCFG table; once.
pub fn init(ranges: &[EcamRange]) {
    let window = |r: &EcamRange| Mmcfg {
        base: r.base,
        seg: r.segment,
        first_bus: r.first_bus,
        last_bus: r.last_bus,
    };
    WINDOWS.call_once(|| ranges.iter().map(window).collect());
}

/// The memory-mapped windows.
pub fn windows() -> &'static [Mmcfg] {
    WINDOWS.get().map_or(&[], |w| w.as_slice())
}

/// Can the segment be reached?
pub fn segment_exists(seg: u16) -> bool {
    seg == 0 || windows().iter().any(|w| w.seg == seg)
}

/// The function and register at a machine address, if configuration space is there.
pub fn decode_address(maddr: u64) -> Option<(Sbdf, u16)> {
    windows().iter().find_map(|w| w.decode(maddr))
}

/// Reads `len` bytes (1, 2 or 4, aligned) at `reg`; all ones where nothing answers.
pub fn read(function: Sbdf, reg: u16, len: u8) -> u32 {
    if function.seg == 0 && reg < 256 {
        let _both = PORTS.lock();
        // SAFETY: the pair of accesses under the lock reads one configuration register.
        return unsafe {
            port::write(ADDRESS, 4, encode_cf8(function, reg));
            port::read(DATA + (reg & 3), len)
        };
    }
    let Some(at) = mapped(function, reg) else {
        return u32::MAX >> (32 - 8 * len as u32);
    };
    // SAFETY: `mapped` gives the address of that register in an uncached mapping that stays; `reg` is aligned.
    unsafe {
        match len {
            1 => (at as *const u8).read_volatile() as u32,
            2 => (at as *const u16).read_volatile() as u32,
            _ => (at as *const u32).read_volatile(),
        }
    }
}

/// Writes `len` bytes (1, 2 or 4, aligned) at `reg`; dropped where nothing answers.
///
/// # Safety
/// The write breaks nothing that the hypervisor relies on: no message interrupt but one of its own vectors.
pub unsafe fn write(function: Sbdf, reg: u16, len: u8, value: u32) {
    if function.seg == 0 && reg < 256 {
        let _both = PORTS.lock();
        // SAFETY: the pair of accesses under the lock writes one configuration register, for which the caller vouches.
        unsafe {
            port::write(ADDRESS, 4, encode_cf8(function, reg));
            port::write(DATA + (reg & 3), len, value);
        }
        return;
    }
    let Some(at) = mapped(function, reg) else { return };
    // SAFETY: `mapped` gives the address of that register in an uncached mapping that stays; `reg` is aligned; the
    // caller vouches for the value.
    unsafe {
        match len {
            1 => (at as *mut u8).write_volatile(value as u8),
            2 => (at as *mut u16).write_volatile(value as u16),
            _ => (at as *mut u32).write_volatile(value),
        }
    }
}

/// The hypervisor's address of a register, mapping its bus at the first use.
fn mapped(function: Sbdf, reg: u16) -> Option<usize> {
    let window = windows().iter().find(|w| w.address_of(function).is_some())?;
    let bus_start = window.address_of(Sbdf::new(function.seg, function.bus, 0))?;
    let mut buses = MAPPED.lock();
    let base = *buses
        .entry((function.seg, function.bus))
        .or_insert_with(|| map_vmap(bus_start, BUS_BYTES, Cache::Uncached) as usize);
    Some(base + ((function.devfn as usize) << 12) + (reg & 0xfff) as usize)
}
