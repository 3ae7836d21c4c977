//! Instructions that write memory: what they make of the old contents.

use super::operand::{Mem, Reg, RegFile, Segment, Width};

/// A memory-writing instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// What it does.
    pub kind: Kind,
    /// Operand width.
    pub width: Width,
    /// Where it writes.
    pub place: Place,
}

/// Where an instruction writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A memory operand.
    Mem(Mem),
    /// The string destination, RDI.
    Rdi {
        /// Repeated RCX times; one step is emulated at a time.
        rep: bool,
        /// Address and count are 32-bit.
        addr32: bool,
    },
}

/// What a memory-writing instruction does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `mov`, `movnti`: the source replaces the contents.
    Store(Source),
    /// `xchg`.
    Xchg(Reg),
    /// `xadd`.
    Xadd(Reg),
    /// `cmpxchg`, whose new value is in the register.
    Cmpxchg(Reg),
    /// Arithmetic with a second operand.
    Alu(Alu, Source),
    /// Bit operation; the source is the bit's number.
    Bit(Bit, Source),
    /// `inc`, `dec`, `not`, `neg`.
    Unary(Unary),
    /// `stos`: the accumulator replaces the contents.
    Stos,
    /// `movs`: memory at RSI in this segment replaces the contents.
    Movs(Segment),
}

/// Second operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A register.
    Reg(Reg),
    /// A constant, sign-extended.
    Imm(i64),
}

/// Arithmetic operations, numbered as encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Alu {
    Add,
    Or,
    Adc,
    Sbb,
    And,
    Sub,
    Xor,
}

/// Bit operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Bit {
    Set,
    Reset,
    Complement,
}

/// One-operand operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Unary {
    Inc,
    Dec,
    Not,
    Neg,
}

/// What becomes of memory, flags and registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// New contents, in the operand's width.
    pub new: u64,
    /// New RFLAGS.
    pub rflags: u64,
    /// A register that changes, in the operand's width.
    pub reg: Option<(Reg, u64)>,
}

pub(super) const CF: u64 = 1 << 0;
const PF: u64 = 1 << 2;
const AF: u64 = 1 << 4;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const OF: u64 = 1 << 11;
const ARITHMETIC: u64 = CF | PF | AF | ZF | SF | OF;

impl Source {
    #[inline]
    fn value(self, regs: &impl RegFile, width: Width) -> u64 {
        match self {
            Source::Reg(reg) => reg.read(regs, width),
            Source::Imm(value) => value as u64 & width.mask(),
        }
    }
}

impl Access {
    /// Linear address of the operand. A bit number in a register reaches beyond the operand's own address.
    #[inline]
    pub fn address(&self, regs: &impl RegFile, len: u8) -> u64 {
        match self.place {
            Place::Mem(mem) => {
                let offset = match self.kind {
                    Kind::Bit(_, Source::Reg(reg)) => {
                        let bit = sign_extend(reg.read(regs, self.width), self.width);
                        (bit >> self.width.bits().trailing_zeros()) * self.width.bytes() as i64
                    }
                    _ => 0,
                };
                mem.address(regs, len, offset)
            }
            Place::Rdi { addr32: false, .. } => regs.gpr(7),
            Place::Rdi { addr32: true, .. } => regs.gpr(7) & 0xffff_ffff,
        }
    }

    /// What the instruction makes of the contents `old`. For `movs`, `old` does not matter and `fetched` is what
    /// stands at RSI.
    #[inline]
    pub fn apply(&self, regs: &impl RegFile, old: u64, fetched: u64) -> Outcome {
        let (width, rflags) = (self.width, regs.rflags());
        let plain = |new| Outcome { new, rflags, reg: None };
        match self.kind {
            Kind::Store(source) => plain(source.value(regs, width)),
            Kind::Stos => plain(Reg::RAX.read(regs, width)),
            Kind::Movs(_) => plain(fetched & width.mask()),
            Kind::Xchg(reg) => Outcome {
                new: reg.read(regs, width),
                rflags,
                reg: Some((reg, old)),
            },
            Kind::Xadd(reg) => {
                let (new, rflags) = alu(Alu::Add, width, old, reg.read(regs, width), rflags);
                Outcome {
                    new,
                    rflags,
                    reg: Some((reg, old)),
                }
            }
            Kind::Cmpxchg(reg) => {
                let expected = Reg::RAX.read(regs, width);
                let (_, rflags) = alu(Alu::Sub, width, expected, old, rflags);
                match expected == old {
                    true => Outcome {
                        new: reg.read(regs, width),
                        rflags,
                        reg: None,
                    },
                    false => Outcome {
                        new: old,
                        rflags,
                        reg: Some((Reg::RAX, old)),
                    },
                }
            }
            Kind::Alu(op, source) => {
                let (new, rflags) = alu(op, width, old, source.value(regs, width), rflags);
                Outcome { new, rflags, reg: None }
            }
            Kind::Bit(op, source) => {
                let bit = 1 << (source.value(regs, width) & (width.bits() - 1) as u64);
                let new = match op {
                    Bit::Set => old | bit,
                    Bit::Reset => old & !bit,
                    Bit::Complement => old ^ bit,
                };
                Outcome {
                    new,
                    rflags: rflags & !CF | if old & bit != 0 { CF } else { 0 },
                    reg: None,
                }
            }
            Kind::Unary(op) => unary(op, width, old, rflags),
        }
    }
}

fn unary(op: Unary, width: Width, old: u64, rflags: u64) -> Outcome {
    let (new, rflags) = match op {
        Unary::Not => (!old & width.mask(), rflags),
        Unary::Neg => alu(Alu::Sub, width, 0, old, rflags),
        // These two leave the carry as it was.
        Unary::Inc | Unary::Dec => {
            let op = if op == Unary::Inc { Alu::Add } else { Alu::Sub };
            let (new, flags) = alu(op, width, old, 1, rflags);
            (new, flags & !CF | rflags & CF)
        }
    };
    Outcome { new, rflags, reg: None }
}

/// `left op right`, and the flags it leaves. AF after a logical operation is undefined; it is cleared here.
#[inline]
fn alu(op: Alu, width: Width, left: u64, right: u64, rflags: u64) -> (u64, u64) {
    let carry_in = rflags & CF;
    let (result, carry, overflow) = match op {
        Alu::Or => (left | right, false, 0),
        Alu::And => (left & right, false, 0),
        Alu::Xor => (left ^ right, false, 0),
        Alu::Add | Alu::Adc => {
            let carry_in = if op == Alu::Adc { carry_in } else { 0 };
            let wide = left as u128 + right as u128 + carry_in as u128;
            let result = wide as u64 & width.mask();
            (result, wide >> width.bits() != 0, (left ^ result) & (right ^ result))
        }
        Alu::Sub | Alu::Sbb => {
            let borrow_in = if op == Alu::Sbb { carry_in } else { 0 };
            let result = left.wrapping_sub(right).wrapping_sub(borrow_in) & width.mask();
            let borrow = (left as u128) < right as u128 + borrow_in as u128;
            (result, borrow, (left ^ right) & (left ^ result))
        }
    };
    let mut flags = rflags & !ARITHMETIC;
    let mut set = |flag, on: bool| flags |= if on { flag } else { 0 };
    set(CF, carry);
    set(PF, (result as u8).count_ones().is_multiple_of(2));
    set(
        AF,
        !matches!(op, Alu::Or | Alu::And | Alu::Xor) && (left ^ right ^ result) & 0x10 != 0,
    );
    set(ZF, result == 0);
    set(SF, result & width.sign() != 0);
    set(OF, overflow & width.sign() != 0);
    (result, flags)
}

/// The flags that a logical operation on bytes leaves.
#[inline]
pub(super) fn logical_flags(result: u8, rflags: u64) -> u64 {
    let parity = if result.count_ones().is_multiple_of(2) { PF } else { 0 };
    let zero = if result == 0 { ZF } else { 0 };
    rflags & !ARITHMETIC | parity | zero | result as u64 & SF
}

/// Reads `value` as a signed number of this width.
#[inline]
fn sign_extend(value: u64, width: Width) -> i64 {
    let shift = 64 - width.bits();
    (value << shift) as i64 >> shift
}
