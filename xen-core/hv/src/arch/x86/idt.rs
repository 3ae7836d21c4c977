//! The interrupt descriptor table, the same for every CPU.

use super::entry::vector_stub;
use super::percpu::{IST_DB, IST_DF, IST_MC, IST_NMI};
use super::regs::{selector, vector};
use core::arch::asm;

#[repr(C, align(4096))]
struct Table([[u64; 2]; 256]);

static mut TABLE: Table = Table([[0; 2]; 256]);

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// A 64-bit interrupt gate (Intel SDM volume 3, 6.14.1).
fn gate(target: u64, ist: u8, dpl: u64) -> [u64; 2] {
    let low = (target & 0xffff)
        | (selector::HV_CS as u64) << 16
        | (ist as u64) << 32
        | 0xe << 40
        | dpl << 45
        | 1 << 47
        | (target >> 16 & 0xffff) << 48;
    [low, target >> 32]
}

/// Fills the table: once, on the boot CPU, before [`load`].
pub fn init() {
    // SAFETY: the boot CPU is alone, and the table is not loaded yet.
    let table = unsafe { &mut *(&raw mut TABLE.0) };
    for (v, slot) in table.iter_mut().enumerate() {
        let v = v as u8;
        let ist = match v {
            vector::DF => IST_DF,
            vector::NMI => IST_NMI,
            vector::MC => IST_MC,
            vector::DB => IST_DB,
            _ => 0,
        };
        // These may be raised by guests' instructions; other software interrupts fault, and are looked up then.
        let dpl = if matches!(v, vector::BP | vector::OF | vector::INT80) {
            3
        } else {
            0
        };
        *slot = gate(vector_stub(v), ist, dpl);
    }
}

/// Loads the table on this CPU.
pub fn load() {
    let p = Pointer {
        limit: size_of::<Table>() as u16 - 1,
        base: &raw const TABLE as u64,
    };
    // SAFETY: `init` has filled the table; its gates lead to the entry stubs.
    unsafe { asm!("lidt [{}]", in(reg) &p, options(readonly, nostack, preserves_flags)) };
}
