//! Granter and hypervisor at one grant entry: every interleaving, by loom.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p xen-logic --release --test loom_grant`.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU16, AtomicU32, Ordering, fence};
use loom::thread;
use xen_abi::{GTF_permit_access, GTF_reading, GTF_writing};
use xen_logic::grant::{Active, Ask, What, v1, v2};

const GRANTEE: u16 = 3;
const GRANTED: u32 = GTF_permit_access as u32 | (GRANTEE as u32) << 16;
const MARKS: u16 = GTF_reading | GTF_writing;

/// The words of an entry of either version. Loom has no sequentially consistent accesses; fences stand for them.
struct Entry {
    head: AtomicU32,
    frame: AtomicU32,
    status: AtomicU16,
}

impl v1::Entry for Entry {
    fn head(&self) -> u32 {
        self.head.load(Ordering::Acquire)
    }
    fn exchange_head(&self, old: u32, new: u32) -> Result<(), u32> {
        self.head
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }
    fn clear_marks(&self, marks: u16) {
        self.head.fetch_and(!(marks as u32), Ordering::AcqRel);
    }
    fn frame(&self) -> u32 {
        self.frame.load(Ordering::Acquire)
    }
}

impl v2::Entry for Entry {
    fn head(&self) -> u32 {
        self.head.load(Ordering::Acquire)
    }
    fn word(&self) -> u32 {
        0
    }
    fn frame(&self) -> u64 {
        self.frame.load(Ordering::Acquire).into()
    }
    fn set_marks(&self, marks: u16) {
        self.status.fetch_or(marks, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }
    fn clear_marks(&self, marks: u16) {
        self.status.fetch_and(!marks, Ordering::AcqRel);
    }
}

fn granted() -> Arc<Entry> {
    Arc::new(Entry {
        head: AtomicU32::new(GRANTED),
        frame: AtomicU32::new(7),
        status: AtomicU16::new(0),
    })
}

const ASK: Ask = Ask {
    grantee: GRANTEE,
    write: true,
    copy: false,
};

/// A granter of version 1 takes its page back: only from an entry without marks.
fn take_back_1(entry: &Entry) -> bool {
    let mut head = entry.head.load(Ordering::Acquire);
    while head as u16 & MARKS == 0 {
        match entry
            .head
            .compare_exchange(head, 0, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => return true,
            Err(now) => head = now,
        }
    }
    false
}

/// A granter of version 2 takes its page back: it clears the head and then looks at the status.
fn take_back_2(entry: &Entry) -> bool {
    entry.head.store(0, Ordering::Release);
    fence(Ordering::SeqCst);
    entry.status.load(Ordering::Acquire) & MARKS == 0
}

#[test]
fn a_page_is_taken_back_or_in_use_1() {
    loom::model(|| {
        let entry = granted();
        let granter = entry.clone();
        let back = thread::spawn(move || take_back_1(&granter));
        let mut active = Active::IDLE;
        let pinned = v1::pin(&*entry, &mut active, ASK);
        assert!(pinned.is_err() || pinned == Ok(What::Page { frame: 7 }));
        assert!(pinned.is_ok() != back.join().unwrap());
    });
}

#[test]
fn a_page_is_taken_back_or_in_use_2() {
    loom::model(|| {
        let entry = granted();
        let granter = entry.clone();
        let back = thread::spawn(move || take_back_2(&granter));
        let mut active = Active::IDLE;
        let pinned = v2::pin(&*entry, &mut active, ASK);
        let back = back.join().unwrap();
        // Both may have seen the other: then nobody has the page, and the granter looks again.
        assert!(!(pinned.is_ok() && back));
        if pinned.is_err() {
            assert!(take_back_2(&entry));
        }
    });
}

#[test]
fn a_page_in_use_comes_back_when_the_use_ends() {
    loom::model(|| {
        let entry = granted();
        let mut active = Active::IDLE;
        assert!(v1::pin(&*entry, &mut active, ASK).is_ok());
        let granter = entry.clone();
        let back = thread::spawn(move || take_back_1(&granter));
        v1::unpin(&*entry, &mut active, true);
        assert!(back.join().unwrap() || take_back_1(&entry));
    });
}

#[test]
fn a_reader_that_becomes_a_writer_while_the_granter_ends() {
    loom::model(|| {
        let entry = granted();
        let mut active = Active::IDLE;
        let reader = Ask { write: false, ..ASK };
        assert!(v2::pin(&*entry, &mut active, reader).is_ok());
        let granter = entry.clone();
        let back = thread::spawn(move || take_back_2(&granter));
        let second = v2::pin(&*entry, &mut active, ASK);
        assert!(!back.join().unwrap(), "the reader is there all the time");
        let marks = entry.status.load(Ordering::Acquire);
        let writing = if second.is_ok() { GTF_writing } else { 0 };
        assert_eq!(marks, GTF_reading | writing);
    });
}
