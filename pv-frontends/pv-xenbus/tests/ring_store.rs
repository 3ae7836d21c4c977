//! The client over its ring: against the store's own code, and against a daemon that lies.
mod served;

use proptest::prelude::*;
use pv_hal::fake::{Domain, Machine};
use pv_hal::{Access as Grant, Hal, Memory, Port};
use pv_xenbus::{Access, Error, Kind, Nodes, Permission, RingStore, Store, StoreError};
use served::Rig;
use std::sync::atomic::Ordering;
use std::time::Duration;
use xenstore_proto::{append_message, ring};

#[test]
fn nodes_are_read_changed_and_listed() {
    let rig = Rig::new();
    let store = rig.store();
    store.write("data/a", 42).unwrap();
    assert_eq!(store.read("/local/domain/1/data/a").unwrap(), "42");
    assert_eq!(store.read_parsed("data/a"), Ok(Some(42u8)));
    assert_eq!(store.read_optional("data/b"), Ok(None));
    store.write("data/word", "x").unwrap();
    assert_eq!(
        store.read_parsed::<u8>("data/word"),
        Err(Error::BadNode("data/word".into()))
    );
    store.make_directory("data/c/d").unwrap();
    assert_eq!(store.directory("data").unwrap(), ["a", "word", "c"]);
    assert_eq!(store.directory("data/none").unwrap(), [""; 0]);
    for path in ["data/c", "data/c", "data/c/d/e"] {
        assert_eq!(store.remove(path), Ok(()));
    }
    assert_eq!(store.directory("data").unwrap(), ["a", "word"]);
    store
        .set_permissions("data/a", &[Permission::new(1, Access::Read)])
        .unwrap();
    assert_eq!(store.permissions("data/a").unwrap(), [Permission::new(1, Access::Read)]);
    assert_eq!(store.write("/tool/a", 1), Err(Error::Store(StoreError::EACCES)));
}

#[test]
fn messages_longer_than_the_ring_pass() {
    let rig = Rig::new();
    let store = rig.store();
    let value: Vec<u8> = (0..1900).map(|number| number as u8).collect();
    store.write_bytes("data/long", &value).unwrap();
    assert_eq!(store.read_bytes("data/long").unwrap(), value);
    let names: Vec<String> = (0..120)
        .map(|number| format!("a-name-of-some-length-{number}"))
        .collect();
    for chunk in names.chunks(20) {
        for name in chunk {
            // The quota on a node's size bounds its list of children.
            let _ = store.make_directory(&format!("data/wide/{name}"));
        }
    }
    let listed = store.directory("data/wide").unwrap();
    assert_eq!(listed, names[..listed.len()]);
    assert!(listed.len() > 50);
    assert_eq!(
        store.write_bytes("data/longer", &[0; 4096]),
        Err(Error::Store(StoreError::E2BIG))
    );
}

#[test]
fn transactions_commit_once_and_begin_again_after_a_conflict() {
    let rig = Rig::new();
    let store = rig.store();
    let other = store.clone();
    store.write("data/count", 1).unwrap();
    let mut runs = 0;
    let seen = store
        .transaction(|transaction| {
            runs += 1;
            let count: u32 = transaction.read_parsed("data/count")?.unwrap_or_default();
            if runs == 1 {
                other.write("data/count", 10)?;
            }
            transaction.write("data/count", count + 1)?;
            Ok(count)
        })
        .unwrap();
    assert_eq!((runs, seen), (2, 10));
    assert_eq!(store.read("data/count").unwrap(), "11");
    let refused: Result<(), Error> = store.transaction(|transaction| {
        transaction.write("data/count", 99)?;
        Err(Error::Absent)
    });
    assert_eq!(refused, Err(Error::Absent));
    assert_eq!(store.read("data/count").unwrap(), "11", "what failed leaves no trace");
}

#[test]
fn watches_tell_of_changes_and_end() {
    let rig = Rig::new();
    let store = rig.store();
    let other = store.clone();
    let watch = store.watch("data/w").unwrap();
    let rest = store.watch("data/v").unwrap();
    assert_eq!(store.take_event(watch).as_deref(), Some("data/w"));
    assert_eq!(store.take_event(watch), None);
    other.write("data/w/below", 1).unwrap();
    rig.machine.settle(10);
    assert_eq!(store.take_event(watch).as_deref(), Some("data/w/below"));
    assert_eq!(store.take_event(rest).as_deref(), Some("data/v"));
    assert_eq!(store.take_event(rest), None, "each watch hears of its own");
    // As many changes as anybody likes cost a bounded amount of memory.
    for number in 0..200 {
        store.write(&format!("data/w/{number}"), "").unwrap();
    }
    rig.machine.settle(10);
    let told = std::iter::from_fn(|| store.take_event(watch)).count();
    assert!((1..=32).contains(&told), "{told} events are kept");
    store.unwatch(watch);
    other.write("data/w", 3).unwrap();
    rig.machine.settle(10);
    assert_eq!(store.take_event(watch), None);
    assert_eq!(rig.daemon.borrow().watches.len(), 1);
}

#[test]
fn requests_can_be_polled_for_and_many_be_under_way() {
    let rig = Rig::new();
    let store = rig.store();
    let tickets: Vec<_> = (0..40)
        .map(|number| {
            let path = format!("data/n{number}");
            store.submit(0, Kind::WRITE, &[&path], b"some value").unwrap()
        })
        .collect();
    let mut left = tickets.clone();
    for _ in 0..1000 {
        left.retain(|&ticket| store.poll(ticket).unwrap().is_none());
        rig.machine.run_round();
    }
    assert!(left.is_empty(), "{} answers are missing", left.len());
    assert_eq!(store.poll(tickets[0]), Err(Error::Disconnected), "an answer comes once");
    assert_eq!(store.directory("data").unwrap().len(), 40);
}

#[test]
fn a_daemon_that_does_not_answer_is_given_up() {
    let machine = Machine::new();
    let guest = machine.add_domain(1);
    let store = RingStore::new(&guest).unwrap();
    store.set_patience(Duration::from_secs(3));
    assert_eq!(store.read("data"), Err(Error::TimedOut));
    assert!(guest.now() < Duration::from_secs(4));
}

#[test]
fn a_broken_ring_is_noticed_and_begins_anew() {
    let rig = Rig::new();
    let store = rig.store();
    let watch = store.watch("data/w").unwrap();
    while store.take_event(watch).is_some() {}
    let (page, _) = rig.guest.store_ring().unwrap();
    page.store_u32(ring::REPLY_PRODUCER, 77_777, Ordering::Release);
    assert_eq!(store.read("data"), Err(Error::Disconnected));
    assert_eq!(store.read("data"), Err(Error::Disconnected), "it stays broken");
    store.reconnect().unwrap();
    assert_eq!(store.read("data").unwrap(), "");
    while store.take_event(watch).is_some() {}
    store.write("data/w", 1).unwrap();
    rig.machine.settle(10);
    assert_eq!(
        store.take_event(watch).as_deref(),
        Some("data/w"),
        "watches are made again"
    );
}

#[test]
fn a_domain_that_was_resumed_has_its_watches_again() {
    let rig = Rig::new();
    let store = rig.store();
    let watch = store.watch("data/w").unwrap();
    while store.take_event(watch).is_some() {}
    // The daemon of the new place knows nothing of what went before.
    {
        let mut daemon = rig.daemon.borrow_mut();
        let slot = daemon.domains[&1].ring.as_ref().unwrap().slot;
        daemon.reset_connection(slot);
    }
    store.write("data/w", 1).unwrap();
    rig.machine.settle(10);
    assert_eq!(store.take_event(watch), None, "nobody watches there");
    let ticket = store.submit(0, Kind::READ, &["data/w"], b"").unwrap();
    store.resume().unwrap();
    assert_eq!(
        store.poll(ticket),
        Err(Error::Disconnected),
        "what was under way has failed"
    );
    assert_eq!(
        store.take_event(watch).as_deref(),
        Some("data/w"),
        "a watch made again fires"
    );
    store.write("data/w", 2).unwrap();
    rig.machine.settle(10);
    assert_eq!(store.take_event(watch).as_deref(), Some("data/w"));
    assert_eq!(store.read("data/w").unwrap(), "2");
}

/// A guest, and the daemon's end of its ring in the hands of the test.
fn liar() -> (Machine, Domain, pv_hal::fake::Mapping, Port) {
    let machine = Machine::new();
    let (server, guest) = (machine.add_domain(0), machine.add_domain(1));
    let (grant, port) = machine.store_backend(guest.id());
    let page = server.map(guest.id(), &[grant], Grant::ReadWrite).unwrap();
    let port = server.bind_interdomain(guest.id(), port).unwrap();
    (machine, guest, page, port)
}

fn reply(page: &impl Memory, bytes: &[u8]) {
    let _ = pv_ring::bytes::Layout::STORE_REPLIES.put(page, bytes);
}

#[test]
fn answers_that_nobody_waits_for_are_dropped() {
    let (_machine, guest, page, _) = liar();
    let store = RingStore::new(&guest).unwrap();
    let watch = pv_xenbus::WatchId(1);
    let mut bytes = Vec::new();
    append_message(&mut bytes, Kind::READ, 999, 0, b"stray");
    append_message(&mut bytes, Kind::WATCH_EVENT, 0, 0, b"path\0no-number\0");
    append_message(&mut bytes, Kind::WATCH_EVENT, 0, 0, b"no token");
    append_message(&mut bytes, Kind::WATCH_EVENT, 0, 0, b"path\x001\0");
    reply(&page, &bytes);
    assert_eq!(store.take_event(watch), None);
    let ticket = store.submit(0, Kind::READ, &["a"], b"").unwrap();
    let mut bytes = Vec::new();
    append_message(&mut bytes, Kind::READ, 1, 0, b"value");
    reply(&page, &bytes);
    assert_eq!(store.poll(ticket), Ok(Some(b"value".to_vec())));
    // A payload that is too long cannot be followed.
    let ticket = store.submit(0, Kind::READ, &["a"], b"").unwrap();
    reply(&page, &[255; 16]);
    assert_eq!(store.poll(ticket), Err(Error::Disconnected));
}

proptest! {
    #[test]
    fn whatever_the_daemon_writes_the_guest_goes_on(
        junk in proptest::collection::vec(any::<u8>(), 0..600),
        words in proptest::collection::vec((0usize..7, any::<u32>()), 0..6),
    ) {
        let (_machine, guest, page, _) = liar();
        let store = RingStore::new(&guest).unwrap();
        store.set_patience(Duration::from_millis(50));
        let watch = store.watch("a");
        reply(&page, &junk);
        let _ = store.read("a");
        for (word, value) in words {
            page.store_u32(ring::REQUEST_CONSUMER + 4 * word, value, Ordering::Release);
            let _ = store.read("a");
            let _ = store.take_event(pv_xenbus::WatchId(1));
        }
        prop_assert!(watch.is_err());
    }
}
