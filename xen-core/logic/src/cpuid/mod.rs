//! What a paravirtual guest sees of CPUID: the machine's leaves, cut to what it can use.
//!
//! User space of a guest executes CPUID without the hypervisor's knowledge where the processor has no CPUID
//! faulting; the policy is for the guest kernel, which asks by the forced-emulation prefix.

mod features;
pub mod policy;
#[cfg(test)]
mod tests;
mod xen;

pub use features::{Word, guest_mask};
pub(crate) use xen::HYPERCALL_MSR;

/// The four registers of one leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Leaf {
    pub a: u32,
    pub b: u32,
    pub c: u32,
    pub d: u32,
}

impl Leaf {
    const ZERO: Leaf = Leaf { a: 0, b: 0, c: 0, d: 0 };
}

/// What the answer depends on beside the machine.
#[derive(Clone, Copy, Debug)]
pub struct Viewer {
    /// The domain is the hardware domain.
    pub hardware_domain: bool,
    /// The vcpu's number; its APIC ID is twice that, as Xen numbers them.
    pub vcpu_id: u32,
    /// The guest has CR4.OSXSAVE set.
    pub osxsave: bool,
    /// The hypervisor has CR4.FSGSBASE set.
    pub fsgsbase: bool,
    /// Clock facts for leaf 0x40000003.
    pub clock: Clock,
    /// Bits in a machine address, hotplug included.
    pub machine_address_bits: u8,
}

/// Clock facts for leaf 0x40000003.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// The TSC counts alike on all CPUs and in all power states.
    pub reliable: bool,
    /// TSC frequency in kHz.
    pub khz: u32,
    /// Multiplier from TSC to nanoseconds, after the shift.
    pub multiplier: u32,
    /// Shift before the multiplication; negative is to the right.
    pub shift: i8,
}

/// Components of XCR0 that guests may use: x87, SSE, AVX, AVX-512. Not MPX, PKRU or tiles.
pub const XCR0_MASK: u64 = 0xe7;

/// Highest basic leaf shown.
const MAX_BASIC: u32 = 0xd;
/// Highest extended leaf shown.
const MAX_EXTENDED: u32 = 0x8000_0021;

const VENDOR_AMD_EBX: u32 = u32::from_le_bytes(*b"Auth");
const VENDOR_HYGON_EBX: u32 = u32::from_le_bytes(*b"Hygo");

/// Features that the two AMD-style copies of leaf 1's EDX share.
const AMD_COMMON_EDX: u32 = 0x0183_f3ff;

const BIT_APIC_ID_SHIFT: u32 = 24;
const ECX1_OSXSAVE: u32 = 1 << 27;
const ECX1_HYPERVISOR: u32 = 1 << 31;
const EDX1_MTRR: u32 = 1 << 12;
const EBX7_FSGSBASE: u32 = 1;

/// What the guest gets for `leaf` and `subleaf`; `raw` asks the machine.
pub fn guest_leaf(raw: impl Fn(u32, u32) -> Leaf, viewer: &Viewer, leaf: u32, subleaf: u32) -> Leaf {
    match leaf {
        0x4000_0000..=0x4000_00ff => xen::leaf(viewer, has_rdtscp(&raw), leaf, subleaf),
        0..=MAX_BASIC if leaf <= raw(0, 0).a => basic(&raw, viewer, leaf, subleaf),
        0x8000_0000..=MAX_EXTENDED if leaf <= raw(0x8000_0000, 0).a => extended(&raw, viewer, leaf, subleaf),
        _ => Leaf::ZERO,
    }
}

fn has_rdtscp(raw: &impl Fn(u32, u32) -> Leaf) -> bool {
    raw(0x8000_0001, 0).d & 1 << 27 != 0
}

fn is_amd(raw: &impl Fn(u32, u32) -> Leaf) -> bool {
    matches!(raw(0, 0).b, VENDOR_AMD_EBX | VENDOR_HYGON_EBX)
}

fn basic(raw: &impl Fn(u32, u32) -> Leaf, viewer: &Viewer, leaf: u32, subleaf: u32) -> Leaf {
    let real = raw(leaf, subleaf);
    match leaf {
        0 => Leaf {
            a: real.a.min(MAX_BASIC),
            ..real
        },
        1 => feature_leaf(real, viewer),
        2 => real,
        // Caches, without the numbers of threads and cores that share them.
        4 => Leaf {
            a: real.a & 0x3fff,
            ..real
        },
        7 => structured_features(raw, viewer, subleaf),
        0xd => xsave_leaf(raw, subleaf),
        // Serial number, MWAIT, thermal and power, cache access, performance counters, topology.
        _ => Leaf::ZERO,
    }
}

fn feature_leaf(real: Leaf, viewer: &Viewer) -> Leaf {
    let mut c = real.c & guest_mask(Word::Leaf1Ecx) | ECX1_HYPERVISOR;
    if viewer.osxsave {
        c |= ECX1_OSXSAVE;
    }
    let mut d = real.d & guest_mask(Word::Leaf1Edx);
    if viewer.hardware_domain {
        d |= real.d & EDX1_MTRR;
    }
    // One thread in its own package each: the guest's scheduler must not read sibling relations into vcpus.
    let b = real.b & 0xffff | 1 << 16 | (viewer.vcpu_id * 2) << BIT_APIC_ID_SHIFT;
    Leaf { a: real.a, b, c, d }
}

fn structured_features(raw: &impl Fn(u32, u32) -> Leaf, viewer: &Viewer, subleaf: u32) -> Leaf {
    let last = raw(7, 0).a;
    if subleaf > last.min(2) {
        return Leaf::ZERO;
    }
    let real = raw(7, subleaf);
    match subleaf {
        0 => {
            let hidden = if viewer.fsgsbase { 0 } else { EBX7_FSGSBASE };
            Leaf {
                a: last.min(2),
                b: real.b & guest_mask(Word::Leaf7Ebx) & !hidden,
                c: real.c & guest_mask(Word::Leaf7Ecx),
                d: real.d & guest_mask(Word::Leaf7Edx),
            }
        }
        1 => Leaf {
            a: real.a & guest_mask(Word::Leaf7Sub1Eax),
            ..Leaf::ZERO
        },
        _ => Leaf {
            d: real.d & guest_mask(Word::Leaf7Sub2Edx),
            ..Leaf::ZERO
        },
    }
}

/// The XSAVE leaf, cut to the components that guests may use.
fn xsave_leaf(raw: &impl Fn(u32, u32) -> Leaf, subleaf: u32) -> Leaf {
    const XSAVE_MINIMUM: u32 = 576;
    let machine = raw(0xd, 0);
    let usable = (machine.a as u64 | (machine.d as u64) << 32) & XCR0_MASK;
    match subleaf {
        0 => {
            let end = |n: u32| if usable >> n & 1 != 0 { raw(0xd, n) } else { Leaf::ZERO };
            let size = (2..8)
                .map(end)
                .map(|l| l.a.wrapping_add(l.b))
                .fold(XSAVE_MINIMUM, u32::max);
            // EBX is the size for the value in XCR0 now, which is the guest's.
            Leaf {
                a: usable as u32,
                b: machine.b.min(size),
                c: size,
                d: (usable >> 32) as u32,
            }
        }
        1 => {
            let real = raw(0xd, 1);
            let a = real.a & guest_mask(Word::LeafDSub1Eax);
            // The size of the compacted form; nothing supervisor is ever on.
            let b = if a & 0b10 != 0 { real.b } else { 0 };
            Leaf { a, b, ..Leaf::ZERO }
        }
        2..64 if usable >> subleaf & 1 != 0 => {
            let real = raw(0xd, subleaf);
            Leaf {
                c: real.c & !1,
                d: 0,
                ..real
            }
        }
        _ => Leaf::ZERO,
    }
}

fn extended(raw: &impl Fn(u32, u32) -> Leaf, viewer: &Viewer, leaf: u32, subleaf: u32) -> Leaf {
    let real = raw(leaf, subleaf);
    match leaf {
        0x8000_0000 => Leaf {
            a: real.a.min(MAX_EXTENDED),
            ..real
        },
        0x8000_0001 => {
            let mut d = real.d & guest_mask(Word::Ext1Edx);
            if is_amd(raw) {
                d |= basic(raw, viewer, 1, 0).d & AMD_COMMON_EDX;
            }
            Leaf {
                a: real.a,
                b: real.b,
                c: real.c & guest_mask(Word::Ext1Ecx),
                d,
            }
        }
        // Brand, caches and TLBs.
        0x8000_0002..=0x8000_0006 | 0x8000_0019 | 0x8000_001a => real,
        0x8000_0007 => {
            // A hardware domain never moves to a machine with another clock.
            let d = if viewer.hardware_domain {
                real.d & guest_mask(Word::Ext7Edx)
            } else {
                0
            };
            Leaf { d, ..Leaf::ZERO }
        }
        0x8000_0008 => {
            // Physical width as it is, virtual width of four-level tables, no wider guest-physical one.
            let a = real.a & 0xff | 48 << 8;
            Leaf {
                a,
                b: real.b & guest_mask(Word::Ext8Ebx),
                c: 0,
                d: 0,
            }
        }
        0x8000_0021 => Leaf {
            a: real.a & guest_mask(Word::Ext21Eax),
            ..Leaf::ZERO
        },
        // SVM, encryption, topology, performance.
        _ => Leaf::ZERO,
    }
}
