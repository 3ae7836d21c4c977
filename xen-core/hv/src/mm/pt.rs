//! Page tables: what an entry holds, and tables checked and undone entry by entry.
//!
//! - A present level-1 entry that is read-only holds a reference to its frame; a writable one holds a use as
//!   [`Type::Writable`]. Device frames have no entry in the frame table and need no count.
//! - A present entry of a higher level holds a use of the frame as the table of the level below. A table that points
//!   to its own level is refused, so checks go down only, and end.
//!
//! Entries are read once, atomically. A frame that is busy as a table cannot be written to by its guest: no writable
//! mapping exists, stale ones have been flushed, and `mmu_update` waits.

use super::diagnose::{self, Where};
use super::frame::{self, FrameInfo, Mfn, Owner};
use super::typing::{self, Budget, Fail};
use super::{logdirty, paging, pending};
use crate::arch::x86::percpu::current;
use crate::arch::x86::table_scan::{GROUP, none_present};
use crate::domain::Domain;
use crate::irq;
use crate::mm::layout::{HOLE_FIRST_SLOT, HOLE_LAST_SLOT};
use crate::trace;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use xen_abi::Errno;
use xen_logic::frame::cells::{self, Finish};
use xen_logic::frame::{ENTRIES, Type};
use xen_logic::pte::{self, Pte};

/// First frame number beyond the CPU's physical addresses.
static FRAME_LIMIT: AtomicU64 = AtomicU64::new(1 << 40);

/// Tells how many bits a physical address has (CPUID leaf 0x80000008).
pub(super) fn set_physical_bits(bits: u32) {
    FRAME_LIMIT.store(1 << (bits.clamp(32, 52) - 12), Relaxed);
}

/// Bits that a present entry of this level must not have.
#[inline]
pub fn forbidden_bits(pte: Pte, level: u8) -> u64 {
    pte::forbidden_bits(pte, level, FRAME_LIMIT.load(Relaxed))
}

/// Whose frames a level-1 entry may name, and in whose table it stands.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The owner of the table.
    pub table: &'a Domain,
    /// The domain whose frames are named: mostly the same.
    pub frames: &'a Domain,
    /// The owner that the frames' entries must show.
    pub owner: Owner,
}

impl<'a> Scope<'a> {
    /// A domain's own table with its own frames.
    #[inline]
    pub fn own(domain: &'a Domain) -> Self {
        Self {
            table: domain,
            frames: domain,
            owner: Owner::domain(domain.id),
        }
    }

    /// Frames of another domain in `table`'s tables.
    #[inline]
    pub fn foreign(table: &'a Domain, frames: &'a Domain) -> Self {
        Self {
            table,
            frames,
            owner: Owner::domain(frames.id),
        }
    }

    /// The hypervisor's shared frames, or device frames.
    #[inline]
    pub fn special(table: &'a Domain, owner: Owner) -> Self {
        Self {
            table,
            frames: table,
            owner,
        }
    }

    /// Are the frames another domain's than the table?
    #[inline]
    pub(super) fn is_foreign(&self) -> bool {
        self.table.id != self.frames.id
    }
}

/// Takes what a present level-1 entry holds; answers the entry to store.
///
/// # Errors
/// `EINVAL` for forbidden bits or a frame the domain may not map so; `EPERM` for device frames; `Again` where the frame
/// was on its way to be a page table, and the pending list has to be finished first.
#[inline(always)]
pub fn hold_l1(entry: Pte, scope: &Scope) -> Result<Pte, Fail> {
    // The usual case is one more mapping of memory that is mapped already: it needs one exchange. All bits but the
    // frame's are allowed at this level, and a frame within the frame table is within the CPU's addresses.
    if let Some(info) = frame::any(Mfn(entry.mfn()))
        && !scope.is_foreign()
        && !entry.has_cache_type()
    {
        let owned = || info.owner() == scope.owner;
        let granted = if entry.is_writable() {
            cells::get_type_if_valid(info, Type::Writable, owned)
        } else {
            cells::get_reference_if(info, owned)
        };
        if granted {
            return Ok(entry);
        }
    }
    hold_l1_slowly(entry, scope)
}

#[inline(never)]
fn hold_l1_slowly(entry: Pte, scope: &Scope) -> Result<Pte, Fail> {
    let bad = forbidden_bits(entry, 1);
    if bad != 0 {
        diagnose::forbidden(entry, 1, bad);
        return Err(Fail::Errno(Errno::EINVAL));
    }
    let Some(info) = frame::info(Mfn(entry.mfn())) else {
        return hold_device(entry, scope);
    };
    let entry = if entry.has_cache_type() && !scope.table.privileged {
        entry.write_back()
    } else {
        entry
    };
    if entry.is_writable() && scope.owner.domain_id().is_some() {
        typing::acquire(
            info,
            Type::Writable,
            scope.frames,
            scope.is_foreign(),
            // It may have to be undone as a table before, which is put off if it takes long.
            &mut Budget::portion(),
        )?;
        return Ok(entry);
    }
    hold_read_only(info, entry, scope)
}

fn hold_read_only(info: &'static FrameInfo, entry: Pte, scope: &Scope) -> Result<Pte, Fail> {
    if cells::get_reference(info) {
        let owner = info.owner();
        // What the hypervisor shares may be mapped by the privileged domain, read-only.
        if owner == scope.owner && !(entry.is_writable() && owner.domain_id().is_none())
            || owner == Owner::XEN && scope.table.privileged && !entry.is_writable()
        {
            return Ok(entry);
        }
        cells::put_reference(info);
    }
    diagnose::not_owned(info, Type::None, scope.frames);
    Err(Fail::Errno(Errno::EINVAL))
}

/// Device frames: permitted or not, perhaps only for reading; nothing is counted. Who maps them in another domain's name
/// and that domain must both be permitted.
#[cold]
fn hold_device(entry: Pte, scope: &Scope) -> Result<Pte, Fail> {
    let mfn = Mfn(entry.mfn());
    for domain in [scope.frames, scope.table] {
        if !irq::iomem_permitted(domain, mfn) {
            diagnose::device_refused(mfn, domain);
            return Err(Fail::Errno(Errno::EPERM));
        }
    }
    Ok(if irq::mmio_read_only(mfn) {
        entry.read_only()
    } else {
        entry
    })
}

/// Drops what a level-1 entry held.
#[inline(always)]
pub fn drop_l1(entry: Pte) {
    if !entry.is_present() {
        return;
    }
    // Whether a frame is RAM never changes, so this finds what holding found.
    let Some(info) = frame::info(Mfn(entry.mfn())) else {
        return;
    };
    if entry.is_writable() {
        // A use as writable is never a page table's, so nothing is left to undo.
        cells::put_type(info);
    } else {
        cells::put_reference(info);
    }
}

/// Takes what a present entry of a table of level 2 to 4 holds.
///
/// # Errors
/// `EINVAL` for forbidden bits or a frame that cannot be a table of the level below; `Again`.
#[inline]
pub fn hold_table(entry: Pte, level: u8, domain: &Domain, budget: &mut Budget) -> Result<(), Fail> {
    let bad = forbidden_bits(entry, level);
    if bad != 0 {
        diagnose::forbidden(entry, level, bad);
        return Err(Fail::Errno(Errno::EINVAL));
    }
    let child = pte::child_type(level).ok_or(Errno::EINVAL)?;
    typing::acquire(typing::ram(entry.mfn())?, child, domain, false, budget)
}

/// Checks the entries of a claimed table from `resume` on, and ends its busy state.
///
/// # Errors
/// `EINVAL`, with everything dropped again or on its way; `Again`, with the table parked.
pub(super) fn validate(
    table: &'static FrameInfo,
    level: u8,
    resume: u16,
    domain: &Domain,
    budget: &mut Budget,
) -> Result<(), Fail> {
    let checked = if level == 1 {
        check_l1(table, resume, domain)
    } else {
        check_table(table, level, resume, domain, budget)
    };
    match checked {
        Ok(()) => {
            if level == 4 {
                // SAFETY: the frame is busy as an L4 table, so nobody else writes to it; slots 256 to 271 are ours.
                unsafe { paging::fill_guest_l4(table.contents(), domain) };
            }
            trace::count(trace::Counter::Validations);
            cells::finish(table, Finish::Validated);
            logdirty::touched(table);
            budget.spend(if level == 1 { ENTRIES as u32 } else { 0 });
            Ok(())
        }
        Err((at, Fail::Again)) => {
            cells::finish(
                table,
                Finish::Parked {
                    resume: at,
                    keep: false,
                },
            );
            Err(Fail::Again)
        }
        Err((at, fail)) => {
            diagnose::failed_at(
                &Where {
                    table,
                    level,
                    index: at,
                },
                domain,
            );
            if !typing::unwind(table, Type::of_level(level).unwrap_or(Type::None), at, budget) {
                pending::push(table);
            }
            Err(fail)
        }
    }
}

/// The groups of entries of a table; those without a present entry are passed over.
#[inline(always)]
fn groups(table: &FrameInfo) -> &'static [[AtomicU64; GROUP]] {
    table.words().as_chunks().0
}

/// Checks a level-1 table from `resume` on: in one go, since that is a portion of work.
fn check_l1(table: &'static FrameInfo, resume: u16, domain: &Domain) -> Result<(), (u16, Fail)> {
    let scope = Scope::own(domain);
    for (n, group) in groups(table).iter().enumerate() {
        if none_present(group) {
            continue;
        }
        for (index, word) in group.iter().enumerate() {
            let (at, entry) = ((n * GROUP + index) as u16, Pte(word.load(Relaxed)));
            // Those below are held already, where a check was interrupted or a checked table left as it was.
            if !entry.is_present() || at < resume {
                continue;
            }
            let stored = hold_l1(pte::adjust(entry, 1), &scope).map_err(|fail| (at, fail))?;
            if stored != entry {
                word.store(stored.0, Relaxed);
            }
        }
    }
    Ok(())
}

/// Drops what the entries of a busy level-1 table below `resume` hold: in one go.
fn drop_l1_entries(table: &'static FrameInfo, resume: u16) {
    if resume < ENTRIES {
        // The check ended at this entry.
        let held = &table.words()[..resume as usize];
        return held.iter().for_each(|word| drop_l1(Pte(word.load(Relaxed))));
    }
    for group in groups(table) {
        if !none_present(group) {
            group.iter().for_each(|word| drop_l1(Pte(word.load(Relaxed))));
        }
    }
}

/// Empties the slots of a busy L4 table that are not the guest's, so that they are passed over, and so that a guest
/// which reads the table later does not learn where our tables are.
fn clear_hole(table: &'static FrameInfo) {
    for index in HOLE_FIRST_SLOT..=HOLE_LAST_SLOT {
        table.word(index).store(0, Relaxed);
    }
}

/// Makes sure that the last entry which holds something holds a valid table.
///
/// A table that was parked while it was undone may have been interrupted inside that entry's child: then the entry
/// holds a use of a child that is half undone itself. Asking for one more use checks it again.
fn revive_last(
    table: &'static FrameInfo,
    level: u8,
    resume: u16,
    domain: &Domain,
    budget: &mut Budget,
) -> Result<(), Fail> {
    let Some(last) = resume.checked_sub(1) else {
        return Ok(());
    };
    let entry = Pte(table.word(last as usize).load(Relaxed));
    if !entry.is_present() || (level == 4 && !pte::is_guest_l4_slot(last as usize)) {
        return Ok(());
    }
    hold_table(entry, level, domain, budget)?;
    typing::release(typing::ram(entry.mfn())?, budget);
    Ok(())
}

fn check_table(
    table: &'static FrameInfo,
    level: u8,
    resume: u16,
    domain: &Domain,
    budget: &mut Budget,
) -> Result<(), (u16, Fail)> {
    revive_last(table, level, resume, domain, budget).map_err(|fail| (resume, fail))?;
    if level == 4 {
        clear_hole(table);
    }
    let mut index = resume;
    while index < ENTRIES {
        if (index as usize).is_multiple_of(GROUP) && none_present(&groups(table)[index as usize / GROUP]) {
            index += GROUP as u16;
            continue;
        }
        let word = table.word(index as usize);
        let entry = Pte(word.load(Relaxed));
        index += 1;
        if !entry.is_present() {
            continue;
        }
        let stored = pte::adjust(entry, level);
        hold_table(stored, level, domain, budget).map_err(|fail| (index - 1, fail))?;
        if stored != entry {
            word.store(stored.0, Relaxed);
        }
        if budget.spend(1) && index < ENTRIES {
            return Err((index, Fail::Again));
        }
    }
    Ok(())
}

/// Drops what the entries below `resume` of a busy table hold, from the last to the first.
///
/// # Errors
/// If the budget ended: the first entry that holds nothing any more.
pub(super) fn drop_entries(table: &'static FrameInfo, level: u8, resume: u16, budget: &mut Budget) -> Result<(), u16> {
    if level == 1 {
        drop_l1_entries(table, resume);
        budget.spend(ENTRIES as u32);
        return Ok(());
    }
    if level == 4 {
        clear_hole(table);
    }
    let mut left = resume;
    while left > 0 {
        if (left as usize).is_multiple_of(GROUP) && none_present(&groups(table)[left as usize / GROUP - 1]) {
            left -= GROUP as u16;
            continue;
        }
        left -= 1;
        let entry = Pte(table.word(left as usize).load(Relaxed));
        if !entry.is_present() {
            continue;
        }
        let Some(child) = frame::info(Mfn(entry.mfn())) else {
            continue;
        };
        if !typing::release_or_keep(child, budget) {
            // The child is parked, and this entry still holds it.
            return Err(left + 1);
        }
        if budget.spend(1) && left > 0 {
            return Err(left);
        }
    }
    Ok(())
}

/// What a page walk found: the level-1 table, and the index in it.
#[derive(Clone, Copy)]
pub struct Slot {
    /// The frame that the tables say is the level-1 table; not referenced.
    pub table: &'static FrameInfo,
    /// The index of the entry.
    pub index: usize,
}

impl Slot {
    /// The entry.
    #[inline]
    pub fn word(&self) -> &'static AtomicU64 {
        self.table.word(self.index)
    }
}

/// Finds the level-1 entry for a guest address in the address space of the current vcpu's kernel.
///
/// The walk takes no references: another vcpu may change the tables meanwhile. Each step checks that it has reached a
/// frame of RAM with the type of its level, so whatever is found is memory that may be read; the caller takes a
/// use of the level-1 table before it changes anything.
#[inline]
pub fn find_l1(va: u64) -> Option<Slot> {
    find_l1_from(current().hot.kernel_table.load(Relaxed), va)
}

/// As [`find_l1`], in the address space of the L4 table at machine address `cr3`.
#[inline]
pub fn find_l1_from(cr3: u64, va: u64) -> Option<Slot> {
    let mut table = frame::any(Mfn(cr3 >> 12))?;
    if !pte::is_guest_l4_slot(pte::index(va, 4)) {
        return None;
    }
    for (level, child) in [(4, Type::L3), (3, Type::L2), (2, Type::L1)] {
        let entry = Pte(table.word(pte::index(va, level)).load(Relaxed));
        if !entry.is_present() {
            return None;
        }
        // What is no RAM has no type.
        table = frame::any(Mfn(entry.mfn()))?;
        if !table.type_word().is(child) {
            return None;
        }
    }
    Some(Slot {
        table,
        index: pte::index(va, 1),
    })
}
