//! Page tables of another domain: built through mappings, pinned for it, changed for it.
use crate::control::{Domain, entry_of, is, numbers, restore, update_with};
use guest_rt::check;
use guest_rt::pages::{self, PTE_DATA, PTE_READ_ONLY, PTE_TABLE, Page, take_page};
use xen_abi::*;

/// Frames of the domain: tables of level 4 to 1, and data.
const L4: usize = 0;
const L3: usize = 1;
const L2: usize = 2;
const L1: usize = 3;
const DATA: usize = 4;
const SPARE: usize = 5;

fn write_entry(domain: Domain, window: &Page, table: u64, index: usize, entry: u64) {
    assert!(domain.map(window, table, PTE_DATA) == 0, "cannot map a table");
    window.write(index, entry);
    restore(window);
}

/// A tree of one table a level, with one page of data, and the level-1 table in itself read-only.
fn build(domain: Domain, window: &Page, frames: &[u64]) {
    for (table, below) in [(L4, L3), (L3, L2), (L2, L1)] {
        write_entry(domain, window, frames[table], 0, frames[below] << 12 | PTE_TABLE);
    }
    write_entry(
        domain,
        window,
        frames[L1],
        0,
        frames[DATA] << 12 | pages::PTE_USER | PTE_DATA,
    );
    write_entry(
        domain,
        window,
        frames[L1],
        1,
        frames[L1] << 12 | pages::PTE_USER | PTE_READ_ONLY,
    );
}

/// What is pinned is typed all the way down, and stays so.
fn pinned(domain: Domain, window: &Page, frames: &[u64]) {
    domain.map(window, frames[L1], PTE_DATA);
    let answer = domain.extended(MMUEXT_PIN_L4_TABLE, frames[L4]);
    check!("tables/pin-while-writable", answer < 0, "{answer}");
    domain.map(window, frames[L1], PTE_READ_ONLY);
    let answer = domain.extended(MMUEXT_PIN_L4_TABLE, frames[L4]);
    check!("tables/pin", answer == 0, "{answer}");
    let answer = domain.extended(MMUEXT_PIN_L4_TABLE, frames[L4]);
    check!("tables/pin-twice", answer < 0, "{answer}");
    let types = [L4, L3, L2, L1, DATA].map(|n| domain.frame_type(frames[n]));
    let wanted = [
        XEN_DOMCTL_PFINFO_L4TAB | XEN_DOMCTL_PFINFO_LPINTAB,
        XEN_DOMCTL_PFINFO_L3TAB,
        XEN_DOMCTL_PFINFO_L2TAB,
        XEN_DOMCTL_PFINFO_L1TAB,
        XEN_DOMCTL_PFINFO_NOTAB,
    ];
    check!("tables/types", types == wanted, "{types:x?}");
    check!(
        "tables/readable",
        window.read(1) & pages::PTE_FRAME == frames[L1] << 12,
        "other contents"
    );
    for level in [L4, L3, L2, L1] {
        let answer = domain.map(window, frames[level], PTE_DATA);
        check!("tables/never-writable", answer < 0, "{level}: {answer}");
    }
    restore(window);
}

/// Entries of its tables can be changed for it, with frames of its own only.
fn changed(domain: Domain, window: &Page, frames: &[u64]) {
    let owners = |frames: u16| u64::from(domain.0 + 1) << 16 | u64::from(frames);
    let slot = (frames[L1] << 12) + 16;
    let answer = update_with(owners(domain.0), slot, frames[SPARE] << 12 | PTE_DATA);
    check!("tables/changed", answer == 0, "{answer}");
    let answer = update_with(owners(domain.0), slot + 8, frames[L2] << 12 | PTE_DATA);
    check!("tables/table-writable-by-itself", answer < 0, "{answer}");
    let answer = update_with(owners(domain.0), slot + 8, window.mfn() << 12 | PTE_READ_ONLY);
    check!("tables/ours-as-theirs", answer < 0, "{answer}");
    let answer = update_with(owners(domain.0), slot, 0);
    check!("tables/cleared", answer == 0, "{answer}");
    // A table of theirs is none of ours.
    let entry = pages::entry_address(pages::boot_root(), 0x40_0000_0000, 4).expect("an L4 table");
    for owner in [DOMID_SELF, domain.0] {
        let answer = update_with(owner.into(), entry, frames[L3] << 12 | PTE_TABLE);
        check!("tables/not-linked", answer < 0, "{answer}");
    }
}

/// Dom0 cannot give one domain's frame to another's tables: neither has a right to the other's. Stock Xen lets it, so
/// this is for `strict` as well.
fn no_go_between(domain: Domain, frames: &[u64]) {
    let other = Domain::create(16);
    let mut frame = numbers::<1>();
    assert!(other.populate(&mut frame) == 1, "no memory");
    let owners = u64::from(domain.0 + 1) << 16 | u64::from(other.0);
    for bits in [PTE_READ_ONLY, PTE_DATA] {
        let answer = update_with(owners, (frames[L1] << 12) + 24, frame[0] << 12 | bits);
        check!("tables/no-go-between", is(answer, Errno::EPERM), "{answer}");
    }
    check!(
        "tables/other-ends",
        other.destroy() == 0 && other.is_gone(),
        "still there"
    );
}

/// Unpinned, the frames are memory again, and the walk that a CPU may remember is no danger: nobody ran on it.
fn unpinned(domain: Domain, window: &Page, frames: &[u64]) {
    let answer = domain.extended(MMUEXT_UNPIN_TABLE, frames[L4]);
    check!("tables/unpin", answer == 0, "{answer}");
    let answer = domain.extended(MMUEXT_UNPIN_TABLE, frames[L4]);
    check!("tables/unpin-twice", answer < 0, "{answer}");
    for level in [L4, L3, L2, L1] {
        let answer = domain.map(window, frames[level], PTE_DATA);
        check!("tables/writable-again", answer == 0, "{level}: {answer}");
    }
    restore(window);
}

/// What this kernel may remember of a mapping is forgotten before the frame becomes a table. Stock Xen leaves that to
/// the privileged domain, so it is checked on request only: with `strict` on the command line.
fn stale(domain: Domain, window: &Page, frames: &[u64]) {
    let mfn = frames[SPARE];
    domain.map(window, mfn, PTE_DATA);
    window.write(0, 0);
    // No flush by anybody: the translation stays in the TLB, if the CPU wants.
    update_with(DOMID_SELF.into(), entry_of(window), window.mfn() << 12 | PTE_DATA);
    let answer = domain.extended(MMUEXT_PIN_L1_TABLE, mfn);
    check!("tables/stale-pin", answer == 0, "{answer}");
    window.write(0, 0xdead_b000 | PTE_DATA);
    let second = take_page();
    domain.map(second, mfn, PTE_READ_ONLY);
    check!(
        "tables/stale-write",
        second.read(0) == 0,
        "{:#x} got into a page table",
        second.read(0)
    );
    restore(second);
    window.write(0, 0);
    domain.extended(MMUEXT_UNPIN_TABLE, mfn);
}

pub fn run() {
    let window = take_page();
    let domain = Domain::create(64);
    assert!(domain.add_vcpu() == 0, "no vcpu");
    let mut frames = numbers::<16>();
    assert!(domain.populate(&mut frames) == 16, "no memory");
    build(domain, window, &frames);
    pinned(domain, window, &frames);
    changed(domain, window, &frames);
    let strict = guest_rt::start_info().cmd_line.starts_with(b"strict");
    if strict {
        no_go_between(domain, &frames);
    }
    unpinned(domain, window, &frames);
    if strict {
        stale(domain, window, &frames);
    }
    // The end undoes pins that are still there.
    let answer = domain.extended(MMUEXT_PIN_L4_TABLE, frames[L4]);
    check!("tables/pin-again", answer == 0, "{answer}");
    let answer = domain.destroy();
    check!("tables/destroyed-with-pin", answer == 0 && domain.is_gone(), "{answer}");
}
