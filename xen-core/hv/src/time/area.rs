//! A small area of guest memory that the hypervisor writes at any time, named by a virtual address.
//!
//! It is looked up once, when the guest names it, and its pages are held: so it can be written from any address space
//! by plain stores. A guest that maps something else at that address must name it anew.

use crate::domain::Vcpu;
use crate::guest::access_ok;
use crate::mm::frame::{self, Mfn, Type, TypedRef};
use crate::mm::{directmap, layout::PAGE_SIZE, logdirty};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Relaxed, Release};
use xen_abi::Errno;

/// Words of the largest area.
const MAX_WORDS: usize = 6;

/// The area.
pub struct Area {
    /// Each word in the direct map.
    words: [*mut u64; MAX_WORDS],
    /// The pages it is in; the second one where it crosses into another.
    pages: (TypedRef, Option<TypedRef>),
}

// SAFETY: the words are guest memory in the direct map, which may be used from any CPU, and only by atomics.
unsafe impl Send for Area {}

impl Area {
    /// Takes the `words` words at `addr` in the current vcpu's kernel address space.
    ///
    /// # Errors
    /// `EINVAL` for an address that is not aligned, `EFAULT` where there is no page of the domain's that it may write.
    pub fn new(cur: &Vcpu, addr: u64, words: usize) -> Result<Self, Errno> {
        let len = words as u64 * 8;
        if !addr.is_multiple_of(8) || words > MAX_WORDS {
            return Err(Errno::EINVAL);
        }
        if !access_ok(addr, len) {
            return Err(Errno::EFAULT);
        }
        let first = hold(cur, addr)?;
        // The area may end with the last byte of the address space: its end has no number then.
        let last = addr.wrapping_add(len.wrapping_sub(1));
        let crosses = addr / PAGE_SIZE != last / PAGE_SIZE;
        let second = if crosses { Some(hold(cur, last)?) } else { None };
        let mut area = Area {
            words: [core::ptr::null_mut(); MAX_WORDS],
            pages: (first, None),
        };
        for (n, word) in area.words[..words].iter_mut().enumerate() {
            let at = addr + n as u64 * 8;
            let page = match &second {
                Some(second) if at / PAGE_SIZE != addr / PAGE_SIZE => second,
                _ => &area.pages.0,
            };
            *word = directmap(page.mfn().maddr() + at % PAGE_SIZE).cast();
        }
        area.pages.1 = second;
        Ok(area)
    }

    /// The frames that it is in.
    pub fn frames(&self) -> impl Iterator<Item = Mfn> {
        let (first, second) = &self.pages;
        core::iter::once(first).chain(second).map(TypedRef::mfn)
    }

    /// Writes word `n`, after what was written before.
    #[inline]
    pub fn write(&self, n: usize, value: u64) {
        // SAFETY: an aligned word of a page that the area holds, touched by atomics only.
        unsafe { AtomicU64::from_ptr(self.words[n]).store(value, Release) };
    }
}

/// Holds the page behind `addr` as a writable one of the vcpu's domain.
fn hold(cur: &Vcpu, addr: u64) -> Result<TypedRef, Errno> {
    let mfn = translate(cur.hot.kernel_table.load(Relaxed), addr).ok_or(Errno::EFAULT)?;
    let page = frame::get_page_type(mfn, cur.domain(), Type::Writable).map_err(|_| Errno::EFAULT)?;
    logdirty::touched(page.info());
    Ok(page)
}

const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;

/// The frame behind `addr`. The tables may change meanwhile, so that the answer is only good for a check by type.
fn translate(cr3: u64, addr: u64) -> Option<Mfn> {
    let mut mfn = Mfn(cr3 >> 12 & 0xff_ffff_ffff);
    for shift in [39, 30, 21, 12] {
        let entry = frame::info(mfn)?.word((addr >> shift) as usize & 511).load(Relaxed);
        if entry & PRESENT == 0 || shift > 12 && entry & LARGE != 0 {
            return None;
        }
        mfn = Mfn(entry >> 12 & 0xff_ffff_ffff);
    }
    Some(mfn)
}
