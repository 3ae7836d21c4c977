//! The guest's instruction bytes and registers, as the decoder wants them.
//!
//! Code of a compatibility-mode segment is decoded as 64-bit code. What differs for the instructions that are
//! emulated are prefixes that no faulting 32-bit instruction starts with, and addresses, which only the guest's own
//! memory depends on; rights are checked all the same.

use crate::arch::x86::regs::UserRegs;
use crate::arch::x86::{segment, usercopy};
use crate::guest::access_ok;
use crate::mm::layout::PAGE_SIZE;
use xen_logic::decode::{Fetched, MAX_LEN, RegFile, Segment};

/// The first eight bytes at `rip`, unless they reach into the next page.
#[inline]
pub(super) fn fetch_word(rip: u64) -> Option<u64> {
    if rip & (PAGE_SIZE - 1) > PAGE_SIZE - 8 {
        return None;
    }
    usercopy::read_u64(rip).ok()
}

/// Copies the first eight bytes of the instruction at `rip`: enough for nearly all. `None` where there are none.
#[inline]
pub(super) fn fetch_short(rip: u64) -> Option<Fetched> {
    match fetch_word(rip) {
        Some(word) => Some(Fetched::new((word as u128).to_le_bytes(), 8)),
        None => fetch(rip),
    }
}

/// Copies the instruction at `rip`, as much of it as there is; `None` where there is nothing.
#[inline]
pub(super) fn fetch(rip: u64) -> Option<Fetched> {
    let mut bytes = [0; 16];
    if !access_ok(rip, bytes.len() as u64) {
        return None;
    }
    let in_page = (PAGE_SIZE - (rip & (PAGE_SIZE - 1))) as usize;
    let first = in_page.min(MAX_LEN);
    let mut got = copy(&mut bytes[..first], rip);
    if got == first && first < MAX_LEN {
        // The next page may be missing, and the instruction end before it.
        got += copy(&mut bytes[first..MAX_LEN], rip.wrapping_add(first as u64));
    }
    (got > 0).then(|| Fetched::new(bytes, got))
}

/// Fills `to` from the guest; returns how many bytes came.
fn copy(to: &mut [u8], from: u64) -> usize {
    // SAFETY: `to` is ours; the caller has checked that the source is not the hypervisor's, and a fault there ends
    // the copy.
    to.len() - unsafe { usercopy::copy_from_guest(to.as_mut_ptr(), from, to.len()) }
}

impl RegFile for UserRegs {
    #[inline]
    fn gpr(&self, number: u8) -> u64 {
        match number & 15 {
            0 => self.rax,
            1 => self.rcx,
            2 => self.rdx,
            3 => self.rbx,
            4 => self.rsp,
            5 => self.rbp,
            6 => self.rsi,
            7 => self.rdi,
            8 => self.r8,
            9 => self.r9,
            10 => self.r10,
            11 => self.r11,
            12 => self.r12,
            13 => self.r13,
            14 => self.r14,
            _ => self.r15,
        }
    }

    #[inline]
    fn set_gpr(&mut self, number: u8, value: u64) {
        let slot = match number & 15 {
            0 => &mut self.rax,
            1 => &mut self.rcx,
            2 => &mut self.rdx,
            3 => &mut self.rbx,
            4 => &mut self.rsp,
            5 => &mut self.rbp,
            6 => &mut self.rsi,
            7 => &mut self.rdi,
            8 => &mut self.r8,
            9 => &mut self.r9,
            10 => &mut self.r10,
            11 => &mut self.r11,
            12 => &mut self.r12,
            13 => &mut self.r13,
            14 => &mut self.r14,
            _ => &mut self.r15,
        };
        *slot = value;
    }

    #[inline]
    fn rip(&self) -> u64 {
        self.rip
    }

    #[inline]
    fn rflags(&self) -> u64 {
        self.rflags
    }

    /// The hypervisor leaves both bases as the guest had them.
    #[inline]
    fn segment_base(&self, segment: Segment) -> u64 {
        match segment {
            Segment::Flat => 0,
            Segment::Fs => segment::fs_base(),
            Segment::Gs => segment::gs_base(),
        }
    }
}
