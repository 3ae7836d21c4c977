//! Guests' descriptor tables: frames of checked descriptors, mapped in a vcpu's window of the per-domain area.
//!
//! Each page of a window holds a use of its frame as [`Type::SegDesc`], so no guest can write to it; what is not
//! used is a page of empty descriptors. A window changes while its vcpu runs here, or is loaded nowhere.

use super::frame::{self, Mfn, Type, TypedRef};
use super::layout::PAGE_SIZE;
use super::perdomain::flush_window_page;
use super::{alloc, logdirty, pt};
use crate::arch::x86::gdt;
use crate::arch::x86::percpu::{cpu_id, current};
use crate::domain::Vcpu;
use crate::guest::access_ok;
use crate::mm::layout::ldt_window;
use crate::sync::Once;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use xen_abi::Errno;
use xen_logic::descriptor;
use xen_logic::pte::Pte;

/// Pages of a window for the guest's GDT.
const GDT_PAGES: usize = 14;
/// First page of a window that belongs to the LDT, and how many do.
const LDT_FIRST: u64 = 16;
const LDT_PAGES: usize = 16;
/// What `gdt_frames` holds for no frame.
const NO_FRAME: u64 = u64::MAX;
const PER_PAGE: u32 = 512;

/// A frame of empty descriptors, for every page of a window that is not used.
static EMPTY: Once<Option<Mfn>> = Once::new();

fn empty_page() -> Option<Mfn> {
    *EMPTY.call_once(alloc::alloc_table)
}

/// Makes `frames`, as many as `entries` need, the vcpu's GDT.
///
/// # Errors
/// `EINVAL` for too many entries, or a frame that is not the guest's or cannot hold descriptors.
pub fn set_gdt(v: &Vcpu, frames: &[u64], entries: u32) -> Result<(), Errno> {
    let used = entries.div_ceil(PER_PAGE) as usize;
    let frames = frames.get(..used).filter(|_| used <= GDT_PAGES).ok_or(Errno::EINVAL)?;
    let mut held: [Option<TypedRef>; GDT_PAGES] = [const { None }; GDT_PAGES];
    for (slot, mfn) in held.iter_mut().zip(frames) {
        *slot = Some(frame::get_page_type(Mfn(*mfn), v.domain(), Type::SegDesc)?);
    }
    v.cpu.gdt_entries.store(entries, Relaxed);
    for (page, (held, slot)) in held.into_iter().zip(&v.cpu.gdt_frames).enumerate() {
        install(v, page as u64, held, slot);
    }
    Ok(())
}

/// Puts a frame, or none, into the page of a window that `slot` is about; drops what was there.
fn install(v: &Vcpu, page: u64, new: Option<TypedRef>, slot: &AtomicU64) {
    let mfn = new.map(TypedRef::into_raw);
    v.domain().perdomain.set_page(v.id, page, mfn.or_else(empty_page));
    if core::ptr::eq(v, current()) {
        flush_window_page(v.id, page);
    }
    let old = slot.swap(mfn.map_or(NO_FRAME, |m| m.0), Relaxed);
    if old != NO_FRAME {
        // The use that the window held.
        drop(TypedRef::from_raw(Mfn(old)));
    }
}

/// Makes the `entries` descriptors at guest address `base` the vcpu's LDT; none for no entries.
///
/// # Errors
/// `EINVAL` for a misaligned or foreign address, too many entries, or a page that cannot hold descriptors.
pub fn set_ldt(v: &Vcpu, base: u64, entries: u32) -> Result<(), Errno> {
    let used = entries.div_ceil(PER_PAGE) as usize;
    if used > LDT_PAGES || (entries != 0 && (!base.is_multiple_of(PAGE_SIZE) || !access_ok(base, entries as u64 * 8))) {
        return Err(Errno::EINVAL);
    }
    if entries == 0 && v.cpu.ldt_entries.load(Relaxed) == 0 {
        return Ok(());
    }
    let mut held: [Option<TypedRef>; LDT_PAGES] = [const { None }; LDT_PAGES];
    for (n, slot) in held.iter_mut().enumerate().take(used) {
        *slot = Some(table_page(v, base + n as u64 * PAGE_SIZE)?);
    }
    for (n, (held, slot)) in held.into_iter().zip(&v.cpu.ldt_frames).enumerate() {
        if held.is_some() || slot.load(Relaxed) != NO_FRAME {
            install(v, LDT_FIRST + n as u64, held, slot);
        }
    }
    v.cpu.ldt_base.store(base, Relaxed);
    v.cpu.ldt_entries.store(entries, Relaxed);
    if core::ptr::eq(v, current()) {
        gdt::set_ldt(cpu_id(), ldt_window(v.id), entries);
    }
    Ok(())
}

/// The frame that the vcpu's kernel sees at `va`, as a page of descriptors.
fn table_page(v: &Vcpu, va: u64) -> Result<TypedRef, Errno> {
    let slot = pt::find_l1_from(v.hot.kernel_table.load(Relaxed), va).ok_or(Errno::EINVAL)?;
    let mapping = Pte(slot.word().load(Relaxed));
    if !mapping.is_present() {
        return Err(Errno::EINVAL);
    }
    frame::get_page_type(Mfn(mapping.mfn()), v.domain(), Type::SegDesc)
}

/// Writes one descriptor at machine address `maddr`: into a table in use, or into memory like any other.
///
/// # Errors
/// `EINVAL` for a misaligned address, a frame that is not the guest's, or a descriptor it may not have.
pub fn update(cur: &Vcpu, maddr: u64, value: u64) -> Result<(), Errno> {
    let fixed = descriptor::fix(value)
        .filter(|_| maddr.is_multiple_of(8))
        .ok_or(Errno::EINVAL)?;
    let mfn = Mfn(maddr >> 12);
    let word = frame::info(mfn).ok_or(Errno::EINVAL)?.type_word();
    let typ = if word.typ() == Type::SegDesc && word.count() != 0 {
        Type::SegDesc
    } else {
        Type::Writable
    };
    let page = frame::get_page_type(mfn, cur.domain(), typ)?;
    page.info().word((maddr as usize & 0xfff) >> 3).store(fixed, Relaxed);
    logdirty::touched(page.info());
    Ok(())
}
