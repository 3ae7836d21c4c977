//! The end of domains: with frames in others' hands, again and again, and what the next owner finds.
use crate::control::{Domain, free_pages, numbers, restore, update_with};
use guest_rt::check;
use guest_rt::pages::{PTE_DATA, PTE_READ_ONLY, Page, take_page};
use xen_abi::*;

const FRAMES: usize = 256;

/// Makes a domain with memory, and ends it.
pub fn cycle(frames: usize) {
    let domain = Domain::create(FRAMES as u64);
    let mut list = numbers::<FRAMES>();
    domain.populate(&mut list[..frames]);
    domain.destroy();
    assert!(domain.is_gone(), "a domain does not end");
}

/// Frames that are mapped here stay what they are until they are unmapped.
fn in_use(window: &Page, second: &Page) {
    let free = free_pages();
    let domain = Domain::create(16);
    let mut list = numbers::<16>();
    domain.populate(&mut list);
    domain.map(window, list[3], PTE_DATA);
    window.write(0, 0x5ec7e7);
    domain.map(second, list[4], PTE_READ_ONLY);
    let answer = domain.destroy();
    check!("ends/destroy", answer == 0, "{answer}");
    let info = domain.info();
    let (flags, pages) = info.map_or((0, 0), |info| (info.flags, info.tot_pages));
    check!(
        "ends/dying",
        flags & XEN_DOMINF_dying != 0 && pages == 2,
        "flags {flags:#x}, {pages} pages"
    );
    check!(
        "ends/no-more",
        domain.populate(&mut [0]) <= 0,
        "a dead domain got memory"
    );
    check!("ends/contents", window.read(0) == 0x5ec7e7, "{:#x}", window.read(0));
    // Nobody else gets these frames meanwhile.
    let next = Domain::create(64);
    let mut others = numbers::<64>();
    next.populate(&mut others);
    let taken = others.contains(&list[3]) || others.contains(&list[4]);
    check!("ends/not-reused", !taken, "a frame that is still mapped was given away");
    window.write(0, 1);
    restore(window);
    let pages = domain.pages();
    check!("ends/one-left", pages == 1, "{pages}");
    restore(second);
    check!("ends/gone", domain.is_gone(), "still there");
    next.destroy();
    check!("ends/next-gone", next.is_gone(), "still there");
    let left = free_pages();
    check!("ends/all-back", left == free, "{free} free before, {left} after");
}

/// What a domain wrote, the next one does not read.
fn scrubbed(window: &Page) {
    let domain = Domain::create(FRAMES as u64);
    let mut list = numbers::<FRAMES>();
    domain.populate(&mut list);
    for mfn in list {
        domain.map(window, mfn, PTE_DATA);
        (0..512).for_each(|index| window.write(index, 0x6c65_616b));
    }
    restore(window);
    domain.destroy();
    let next = Domain::create(FRAMES as u64);
    let mut frames = numbers::<FRAMES>();
    next.populate(&mut frames);
    let (mut reused, mut leaked) = (0, 0);
    for mfn in frames {
        reused += list.contains(&mfn) as u32;
        next.map(window, mfn, PTE_READ_ONLY);
        leaked += (0..512).any(|index| window.read(index) == 0x6c65_616b) as u32;
    }
    restore(window);
    next.destroy();
    check!("ends/reused", reused > 0, "no frame came back, so nothing is shown");
    check!(
        "ends/scrubbed",
        leaked == 0,
        "{leaked} frames with the data of the domain before"
    );
}

/// A mapping that was removed without a flush leads nowhere once the frame is somebody else's.
fn stale(window: &Page, second: &Page) {
    let (mut reused, mut seen) = (0, 0);
    for _ in 0..8 {
        let domain = Domain::create(FRAMES as u64);
        let mut list = numbers::<FRAMES>();
        domain.populate(&mut list);
        domain.map(window, list[7], PTE_DATA);
        window.write(0, 1);
        update_with(
            DOMID_SELF.into(),
            crate::control::entry_of(window),
            window.mfn() << 12 | PTE_DATA,
        );
        domain.destroy();
        let next = Domain::create(FRAMES as u64);
        let mut frames = numbers::<FRAMES>();
        next.populate(&mut frames);
        if frames.contains(&list[7]) {
            reused += 1;
            window.write(0, 0x0bad);
            next.map(second, list[7], PTE_READ_ONLY);
            seen += (second.read(0) != 0) as u32;
            restore(second);
        }
        restore(window);
        window.write(0, 0);
        next.destroy();
    }
    check!(
        "ends/stale-reused",
        reused > 0,
        "no frame came back, so nothing is shown"
    );
    check!(
        "ends/stale",
        seen == 0,
        "{seen} of {reused} times the next owner's frame was written to"
    );
}

/// Nothing is lost over many lives.
fn cycles() {
    let free = free_pages();
    for round in 0..40 {
        cycle(1 + round * 6);
    }
    let left = free_pages();
    check!("ends/cycles", left == free, "{free} free before, {left} after");
}

pub fn run() {
    let (window, second) = (take_page(), take_page());
    in_use(window, second);
    scrubbed(window);
    stale(window, second);
    cycles();
}
