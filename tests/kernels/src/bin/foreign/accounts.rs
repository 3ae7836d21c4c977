//! How many frames a domain gets, and what else of its memory a toolstack sets.
use crate::control::{Domain, free_pages, is, memory_op, numbers, physinfo};
use guest_rt::check;
use guest_rt::pages::pfn_of;
use xen_abi::*;

/// Limits hold, frames are counted, and what is given back is free.
fn reservation() {
    let free = free_pages();
    let domain = Domain::create(40);
    let mut list = numbers::<64>();
    let answer = domain.populate(&mut list);
    check!("accounts/limit", answer == 40, "{answer}");
    check!("accounts/counted", domain.pages() == 40, "{}", domain.pages());
    let numbered = (0..40).all(|n| pfn_of(list[n]) == n as u64);
    check!("accounts/m2p", numbered, "{:x?}", &list[..4]);
    let distinct = (0..40).all(|a| (a + 1..40).all(|b| list[a] != list[b]));
    check!("accounts/distinct", distinct, "a frame was given twice");
    let answer = domain.populate(&mut [100]);
    check!("accounts/full", answer == 0, "{answer}");
    check!("accounts/raise", domain.set_max(41) == 0, "max_mem was refused");
    let answer = domain.populate(&mut [100]);
    check!("accounts/raised", answer == 1, "{answer}");
    let answer = domain.decrease(&mut list[..8]);
    check!("accounts/decrease", answer == 8 && domain.pages() == 33, "{answer}");
    let answer = domain.decrease(&mut list[..8]);
    check!("accounts/decrease-twice", answer <= 0, "{answer}");
    check!("accounts/destroy", domain.destroy() == 0, "refused");
    check!("accounts/gone", domain.is_gone(), "still there");
    let left = free_pages();
    check!("accounts/all-back", left == free, "{free} free before, {left} after");
}

/// A claim sets frames aside, and ends with them, or with the domain.
fn claims() {
    let before = physinfo().outstanding_pages;
    let domain = Domain::create(64);
    let outstanding = || physinfo().outstanding_pages - before;
    let answer = domain.claim(48);
    check!(
        "claims/claim",
        answer == 0 && outstanding() == 48,
        "{answer}, {}",
        outstanding()
    );
    check!("claims/twice", is(domain.claim(50), Errno::EINVAL), "not refused");
    domain.populate(&mut numbers::<16>());
    check!("claims/fulfilled", outstanding() == 32, "{}", outstanding());
    check!(
        "claims/taken-back",
        domain.claim(0) == 0 && outstanding() == 0,
        "{}",
        outstanding()
    );
    check!(
        "claims/beyond-limit",
        is(domain.claim(65), Errno::EINVAL),
        "not refused"
    );
    check!(
        "claims/again",
        domain.claim(64) == 0 && outstanding() == 48,
        "{}",
        outstanding()
    );
    domain.destroy();
    check!("claims/ended", outstanding() == 0, "{}", outstanding());
    let huge = Domain::create(1 << 30);
    check!("claims/too-much", is(huge.claim(1 << 29), Errno::ENOMEM), "not refused");
    huge.destroy();
}

/// A map for another domain; this one has none.
fn memory_map() {
    let domain = Domain::create(16);
    let mut entries = [0u8; 20 * 2];
    entries[8] = 1;
    let mut map = xen_foreign_memory_map {
        domid: domain.0,
        map: xen_memory_map {
            nr_entries: 2,
            buffer: entries.as_mut_ptr() as u64,
            ..Default::default()
        },
        ..Default::default()
    };
    let answer = memory_op(XENMEM_set_memory_map, &mut map);
    check!("map/set", answer == 0, "{answer}");
    map.map.nr_entries = 2000;
    let answer = memory_op(XENMEM_set_memory_map, &mut map);
    check!("map/too-long", is(answer, Errno::EINVAL), "{answer}");
    let answer = memory_op(XENMEM_memory_map, &mut map.map);
    check!("map/none", is(answer, Errno::ENOSYS), "{answer}");
    domain.destroy();
    let answer = memory_op(XENMEM_set_memory_map, &mut map);
    check!("map/nobody", answer < 0, "{answer}");
}

pub fn run() {
    reservation();
    claims();
    memory_map();
}
