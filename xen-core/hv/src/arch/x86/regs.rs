//! Register frames and the bits in them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// General registers of an interrupted context, as the entry paths push them.
///
/// The first part of the ABI's `cpu_user_regs`, without the data segment selectors.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct UserRegs {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// Hardware error code; [`SYSCALL_ENTRY`] after a `syscall`.
    pub error_code: u32,
    /// Vector of the interrupt or exception; 0 after a `syscall`.
    pub entry_vector: u32,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const _: () = assert!(size_of::<UserRegs>() == 168);

/// `error_code` of a frame whose rcx and r11 are free to be lost: it may leave by `sysret`.
/// (A `#DE`, the exception with vector 0, has no error code.)
pub const SYSCALL_ENTRY: u32 = 0x100;

impl UserRegs {
    /// Whether the frame came from the guest (ring 3) rather than from the hypervisor.
    #[inline]
    pub fn is_from_guest(&self) -> bool {
        self.cs & 3 == 3
    }

    /// Marks the frame as one that may leave by `sysret`: rcx and r11 need not survive.
    #[inline]
    pub fn set_syscall_exit(&mut self) {
        self.error_code = SYSCALL_ENTRY;
        self.entry_vector = 0;
    }

    /// Marks the frame as one all of whose registers must survive: it leaves by `iret`.
    #[inline]
    pub fn set_iret_exit(&mut self) {
        self.error_code = 0;
        self.entry_vector = 0;
    }
}

/// Bits of RFLAGS (Intel SDM volume 1, 3.4.3).
pub mod rflags {
    #![allow(missing_docs)]
    pub const FIXED: u64 = 1 << 1;
    pub const TF: u64 = 1 << 8;
    pub const IF: u64 = 1 << 9;
    pub const DF: u64 = 1 << 10;
    pub const IOPL: u64 = 3 << 12;
    pub const NT: u64 = 1 << 14;
    pub const RF: u64 = 1 << 16;
    pub const VM: u64 = 1 << 17;
    pub const AC: u64 = 1 << 18;
    pub const VIF: u64 = 1 << 19;
    pub const VIP: u64 = 1 << 20;
}

/// Exception vectors (Intel SDM volume 3, 6.3).
pub mod vector {
    #![allow(missing_docs, dead_code)]
    pub const DE: u8 = 0;
    pub const DB: u8 = 1;
    pub const NMI: u8 = 2;
    pub const BP: u8 = 3;
    pub const OF: u8 = 4;
    pub const BR: u8 = 5;
    pub const UD: u8 = 6;
    pub const NM: u8 = 7;
    pub const DF: u8 = 8;
    pub const TS: u8 = 10;
    pub const NP: u8 = 11;
    pub const SS: u8 = 12;
    pub const GP: u8 = 13;
    pub const PF: u8 = 14;
    pub const MF: u8 = 16;
    pub const AC: u8 = 17;
    pub const MC: u8 = 18;
    pub const XM: u8 = 19;

    /// System calls of 32-bit user space.
    pub const INT80: u8 = 0x80;

    /// LAPIC timer.
    pub const TIMER: u8 = 0xfa;
    /// "Look at your work bits."
    pub const KICK: u8 = 0xfb;
    /// "Look at your mailbox."
    pub const MAILBOX: u8 = 0xfc;
    /// LAPIC error.
    pub const ERROR: u8 = 0xfe;
    /// LAPIC spurious interrupt.
    pub const SPURIOUS: u8 = 0xff;

    /// Whether the CPU pushes an error code for exception `v`.
    pub const fn has_error_code(v: u8) -> bool {
        matches!(v, DF | TS | NP | SS | GP | PF | AC | 21 | 29 | 30)
    }
}

/// Selectors of the reserved GDT page (`arch-x86/xen-x86_64.h` gives the guest's).
pub mod selector {
    /// Hypervisor code.
    pub const HV_CS: u16 = 0xe008;
    /// Hypervisor data and stack.
    pub const HV_SS: u16 = 0xe010;
    /// Flat 32-bit code for guests.
    pub const GUEST_CS32: u16 = 0xe023;
    /// Flat data for guests.
    pub const GUEST_SS: u16 = 0xe02b;
    /// Flat 64-bit code for guests.
    pub const GUEST_CS64: u16 = 0xe033;
    /// Task state segment.
    pub const TSS: u16 = 0xe040;
    /// Local descriptor table.
    pub const LDT: u16 = 0xe050;
}
