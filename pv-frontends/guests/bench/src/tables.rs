//! Page tables: entries that change one by one and many at once, a full table that is pinned and let go.
use crate::measure::{bench, of_loop, of_parts, timed};
use guest_rt::pages::{self, PTE_DATA, PTE_READ_ONLY, extended, protect, take_page};
use guest_rt::{check, hypercall};
use xen_abi::*;

/// Updates of one hypercall.
const UPDATES: usize = 32;
const ENTRIES: usize = 512;

fn updates() {
    let target = take_page();
    let other = take_page();
    let entry = pages::entry_address(pages::boot_root(), target.address(), 1).expect("a mapped page");
    let mut failures = 0;
    let mut frames = [target.mfn(), other.mfn()].into_iter().cycle();
    let mut map_next = |_: ()| frames.next().unwrap_or_default() << 12 | PTE_DATA;
    let single = of_loop(UPDATES as u64, || {
        for _ in 0..UPDATES {
            // SAFETY: only this measurement uses the page; both frames are this guest's.
            failures |= unsafe { hypercall::update_va_mapping(target.address(), map_next(()), UVMF_INVLPG) };
        }
    });
    bench("table_update_va_mapping", single);
    bench(
        "table_update_single",
        of_loop(UPDATES as u64, || {
            for _ in 0..UPDATES {
                failures |= pages::update(entry, map_next(()));
            }
        }),
    );
    let batched = of_loop(UPDATES as u64, || {
        let requests: [mmu_update; UPDATES] = core::array::from_fn(|_| mmu_update {
            ptr: entry,
            val: map_next(()),
        });
        // SAFETY: as above.
        failures |= unsafe { hypercall::mmu_update(&requests, None) };
    });
    bench("table_update_batched", batched);
    check!("tables/updates", failures == 0, "{failures}");
    let back = protect(target, PTE_DATA);
    check!("tables/back", back == 0, "{back}");
}

/// An L1 table with all its entries in use.
fn pins() {
    let table = take_page();
    for index in 0..ENTRIES {
        table.write(index, take_page().mfn() << 12 | PTE_DATA);
    }
    let made_read_only = protect(table, PTE_READ_ONLY);
    check!("tables/read-only", made_read_only == 0, "{made_read_only}");
    let mut failures = 0;
    // The least of all rounds: unpinning is measured beside pinning.
    let mut unpin = u64::MAX;
    let pin = of_parts(|| {
        let ticks = timed(|| failures |= extended(MMUEXT_PIN_L1_TABLE, table.mfn(), 0));
        unpin = unpin.min(timed(|| failures |= extended(MMUEXT_UNPIN_TABLE, table.mfn(), 0)));
        ticks
    });
    bench("table_pin_full", pin);
    bench("table_unpin_full", unpin);
    check!("tables/pins", failures == 0, "{failures}");
}

/// Measures all of them.
pub fn run() {
    updates();
    pins();
}
