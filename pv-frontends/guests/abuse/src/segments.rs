//! Descriptors, segment bases, selectors, callbacks and handlers that must not be.
use crate::{call, is, refused};
use core::arch::asm;
use guest_rt::pages::{PTE_DATA, PTE_READ_ONLY, Page, boot_root, protect, take_page};
use guest_rt::trap::{self, catch};
use guest_rt::{check, hypercall};
use xen_abi::*;

fn expect_refusal(name: &str, answer: i64) {
    check!(format_args!("segments/{name}"), refused(answer), "{answer}");
}

/// A flat 64-bit code segment and a flat data segment, both of privilege 3.
const CODE: u64 = 0x00af_fa00_0000_ffff;
const DATA: u64 = 0x00cf_f200_0000_ffff;
/// Descriptors that would let a guest out of ring 3.
/// (Call gates are left out: a hypervisor may accept and emulate them.)
const WILD: [(&str, u64); 5] = [
    ("interrupt-gate", 0x0000_ee00_0008_0000),
    ("trap-gate", 0x0000_ef00_0008_0000),
    ("task-state", 0x0000_e900_0000_0067),
    ("local-table", 0x0000_e200_0000_0fff),
    ("task-gate", 0x0000_e500_0008_0000),
];

fn set_gdt(frames: &[u64], entries: u64) -> i64 {
    call(__HYPERVISOR_set_gdt, [frames.as_ptr() as u64, entries, 0, 0, 0, 0])
}

fn update(address: u64, descriptor: u64) -> i64 {
    call(__HYPERVISOR_update_descriptor, [address, descriptor, 0, 0, 0, 0])
}

fn tables(page: &Page) {
    page.write(1, CODE);
    page.write(2, DATA);
    expect_refusal("gdt-writable", set_gdt(&[page.mfn()], 3));
    check!(
        "segments/read-only",
        protect(page, PTE_READ_ONLY) == 0,
        "update_va_mapping"
    );
    expect_refusal(
        "gdt-too-long",
        set_gdt(&[page.mfn(); 16], FIRST_RESERVED_GDT_ENTRY as u64 + 1),
    );
    expect_refusal("gdt-huge", set_gdt(&[page.mfn()], u64::MAX));
    expect_refusal("gdt-frame", set_gdt(&[u64::MAX], 1));
    expect_refusal("gdt-is-a-table", set_gdt(&[boot_root()], 1));
    let answer = set_gdt(&[page.mfn()], 512);
    check!("segments/gdt", answer == 0, "{answer}");
    expect_refusal("gdt-page-writable", protect(page, PTE_DATA));
    expect_refusal(
        "gdt-page-pinned",
        guest_rt::pages::extended(MMUEXT_PIN_L1_TABLE, page.mfn(), 0),
    );
    let address = page.mfn() << 12;
    for (name, descriptor) in WILD {
        let answer = update(address + 24, descriptor);
        check!(
            format_args!("segments/descriptor-{name}"),
            refused(answer) && page.read(3) == 0,
            "{answer}"
        );
    }
    expect_refusal("descriptor-unaligned", update(address + 28, DATA));
    expect_refusal("descriptor-far", update(1 << 51, DATA));
    let root = boot_root() << 12;
    expect_refusal("descriptor-in-root", update(root + 300 * 8, DATA));
    let answer = update(address + 24, DATA);
    check!(
        "segments/descriptor",
        answer == 0 && page.read(3) & 0x60 << 40 == 0x60 << 40,
        "{answer} {:#x}",
        page.read(3)
    );
    selectors();
    let answer = set_gdt(&[], 0);
    check!("segments/gdt-none", answer == 0, "{answer}");
    check!(
        "segments/writable-again",
        protect(page, PTE_DATA) == 0,
        "update_va_mapping"
    );
    for (name, descriptor) in WILD {
        page.write(3, descriptor);
        protect(page, PTE_READ_ONLY);
        let answer = set_gdt(&[page.mfn()], 512);
        check!(format_args!("segments/gdt-with-{name}"), refused(answer), "{answer}");
        protect(page, PTE_DATA);
    }
    check!("segments/free-again", protect(page, PTE_DATA) == 0, "update_va_mapping");
}

extern "C" fn load_ds(selector: u64) -> u64 {
    // SAFETY: the data segment is not used in 64-bit mode; traps are caught.
    unsafe { asm!("mov ds, {0:e}", in(reg) selector) };
    0
}

extern "C" fn load_ss(selector: u64) -> u64 {
    // SAFETY: the stack segment has no base in 64-bit mode; traps are caught.
    unsafe { asm!("mov ss, {0:e}", in(reg) selector) };
    0
}

/// Selectors, with the table's entry 3 a data segment.
fn selectors() {
    let good = catch(load_ds, 3 << 3 | 3);
    check!("segments/load", good.is_ok(), "{good:x?}");
    let none = catch(load_ds, 0);
    check!("segments/load-null", none.is_ok(), "{none:x?}");
    // Beyond the table, into the hypervisor's own descriptors, and the local table that there is not.
    for selector in [0xfff8, 0xe008, 0xe010, 0xe040, 0x0f | 4] {
        for (name, code) in [("ds", load_ds as extern "C" fn(u64) -> u64), ("ss", load_ss)] {
            let result = catch(code, selector);
            let holds = matches!(result, Err(trap) if trap.vector == 13 || trap.vector == 11 || trap.vector == 14);
            check!(format_args!("segments/load-{name}-{selector:#x}"), holds, "{result:x?}");
        }
    }
}

const NON_CANONICAL: [u64; 3] = [0x0000_8000_0000_0000, 0x8000_0000_0000_0000, 0xffff_7fff_ffff_ffff];

fn addresses() {
    for address in NON_CANONICAL {
        for which in [SEGBASE_FS, SEGBASE_GS_USER, SEGBASE_GS_KERNEL] {
            let answer = call(__HYPERVISOR_set_segment_base, [which.into(), address, 0, 0, 0, 0]);
            check!(
                format_args!("segments/base-{which}"),
                refused(answer),
                "{address:#x}: {answer}"
            );
        }
        for typ in 0..8 {
            let mut callback = callback_register {
                typ,
                flags: 0,
                _pad: 0,
                address,
            };
            let answer = hypercall::callback_op(CALLBACKOP_register, &mut callback);
            check!(
                format_args!("segments/callback-{typ}"),
                refused(answer),
                "{address:#x}: {answer}"
            );
        }
        // This old call answers 0 even where it registers nothing.
        let answer = call(__HYPERVISOR_set_callbacks, [address, address, address, 0, 0, 0]);
        check!("segments/callbacks", answer == 0 || refused(answer), "{answer}");
        let entry = trap_info {
            vector: 6,
            flags: 0,
            cs: FLAT_KERNEL_CS,
            _pad: 0,
            address,
        };
        let list = [entry, trap_info::default()];
        let answer = call(__HYPERVISOR_set_trap_table, [list.as_ptr() as u64, 0, 0, 0, 0, 0]);
        check!("segments/handler", is(answer, Errno::EINVAL), "{address:#x}: {answer}");
    }
    for typ in [99, u16::MAX] {
        let mut callback = callback_register {
            typ,
            flags: 0,
            _pad: 0,
            address: trap::event_entry(),
        };
        expect_refusal(
            "callback-type",
            hypercall::callback_op(CALLBACKOP_register, &mut callback),
        );
    }
    let answer = trap::install_table();
    check!("segments/handlers-again", answer == 0, "{answer}");
    // A selector that is not there loads as null.
    let answer = call(
        __HYPERVISOR_set_segment_base,
        [SEGBASE_GS_USER_SEL.into(), 0xfffb, 0, 0, 0, 0],
    );
    check!("segments/user-selector", answer == 0 || refused(answer), "{answer}");
}

pub(crate) fn run() {
    tables(take_page());
    addresses();
}
