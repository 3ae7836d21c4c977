//! Events between two domains: this image runs twice, and one sends back what the other sends. On one CPU a round trip
//! has two switches between domains in it.
use crate::measure::{bench, of_loop};
use crate::store::Store;
use alloc::format;
use core::time::Duration;
use guest_rt::{Machine, check, ports};
use pv_hal::{Hal, Port};
use pv_xenbus::Nodes;
use xen_abi::domid_t;

const ROUNDS: u64 = 100;

/// Time for Dom0 to start the other domain.
const PATIENCE: Duration = Duration::from_secs(60);
const NAP: Duration = Duration::from_millis(50);

/// Looks until there is something.
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Machine.now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Machine.now() > end {
            return None;
        }
        Machine.wait(&[], Some(Machine.now() + NAP));
    }
}

/// The other domain, once Dom0 has told it.
fn peer(store: &Store) -> Option<domid_t> {
    let store = store.as_ref()?;
    wait_for(|| store.read_parsed("data/peer").ok()?)
}

/// Sends back every event; never ends.
pub fn echo(store: &Store) -> ! {
    let node = peer(store).map(|peer| (peer, format!("/local/domain/{peer}/data/port")));
    let channel = node.and_then(|(peer, node)| {
        let store = store.as_ref()?;
        let remote = wait_for(|| store.read_parsed::<u32>(&node).ok()?)?;
        ports::bind_interdomain(peer, remote).ok()
    });
    let Some(port) = channel else {
        panic!("no channel to the other domain");
    };
    loop {
        Machine.wait(&[Port(port)], None);
        if ports::take(port) {
            ports::send(port);
        }
    }
}

/// Measures a round trip, where there is another domain.
pub fn run(store: &Store) {
    // In Dom0's place there is none.
    let (Some(nodes), Some(peer)) = (store, peer(store)) else {
        return;
    };
    let Ok(port) = ports::allocate_unbound(peer) else {
        return check!("across/port", false, "no port");
    };
    // The other domain reads the node.
    let told = nodes
        .write("data/port", port)
        .and_then(|()| crate::store::let_read(nodes, "data/port", peer));
    check!("across/told", told.is_ok(), "{told:?}");
    // The first event comes when the other end is bound.
    let begun = Machine.wait(&[Port(port)], Some(Machine.now() + PATIENCE));
    check!("across/bound", begun, "the other domain does not answer");
    if !begun {
        return;
    }
    let mut answers = 0;
    let ticks = of_loop(ROUNDS, || {
        for _ in 0..ROUNDS {
            ports::take(port);
            ports::send(port);
            Machine.wait(&[Port(port)], None);
            answers += u64::from(ports::is_pending(port));
        }
    });
    bench("event_across_round_trip", ticks);
    check!("across/answers", answers >= ROUNDS, "{answers}");
}
