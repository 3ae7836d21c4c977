//! The hypervisor's own leaves, 0x40000000 on (`arch-x86/cpuid.h`).

use super::{Leaf, Viewer};

/// First of the hypervisor's leaves.
const FIRST: u32 = 0x4000_0000;
/// How many leaves follow the first.
const MAX_NUM_LEAVES: u32 = 5;
/// Version that guests and tools are told: 4.17.
const VERSION: u32 = 4 << 16 | 17;
/// MSR that a write to fills a hypercall page.
pub(crate) const HYPERCALL_MSR: u32 = 0x4000_0000;
/// `XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD`.
const FEAT1_PRESERVE_AD: u32 = 1;

const TSC_RELIABLE: u32 = 1 << 1;
const TSC_RDTSCP: u32 = 1 << 2;

pub(super) fn leaf(viewer: &Viewer, rdtscp: bool, leaf: u32, subleaf: u32) -> Leaf {
    let clock = &viewer.clock;
    match (leaf - FIRST, subleaf) {
        (0, _) => {
            let [b, c, d] = [b"XenV", b"MMXe", b"nVMM"].map(|part| u32::from_le_bytes(*part));
            Leaf {
                a: FIRST + MAX_NUM_LEAVES,
                b,
                c,
                d,
            }
        }
        (1, _) => Leaf {
            a: VERSION,
            ..Leaf::ZERO
        },
        (2, _) => Leaf {
            a: 1,
            b: HYPERCALL_MSR,
            c: FEAT1_PRESERVE_AD,
            d: 0,
        },
        (3, 0) => {
            let a = if clock.reliable { TSC_RELIABLE } else { 0 } | if rdtscp { TSC_RDTSCP } else { 0 };
            Leaf {
                a,
                b: 0,
                c: clock.khz,
                d: 0,
            }
        }
        // The guest's TSC is the machine's: no offset.
        (3, 1) => Leaf {
            a: 0,
            b: 0,
            c: clock.multiplier,
            d: clock.shift as i32 as u32,
        },
        (3, 2) => Leaf {
            a: clock.khz,
            ..Leaf::ZERO
        },
        (5, 0) => Leaf {
            b: viewer.machine_address_bits as u32,
            ..Leaf::ZERO
        },
        _ => Leaf::ZERO,
    }
}
