//! Lines that say why a page table or a mapping was refused: Linux notices it far from the cause.

use super::frame::{self, FrameInfo, Mfn};
use crate::arch::x86::percpu::current;
use crate::console::limited;
use crate::domain::Domain;
use core::sync::atomic::Ordering::Relaxed;
use xen_logic::frame::{ENTRIES, Type, TypeWord};
use xen_logic::pte::Pte;

/// An entry of a table.
pub(super) struct Where {
    /// The table.
    pub(super) table: &'static FrameInfo,
    /// Its level.
    pub(super) level: u8,
    /// The entry's index.
    pub(super) index: u16,
}

/// A use was refused since the frame is used otherwise.
#[cold]
pub(super) fn refused(info: &'static FrameInfo, want: Type, found: TypeWord) {
    limited!(
        log::Level::Warn,
        "frame {} wanted as {want:?}, found {found:?}, count {:?}, pfn {:#x}",
        info.mfn(),
        info.count_word(),
        super::m2p::get(info.mfn())
    );
    if want.is_page_table() && found.typ() == Type::Writable {
        show_mappings(info.mfn());
    }
}

/// A frame is not the domain's.
#[cold]
pub(super) fn not_owned(info: &'static FrameInfo, want: Type, domain: &Domain) {
    limited!(
        log::Level::Warn,
        "d{}: not its own: {info:?}, wanted as {want:?}",
        domain.id
    );
}

/// A device frame is not for this domain.
#[cold]
pub(super) fn device_refused(mfn: Mfn, domain: &Domain) {
    limited!(log::Level::Warn, "d{}: may not map device frame {mfn}", domain.id);
}

/// An entry has bits it must not have.
#[cold]
pub(super) fn forbidden(entry: Pte, level: u8, bits: u64) {
    limited!(
        log::Level::Warn,
        "level {level} entry {entry:?}: forbidden bits {bits:#x}"
    );
}

/// A table's check ended at an entry.
#[cold]
pub(super) fn failed_at(at: &Where, domain: &Domain) {
    let entry = Pte(at.table.word(at.index as usize).load(Relaxed));
    limited!(
        log::Level::Warn,
        "d{}: level {} table {} refused at entry {}: {entry:?}; its frame: {:?}",
        domain.id,
        at.level,
        at.table.mfn(),
        at.index,
        frame::info(Mfn(entry.mfn()))
    );
}

/// A descriptor that a guest must not have.
#[cold]
pub(super) fn bad_descriptor(info: &FrameInfo, index: usize, value: u64) {
    limited!(
        log::Level::Warn,
        "descriptor page {}: entry {index} is {value:#018x}",
        info.mfn()
    );
}

/// Names the writable mappings of a frame in tables that are in use: the first few, by a look at every table.
fn show_mappings(mfn: Mfn) {
    use core::sync::atomic::AtomicU32;
    // A search takes long: a few are enough to find an error, and a guest must not be able to ask for more.
    static SEARCHES: AtomicU32 = AtomicU32::new(0);
    if SEARCHES.fetch_add(1, Relaxed) >= 8 {
        SEARCHES.store(8, Relaxed);
        return;
    }
    let domain = current().domain();
    let mut shown = 0;
    for table in (0..frame::limit()).filter_map(|n| frame::info(Mfn(n))) {
        let word = table.type_word();
        if word.typ() != Type::L1 || !word.is_valid() || !table.is_owned_by(domain) {
            continue;
        }
        for index in 0..ENTRIES as usize {
            let entry = Pte(table.word(index).load(Relaxed));
            if entry.is_present() && entry.is_writable() && entry.mfn() == mfn.0 {
                limited!(
                    log::Level::Warn,
                    "  writable by entry {index} of level 1 table {}: {entry:?}",
                    table.mfn()
                );
                shown += 1;
            }
        }
        if shown >= 4 {
            return;
        }
    }
}
