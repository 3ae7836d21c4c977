//! Two vcpus at the same entry, handle or port at once. Nothing is lost and nothing is left over, whoever comes first.
use crate::channels::{alloc, close, connect, send, status};
use crate::copying::{by_frame, by_grant, copy};
use crate::mapping::{GREF, data, map, place, restore, unmap};
use crate::table::{end, flags, grant, head, own};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use guest_rt::pages::take_page;
use guest_rt::{check, vcpu};
use xen_abi::*;

const ROUNDS: u32 = 300;

/// What the other vcpu does, by number; 0 is nothing, and it says so.
static TASK: AtomicU32 = AtomicU32::new(0);
/// The task has begun.
static BEGUN: AtomicU32 = AtomicU32::new(0);
/// What the tasks work on.
static WORDS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

const CHANGE_ENTRY: u32 = 1;
const UNMAP_TOO: u32 = 2;
const CLOSE_AND_CONNECT: u32 = 3;
const ALLOCATE: u32 = 4;
const STOP: u32 = 5;

fn word(index: usize) -> u64 {
    WORDS[index].load(SeqCst)
}

/// The other vcpu.
fn other(_: usize) {
    loop {
        match TASK.load(SeqCst) {
            CHANGE_ENTRY => change_entry(),
            UNMAP_TOO => unmap_too(),
            CLOSE_AND_CONNECT => close_and_connect(),
            ALLOCATE => {
                let (answer, port) = alloc(DOMID_SELF, DOMID_SELF);
                assert!(answer == 0 && close(port) == 0);
            }
            STOP => return,
            _ => core::hint::spin_loop(),
        }
        BEGUN.store(1, SeqCst);
    }
}

fn set_task(task: u32) {
    BEGUN.store(0, SeqCst);
    TASK.store(task, SeqCst);
    while BEGUN.load(SeqCst) == 0 {
        core::hint::spin_loop();
    }
}

/// Ends the task, and waits until the last round of it is over: two rounds of nothing follow it.
fn end_task() {
    set_task(0);
    BEGUN.store(0, SeqCst);
    while BEGUN.load(SeqCst) == 0 {
        core::hint::spin_loop();
    }
}

/// A granter that grants one page, then another, and takes each back as it should: when it is not in use.
fn change_entry() {
    for frame in [word(0), word(1)] {
        grant(GREF, frame, GTF_permit_access);
        loop {
            let now = head(GREF).load(SeqCst);
            let in_use = now as u16 & (GTF_reading | GTF_writing) != 0;
            if !in_use && head(GREF).compare_exchange(now, 0, SeqCst, SeqCst).is_ok() {
                break;
            }
            core::hint::spin_loop();
        }
    }
}

fn against_a_granter() {
    let (a, b, own) = (data(1), data(2), take_page());
    WORDS[0].store(a.mfn(), SeqCst);
    WORDS[1].store(b.mfn(), SeqCst);
    set_task(CHANGE_ENTRY);
    let (mut mapped, mut copied, mut wrong) = (0, 0, 0);
    let at = place();
    for round in 0..ROUNDS {
        let op = map(GREF, at.address(), GNTMAP_host_map);
        if op.status == GNTST_okay {
            mapped += 1;
            // As long as it is mapped it is the page that was found: the granter waits.
            let seen = [at.read(0), at.read(0)];
            wrong += (!(seen == [1, 1] || seen == [2, 2]) || unmap(op.handle, at.address()) != GNTST_okay) as u32;
        }
        if copy(
            by_grant(GREF, 0),
            by_frame(own, 8 * (round as u16 % 8)),
            8,
            GNTCOPY_source_gref,
        ) == GNTST_okay
        {
            copied += 1;
            wrong += !matches!(own.read(round as usize % 8), 1 | 2) as u32;
        }
    }
    end_task();
    check!(
        "race/granter",
        wrong == 0,
        "{wrong} of {mapped} mappings, {copied} copies"
    );
    check!(
        "race/granter-marks",
        flags(GREF) & (GTF_reading | GTF_writing) == 0,
        "{:#x}",
        flags(GREF)
    );
    restore(at);
    end(GREF);
}

/// Unmaps what the first vcpu has announced, if it comes first.
fn unmap_too() {
    let announced = WORDS[0].swap(0, SeqCst);
    if announced != 0 && unmap(announced as u32 - 1, word(1)) == GNTST_okay {
        WORDS[2].fetch_add(1, SeqCst);
    }
}

fn both_unmap() {
    let (lent, at) = (data(3), place());
    grant(GREF, lent.mfn(), GTF_permit_access);
    WORDS[1].store(at.address(), SeqCst);
    WORDS[2].store(0, SeqCst);
    set_task(UNMAP_TOO);
    let (mut ended, mut wrong) = (0, 0);
    for _ in 0..ROUNDS {
        let op = map(GREF, at.address(), GNTMAP_host_map);
        if op.status != GNTST_okay {
            wrong += 1;
            continue;
        }
        WORDS[0].store(u64::from(op.handle) + 1, SeqCst);
        let mine = unmap(op.handle, at.address());
        ended += (mine == GNTST_okay) as u64;
        // The other one may have it in hand: until one of the two has ended it.
        while flags(GREF) & GTF_reading != 0 {
            core::hint::spin_loop();
        }
        WORDS[0].store(0, SeqCst);
    }
    end_task();
    let total = ended + word(2);
    check!(
        "race/unmap",
        wrong == 0 && total == ROUNDS.into(),
        "{wrong} wrong, {total} ended"
    );
    check!(
        "race/unmap-marks",
        flags(GREF) == GTF_permit_access,
        "{:#x}",
        flags(GREF)
    );
    restore(at);
    end(GREF);
}

/// Connects to the port in word 0, and closes that end again.
fn close_and_connect() {
    let (answer, port) = connect(own(), word(0) as u32);
    if answer == 0 {
        assert!(close(port) == 0);
    }
}

fn close_while_sending() {
    let (_, port) = alloc(DOMID_SELF, DOMID_SELF);
    WORDS[0].store(port.into(), SeqCst);
    set_task(CLOSE_AND_CONNECT);
    let refused = (0..ROUNDS * 4).filter(|_| send(port) != 0).count();
    end_task();
    check!("race/send", refused == 0, "{refused} refused");
    check!("race/waits", status(port).0 == EVTCHNSTAT_unbound, "{:?}", status(port));
    assert!(close(port) == 0);
    set_task(ALLOCATE);
    let failed = (0..ROUNDS * 2).filter(|_| {
        let (answer, port) = alloc(DOMID_SELF, DOMID_SELF);
        answer != 0 || close(port) != 0
    });
    let failed = failed.count();
    end_task();
    check!("race/ports", failed == 0, "{failed}");
    let (_, lowest) = alloc(DOMID_SELF, DOMID_SELF);
    check!("race/lowest", lowest == port && close(lowest) == 0, "{lowest}");
}

pub(crate) fn run() {
    if vcpu::count() < 2 {
        return;
    }
    check!("race/second-vcpu", vcpu::start(1, other) == 0, "");
    against_a_granter();
    both_unmap();
    close_while_sending();
    TASK.store(STOP, SeqCst);
}
