//! Page tables as a kernel uses them: pin, switch, direct writes to read-only tables.
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use guest_rt::check;
use guest_rt::pages::{self, PTE_DATA, PTE_FRAME, PTE_READ_ONLY, PTE_TABLE, Page, extended, protect, take_page};
use xen_abi::*;

fn atomic(page: &Page, index: usize) -> &'static AtomicU64 {
    // SAFETY: a word of the page, which stays mapped.
    unsafe { AtomicU64::from_ptr((page.address() as *mut u64).wrapping_add(index)) }
}

/// Writes to a pinned table, each of which the hypervisor emulates.
fn direct_writes(table: &Page, data: &Page) {
    let entry = data.mfn() << 12 | PTE_READ_ONLY;
    table.write(7, entry);
    check!(
        "tables/emulated-store",
        table.read(7) & PTE_FRAME == entry & PTE_FRAME,
        "{:#x}",
        table.read(7)
    );
    let old = atomic(table, 7).swap(0, Ordering::SeqCst);
    check!(
        "tables/emulated-xchg",
        old & PTE_FRAME == entry & PTE_FRAME && table.read(7) == 0,
        "{old:#x}"
    );
    let answer = atomic(table, 7).compare_exchange(0, entry, Ordering::SeqCst, Ordering::SeqCst);
    check!(
        "tables/emulated-cmpxchg",
        answer == Ok(0) && table.read(7) & PTE_FRAME == entry & PTE_FRAME,
        "{answer:?}"
    );
    let answer = atomic(table, 7).compare_exchange(1, 0, Ordering::SeqCst, Ordering::SeqCst);
    check!(
        "tables/emulated-cmpxchg-differs",
        answer.is_err() && table.read(7) != 0,
        "{answer:?}"
    );
    let before = table.read(7);
    // SAFETY: a locked clear of the present bit of an entry that maps nothing in use.
    unsafe { asm!("lock btr qword ptr [{}], 0", in(reg) table.address() + 56) };
    check!(
        "tables/emulated-btr",
        table.read(7) == before & !1,
        "{:#x}",
        table.read(7)
    );
    // SAFETY: a locked AND of an entry that maps nothing in use.
    unsafe { asm!("lock and qword ptr [{}], 0", in(reg) table.address() + 56) };
    check!("tables/emulated-and", table.read(7) == 0, "{:#x}", table.read(7));
}

pub(crate) fn run() {
    let (table, data) = (take_page(), take_page());
    data.write(5, 0x5555);
    check!(
        "tables/read-only",
        protect(table, PTE_READ_ONLY) == 0,
        "update_va_mapping"
    );
    let answer = extended(MMUEXT_PIN_L1_TABLE, table.mfn(), 0);
    check!("tables/pin-l1", answer == 0, "{answer}");
    direct_writes(table, data);
    let answer = extended(MMUEXT_UNPIN_TABLE, table.mfn(), 0);
    check!("tables/unpin", answer == 0, "{answer}");
    let answer = protect(table, PTE_DATA);
    check!("tables/writable-again", answer == 0, "{answer}");

    let root = take_page();
    for index in (0..256).chain(272..512) {
        root.write(index, pages::read_entry(pages::boot_root(), index as u64));
    }
    let [l3, l2, l1] = [(); 3].map(|()| take_page());
    const NEW: u64 = 0xffff_8800_0000_0000;
    l1.write(0, data.mfn() << 12 | PTE_DATA);
    l2.write(0, l1.mfn() << 12 | PTE_TABLE);
    l3.write(0, l2.mfn() << 12 | PTE_TABLE);
    root.write(272, l3.mfn() << 12 | PTE_TABLE);
    for table in [l1, l2, l3, root] {
        protect(table, PTE_READ_ONLY);
    }
    let answer = extended(MMUEXT_PIN_L4_TABLE, root.mfn(), 0);
    check!("tables/pin-l4", answer == 0, "{answer}");
    let answer = extended(MMUEXT_NEW_BASEPTR, root.mfn(), 0);
    check!("tables/switch", answer == 0, "{answer}");
    // SAFETY: the new table maps the data page there.
    let seen = unsafe { (NEW as *const u64).add(5).read_volatile() };
    check!("tables/new-mapping", seen == 0x5555, "{seen:#x}");
    let answer = extended(MMUEXT_NEW_BASEPTR, pages::boot_root(), 0);
    check!("tables/switch-back", answer == 0, "{answer}");
    let answer = extended(MMUEXT_UNPIN_TABLE, root.mfn(), 0);
    check!("tables/unpin-l4", answer == 0, "{answer}");
    let answer = [l1, l2, l3, root].map(|table| protect(table, PTE_DATA));
    check!("tables/all-free-again", answer == [0; 4], "{answer:?}");
}
