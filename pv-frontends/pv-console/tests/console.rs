//! Both ends of a console on the fake machine.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use log::{Level, LevelFilter, Record};
use proptest::prelude::*;
use pv_console::{Back, Error, Front, INPUT_SIZE, Logger, OUTPUT_SIZE};
use pv_hal::fake::{Domain, Machine};
use pv_hal::{Access, Hal, Memory};

struct Bed {
    machine: Machine,
    daemon: Domain,
    guest: Domain,
}

impl Bed {
    fn new() -> Self {
        let machine = Machine::new();
        let (daemon, guest) = (machine.add_domain(0), machine.add_domain(1));
        Self { machine, daemon, guest }
    }

    fn front(&self) -> Front<Domain> {
        Front::new(&self.guest).expect("a console")
    }

    fn back(&self) -> Back<Domain> {
        let (ring, port) = self.machine.console_backend(self.guest.id());
        Back::new(&self.daemon, self.guest.id(), ring, port).expect("a console")
    }

    /// The page, for a peer that writes what it likes.
    fn page(&self) -> impl Memory {
        let (ring, _) = self.machine.console_backend(self.guest.id());
        self.daemon
            .map(self.guest.id(), &[ring], Access::ReadWrite)
            .expect("the page")
    }

    /// A daemon that keeps what it reads.
    fn spawn_reader(&self) -> Rc<RefCell<Vec<u8>>> {
        let (seen, mut back) = (Rc::new(RefCell::new(Vec::new())), self.back());
        let kept = seen.clone();
        self.daemon.spawn(move || {
            back.take_event();
            let mut buffer = [0; 100];
            let count = back.try_read(&mut buffer).expect("sane");
            kept.borrow_mut().extend_from_slice(&buffer[..count]);
        });
        seen
    }
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

#[test]
fn more_than_the_ring_holds_is_printed_in_order_while_somebody_reads() {
    let bed = Bed::new();
    let seen = bed.spawn_reader();
    let mut front = bed.front();
    front.write(&text(10 * OUTPUT_SIZE + 7)).expect("sane");
    assert!(front.drain(None).expect("sane"));
    bed.machine.settle(10);
    assert_eq!(*seen.borrow(), text(10 * OUTPUT_SIZE + 7));
}

#[test]
fn a_guest_that_gives_up_waiting_says_so() {
    let bed = Bed::new();
    let (_back, mut front) = (bed.back(), bed.front());
    let deadline = bed.machine.now() + Duration::from_millis(5);
    assert!(!front.write_until(&text(OUTPUT_SIZE + 1), deadline).expect("sane"));
    assert!(bed.machine.now() >= deadline);
    assert_eq!(front.try_write(b"x"), Ok(0));
    assert!(!front.drain(Some(deadline + Duration::from_millis(5))).expect("sane"));
}

#[test]
fn typing_waits_for_room_and_reading_for_input() {
    let bed = Bed::new();
    let (mut back, mut front) = (bed.back(), bed.front());
    let typed = text(3 * INPUT_SIZE);
    let expected = typed.clone();
    let read = Rc::new(RefCell::new(Vec::new()));
    let kept = read.clone();
    bed.guest.spawn(move || {
        let mut buffer = [0; 64];
        let count = front.try_read(&mut buffer).expect("sane");
        kept.borrow_mut().extend_from_slice(&buffer[..count]);
    });
    assert!(back.write(&typed, None).expect("sane"));
    bed.machine.settle(100);
    assert_eq!(*read.borrow(), expected);
}

#[test]
fn reading_ends_at_the_deadline() {
    let bed = Bed::new();
    let (mut back, mut front) = (bed.back(), bed.front());
    let deadline = bed.machine.now() + Duration::from_millis(3);
    let mut buffer = [0; 8];
    assert_eq!(front.read(&mut buffer, Some(deadline)), Ok(0));
    assert_eq!(back.read(&mut buffer, Some(deadline + Duration::from_millis(3))), Ok(0));
    assert_eq!(front.read(&mut [], None), Ok(0));
}

#[test]
fn what_was_printed_before_the_daemon_came_is_there() {
    let bed = Bed::new();
    let mut front = bed.front();
    front.try_write(b"early").expect("sane");
    let mut buffer = [0; 16];
    assert_eq!(bed.back().read(&mut buffer, None), Ok(5));
    assert_eq!(&buffer[..5], b"early");
}

#[test]
fn indexes_that_make_no_sense_are_an_error_at_both_ends() {
    let bed = Bed::new();
    let (mut front, mut back, page) = (bed.front(), bed.back(), bed.page());
    page.store_u32(3084, OUTPUT_SIZE as u32 + 1, Ordering::SeqCst);
    page.store_u32(3076, INPUT_SIZE as u32 + 1, Ordering::SeqCst);
    let mut buffer = [7; 8];
    assert!(matches!(back.try_read(&mut buffer), Err(Error::Broken(_))));
    assert!(matches!(back.try_write(b"a"), Err(Error::Broken(_))));
    assert!(matches!(front.try_read(&mut buffer), Err(Error::Broken(_))));
    assert!(matches!(front.write(b"a"), Err(Error::Broken(_))));
    assert!(matches!(front.drain(None), Err(Error::Broken(_))));
    assert_eq!(buffer, [7; 8]);
    assert_eq!(page.load_u32(3084, Ordering::SeqCst), OUTPUT_SIZE as u32 + 1);
}

#[test]
fn a_back_without_grant_or_port_fails_and_leaves_nothing() {
    let bed = Bed::new();
    let (ring, port) = bed.machine.console_backend(bed.guest.id());
    assert!(Back::new(&bed.daemon, bed.guest.id(), pv_hal::GrantRef(77), port).is_err());
    assert!(Back::new(&bed.daemon, bed.guest.id(), ring, pv_hal::Port(777)).is_err());
    assert_eq!(bed.machine.grants_mapped(bed.daemon.id()), 0);
}

#[test]
fn records_are_lines_and_lost_ones_are_counted() {
    let bed = Bed::new();
    let mut back = bed.back();
    let logger = Logger::new(bed.front(), LevelFilter::Info);
    let print = |level, message: &str| {
        logger.print(
            &Record::builder()
                .level(level)
                .target("t")
                .args(format_args!("{message}"))
                .build(),
        );
    };
    print(Level::Debug, "not printed");
    print(Level::Error, &"x".repeat(OUTPUT_SIZE - 10));
    print(Level::Info, "lost");
    print(Level::Info, "lost too");
    let mut buffer = [0; OUTPUT_SIZE];
    let count = back.try_read(&mut buffer).expect("sane");
    assert!(buffer[..count].starts_with(b"error t: xxx"));
    print(Level::Warn, "after");
    let count = back.try_read(&mut buffer).expect("sane");
    let text = String::from_utf8_lossy(&buffer[..count]);
    // What is left of the first lost record may stand before the note.
    assert!(text.ends_with("warn log: 2 records lost\nwarn t: after\n"), "{text:?}");
}

proptest! {
    #[test]
    fn no_index_makes_either_end_panic_or_write_elsewhere(words: [u32; 4], bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        let bed = Bed::new();
        let (mut front, mut back, page) = (bed.front(), bed.back(), bed.page());
        for (index, word) in words.into_iter().enumerate() {
            page.store_u32(3072 + 4 * index, word, Ordering::SeqCst);
        }
        let sane = |producer: u32, consumer: u32, size: usize| producer.wrapping_sub(consumer) as usize <= size;
        let mut buffer = [0; 5000];
        prop_assert_eq!(back.try_read(&mut buffer).is_ok(), sane(words[3], words[2], OUTPUT_SIZE));
        prop_assert_eq!(front.try_read(&mut buffer).is_ok(), sane(words[1], words[0], INPUT_SIZE));
        prop_assert_eq!(front.try_write(&bytes).is_ok(), sane(words[3], words[2], OUTPUT_SIZE));
        prop_assert_eq!(back.try_write(&bytes).is_ok(), sane(words[1], words[0], INPUT_SIZE));
        let mut rest = vec![0; 4096 - 3088];
        page.read(3088, &mut rest);
        prop_assert!(rest.iter().all(|&byte| byte == 0));
    }
}
