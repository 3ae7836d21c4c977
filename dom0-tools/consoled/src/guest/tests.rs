use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::rc::Rc;

use crate::ring::SharedPage;

use super::*;

const OUT_AT: usize = 1024;
const OUT_CONS: usize = 3080;
const OUT_PROD: usize = 3084;

/// A page that outlives its mappings, as a guest's does when the daemon dies.
#[derive(Clone)]
struct Page(Rc<RefCell<Vec<u8>>>);

impl SharedPage for Page {
    fn load(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.0.borrow()[offset..offset + 4].try_into().expect("four bytes"))
    }
    fn store(&self, offset: usize, value: u32) {
        self.0.borrow_mut()[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }
    fn read(&self, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self.0.borrow()[offset..offset + into.len()]);
    }
    fn write(&self, offset: usize, from: &[u8]) {
        self.0.borrow_mut()[offset..offset + from.len()].copy_from_slice(from);
    }
}

impl Page {
    fn new() -> Self {
        Self(Rc::new(RefCell::new(vec![0; 4096])))
    }

    /// Prints as a guest does, as far as there is room.
    fn print(&self, text: &[u8]) -> usize {
        let (consumed, mut produced) = (self.load(OUT_CONS), self.load(OUT_PROD));
        let count = text.len().min(2048 - produced.wrapping_sub(consumed) as usize);
        for byte in &text[..count] {
            self.write(OUT_AT + produced as usize % 2048, &[*byte]);
            produced = produced.wrapping_add(1);
        }
        self.store(OUT_PROD, produced);
        count
    }
}

/// Counts what is done to the guest.
struct Doors {
    page: Page,
    mapped: RefCell<Vec<u64>>,
    bound: RefCell<Vec<Port>>,
    notified: RefCell<usize>,
    unmasked: RefCell<usize>,
}

impl Doors {
    fn new(page: &Page) -> Self {
        let (mapped, bound) = (RefCell::default(), RefCell::default());
        Self {
            page: page.clone(),
            mapped,
            bound,
            notified: RefCell::new(0),
            unmasked: RefCell::new(0),
        }
    }
}

impl Wire for Doors {
    type Page = Page;

    fn map(&self, _domid: DomId, frame: u64) -> io::Result<Page> {
        self.mapped.borrow_mut().push(frame);
        Ok(self.page.clone())
    }
    fn bind(&self, _domid: DomId, remote: Port) -> io::Result<Port> {
        self.bound.borrow_mut().push(remote + 100);
        Ok(remote + 100)
    }
    fn unbind(&self, port: Port) {
        self.bound.borrow_mut().retain(|bound| *bound != port);
    }
    fn notify(&self, _port: Port) {
        *self.notified.borrow_mut() += 1;
    }
    fn unmask(&self, _port: Port) {
        *self.unmasked.borrow_mut() += 1;
    }
}

const PLACE: Place = Place {
    frame: 7,
    port: 2,
    limit: 1 << 20,
};

struct Bench {
    dir: tempfile::TempDir,
    page: Page,
    doors: Doors,
    guest: Guest<Page>,
    now: Instant,
}

impl Bench {
    fn new(overflow: Overflow) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let page = Page::new();
        let doors = Doors::new(&page);
        let now = Instant::now();
        let guest = Guest::new(3, "g/1".to_owned(), policy(&dir, overflow), now);
        Self {
            dir,
            page,
            doors,
            guest,
            now,
        }
    }

    fn connect(&mut self) {
        self.guest.connect(&self.doors, PLACE, self.now).expect("connects");
    }

    fn log(&self) -> Vec<u8> {
        fs::read(self.dir.path().join("guest-g_1.log")).unwrap_or_default()
    }

    fn person(&self) -> fs::File {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.guest.tty().expect("a pty"))
            .expect("opens")
    }
}

fn policy(dir: &tempfile::TempDir, overflow: Overflow) -> Policy {
    Policy {
        log_dir: Some(dir.path().to_owned()),
        style: Style {
            stamps: false,
            replace_escape: false,
            max_size: 0,
        },
        overflow,
        rate: 10_000,
        burst: 10_000,
    }
}

#[test]
fn what_a_guest_prints_is_logged_and_shown_and_room_given_back() {
    let mut bench = Bench::new(Overflow::Discard);
    bench.page.print(b"before ");
    bench.connect();
    bench.page.print(b"after\n");
    bench.now += Duration::from_secs(1);
    bench.guest.serve(&bench.doors, bench.now);
    assert_eq!(bench.log(), b"before after\n");
    assert_eq!(bench.page.load(OUT_CONS), 13);
    let mut seen = [0; 13];
    bench.person().read_exact(&mut seen).expect("reads");
    assert_eq!(&seen, b"before after\n");
    assert!(*bench.doors.notified.borrow() >= 2 && *bench.doors.unmasked.borrow() == 2);
}

#[test]
fn what_is_typed_reaches_the_guest_as_far_as_there_is_room() {
    let mut bench = Bench::new(Overflow::Discard);
    bench.connect();
    bench.person().write_all(b"root\r").expect("writes");
    assert!(matches!(bench.guest.interest(), Some((_, true, _))));
    bench.guest.read_pty(&bench.doors);
    let mut typed = [0; 5];
    bench.page.read(0, &mut typed);
    assert_eq!((&typed, bench.page.load(3076)), (b"root\r", 5));
    // A guest that does not read: its input is full, and the pty is left alone.
    bench.page.store(3076, 1024);
    assert!(bench.guest.interest().is_none());
}

#[test]
fn a_daemon_that_dies_between_log_and_ring_loses_nothing() {
    let mut bench = Bench::new(Overflow::Discard);
    bench.connect();
    bench.page.print(b"one\n");
    bench.guest.serve(&bench.doors, bench.now);
    bench.page.print(b"two\n");
    // The next daemon starts on the same page.
    let mut next = Guest::new(3, "g/1".to_owned(), policy(&bench.dir, Overflow::Discard), bench.now);
    next.connect(&bench.doors, PLACE, bench.now).expect("connects");
    assert_eq!(bench.log(), b"one\ntwo\n");
}

#[test]
fn last_words_are_kept_and_the_guest_s_memory_is_let_go() {
    let mut bench = Bench::new(Overflow::Discard);
    bench.connect();
    let mut person = bench.person();
    // Beyond its allowance, so that an ordinary turn would make it wait.
    for _ in 0..8 {
        bench.page.print(&[b'.'; 2048]);
        bench.guest.serve(&bench.doors, bench.now);
    }
    let had = bench.log().len();
    let count = bench.page.print(b"Kernel panic\n");
    let waiting = (bench.page.load(OUT_PROD) - bench.page.load(OUT_CONS)) as usize;
    bench.guest.bury(&bench.doors, bench.now);
    assert!(count == 0 || bench.log().ends_with(&b"Kernel panic\n"[..count]));
    assert_eq!(bench.log().len(), had + waiting);
    assert!(bench.doors.bound.borrow().is_empty(), "the port is given up");
    assert!(bench.guest.link.is_none(), "the page is unmapped");
    // The pty stays for the person, who has not read everything yet.
    assert!(!bench.guest.is_over(bench.now));
    let mut total = 0;
    let mut buffer = [0; 4096];
    while !bench.guest.is_over(bench.now) {
        total += person.read(&mut buffer).expect("reads");
        bench.guest.write_pty(bench.now);
    }
    assert_eq!(total, bench.log().len());
}

#[test]
fn a_pty_that_nobody_reads_is_closed_in_the_end() {
    let mut bench = Bench::new(Overflow::Discard);
    bench.page.print(b"unread");
    bench.connect();
    bench.guest.bury(&bench.doors, bench.now);
    assert!(!bench.guest.is_over(bench.now));
    assert!(bench.guest.deadline(bench.now).is_some());
    assert!(bench.guest.is_over(bench.now + LINGER));
}

#[test]
fn a_noisy_guest_is_held_and_goes_on_later() {
    let mut bench = Bench::new(Overflow::Discard);
    bench.connect();
    let mut turns = 0;
    while bench.page.print(&[b'x'; 2048]) == 2048 {
        bench.guest.serve(&bench.doors, bench.now);
        turns += 1;
        assert!(turns < 20, "10000 bytes are at most six turns");
    }
    let unmasked = *bench.doors.unmasked.borrow();
    bench.guest.tick(&bench.doors, bench.now);
    assert_eq!(*bench.doors.unmasked.borrow(), unmasked, "its port stays masked");
    let until = bench.guest.deadline(bench.now).expect("held");
    bench.guest.tick(&bench.doors, until);
    assert_eq!(bench.page.print(&[b'x'; 2048]), 2048, "it was served");
    assert!(bench.guest.deadline(until).is_none_or(|next| next > until));
    // When it is quiet, its port reports again.
    bench.now = until + Duration::from_secs(10);
    bench.guest.tick(&bench.doors, bench.now);
    bench.now += Duration::from_secs(10);
    bench.guest.tick(&bench.doors, bench.now);
    assert!(*bench.doors.unmasked.borrow() > unmasked && bench.guest.deadline(bench.now).is_none());
}

#[test]
fn a_printing_guest_is_looked_at_by_the_clock_and_a_single_word_at_once() {
    let mut bench = Bench::new(Overflow::Discard);
    bench.connect();
    let unmasked = |bench: &Bench| *bench.doors.unmasked.borrow();
    let before = unmasked(&bench);
    bench.page.print(b"login: ");
    bench.guest.serve(&bench.doors, bench.now);
    assert_eq!((unmasked(&bench), bench.guest.deadline(bench.now)), (before + 1, None));
    bench.page.print(b"more, ");
    bench.guest.serve(&bench.doors, bench.now);
    assert_eq!(unmasked(&bench), before + 1, "masked while it prints");
    bench.page.print(b"and more");
    bench.now = bench.guest.deadline(bench.now).expect("a look");
    bench.guest.tick(&bench.doors, bench.now);
    assert_eq!(bench.log(), b"login: more, and more");
    bench.now = bench.guest.deadline(bench.now).expect("another look");
    bench.guest.tick(&bench.doors, bench.now);
    assert_eq!(
        (unmasked(&bench), bench.guest.deadline(bench.now)),
        (before + 2, None),
        "quiet: by events again"
    );
}

#[test]
fn a_guest_whose_output_must_be_kept_waits_for_a_reader() {
    let mut bench = Bench::new(Overflow::Keep);
    let place = Place { limit: 2048, ..PLACE };
    bench.guest.connect(&bench.doors, place, bench.now).expect("connects");
    let mut printed = 0;
    // The pty itself holds some pages.
    for _ in 0..4 {
        bench.now += Duration::from_secs(1);
        for _ in 0..4 {
            printed += bench.page.print(&[b'k'; 2048]);
            bench.guest.serve(&bench.doors, bench.now);
        }
    }
    assert_eq!(bench.page.print(b"more"), 0, "the ring is full: the guest waits");
    let (mut person, mut buffer, mut read) = (bench.person(), [0; 4096], 0);
    while read < printed {
        read += person.read(&mut buffer).expect("reads");
        bench.now += Duration::from_secs(1);
        bench.guest.write_pty(bench.now);
        bench.guest.tick(&bench.doors, bench.now);
    }
    assert_eq!(read, printed);
    assert_eq!(bench.log().len(), printed);
}

#[test]
fn a_broken_ring_stops_nothing_and_is_taken_up_when_it_mends() {
    let mut bench = Bench::new(Overflow::Discard);
    bench.connect();
    bench.page.store(OUT_PROD, 0x8000_0000);
    bench.guest.serve(&bench.doors, bench.now);
    assert_eq!(bench.page.load(OUT_CONS), 0, "nothing believed, nothing touched");
    bench.page.store(OUT_PROD, 0);
    bench.page.print(b"sorry\n");
    bench.guest.serve(&bench.doors, bench.now);
    assert_eq!(bench.log(), b"sorry\n");
}

#[test]
fn news_of_the_same_place_changes_nothing_and_of_another_moves_there() {
    let mut bench = Bench::new(Overflow::Discard);
    bench.connect();
    let tty = bench.guest.tty().map(str::to_owned);
    bench.connect();
    assert_eq!(*bench.doors.mapped.borrow(), [7]);
    let moved = Place {
        frame: 8,
        port: 5,
        limit: 1 << 20,
    };
    bench.guest.connect(&bench.doors, moved, bench.now).expect("connects");
    assert_eq!(*bench.doors.mapped.borrow(), [7, 8]);
    assert_eq!(*bench.doors.bound.borrow(), [105]);
    assert_eq!(
        bench.guest.tty().map(str::to_owned),
        tty,
        "a person at the pty stays connected"
    );
}

#[test]
fn a_log_that_cannot_be_written_does_not_stop_the_guest() {
    let mut bench = Bench::new(Overflow::Discard);
    bench.guest.policy.log_dir = Some("/proc/nowhere".into());
    bench.connect();
    bench.page.print(b"shown\n");
    bench.guest.serve(&bench.doors, bench.now);
    let mut seen = [0; 6];
    bench.person().read_exact(&mut seen).expect("reads");
    assert_eq!(&seen, b"shown\n");
}
