//! Operands: widths, registers, memory addresses.

/// Bytes in an operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Width {
    /// 8 bits.
    B1 = 1,
    /// 16 bits.
    B2 = 2,
    /// 32 bits.
    B4 = 4,
    /// 64 bits.
    B8 = 8,
}

impl Width {
    /// Bytes.
    #[inline]
    pub fn bytes(self) -> u64 {
        self as u64
    }

    /// Bits.
    #[inline]
    pub fn bits(self) -> u32 {
        self as u32 * 8
    }

    /// All ones in this width.
    #[inline]
    pub fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The sign bit of this width.
    #[inline]
    pub fn sign(self) -> u64 {
        1 << (self.bits() - 1)
    }
}

/// A register operand: number as encoded, and whether it is bits 8 to 15 of registers 0 to 3 (AH, CH, DH, BH).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reg {
    /// 0 to 15: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub number: u8,
    /// Second byte instead of first; only for byte operands.
    pub high: bool,
}

impl Reg {
    /// RAX and its parts.
    pub const RAX: Reg = Reg { number: 0, high: false };

    /// The register operand numbered `number` of an instruction of this width.
    #[inline]
    pub(super) fn of(number: u8, width: Width, rex: bool) -> Reg {
        match width {
            Width::B1 if !rex && number >= 4 => Reg {
                number: number & 3,
                high: true,
            },
            _ => Reg { number, high: false },
        }
    }

    /// The register's value in this width, zero-extended.
    #[inline]
    pub fn read(self, regs: &impl RegFile, width: Width) -> u64 {
        let value = regs.gpr(self.number);
        (if self.high { value >> 8 } else { value }) & width.mask()
    }

    /// Writes the register as the processor does: 32-bit writes clear the upper half, shorter ones keep the rest.
    #[inline]
    pub fn write(self, regs: &mut impl RegFile, width: Width, value: u64) {
        let value = match width {
            Width::B8 => value,
            Width::B4 => value & width.mask(),
            _ => {
                let shift = if self.high { 8 } else { 0 };
                let mask = width.mask() << shift;
                regs.gpr(self.number) & !mask | (value << shift) & mask
            }
        };
        regs.set_gpr(self.number, value);
    }
}

/// A segment whose base counts in 64-bit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segment {
    /// CS, DS, ES, SS: base 0.
    Flat,
    /// FS.
    Fs,
    /// GS.
    Gs,
}

/// The guest's registers.
pub trait RegFile {
    /// General register `number` (0 to 15, as encoded).
    fn gpr(&self, number: u8) -> u64;
    /// Sets general register `number`.
    fn set_gpr(&mut self, number: u8, value: u64);
    /// Address of the instruction.
    fn rip(&self) -> u64;
    /// RFLAGS.
    fn rflags(&self) -> u64;
    /// Base of a segment; [`Segment::Flat`] is not asked for.
    fn segment_base(&self, segment: Segment) -> u64;
}

/// A memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mem {
    /// What is added up.
    pub base: Base,
    /// Register number and shift of the index.
    pub index: Option<(u8, u8)>,
    /// Displacement, sign-extended.
    pub disp: i64,
    /// Segment, by prefix.
    pub segment: Segment,
    /// The sum is cut to 32 bits (prefix 0x67).
    pub addr32: bool,
}

/// Base of a memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    /// None: displacement and index alone.
    None,
    /// A general register.
    Gpr(u8),
    /// The address of the next instruction.
    NextRip,
}

impl Mem {
    /// The linear address, `offset` bytes on; `len` is the instruction's length.
    #[inline]
    pub fn address(&self, regs: &impl RegFile, len: u8, offset: i64) -> u64 {
        let base = match self.base {
            Base::None => 0,
            Base::Gpr(number) => regs.gpr(number),
            Base::NextRip => regs.rip().wrapping_add(len as u64),
        };
        let index = match self.index {
            None => 0,
            Some((number, shift)) => regs.gpr(number) << shift,
        };
        let sum = base
            .wrapping_add(index)
            .wrapping_add(self.disp as u64)
            .wrapping_add(offset as u64);
        let sum = if self.addr32 { sum & 0xffff_ffff } else { sum };
        match self.segment {
            Segment::Flat => sum,
            segment => sum.wrapping_add(regs.segment_base(segment)),
        }
    }
}
