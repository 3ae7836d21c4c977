//! `ins` and `outs`, a few iterations at a time.

use super::port::{read, write};
use super::{Emulated, Executed, Flow, general_protection, page_fault};
use crate::arch::x86::regs::{UserRegs, rflags};
use crate::domain::Domain;
use crate::guest::GuestPtr;
use xen_logic::decode::{RegFile, Segment, Width};

/// Iterations before the guest gets a chance to take an event.
const BATCH: u32 = 64;

const PF_WRITE: u32 = 2;
const PF_USER: u32 = 4;

const RSI: u8 = 6;
const RDI: u8 = 7;
const RCX: u8 = 1;

/// A string instruction on a port.
pub(super) struct StringIo {
    pub(super) port: u16,
    pub(super) width: Width,
    pub(super) rep: bool,
    pub(super) addr32: bool,
    pub(super) segment: Segment,
}

impl StringIo {
    /// `ins`.
    pub(super) fn input(&self, domain: &Domain, regs: &mut UserRegs) -> Executed {
        let len = self.width.bytes() as usize;
        self.repeat(regs, |regs| {
            let at = GuestPtr::<u8>::new(self.masked(regs.gpr(RDI)));
            // A device may give each datum once: see that there is room before asking it.
            at.write_slice(&[0; 4][..len])
                .map_err(|_| fault(at.addr(), PF_USER | PF_WRITE))?;
            let value = read(domain, self.port, len as u8).to_le_bytes();
            at.write_slice(&value[..len])
                .map_err(|_| fault(at.addr(), PF_USER | PF_WRITE))?;
            self.advance(regs, RDI);
            Ok(())
        })
    }

    /// `outs`.
    pub(super) fn output(&self, domain: &Domain, regs: &mut UserRegs) -> Executed {
        let len = self.width.bytes() as usize;
        self.repeat(regs, |regs| {
            let base = if self.segment == Segment::Flat {
                0
            } else {
                regs.segment_base(self.segment)
            };
            let at = GuestPtr::<u8>::new(base.wrapping_add(self.masked(regs.gpr(RSI))));
            let mut bytes = [0; 4];
            at.read_slice(&mut bytes[..len])
                .map_err(|_| fault(at.addr(), PF_USER))?;
            write(domain, self.port, len as u8, u32::from_le_bytes(bytes));
            self.advance(regs, RSI);
            Ok(())
        })
    }

    /// Runs iterations until the count is used up, or it is the guest's turn.
    fn repeat(&self, regs: &mut UserRegs, mut step: impl FnMut(&mut UserRegs) -> Result<(), Emulated>) -> Executed {
        if !self.rep {
            return step(regs).map(|()| Flow::Next);
        }
        // A guest that single-steps sees each iteration.
        let batch = if regs.rflags & rflags::TF != 0 { 1 } else { BATCH };
        for _ in 0..batch {
            let left = self.masked(regs.gpr(RCX));
            if left == 0 {
                return Ok(Flow::Next);
            }
            step(regs)?;
            regs.set_gpr(RCX, left - 1);
        }
        Ok(if self.masked(regs.gpr(RCX)) == 0 {
            Flow::Next
        } else {
            Flow::Again
        })
    }

    fn masked(&self, value: u64) -> u64 {
        if self.addr32 { value & 0xffff_ffff } else { value }
    }

    /// Moves an index register by one datum, in the direction that the flags say.
    fn advance(&self, regs: &mut UserRegs, gpr: u8) {
        let (old, len) = (regs.gpr(gpr), self.width.bytes());
        let new = if regs.rflags & rflags::DF == 0 {
            old.wrapping_add(len)
        } else {
            old.wrapping_sub(len)
        };
        regs.set_gpr(gpr, self.masked(new));
    }
}

/// The guest's memory did not take or give a datum: its fault, or a protection fault where it is not guest memory.
fn fault(addr: u64, error_code: u32) -> Emulated {
    if crate::guest::access_ok(addr, 4) {
        page_fault(addr, error_code)
    } else {
        general_protection()
    }
}
