//! x86-64 instructions that a paravirtual guest may meet a fault on, decoded to what they ask for.
//!
//! Two families: privileged instructions, and writes to memory that the guest has read-only (page tables and
//! memory-mapped configuration). Anything else is refused: the guest then gets the fault itself. Only 64-bit
//! code is understood.

mod access;
mod bytes;
mod opcode;
mod operand;
pub mod quick;
#[cfg(test)]
mod tests;

pub use access::{Access, Kind, Outcome, Place};
pub use bytes::{Fetched, MAX_LEN};
pub use operand::{Mem, Reg, RegFile, Segment, Width};

/// A decoded instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Insn {
    /// Length in bytes, prefixes included.
    pub len: u8,
    /// What it asks for.
    pub op: Op,
}

/// What a decoded instruction asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// A privileged or system instruction.
    System(System),
    /// `in`, `out`, `ins` or `outs`.
    Port(PortIo),
    /// An instruction that writes memory.
    Write(Access),
}

/// Privileged instructions without a memory operand that matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum System {
    /// `mov reg, crN`.
    ReadCr {
        /// Control register.
        cr: u8,
        /// General register.
        gpr: u8,
    },
    /// `mov crN, reg`.
    WriteCr {
        /// Control register.
        cr: u8,
        /// General register.
        gpr: u8,
    },
    /// `mov reg, drN`.
    ReadDr {
        /// Debug register.
        dr: u8,
        /// General register.
        gpr: u8,
    },
    /// `mov drN, reg`.
    WriteDr {
        /// Debug register.
        dr: u8,
        /// General register.
        gpr: u8,
    },
    /// `clts`.
    Clts,
    /// `lmsw reg`; the form with a memory operand is refused.
    Lmsw {
        /// General register.
        gpr: u8,
    },
    /// `invd`.
    Invd,
    /// `wbinvd` or `wbnoinvd`.
    Wbinvd,
    /// `rdmsr`.
    Rdmsr,
    /// `wrmsr`.
    Wrmsr,
    /// `rdtsc`.
    Rdtsc,
    /// `rdtscp`.
    Rdtscp,
    /// `xsetbv`.
    Xsetbv,
    /// `cli`.
    Cli,
    /// `sti`.
    Sti,
    /// `invlpg mem`.
    Invlpg(Mem),
    /// `cpuid` after Xen's forced-emulation prefix `ud2; "xen"`.
    ForcedCpuid,
}

/// A port instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortIo {
    /// True for `in` and `ins`.
    pub input: bool,
    /// Bytes in one access: 1, 2 or 4.
    pub width: Width,
    /// The port in the instruction; `None`: in DX.
    pub port: Option<u8>,
    /// Where the data is.
    pub data: PortData,
}

/// The other end of a port instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortData {
    /// AL, AX or EAX.
    Accumulator,
    /// Memory at RDI (`ins`) or RSI (`outs`).
    String {
        /// Repeated RCX times.
        rep: bool,
        /// Addresses and the count are 32-bit.
        addr32: bool,
        /// Segment of the source of `outs`.
        segment: Segment,
    },
}

/// The bytes are cut off, no valid instruction, or none that is emulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused;

/// The forced-emulation prefix: `ud2`, then `xen`.
pub const FORCED_PREFIX: [u8; 5] = [0x0f, 0x0b, b'x', b'e', b'n'];

/// Decodes the instruction at the start of `code`.
///
/// # Errors
/// [`Refused`].
#[inline]
pub fn decode(code: &Fetched) -> Result<Insn, Refused> {
    opcode::decode(code)
}
