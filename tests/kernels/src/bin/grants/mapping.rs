//! Mapping and unmapping, in all ways; marks in the entry; what page typing says of it.
use crate::table::{end, flags, grant, head, one, operate, own};
use core::sync::atomic::Ordering::SeqCst;
use guest_rt::pages::{self, PTE_DATA, PTE_READ_ONLY, Page, take_page};
use guest_rt::{check, trap};
use xen_abi::*;

pub(crate) const GREF: u32 = 100;
const MARKS: u16 = GTF_reading | GTF_writing;

/// Maps `gref` at `host_addr`, which is that of a page or of an entry.
pub(crate) fn map(gref: u32, host_addr: u64, flags: u32) -> gnttab_map_grant_ref {
    one(
        GNTTABOP_map_grant_ref,
        gnttab_map_grant_ref {
            host_addr,
            flags,
            grant_ref: gref,
            dom: own(),
            ..Default::default()
        },
    )
}

pub(crate) fn unmap(handle: u32, host_addr: u64) -> i16 {
    one(
        GNTTABOP_unmap_grant_ref,
        gnttab_unmap_grant_ref {
            host_addr,
            handle,
            ..Default::default()
        },
    )
    .status
}

/// A page with something in it.
pub(crate) fn data(value: u64) -> &'static Page {
    let page = take_page();
    page.write(0, value);
    page
}

/// A page's address with nothing mapped there, for a grant: what was cached of a page there would hide it.
pub(crate) fn place() -> &'static Page {
    let page = take_page();
    assert!(pages::map(page.address(), 0, 0) == 0);
    page
}

/// Gives a test's address its own page again.
pub(crate) fn restore(page: &Page) {
    assert!(pages::protect(page, PTE_DATA) == 0);
}

fn writable() {
    let (lent, at) = (data(0x1234), place());
    grant(GREF, lent.mfn(), GTF_permit_access);
    let op = map(GREF, at.address(), GNTMAP_host_map);
    check!(
        "map/writable",
        op.status == GNTST_okay && op.dev_bus_addr >> 12 == lent.mfn(),
        "{} {:#x}",
        op.status,
        op.dev_bus_addr
    );
    check!("map/seen", at.read(0) == 0x1234, "{:#x}", at.read(0));
    at.write(1, 99);
    check!("map/written", lent.read(1) == 99, "{}", lent.read(1));
    check!("map/marks", flags(GREF) & MARKS == MARKS, "{:#x}", flags(GREF));
    check!("map/unmap", unmap(op.handle, at.address()) == GNTST_okay, "");
    check!("map/no-marks", flags(GREF) == GTF_permit_access, "{:#x}", flags(GREF));
    let read = trap::read(at.address());
    check!("map/gone", read.is_err(), "still mapped");
    let again = unmap(op.handle, at.address());
    check!("map/unmap-twice", again == GNTST_bad_handle, "{again}");
    restore(at);
    end(GREF);
}

fn read_only() {
    let (lent, at) = (data(5), place());
    grant(GREF, lent.mfn(), GTF_permit_access | GTF_readonly);
    let refused = map(GREF, at.address(), GNTMAP_host_map);
    check!(
        "map/readonly-refused",
        refused.status == GNTST_general_error,
        "{}",
        refused.status
    );
    check!("map/readonly-unmarked", flags(GREF) & MARKS == 0, "{:#x}", flags(GREF));
    let op = map(GREF, at.address(), GNTMAP_host_map | GNTMAP_readonly);
    check!(
        "map/readonly",
        op.status == GNTST_okay && at.read(0) == 5,
        "{}",
        op.status
    );
    check!("map/reading", flags(GREF) & MARKS == GTF_reading, "{:#x}", flags(GREF));
    // SAFETY: a page of the tests.
    let wrote = unsafe { trap::write(at.address()) };
    check!(
        "map/readonly-fault",
        wrote.is_err() && lent.read(0) == 5,
        "{}",
        lent.read(0)
    );
    check!("map/readonly-unmap", unmap(op.handle, at.address()) == GNTST_okay, "");
    restore(at);
    end(GREF);
}

fn by_entry() {
    let (lent, at) = (data(6), place());
    grant(GREF, lent.mfn(), GTF_permit_access);
    let entry = pages::entry_address(pages::boot_root(), at.address(), 1).expect("a mapped page");
    let how = GNTMAP_host_map | GNTMAP_contains_pte | GNTMAP_application_map;
    let op = map(GREF, entry, how);
    check!(
        "map/by-entry",
        op.status == GNTST_okay && at.read(0) == 6,
        "{}",
        op.status
    );
    for wrong in [at.address(), entry + 8, entry + 4, 8] {
        let status = unmap(op.handle, wrong);
        check!(format_args!("map/by-entry-wrong/{wrong:#x}"), status < 0, "{status}");
    }
    check!(
        "map/by-entry-stays",
        flags(GREF) & MARKS == MARKS && at.read(0) == 6,
        ""
    );
    check!("map/by-entry-unmap", unmap(op.handle, entry) == GNTST_okay, "");
    restore(at);
    end(GREF);
}

/// The same page twice: the handle of one mapping does not end the other where their rights differ.
fn twice() {
    let (lent, a, b) = (data(7), place(), place());
    grant(GREF, lent.mfn(), GTF_permit_access);
    let writable = map(GREF, a.address(), GNTMAP_host_map);
    let reading = map(GREF, b.address(), GNTMAP_host_map | GNTMAP_readonly);
    check!(
        "map/twice",
        writable.status == GNTST_okay && reading.status == GNTST_okay,
        ""
    );
    check!(
        "map/twice-handles",
        writable.handle != reading.handle,
        "{}",
        writable.handle
    );
    let mixed = unmap(writable.handle, b.address());
    check!("map/other-right", mixed < 0, "{mixed}");
    check!(
        "map/other-right-marks",
        flags(GREF) & MARKS == MARKS,
        "{:#x}",
        flags(GREF)
    );
    check!(
        "map/unmap-writable",
        unmap(writable.handle, a.address()) == GNTST_okay,
        ""
    );
    check!(
        "map/still-reading",
        flags(GREF) & MARKS == GTF_reading,
        "{:#x}",
        flags(GREF)
    );
    check!(
        "map/unmap-reading",
        unmap(reading.handle, b.address()) == GNTST_okay,
        ""
    );
    check!("map/none-left", flags(GREF) & MARKS == 0, "{:#x}", flags(GREF));
    restore(a);
    restore(b);
    end(GREF);
}

/// While an entry is in use, what was found at first is what is used.
fn changed() {
    let (lent, other, a, b) = (data(8), data(9), place(), place());
    grant(GREF, lent.mfn(), GTF_permit_access);
    let first = map(GREF, a.address(), GNTMAP_host_map);
    let marked = head(GREF).load(SeqCst);
    grant(GREF, other.mfn(), marked as u16);
    let second = map(GREF, b.address(), GNTMAP_host_map | GNTMAP_readonly);
    check!(
        "map/changed",
        second.status == GNTST_okay && b.read(0) == 8,
        "{} {}",
        second.status,
        b.read(0)
    );
    check!(
        "map/changed-unmap",
        unmap(first.handle, a.address()) | unmap(second.handle, b.address()) == 0,
        ""
    );
    restore(a);
    restore(b);
    end(GREF);
}

/// A page that is lent and written to is no page table, and a page table is not lent to be written to.
fn typing() {
    let (lent, at) = (data(0), place());
    grant(GREF, lent.mfn(), GTF_permit_access);
    assert!(pages::protect(lent, PTE_READ_ONLY) == 0);
    let op = map(GREF, at.address(), GNTMAP_host_map);
    let pinned = pages::extended(MMUEXT_PIN_L1_TABLE, lent.mfn(), 0);
    check!(
        "map/no-table",
        op.status == GNTST_okay && pinned < 0,
        "{} {pinned}",
        op.status
    );
    check!("map/table-unmap", unmap(op.handle, at.address()) == GNTST_okay, "");
    let pinned = pages::extended(MMUEXT_PIN_L1_TABLE, lent.mfn(), 0);
    check!("map/table-later", pinned == 0, "{pinned}");
    restore(at);
    let refused = map(GREF, at.address(), GNTMAP_host_map);
    check!("map/table-refused", refused.status < 0, "{}", refused.status);
    check!("map/table-unmarked", flags(GREF) & MARKS == 0, "{:#x}", flags(GREF));
    let reading = map(GREF, at.address(), GNTMAP_host_map | GNTMAP_readonly);
    check!("map/table-read", reading.status == GNTST_okay, "{}", reading.status);
    unmap(reading.handle, at.address());
    pages::extended(MMUEXT_UNPIN_TABLE, lent.mfn(), 0);
    restore(at);
    restore(lent);
    end(GREF);
}

const BATCH: usize = 70;

fn batch() {
    let lent: [&Page; BATCH] = core::array::from_fn(|n| data(n as u64));
    let at: [&Page; BATCH] = core::array::from_fn(|_| place());
    for (gref, page) in (GREF..).zip(lent) {
        grant(gref, page.mfn(), GTF_permit_access);
    }
    let mut maps: [gnttab_map_grant_ref; BATCH] = core::array::from_fn(|n| gnttab_map_grant_ref {
        host_addr: at[n].address(),
        flags: GNTMAP_host_map,
        grant_ref: GREF + n as u32,
        dom: own(),
        ..Default::default()
    });
    let answer = operate(GNTTABOP_map_grant_ref, &mut maps);
    let good = maps.iter().all(|op| op.status == GNTST_okay);
    let seen = at.iter().enumerate().all(|(n, page)| page.read(0) == n as u64);
    check!("map/batch", answer == 0 && good && seen, "{answer} {good} {seen}");
    let mut unmaps: [gnttab_unmap_grant_ref; BATCH] = core::array::from_fn(|n| gnttab_unmap_grant_ref {
        host_addr: at[n].address(),
        handle: maps[n].handle,
        ..Default::default()
    });
    // One of them is wrong, which does not hinder the others.
    unmaps[40].handle = u32::MAX;
    let answer = operate(GNTTABOP_unmap_grant_ref, &mut unmaps);
    let wrong = unmaps.iter().filter(|op| op.status != GNTST_okay).count();
    check!("map/batch-unmap", answer == 0 && wrong == 1, "{answer} {wrong}");
    check!(
        "map/batch-rest",
        unmap(maps[40].handle, at[40].address()) == GNTST_okay,
        ""
    );
    at.iter().for_each(|page| restore(page));
    (GREF..GREF + BATCH as u32).for_each(end);
}

fn replace() {
    let (lent, at, new) = (data(11), place(), data(12));
    grant(GREF, lent.mfn(), GTF_permit_access);
    let op = map(GREF, at.address(), GNTMAP_host_map);
    let request = gnttab_unmap_and_replace {
        host_addr: at.address(),
        new_addr: new.address(),
        handle: op.handle,
        ..Default::default()
    };
    let done = one(GNTTABOP_unmap_and_replace, request);
    check!(
        "map/replace",
        done.status == GNTST_okay && at.read(0) == 12,
        "{}",
        done.status
    );
    check!("map/replace-moved", trap::read(new.address()).is_err(), "still mapped");
    check!("map/replace-marks", flags(GREF) & MARKS == 0, "{:#x}", flags(GREF));
    restore(at);
    restore(new);
    end(GREF);
}

pub(crate) fn run() {
    writable();
    read_only();
    by_entry();
    twice();
    changed();
    typing();
    batch();
    replace();
}
