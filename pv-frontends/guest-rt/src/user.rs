//! User mode: a second L4 table with a page of code and a page of stack, and the way in.
use crate::pages::{self, PTE_TABLE, PTE_USER, Page, extended, protect, take_page};
use xen_abi::*;

/// Where user code lies.
pub const CODE: u64 = 0x40_0000;
/// Where the user stack ends.
pub const STACK_TOP: u64 = CODE + 0x2000;

unsafe extern "C" {
    fn enter_user(rip: u64, rsp: u64, argument: u64) -> u64;
}

/// A user address space.
pub struct UserSpace {
    /// The frame of its L4 table.
    pub root: u64,
}

impl UserSpace {
    /// Builds one whose code page holds `code`, and pins it.
    pub fn new(code: &[u8]) -> Result<UserSpace, i64> {
        let [l4, l3, l2, l1, text, stack] = [(); 6].map(|()| take_page());
        for (offset, chunk) in code.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            text.write(offset, u64::from_le_bytes(word));
        }
        l1.write(0, text.mfn() << 12 | pages::PTE_READ_ONLY | PTE_USER);
        l1.write(1, stack.mfn() << 12 | pages::PTE_DATA | PTE_USER);
        l2.write(pages::index_at(CODE, 2) as usize, l1.mfn() << 12 | PTE_TABLE);
        l3.write(0, l2.mfn() << 12 | PTE_TABLE);
        l4.write(0, l3.mfn() << 12 | PTE_TABLE);
        let tables: [&Page; 4] = [l1, l2, l3, l4];
        for table in tables {
            answer(protect(table, pages::PTE_READ_ONLY))?;
        }
        answer(extended(MMUEXT_PIN_L4_TABLE, l4.mfn(), 0))?;
        Ok(UserSpace { root: l4.mfn() })
    }

    /// Makes it the calling vcpu's user address space.
    pub fn activate(&self) -> i64 {
        extended(MMUEXT_NEW_USER_BASEPTR, self.root, 0)
    }

    /// Runs its code from `offset` on with `argument` in RDI, until its system call 1, whose RDI is the answer.
    pub fn run(&self, offset: u64, argument: u64) -> u64 {
        // SAFETY: the code runs in user mode, without access to this image; it comes back by system call 1 alone.
        unsafe { enter_user(CODE + offset, STACK_TOP, argument) }
    }
}

fn answer(value: i64) -> Result<(), i64> {
    if value < 0 { Err(value) } else { Ok(()) }
}
