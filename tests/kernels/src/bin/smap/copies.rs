//! Hypercalls that read and write the guest's memory.
use guest_rt::pages::{self, PTE_DATA, Page, map};
use guest_rt::{check, hypercall::hypercall};
use xen_abi::*;

static BUFFER: [Page; 2] = [const { Page::new() }; 2];

fn version(command: u32, address: u64) -> i64 {
    // SAFETY: callers pass the address of a page of `BUFFER`, which only this module uses, or one that is not mapped.
    unsafe { hypercall(__HYPERVISOR_xen_version, [command.into(), address, 0, 0, 0, 0]) }
}

/// Whether the bytes at an address start with `text`.
fn starts_with(address: u64, text: &[u8]) -> bool {
    // SAFETY: callers pass an address in `BUFFER` with room for the text behind it.
    text.iter()
        .enumerate()
        .all(|(index, byte)| unsafe { (address as *const u8).add(index).read_volatile() } == *byte)
}

pub(crate) fn run() {
    let (first, second) = (BUFFER[0].address(), BUFFER[1].address());
    let number = version(XENVER_version, 0);
    check!("copies/version", number == 4 << 16 | 17, "{number:#x}");

    let straddling = second - 9;
    let answer = version(XENVER_capabilities, straddling);
    let matches = starts_with(straddling, b"xen-3.0-x86_64");
    check!("copies/to-guest-across-pages", answer == 0 && matches, "{answer}");

    BUFFER[0].write(0, XENVER_version.into());
    let answer = version(XENVER_get_features, first);
    let features = BUFFER[0].read(0) >> 32;
    let wanted = 1 << XENFEAT_mmu_pt_update_preserve_ad | 1 << XENFEAT_gnttab_map_avail_bits | 1 << XENFEAT_dom0;
    check!(
        "copies/features",
        answer == 0 && features & wanted == wanted,
        "{answer} {features:#x}"
    );

    let root = pages::boot_root();
    let entry = pages::entry_address(root, second, 1).expect("mapped");
    let old = BUFFER[1].mfn();
    let unmapped = map(second, 0, 0);
    let answer = version(XENVER_capabilities, straddling);
    check!(
        "copies/to-half-mapped",
        unmapped == 0 && answer == -14,
        "{unmapped} {answer}"
    );
    // SAFETY: the text is not used; half of it is not mapped.
    let answer = unsafe { hypercall(__HYPERVISOR_console_io, [0, 64, straddling, 0, 0, 0]) };
    check!("copies/from-half-mapped", answer == -14, "{answer}");
    check!(
        "copies/map-again",
        pages::update(entry, old << 12 | PTE_DATA) == 0,
        "mmu_update"
    );

    let read_only = map(second, old, pages::PTE_READ_ONLY);
    let answer = version(XENVER_capabilities, straddling);
    check!(
        "copies/to-read-only",
        read_only == 0 && answer == -14,
        "{read_only} {answer}"
    );
    check!(
        "copies/writable-again",
        map(second, old, PTE_DATA) == 0,
        "update_va_mapping"
    );

    multicall();
}

/// A batch whose calls succeed and fail, with the results in their entries.
fn multicall() {
    let mut calls = [multicall_entry::default(); 3];
    calls[0].op = __HYPERVISOR_xen_version;
    calls[1].op = 63;
    calls[2].op = __HYPERVISOR_xen_version;
    calls[2].args[0] = XENVER_pagesize.into();
    // SAFETY: the hypervisor writes the results into `calls`.
    let answer = unsafe { hypercall(__HYPERVISOR_multicall, [calls.as_mut_ptr() as u64, 3, 0, 0, 0, 0]) };
    // SAFETY: the array is alive; volatile, since the compiler did not see the writes.
    let results = [0, 1, 2].map(|index| unsafe { (&raw const calls[index].result).read_volatile() } as i64);
    check!(
        "copies/multicall",
        answer == 0 && results == [4 << 16 | 17, -38, 4096],
        "{answer} {results:?}"
    );
}
