//! All guests' consoles, the dead ones included whose ptys are still being read, and what each waits for.
//!
//! Whatever is done to a guest is done by [`Table::work`], which then notes anew what it waits for: so a round of the main
//! loop costs what there is to do, and not what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Instant;

use privcmd::{DomId, Port};

use crate::guest::Guest;
use crate::readiness::{Interest, Readiness};
use crate::report::report;
use crate::ring::SharedPage;
use crate::wire::Wire;

/// Names a guest's console, also by its [`Readiness`]; a domain's number may be given again while its pty is still read.
pub type Seat = u64;

/// A guest, and what the table has noted of it.
#[derive(Debug)]
struct Entry<P> {
    guest: Guest<P>,
    port: Option<Port>,
    deadline: Option<Instant>,
    interest: Interest,
}

/// The consoles.
#[derive(Debug)]
pub struct Table<P> {
    entries: BTreeMap<Seat, Entry<P>>,
    living: BTreeMap<DomId, Seat>,
    ports: BTreeMap<Port, Seat>,
    deadlines: BTreeSet<(Instant, Seat)>,
    next: Seat,
}

impl<P: SharedPage> Table<P> {
    /// No consoles. Seats are counted from `first`.
    pub fn new(first: Seat) -> Self {
        Self {
            entries: BTreeMap::new(),
            living: BTreeMap::new(),
            ports: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            next: first,
        }
    }

    /// The console of a living domain.
    pub fn of_domain(&self, domid: DomId) -> Option<Seat> {
        self.living.get(&domid).copied()
    }

    /// The console that events of a port are for.
    pub fn of_port(&self, port: Port) -> Option<Seat> {
        self.ports.get(&port).copied()
    }

    /// Those of all living domains.
    pub fn living(&self) -> Vec<Seat> {
        self.living.values().copied().collect()
    }

    /// When the first of those that wait for their time goes on.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Those whose time has come.
    pub fn due(&self, now: Instant) -> Vec<Seat> {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, seat)| *seat).collect()
    }

    /// Puts a guest, whose domain has no console here, into the table.
    pub fn add(&mut self, guest: Guest<P>) -> Seat {
        let seat = self.next;
        self.next += 1;
        self.living.insert(guest.domid(), seat);
        let entry = Entry {
            guest,
            port: None,
            deadline: None,
            interest: Interest::default(),
        };
        self.entries.insert(seat, entry);
        seat
    }

    /// A living domain's console becomes a dead one's.
    pub fn bury(&mut self, domid: DomId) -> Option<Seat> {
        self.living.remove(&domid)
    }

    /// Does something to a guest, lets it go on where it was held back, and notes what it waits for then. One that nothing
    /// is left to do for leaves the table.
    pub fn work(
        &mut self,
        seat: Seat,
        ready: &Readiness,
        wire: &impl Wire<Page = P>,
        now: Instant,
        what: impl FnOnce(&mut Guest<P>),
    ) {
        let Some(entry) = self.entries.get_mut(&seat) else {
            return;
        };
        what(&mut entry.guest);
        entry.guest.tick(wire, now);
        let is_over = entry.guest.is_over(now);
        let deadline = entry.guest.deadline(now).filter(|_| !is_over);
        let port = entry.guest.port();
        if let Some(at) = entry.deadline.filter(|at| Some(*at) != deadline) {
            self.deadlines.remove(&(at, seat));
        }
        self.deadlines.extend(deadline.map(|at| (at, seat)));
        if let Some(old) = entry.port.filter(|old| Some(*old) != port) {
            self.ports.remove(&old);
        }
        self.ports.extend(port.map(|port| (port, seat)));
        (entry.deadline, entry.port) = (deadline, port);
        if is_over {
            // Its pty, which is closed by this, is not waited for any more.
            self.entries.remove(&seat);
        } else if let Err(error) = entry.note_interest(seat, ready) {
            report(&format!(
                "domain {}: its pty cannot be watched: {error}",
                entry.guest.domid()
            ));
        }
    }
}

impl<P: SharedPage> Entry<P> {
    fn note_interest(&mut self, seat: Seat, ready: &Readiness) -> io::Result<()> {
        let before = std::mem::take(&mut self.interest);
        // A pty that was closed has gone from the list, too.
        let Some((pty, interest)) = self.guest.interest() else {
            return Ok(());
        };
        ready.set(pty, seat, before, interest)?;
        self.interest = interest;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write};
    use std::time::Duration;

    use super::*;
    use crate::backlog::Overflow;
    use crate::fake::{Doors, PLACE, Page, policy_with};

    const SHORT: Duration = Duration::from_millis(20);

    struct Bench {
        dir: tempfile::TempDir,
        page: Page,
        doors: Doors,
        ready: Readiness,
        table: Table<Page>,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let page = Page::new();
            Self {
                dir: tempfile::tempdir().expect("temporary directory"),
                doors: Doors::new(&page),
                page,
                ready: Readiness::new().expect("a list"),
                table: Table::new(10),
                now: Instant::now(),
            }
        }

        fn work(&mut self, seat: Seat, what: impl FnOnce(&mut Guest<Page>, &Doors, Instant)) {
            let (doors, now) = (&self.doors, self.now);
            self.table
                .work(seat, &self.ready, doors, now, |guest| what(guest, doors, now));
        }

        /// A connected guest, and a person at its pty.
        fn guest(&mut self, domid: DomId) -> (Seat, File) {
            let policy = policy_with(self.dir.path(), Overflow::Discard);
            let guest = Guest::new(domid, format!("g{domid}"), policy, self.now);
            let seat = self.table.add(guest);
            let mut name = String::new();
            self.work(seat, |guest, doors, now| {
                guest.connect(doors, PLACE, now).expect("connects");
                name = guest.tty().expect("a pty").to_owned();
            });
            let person = OpenOptions::new().read(true).write(true).open(name);
            (seat, person.expect("opens"))
        }

        fn ready(&self) -> Vec<(u64, Interest)> {
            self.ready.wait(Some(SHORT)).expect("waits")
        }
    }

    #[test]
    fn what_is_typed_is_told_until_the_guest_has_no_room() {
        let mut bench = Bench::new();
        let (seat, mut person) = bench.guest(3);
        assert_eq!(bench.ready(), []);
        let mut told = 0;
        for _ in 0..100 {
            person.write_all(&[b'k'; 16]).expect("types");
            if bench.ready().is_empty() {
                break;
            }
            told += 1;
            bench.work(seat, |guest, doors, _| guest.read_pty(doors));
        }
        assert_eq!(told, 1024 / 16, "the ring's room in such pieces");
        // The guest takes what it got, and says so.
        bench.page.take_input();
        bench.work(seat, |guest, doors, now| guest.serve(doors, now));
        assert_eq!(bench.ready(), [(seat, Interest::READ)]);
    }

    #[test]
    fn a_dead_guest_leaves_when_its_last_words_are_read() {
        let mut bench = Bench::new();
        let (seat, mut person) = bench.guest(3);
        assert_eq!(
            (bench.table.of_domain(3), bench.table.of_port(102)),
            (Some(seat), Some(seat))
        );
        bench.page.print(b"farewell");
        assert_eq!(bench.table.bury(3), Some(seat));
        bench.work(seat, |guest, doors, now| guest.bury(doors, now));
        assert_eq!((bench.table.of_domain(3), bench.table.of_port(102)), (None, None));
        // Its successor of the same number is another one.
        let (other, _person) = bench.guest(3);
        assert_ne!(other, seat);
        let next = bench.table.deadline().expect("it is looked at again");
        assert!(bench.table.due(bench.now).is_empty());
        let mut words = [0; 8];
        person.read_exact(&mut words).expect("reads");
        bench.now = next;
        assert_eq!(bench.table.due(next), [seat]);
        bench.work(seat, |_, _, _| {});
        assert_eq!((bench.table.deadline(), bench.table.entries.len()), (None, 1));
    }

    #[test]
    fn a_guest_that_prints_much_is_due_later() {
        let mut bench = Bench::new();
        let (seat, _person) = bench.guest(3);
        for _ in 0..2 {
            bench.page.print(b"line\n");
            bench.work(seat, |guest, doors, now| guest.serve(doors, now));
        }
        let next = bench.table.deadline().expect("it is held back");
        assert!(next > bench.now);
        bench.now = next;
        assert_eq!(bench.table.due(next), [seat]);
        bench.work(seat, |_, _, _| {});
        assert!(bench.table.due(next).is_empty());
    }

    #[test]
    fn what_it_cannot_write_waits_for_room() {
        let mut bench = Bench::new();
        let (seat, mut person) = bench.guest(3);
        let waits = |bench: &Bench| bench.table.entries[&seat].interest.write;
        for _ in 0..100 {
            bench.page.print(&[b'x'; 2048]);
            bench.now += Duration::from_secs(60);
            bench.work(seat, |guest, doors, now| guest.serve(doors, now));
            if waits(&bench) {
                break;
            }
        }
        assert!(waits(&bench), "a pty holds a few pages");
        assert_eq!(bench.ready(), [], "a full pty has no room");
        let mut read = vec![0; 1 << 16];
        while bench.ready().is_empty() {
            assert!(person.read(&mut read).expect("reads") > 0);
        }
        bench.work(seat, |guest, _, now| guest.write_pty(now));
        assert!(!waits(&bench), "all is written");
    }
}
