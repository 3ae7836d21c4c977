use std::fs::{self, OpenOptions};
use std::io::{Read, Write};

use super::*;
use crate::fake::{Doors, OUT_CONS, OUT_PROD, PLACE, Page, policy_with};
use crate::ring::SharedPage;

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
        let guest = Guest::new(3, "g/1".to_owned(), policy_with(dir.path(), overflow), now);
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

fn interest(bench: &Bench) -> Interest {
    bench.guest.interest().expect("a pty").1
}

#[test]
fn what_is_typed_reaches_the_guest_as_far_as_there_is_room() {
    let mut bench = Bench::new(Overflow::Discard);
    bench.connect();
    bench.person().write_all(b"root\r").expect("writes");
    assert!(interest(&bench).read);
    bench.guest.read_pty(&bench.doors);
    let mut typed = [0; 5];
    bench.page.read(0, &mut typed);
    assert_eq!((&typed, bench.page.load(3076)), (b"root\r", 5));
    // A guest that does not read: its input is full, and the pty is left alone.
    bench.page.store(3076, 1024);
    assert_eq!(interest(&bench), Interest::default());
}

#[test]
fn a_daemon_that_dies_between_log_and_ring_loses_nothing() {
    let mut bench = Bench::new(Overflow::Discard);
    bench.connect();
    bench.page.print(b"one\n");
    bench.guest.serve(&bench.doors, bench.now);
    bench.page.print(b"two\n");
    // The next daemon starts on the same page.
    let mut next = Guest::new(
        3,
        "g/1".to_owned(),
        policy_with(bench.dir.path(), Overflow::Discard),
        bench.now,
    );
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
