//! The firmware's tables, found and read once at boot.

use crate::mm::paging::{Cache, map_vmap, unmap_vmap};
use crate::sync::Once;
use alloc::vec::Vec;
use xen_logic::acpi::{self, EcamRange, Fadt, HEADER_LEN, Madt, Rsdp};

/// What is known of the machine.
#[derive(Debug, Default)]
pub struct Info {
    /// Interrupt controllers and CPUs.
    pub madt: Option<Madt>,
    /// Power management.
    pub fadt: Option<Fadt>,
    /// Machine address of the HPET.
    pub hpet: Option<u64>,
    /// PCI configuration space in memory.
    pub mcfg: Vec<EcamRange>,
}

static INFO: Once<Info> = Once::new();

/// Largest table that is read.
const MAX_TABLE: usize = 16 << 20;
/// Most tables looked at.
const MAX_TABLES: usize = 256;

/// What the tables say; nothing before [`init`].
pub fn info() -> &'static Info {
    static NONE: Info = Info {
        madt: None,
        fadt: None,
        hpet: None,
        mcfg: Vec::new(),
    };
    INFO.get().unwrap_or(&NONE)
}

/// Calls `f` with `len` bytes of memory at machine address `addr`.
fn with_memory<R>(addr: u64, len: usize, f: impl FnOnce(&[u8]) -> R) -> R {
    let ptr = map_vmap(addr, len, Cache::WriteBack);
    // SAFETY: mapped for as long as `f` runs; the firmware does not change its tables while we read.
    let result = f(unsafe { core::slice::from_raw_parts(ptr, len) });
    // SAFETY: `f` has returned, and its result does not borrow the bytes.
    unsafe { unmap_vmap(ptr, len) };
    result
}

/// Calls `f` with the whole table at `addr`, if it is one with a right checksum.
fn with_table<R>(addr: u64, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
    let (signature, len) = with_memory(addr, HEADER_LEN, acpi::header)?;
    if len > MAX_TABLE {
        return None;
    }
    with_memory(addr, len, |bytes| match acpi::table(bytes) {
        Some(table) => Some(f(table)),
        None => {
            log::warn!(
                "ACPI: table {} at {addr:#x} has a wrong checksum, ignored",
                signature.escape_ascii()
            );
            None
        }
    })
}

/// The root pointer where BIOSes put it: the first KiB of the extended BIOS data area, or the BIOS's own 128 KiB.
fn search_rsdp() -> Option<Rsdp> {
    let ebda = with_memory(0x40e, 2, |b| u16::from_le_bytes([b[0], b[1]]) as u64) << 4;
    let areas = [(ebda, 1024), (0xe_0000, 0x2_0000)];
    let usable = areas
        .into_iter()
        .filter(|(start, _)| (0x400..0x10_0000).contains(start));
    usable
        .into_iter()
        .find_map(|(start, len)| with_memory(start, len, |b| Rsdp::search(b).map(|(_, r)| r)))
}

/// Reads the tables that the root pointer leads to: the loader's copy of it, or the one found in memory.
pub fn init(from_loader: Option<Rsdp>) {
    let mut info = Info::default();
    match from_loader.or_else(search_rsdp) {
        None => log::warn!("ACPI: no root pointer"),
        Some(rsdp) => {
            let (root, wide) = rsdp.xsdt.map_or((rsdp.rsdt.into(), false), |x| (x, true));
            let tables: Vec<u64> =
                with_table(root, |t| acpi::root_entries(t, wide).take(MAX_TABLES).collect()).unwrap_or_default();
            for addr in tables {
                read_table(&mut info, addr);
            }
        }
    }
    INFO.call_once(|| info);
}

/// Only the tables wanted are read beyond their header.
fn read_table(info: &mut Info, addr: u64) {
    let Some((signature, len)) = with_memory(addr, HEADER_LEN, acpi::header) else {
        return;
    };
    log::debug!("ACPI: {} at {addr:#x}, {len} bytes", signature.escape_ascii());
    match &signature {
        b"APIC" => info.madt = with_table(addr, Madt::parse).flatten(),
        b"FACP" => info.fadt = with_table(addr, Fadt::parse).flatten(),
        b"HPET" => info.hpet = with_table(addr, acpi::parse_hpet).flatten(),
        b"MCFG" => info.mcfg = with_table(addr, acpi::parse_mcfg).unwrap_or_default(),
        _ => {}
    }
}
