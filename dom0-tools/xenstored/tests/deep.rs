//! Paths of as many names as fit: nothing goes down a tree by calling itself, for a driver domain that serves the store
//! has a stack of 64 KiB, and whoever names a path chooses how deep it is. And transactions together keep no more than
//! one may.
mod rig;

use rig::Rig;
use xenstore_proto::{Error, Kind};

/// As much as the daemon needs for anything else, without optimisation.
const STACK: usize = 128 << 10;

fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work);
    thread.expect("a thread").join().expect("the work ends");
}

/// A path of so many names of one letter below `top`.
fn deep(top: &str, names: usize) -> String {
    format!("{top}{}", "/a".repeat(names))
}

#[test]
fn deep_nodes_are_made_listed_and_removed() {
    on_a_small_stack(|| {
        let mut rig = Rig::new();
        let (zero, guest) = (rig.privileged(), rig.guest(3));
        rig.write(zero, 0, "/local/domain/3", "").unwrap();
        rig.permit(zero, "/local/domain/3", &["n3"]).unwrap();
        for path in [deep("/local/domain/3", 900), deep("/local/domain/3", 990)] {
            rig.write(guest, 0, &path, "").unwrap();
        }
        rig.watch(zero, "/local/domain/3/a/a", "t").unwrap();
        rig.check(zero);
        let transaction = rig.start(guest).unwrap();
        rig.remove(guest, transaction, "a").unwrap();
        rig.end(guest, transaction, false).unwrap();
        rig.remove(guest, 0, "a").unwrap();
        assert_eq!(rig.read(guest, 0, "a"), Err(Error::ENOENT));
        rig.write(guest, 0, &deep("/local/domain/3", 990), "").unwrap();
        rig.daemon.forget_domain(3);
        rig.check(zero);
    });
}

#[test]
fn deep_watches_come_and_go() {
    on_a_small_stack(|| {
        let mut rig = Rig::new();
        let guest = rig.guest(3);
        let paths = [deep("", 1000), deep("", 500), deep("/b", 900)];
        for path in &paths {
            rig.watch(guest, path, "t").unwrap();
        }
        assert_eq!(rig.daemon.watches.len(), 3);
        for path in &paths[..2] {
            let payload = format!("{path}\0t\0");
            rig.call(guest, Kind::UNWATCH, 0, payload.as_bytes()).unwrap();
            let again = rig.call(guest, Kind::UNWATCH, 0, payload.as_bytes());
            assert_eq!(again, Err(Error::ENOENT));
        }
        rig.daemon.drop_connection(guest);
        assert!(rig.daemon.watches.is_empty());
        assert!(!rig.daemon.watches.any_below(b"/a") && !rig.daemon.watches.any_below(b"/b"));
    });
}

#[test]
fn many_transactions_keep_no_more_than_one() {
    let mut rig = Rig::new();
    rig.daemon.quotas.memory = 20_000;
    let (zero, guest) = (rig.privileged(), rig.guest(3));
    rig.write(zero, 0, "/local/domain/3", "").unwrap();
    rig.permit(zero, "/local/domain/3", &["n3"]).unwrap();
    let value = "x".repeat(1900);
    let (first, second) = (rig.start(guest).unwrap(), rig.start(guest).unwrap());
    for path in ["a", "b", "c", "d"] {
        rig.write(guest, first, path, &value).unwrap();
    }
    assert_eq!(
        rig.write(guest, second, "e", &value),
        Ok(()),
        "there is room for one more"
    );
    assert_eq!(rig.write(guest, second, "f", &value), Err(Error::ENOSPC));
    rig.end(guest, first, false).unwrap();
    let third = rig.start(guest).unwrap();
    rig.write(guest, third, "f", &value).unwrap();
    rig.end(guest, third, true).unwrap();
    assert_eq!(rig.read(guest, 0, "f").unwrap(), value);
}
