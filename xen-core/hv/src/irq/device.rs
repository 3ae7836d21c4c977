//! PCI functions: their message interrupts, and what a domain may write to their configuration space.

use super::line::{self, Source};
use super::msi::{Config, MsiSlot, MsixSlot, set_msix_control};
use super::permission;
use crate::arch::x86::pci_config;
use crate::mm::frame;
use crate::mm::paging::{Cache, map_vmap, unmap_vmap};
use crate::sync::Mutex;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use xen_abi::Errno;
use xen_logic::interrupt_line::MsiMessage;
use xen_logic::pci::{
    COMMAND_MEMORY, ConfigRead, MSIX_ENABLE, MsiCap, MsixCap, REG_COMMAND, Sbdf, filter_write, memory_bar,
};

/// Most functions that Dom0 may tell of; a segment of an ordinary machine has a few dozen.
const MAX_FUNCTIONS: usize = 8192;

/// Most mappings of MSI-X tables, over all time: their addresses are not used again, and a Dom0 that moves a table
/// about must not use them up.
const MAX_TABLE_MAPPINGS: usize = 65536;

static TABLES_MAPPED: AtomicUsize = AtomicUsize::new(0);

/// A function that Dom0 has told of, or uses.
#[derive(Default)]
struct Function {
    msi: Option<MsiCap>,
    msix: Option<MsixCap>,
    /// Vectors of its MSI messages: the first one and their number.
    messages: Option<(u8, u8)>,
    /// MSI-X entries in use, with their vectors.
    entries: Vec<(u16, u8)>,
    /// Where the MSI-X table is, and the hypervisor's mapping of it.
    table: Option<(u64, usize)>,
    /// Frames of table and pending bits that domains may map only read-only, with inclusive bounds.
    guarded: Vec<(u64, u64)>,
    /// `PHYSDEVOP_prepare_msix` was called: the guard stays until `PHYSDEVOP_release_msix`.
    prepared: bool,
}

/// The functions known. Taken before a line's lock.
static FUNCTIONS: Mutex<BTreeMap<Sbdf, Function>> = Mutex::new(BTreeMap::new());

impl Function {
    fn probe(at: Sbdf) -> Self {
        let config = Config(at);
        Self {
            msi: MsiCap::find(&config),
            msix: MsixCap::find(&config),
            ..Self::default()
        }
    }

    fn is_used(&self) -> bool {
        self.messages.is_some() || !self.entries.is_empty()
    }

    /// Makes the frames of the MSI-X table and pending bits read-only for domains.
    fn guard(&mut self, at: Sbdf, table_bar: Option<u64>) {
        let Some(cap) = self.msix.filter(|_| self.guarded.is_empty()) else {
            return;
        };
        let bar = |bar: u8| memory_bar(&Config(at), bar);
        let table = bar(cap.table_bar)
            .or(table_bar)
            .map(|b| (b.wrapping_add(cap.table_offset as u64), cap.table_len()));
        let pba = bar(cap.pba_bar).map(|b| (b.wrapping_add(cap.pba_offset as u64), cap.pba_len()));
        for (start, len) in [table, pba].into_iter().flatten() {
            let frames = (start >> 12, start.saturating_add(len - 1) >> 12);
            // A base address register that points into RAM guards nothing.
            if (frames.0..=frames.1).all(|mfn| frame::info(frame::Mfn(mfn)).is_none()) {
                permission::guard_frames(frames.0, frames.1);
                self.guarded.push(frames);
            }
        }
    }

    /// Ends the guard if nothing needs it.
    fn unguard(&mut self) {
        if self.entries.is_empty() && !self.prepared {
            for (first, last) in self.guarded.drain(..) {
                permission::unguard_frames(first, last);
            }
        }
    }

    /// The hypervisor's address of the MSI-X table, mapped at the first use and where it has moved.
    fn map_table(&mut self, at: Sbdf, cap: &MsixCap, given_bar: u64) -> Result<usize, Errno> {
        let config = Config(at);
        if config.read(REG_COMMAND, 2) & COMMAND_MEMORY == 0 {
            return Err(Errno::ENXIO);
        }
        // A virtual function has no base address registers of its own; there Dom0's word must do.
        let bar = memory_bar(&config, cap.table_bar).unwrap_or(given_bar);
        let start = bar.checked_add(cap.table_offset as u64).ok_or(Errno::EINVAL)?;
        if let Some((mapped, address)) = self.table
            && mapped == start
        {
            return Ok(address);
        }
        if !self.entries.is_empty() {
            return Err(Errno::EBUSY);
        }
        let last = start
            .checked_add(cap.table_len() - 1)
            .filter(|last| *last < 1 << 52)
            .ok_or(Errno::EINVAL)?;
        if (start >> 12..=last >> 12).any(|mfn| frame::info(frame::Mfn(mfn)).is_some() || permission::is_denied(mfn)) {
            return Err(Errno::EINVAL);
        }
        if TABLES_MAPPED.fetch_add(1, Relaxed) >= MAX_TABLE_MAPPINGS {
            return Err(Errno::ENOSPC);
        }
        let len = cap.table_len() as usize;
        if let Some((_, old)) = self.table.take() {
            // SAFETY: no entry is in use, as checked above, so that no line has an address in it.
            unsafe { unmap_vmap(old as *mut u8, len) };
        }
        let address = map_vmap(start, len, Cache::Uncached) as usize;
        self.table = Some((start, address));
        Ok(address)
    }
}

/// Dom0 tells of a function (`PHYSDEVOP_pci_device_add`).
///
/// # Errors
/// `ENODEV` for a segment that there is none of, `ENOSPC` for too many functions.
pub(super) fn add(at: Sbdf) -> Result<(), Errno> {
    if !pci_config::segment_exists(at.seg) {
        return Err(Errno::ENODEV);
    }
    let mut functions = FUNCTIONS.lock();
    if functions.len() >= MAX_FUNCTIONS && !functions.contains_key(&at) {
        return Err(Errno::ENOSPC);
    }
    let function = functions.entry(at).or_default();
    if !function.is_used() {
        // Another device may have come to its place.
        let found = Function::probe(at);
        (function.msi, function.msix) = (found.msi, found.msix);
    }
    Ok(())
}

/// Has Dom0 told of a function?
pub(super) fn is_known(at: Sbdf) -> bool {
    FUNCTIONS.lock().contains_key(&at)
}

/// Dom0 says that a function has gone.
///
/// # Errors
/// `ENODEV` for an unknown one; `EBUSY` while its interrupts are mapped.
pub(super) fn remove(at: Sbdf) -> Result<(), Errno> {
    let mut functions = FUNCTIONS.lock();
    let function = functions.get_mut(&at).ok_or(Errno::ENODEV)?;
    if function.is_used() {
        return Err(Errno::EBUSY);
    }
    function.prepared = false;
    function.unguard();
    functions.remove(&at);
    Ok(())
}

/// Announces that the MSI-X table stays where it is, or (`prepare` false) that it may move.
///
/// # Errors
/// `ENODEV` for an unknown function or one without MSI-X, `EBUSY` while it is in use.
pub(super) fn prepare_msix(at: Sbdf, prepare: bool) -> Result<(), Errno> {
    let mut functions = FUNCTIONS.lock();
    let function = functions
        .get_mut(&at)
        .filter(|f| f.msix.is_some())
        .ok_or(Errno::ENODEV)?;
    if !function.entries.is_empty() {
        return Err(Errno::EBUSY);
    }
    function.prepared = prepare;
    if prepare {
        function.guard(at, None)
    } else {
        function.unguard()
    }
    Ok(())
}

/// Takes vectors for `count` MSI messages of a function and writes them to it, masked where it can.
///
/// Gives the first vector. The domain enables the capability itself.
///
/// # Errors
/// `ENODEV` without the capability, `EEXIST` if it is in use, `ERANGE` for more messages than it has.
pub(super) fn map_msi(at: Sbdf, count: u8) -> Result<u8, Errno> {
    let mut functions = FUNCTIONS.lock();
    let function = functions.get_mut(&at).ok_or(Errno::ENODEV)?;
    let cap = function.msi.ok_or(Errno::ENODEV)?;
    if function.is_used() {
        return Err(Errno::EEXIST);
    }
    let block = count.checked_next_power_of_two().ok_or(Errno::ERANGE)?;
    if count == 0 || block > cap.messages {
        return Err(Errno::ERANGE);
    }
    let first = line::alloc_vectors(block)?;
    for index in 0..block {
        let mut slot = MsiSlot {
            function: at,
            cap,
            index,
            masked: true,
        };
        let mut line = line::allocated(first + index).lock();
        if index == 0 {
            slot.program(MsiMessage::new(first, line.target()), block);
        }
        slot.set_masked(true);
        line.source = Source::Msi(slot);
    }
    function.messages = Some((first, block));
    Ok(first)
}

/// Takes a vector for an entry of a function's MSI-X table and writes it there, masked.
///
/// # Errors
/// `ENODEV` without the capability, `EINVAL` for an entry or a table that cannot be, `EEXIST` if it is in use.
pub(super) fn map_msix(at: Sbdf, entry: u16, table_bar: u64) -> Result<u8, Errno> {
    let mut functions = FUNCTIONS.lock();
    let function = functions.get_mut(&at).ok_or(Errno::ENODEV)?;
    let cap = function.msix.ok_or(Errno::ENODEV)?;
    if entry >= cap.entries {
        return Err(Errno::EINVAL);
    }
    if function.messages.is_some() || function.entries.iter().any(|e| e.0 == entry) {
        return Err(Errno::EEXIST);
    }
    let table = function.map_table(at, &cap, table_bar)?;
    function.guard(at, Some(table_bar));
    let vector = line::alloc_vectors(1)?;
    let mut line = line::allocated(vector).lock();
    // SAFETY: within the table's mapping, since `entry` is below the number of entries; no other line has it, as
    // `entries` says.
    let mut slot = unsafe { MsixSlot::new((table as *mut u32).add(entry as usize * 4)) };
    slot.program(MsiMessage::new(vector, line.target()));
    line.source = Source::Msix(slot);
    function.entries.push((entry, vector));
    Ok(vector)
}

/// Gives back a vector that [`map_msix`] gave, or all that [`map_msi`] gave with `vector` as the first.
pub(super) fn unmap(at: Sbdf, vector: u8) {
    let mut functions = FUNCTIONS.lock();
    let Some(function) = functions.get_mut(&at) else { return };
    if let Some((first, count)) = function.messages.filter(|m| m.0 == vector) {
        if let Source::Msi(slot) = &line::allocated(first).lock().source {
            slot.set_enabled(false);
        }
        (first..first + count).for_each(line::release);
        function.messages = None;
    } else if let Some(place) = function.entries.iter().position(|e| e.1 == vector) {
        function.entries.swap_remove(place);
        line::allocated(vector).lock().set_masked(true);
        line::release(vector);
    }
}

/// Writes a function's message interrupts again, which a reset or a sleep has lost (`PHYSDEVOP_restore_msi_ext`).
///
/// # Errors
/// `ENODEV` for an unknown function, `ENXIO` if its memory does not answer.
pub(super) fn restore(at: Sbdf) -> Result<(), Errno> {
    let functions = FUNCTIONS.lock();
    let function = functions.get(&at).ok_or(Errno::ENODEV)?;
    if let Some((first, count)) = function.messages {
        for vector in first..first + count {
            let mut line = line::allocated(vector).lock();
            let target = line.target();
            let Source::Msi(slot) = &mut line.source else { continue };
            if vector == first {
                slot.program(MsiMessage::new(first, target), count);
                slot.set_enabled(true);
            }
            slot.set_masked(slot.masked);
        }
    }
    let Some(cap) = function.msix.filter(|_| !function.entries.is_empty()) else {
        return Ok(());
    };
    if Config(at).read(REG_COMMAND, 2) & COMMAND_MEMORY == 0 {
        return Err(Errno::ENXIO);
    }
    set_msix_control(at, &cap, true, true);
    for (_, vector) in &function.entries {
        let mut line = line::allocated(*vector).lock();
        let target = line.target();
        if let Source::Msix(slot) = &mut line.source {
            slot.program(MsiMessage::new(*vector, target));
        }
    }
    set_msix_control(at, &cap, true, false);
    Ok(())
}

/// A domain with the right to it writes `len` bytes (1, 2 or 4, aligned) of configuration space.
pub(super) fn write_config(at: Sbdf, reg: u16, len: u8, value: u32) {
    let mut functions = FUNCTIONS.lock();
    let mut stranger = None;
    let function = match functions.get_mut(&at) {
        Some(function) => function,
        None => stranger.insert(Function::probe(at)),
    };
    let (msi, msix) = (function.msi, function.msix);
    let Some(value) = filter_write(&Config(at), msi.as_ref(), msix.as_ref(), reg, len, value) else {
        return;
    };
    // SAFETY: `filter_write` lets nothing pass that makes a device raise a vector of the writer's choice.
    unsafe { pci_config::write(at, reg, len, value) };
    let control = msix
        .map(|cap| cap.control_reg())
        .filter(|c| (reg..reg + len as u16).contains(&(c + 1)));
    if let Some(control) = control
        && stranger.is_none()
        && let Some(function) = functions.get_mut(&at)
    {
        // A driver switches MSI-X on before it maps the table: the guard must stand by then.
        match Config(at).read(control, 2) & MSIX_ENABLE {
            0 => function.unguard(),
            _ => function.guard(at, None),
        }
    }
}
