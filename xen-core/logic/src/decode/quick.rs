//! The few encodings that Linux uses on page-table entries, decoded from eight bytes of code in some thirty steps.
//!
//! What is accepted here means the same as [`super::decode`] and [`super::Access`] make of it; everything else goes
//! there.

use super::access::CF;
use super::operand::RegFile;

/// A decoded write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quick {
    /// Length of the instruction.
    pub len: u8,
    /// Linear address of the operand.
    pub address: u64,
    /// What it does there.
    pub change: Change,
}

/// What a quick write does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// `and byte, imm8`.
    AndByte(u8),
    /// `btr qword, imm8`.
    ResetBit(u8),
    /// `xchg qword, register`.
    Exchange(u8),
    /// `mov qword, register`.
    Store(u8),
}

const LOCK: u8 = 0xf0;
/// What Linux patches over a LOCK while there is one CPU: a prefix that means nothing.
const UNLOCKED: u8 = 0x3e;

/// Decodes `code`, the first bytes at RIP, the lowest first.
#[inline]
pub fn decode(code: u64, regs: &impl RegFile) -> Option<Quick> {
    let (mut code, mut len) = (code, 0u8);
    let prefix = code as u8;
    if prefix == LOCK || prefix == UNLOCKED {
        (code, len) = (code >> 8, 1);
    }
    let mut rex = 0;
    if code as u8 & 0xf0 == 0x40 {
        rex = code as u8;
        (code, len) = (code >> 8, len.wrapping_add(1));
    }
    let wide = rex & 8 != 0;
    let opcode = code as u8;
    if opcode == 0x0f {
        if code >> 8 & 0xff != 0xba || !wide {
            return None;
        }
        (code, len) = (code >> 8, len.wrapping_add(1));
    } else if opcode != 0x80 && (!wide || opcode != 0x87 && (opcode != 0x89 || prefix == LOCK)) {
        return None;
    }
    let modrm = (code >> 8) as u8;
    let reg = modrm >> 3 & 7;
    let (address, next, operand_len) = operand(modrm, rex, code >> 16, regs)?;
    len = len.wrapping_add(operand_len).wrapping_add(2);
    let change = match (opcode, reg) {
        (0x80, 4) => Change::AndByte(next),
        (0x0f, 6) => Change::ResetBit(next),
        (0x87, _) => return quick(len, address, Change::Exchange(reg | (rex & 4) << 1)),
        (0x89, _) => return quick(len, address, Change::Store(reg | (rex & 4) << 1)),
        _ => return None,
    };
    quick(len.wrapping_add(1), address, change)
}

/// All bytes of the instruction must be among the eight.
#[inline]
fn quick(len: u8, address: u64, change: Change) -> Option<Quick> {
    if len <= 8 {
        Some(Quick { len, address, change })
    } else {
        None
    }
}

/// The address that a ModRM byte names, the byte after the operand, and how many bytes follow ModRM for it. `rest` is
/// what stands behind ModRM. Only a base register with no displacement or a short one; no index.
#[inline]
fn operand(modrm: u8, rex: u8, rest: u64, regs: &impl RegFile) -> Option<(u64, u8, u8)> {
    let (mode, rm) = (modrm >> 6, modrm & 7);
    let (mut rest, mut len) = (rest, 0);
    if rm == 4 {
        // RSP or R12 as base takes a SIB byte that says so, and no index.
        if rest as u8 & 0x3f != 0x24 || rex & 2 != 0 {
            return None;
        }
        (rest, len) = (rest >> 8, 1);
    }
    let base = regs.gpr(rm | (rex & 1) << 3);
    match mode {
        0 if rm != 5 => Some((base, rest as u8, len)),
        1 => Some((
            base.wrapping_add(rest as u8 as i8 as u64),
            (rest >> 8) as u8,
            len.wrapping_add(1),
        )),
        _ => None,
    }
}

impl Change {
    /// What becomes of the entry `old`, and of RFLAGS, where the operand begins `offset` bytes into the entry: 0 but
    /// for byte operands.
    #[inline]
    pub fn apply(self, old: u64, offset: u64, regs: &impl RegFile) -> (u64, u64) {
        let rflags = regs.rflags();
        match self {
            Change::AndByte(imm) => {
                let shift = (offset & 7) << 3;
                let byte = (old >> shift) as u8 & imm;
                let new = old & !(0xff << shift) | (byte as u64) << shift;
                (new, super::access::logical_flags(byte, rflags))
            }
            Change::ResetBit(bit) => {
                let bit = 1 << (bit & 63);
                (old & !bit, rflags & !CF | (old & bit != 0) as u64)
            }
            Change::Exchange(reg) | Change::Store(reg) => (regs.gpr(reg), rflags),
        }
    }
}
