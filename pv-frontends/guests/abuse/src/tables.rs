//! Page-table updates that would break the isolation between domains, or between a guest and the hypervisor.
use crate::{call, is, is_privileged, refused};
use alloc::vec;
use alloc::vec::Vec;
use guest_rt::check;
use guest_rt::pages::*;
use guest_rt::trap::catch;
use xen_abi::*;

fn expect_refusal(name: &str, answer: i64) {
    check!(format_args!("tables/{name}"), refused(answer), "{answer}");
}

fn expect_success(name: &str, answer: i64) {
    check!(format_args!("tables/{name}"), answer == 0, "{answer}");
}

/// A pinned L1 table of nothing.
fn pinned_table() -> &'static Page {
    let table = take_page();
    expect_success("read-only", protect(table, PTE_READ_ONLY));
    expect_success("pin-l1", extended(MMUEXT_PIN_L1_TABLE, table.mfn(), 0));
    table
}

/// Ways to a writable mapping of a page table.
fn writable_tables(table: &Page, data: &Page) {
    let entry = entry_address(boot_root(), data.address(), 1).expect("mapped");
    let bad = table.mfn() << 12 | PTE_DATA;
    expect_refusal("writable-table-by-mmu-update", update(entry, bad));
    expect_refusal(
        "writable-table-preserving",
        update(entry | MMU_PT_UPDATE_PRESERVE_AD, bad),
    );
    expect_refusal("writable-table-by-va", map(data.address(), table.mfn(), PTE_DATA));
    expect_refusal("writable-own-table", protect(table, PTE_DATA));
    expect_refusal("writable-root", map(data.address(), boot_root(), PTE_DATA));
    expect_success(
        "read-only-table-is-fine",
        map(data.address(), table.mfn(), PTE_READ_ONLY),
    );
    expect_success("data-again", map(data.address(), data.mfn(), PTE_DATA));
    // In a table that is itself being pinned.
    let second = take_page();
    second.write(0, bad);
    expect_success("second-read-only", protect(second, PTE_READ_ONLY));
    expect_refusal(
        "pin-with-writable-table",
        extended(MMUEXT_PIN_L1_TABLE, second.mfn(), 0),
    );
    expect_success("second-writable", protect(second, PTE_DATA));
    second.write(0, second.mfn() << 12 | PTE_DATA);
    expect_success("second-read-only", protect(second, PTE_READ_ONLY));
    expect_refusal(
        "pin-with-itself-writable",
        extended(MMUEXT_PIN_L1_TABLE, second.mfn(), 0),
    );
    expect_success("second-writable", protect(second, PTE_DATA));
    expect_refusal("pin-while-writable", extended(MMUEXT_PIN_L1_TABLE, second.mfn(), 0));
    expect_refusal("unpin-not-pinned", extended(MMUEXT_UNPIN_TABLE, second.mfn(), 0));
    expect_refusal("pin-twice", extended(MMUEXT_PIN_L1_TABLE, table.mfn(), 0));
    expect_refusal("pin-as-other-level", extended(MMUEXT_PIN_L2_TABLE, table.mfn(), 0));
    expect_refusal("clear-table", extended(MMUEXT_CLEAR_PAGE, table.mfn(), 0));
    expect_refusal("copy-over-table", extended(MMUEXT_COPY_PAGE, table.mfn(), data.mfn()));
}

/// Entries of upper tables.
fn upper_levels(table: &Page, data: &Page) {
    let root = boot_root() << 12;
    for slot in [256, 257, 260, 271] {
        for value in [0, data.mfn() << 12 | PTE_TABLE, boot_root() << 12 | PTE_READ_ONLY] {
            let answer = update(root + slot * 8, value);
            check!(
                format_args!("tables/hole-slot/{slot}"),
                refused(answer),
                "{value:#x}: {answer}"
            );
        }
    }
    let free = root + 300 * 8;
    expect_refusal("self-map-writable", update(free, boot_root() << 12 | PTE_TABLE));
    expect_refusal("l4-to-data", update(free, data.mfn() << 12 | PTE_TABLE));
    expect_refusal("l4-to-l1", update(free, table.mfn() << 12 | PTE_TABLE));
    expect_refusal("l4-large", update(free, data.mfn() << 12 | PTE_TABLE | PTE_LARGE));
    expect_refusal("l4-far-frame", update(free, 1 << 51 | PTE_TABLE));
    let level3 = entry_address(boot_root(), VIRT_BASE, 3).expect("mapped");
    expect_refusal("l3-to-data", update(level3 - 8, data.mfn() << 12 | PTE_TABLE));
    expect_refusal("l3-large", update(level3 - 8, PTE_TABLE | PTE_LARGE));
    let level2 = entry_address(boot_root(), VIRT_BASE + (500 << 21), 2).expect("mapped");
    expect_refusal("l2-to-data", update(level2, data.mfn() << 12 | PTE_TABLE));
    expect_refusal("l2-large", update(level2, PTE_TABLE | PTE_LARGE));
    expect_refusal(
        "l2-large-ram",
        update(level2, (data.mfn() & !511) << 12 | PTE_TABLE | PTE_LARGE),
    );
    expect_refusal("baseptr-data", extended(MMUEXT_NEW_BASEPTR, data.mfn(), 0));
    expect_refusal("baseptr-l1", extended(MMUEXT_NEW_BASEPTR, table.mfn(), 0));
    expect_refusal("baseptr-far", extended(MMUEXT_NEW_BASEPTR, u64::MAX, 0));
    expect_refusal("user-baseptr-data", extended(MMUEXT_NEW_USER_BASEPTR, data.mfn(), 0));
    expect_refusal("user-baseptr-far", extended(MMUEXT_NEW_USER_BASEPTR, 1 << 40, 0));
    for level in [
        MMUEXT_PIN_L1_TABLE,
        MMUEXT_PIN_L2_TABLE,
        MMUEXT_PIN_L3_TABLE,
        MMUEXT_PIN_L4_TABLE,
    ] {
        for frame in [u64::MAX, 1 << 52, 1 << 40, 0xfee00] {
            let answer = extended(level, frame, 0);
            check!(
                format_args!("tables/pin-far/{level}"),
                refused(answer),
                "{frame:#x}: {answer}"
            );
        }
    }
}

/// The machine's RAM above the first MiB, which is open to Dom0, as first frame and length. A guest that is not told
/// the machine's map takes all frames that there are.
fn machine_ram() -> Vec<(u64, u64)> {
    static MAP: [Page; 1] = [Page::new()];
    let mut request = xen_memory_map {
        nr_entries: 128,
        _pad: 0,
        buffer: MAP[0].address(),
    };
    let pointer = &raw mut request;
    let operation =
        |operation: u32, argument: u64| call(__HYPERVISOR_memory_op, [operation.into(), argument, 0, 0, 0, 0]);
    let answer = operation(XENMEM_machine_memory_map, pointer as u64);
    if !is_privileged() {
        check!("tables/machine-map-refused", is(answer, Errno::EPERM), "{answer}");
        let last = operation(XENMEM_maximum_ram_page, 0);
        return vec![(256, u64::try_from(last).unwrap_or(0))];
    }
    // SAFETY: the value is alive; volatile, since the compiler did not see the hypervisor write.
    let entries = unsafe { pointer.read_volatile() }.nr_entries as usize;
    check!(
        "tables/machine-map",
        answer == 0 && entries > 0 && entries <= 128,
        "{answer} {entries}"
    );
    let word = |index: usize| MAP[0].read(index / 2) >> (index % 2 * 32) & 0xffff_ffff;
    let range = |entry: usize| {
        let [start, size] = [entry, entry + 2].map(|index| word(index) | word(index + 1) << 32);
        let is_wanted = word(entry + 4) == u64::from(E820_RAM) && start >= 1 << 20;
        is_wanted.then_some((start >> 12, size >> 12))
    };
    (0..entries).filter_map(|index| range(index * 5)).collect()
}

/// Frames that are not the domain's: a sample of the machine's memory.
fn foreign_frames(data: &Page) {
    let mut tried = 0;
    for (start, frames) in machine_ram() {
        for frame in (0..64).map(|step| start + frames / 64 * step) {
            tried += u32::from(try_foreign_frame(data, frame));
        }
    }
    check!("tables/foreign-frames-tried", tried > 10, "{tried}");
    expect_success("data-again", map(data.address(), data.mfn(), PTE_DATA));
}

/// Tries to map a frame if it is not the domain's own, and says whether it was not.
fn try_foreign_frame(data: &Page, frame: u64) -> bool {
    extern "C" fn read_pfn(frame: u64) -> u64 {
        pfn_of(frame)
    }
    // A part of the table that is not there, or a frame that the table gives to this domain.
    match catch(read_pfn, frame) {
        Ok(pfn) if pfn < guest_rt::start_info().nr_pages && mfn_of_pfn(pfn) == frame => return false,
        _ => {}
    }
    let mapped = [PTE_DATA, PTE_READ_ONLY].map(|bits| map(data.address(), frame, bits));
    let typed = [
        extended(MMUEXT_PIN_L1_TABLE, frame, 0),
        extended(MMUEXT_CLEAR_PAGE, frame, 0),
        update(frame << 12, 0),
        update(frame << 12 | MMU_MACHPHYS_UPDATE, 0),
    ];
    if !mapped.iter().chain(&typed).all(|&answer| refused(answer)) {
        check!(
            "tables/foreign-frame",
            false,
            "{frame:#x}: map {mapped:?}, type {typed:?}"
        );
    }
    true
}

/// Addresses and frames that are nowhere, and devices that stay the hypervisor's.
fn odd_places(data: &Page) {
    for (name, address) in [
        ("hole", HYPERVISOR_VIRT_START),
        ("hypervisor", 0xffff_82d0_4000_0000),
        ("non-canonical", 0x8000_0000_0000),
        ("no-table", 0xffff_9000_0000_0000),
    ] {
        expect_refusal(name, map(address, data.mfn(), PTE_DATA));
        expect_refusal(name, map(address, 0, 0));
    }
    expect_refusal("far", map(data.address(), (1 << 40) - 1, PTE_DATA));
    for (name, frame) in [("lapic", 0xfee00), ("io-apic", 0xfec00)] {
        let answer = map(data.address(), frame, PTE_DATA);
        let table = table_of(boot_root(), data.address(), 1).expect("mapped");
        let entry = read_entry(table, index_at(data.address(), 1));
        // A read-only mapping instead is as good.
        let harmless = refused(answer) || entry & PTE_WRITE == 0;
        check!(format_args!("tables/{name}"), harmless, "{answer}, entry {entry:#x}");
    }
    expect_success("data-again", map(data.address(), data.mfn(), PTE_DATA));
    let entry = entry_address(boot_root(), data.address(), 1).expect("mapped");
    let foreign = |domid: domid_t| {
        let request = mmu_update { ptr: entry, val: 0 };
        let pointer = core::ptr::from_ref(&request) as u64;
        call(__HYPERVISOR_mmu_update, [pointer, 1, 0, domid.into(), 0, 0])
    };
    check!(
        "tables/no-such-domain",
        is(foreign(99), Errno::ESRCH),
        "{}",
        foreign(99)
    );
    let va = |address, domid: u64| call(__HYPERVISOR_update_va_mapping_otherdomain, [address, 0, 0, domid, 0, 0]);
    expect_refusal("va-no-such-domain", va(data.address(), 99));
    expect_refusal("update-of-data-that-is-a-table", update(1 << 51, 0));
    // The second of two requests fails: one is done, and said to be.
    let requests = [
        mmu_update {
            ptr: entry,
            val: data.mfn() << 12 | PTE_DATA,
        },
        mmu_update { ptr: 1 << 51, val: 0 },
    ];
    let mut done = 7u32;
    let pointer = &raw mut done;
    let answer = call(
        __HYPERVISOR_mmu_update,
        [requests.as_ptr() as u64, 2, pointer as u64, DOMID_SELF.into(), 0, 0],
    );
    // SAFETY: the value is alive; volatile, since the compiler did not see the hypervisor write.
    let done = unsafe { pointer.read_volatile() };
    check!("tables/count-of-done", refused(answer) && done == 1, "{answer} {done}");
    expect_refusal("unknown-extended", extended(99, 0, 0));
    expect_refusal("ldt-too-long", extended(MMUEXT_SET_LDT, data.address(), 8193));
    expect_refusal("ldt-unaligned", extended(MMUEXT_SET_LDT, data.address() + 8, 1));
    expect_refusal("super-page", extended(MMUEXT_MARK_SUPER, data.mfn(), 0));
    expect_refusal("flush-bad-mask", extended(MMUEXT_TLB_FLUSH_MULTI, 0, 0x1000));
}

/// Direct stores to a pinned table: those that must not be are page faults, and change nothing.
fn direct_stores(table: &Page) {
    extern "C" fn store_root(table: u64) -> u64 {
        // SAFETY: the hypervisor must refuse it; `catch` resumes.
        unsafe { (table as *mut u64).write_volatile(boot_root() << 12 | PTE_DATA) };
        0
    }
    extern "C" fn store_far(table: u64) -> u64 {
        // SAFETY: the hypervisor must refuse it; `catch` resumes.
        unsafe { (table as *mut u64).write_volatile(1 << 51 | PTE_DATA) };
        0
    }
    extern "C" fn store_bytes(table: u64) -> u64 {
        // SAFETY: an entry that maps nothing; emulated or refused.
        unsafe { (table as *mut u32).write_volatile(0xffff_f000) };
        0
    }
    for (name, code) in [
        ("direct-writable-root", store_root as extern "C" fn(u64) -> u64),
        ("direct-far", store_far),
    ] {
        let result = catch(code, table.address());
        let holds = matches!(result, Err(trap) if trap.vector == 14 || trap.vector == 13);
        check!(
            format_args!("tables/{name}"),
            holds && table.read(0) == 0,
            "{result:x?} {:#x}",
            table.read(0)
        );
    }
    let result = catch(store_bytes, table.address());
    check!(
        "tables/direct-half",
        result.is_ok() || table.read(0) == 0,
        "{result:x?}"
    );
    // The root of all tables, where a store can never be emulated: not an L1 table.
    let result = catch(store_far, guest_rt::start_info().pt_base + 300 * 8);
    check!(
        "tables/direct-l4",
        matches!(result, Err(trap) if trap.vector == 14),
        "{result:x?}"
    );
}

pub(crate) fn run() {
    let data = take_page();
    let table = pinned_table();
    writable_tables(table, data);
    upper_levels(table, data);
    foreign_frames(data);
    odd_places(data);
    direct_stores(table);
    expect_success("unpin", extended(MMUEXT_UNPIN_TABLE, table.mfn(), 0));
    expect_success("writable-at-last", protect(table, PTE_DATA));
}
