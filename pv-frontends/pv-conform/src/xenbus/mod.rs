//! The store as a domain sees it (`io/xs_wire.h`), and the states of devices (`io/xenbus.h`), whatever the device.

mod nodes;
mod ring;
mod states;
mod transactions;
mod watches;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use pv_hal::Hal;
use pv_xenbus::{Error, Store, StoreError};

use crate::{Bench, Case, Outcome, Stop};

const WIRE: &str = "io/xs_wire.h";
const STATES: &str = "io/xenbus.h";
/// Below this the cases make what they need; a domain may write there.
const ROOT: &str = "data/conform";

/// All cases for the store and for devices' states.
pub fn cases<H: Hal, S: Store>() -> Vec<Case<H, S>> {
    let store = nodes_rows::<H, S>().into_iter().chain(rest_rows());
    let store = store.chain(ring_rows()).map(|(name, expects, run)| Case {
        name,
        header: WIRE,
        expects,
        run,
    });
    let states = states_rows::<H, S>().into_iter().map(|(name, expects, run)| Case {
        name,
        header: STATES,
        expects,
        run,
    });
    store.chain(states).collect()
}

type Row<H, S> = (&'static str, &'static str, fn(&Bench<H, S>) -> Outcome);

fn nodes_rows<H: Hal, S: Store>() -> Vec<Row<H, S>> {
    use nodes as n;
    [
        (
            "xenbus/write-then-read",
            "a value is any bytes, and is read as it was written",
            n::values_come_back as _,
        ),
        (
            "xenbus/longer-than-the-ring",
            "a message may be longer than the ring",
            n::long_values_come_back as _,
        ),
        (
            "xenbus/parents-are-made",
            "writing a node makes those above it",
            n::parents_are_made as _,
        ),
        (
            "xenbus/directory",
            "a list of children has each of them once",
            n::children_are_listed as _,
        ),
        (
            "xenbus/remove",
            "a node goes with all below it",
            n::trees_are_removed as _,
        ),
        (
            "xenbus/missing",
            "a node that is not there is an error, not a value",
            n::missing_nodes as _,
        ),
        ("xenbus/bad-paths", "a path that is none is refused", n::bad_paths as _),
        (
            "xenbus/bad-requests",
            "a request without meaning is refused, and the next one served",
            n::bad_requests as _,
        ),
        (
            "xenbus/own-directory",
            "a relative path begins at the domain's own",
            n::own_directory as _,
        ),
        (
            "xenbus/access-lists",
            "an access list is read as it was set",
            n::access_lists as _,
        ),
        (
            "xenbus/not-its-own",
            "a domain changes nothing outside of its own directory",
            n::others_are_closed as _,
        ),
        (
            "xenbus/toolstack-requests",
            "what only a toolstack may ask is refused",
            n::toolstack_requests as _,
        ),
    ]
    .into()
}

fn rest_rows<H: Hal, S: Store>() -> Vec<Row<H, S>> {
    use {transactions as t, watches as w};
    [
        (
            "xenbus/transaction-commits",
            "changes of a transaction appear together, at its end",
            t::commits as _,
        ),
        (
            "xenbus/transaction-drops",
            "a transaction that is dropped leaves no trace",
            t::drops as _,
        ),
        (
            "xenbus/transaction-conflict",
            "another's change makes it fail with EAGAIN",
            t::conflicts as _,
        ),
        (
            "xenbus/transaction-unknown",
            "a number that is none is refused",
            t::unknown_numbers as _,
        ),
        (
            "xenbus/transaction-in-transaction",
            "there is none within another",
            t::nested as _,
        ),
        (
            "xenbus/watch-begins",
            "a new watch fires at once",
            w::fires_at_first as _,
        ),
        (
            "xenbus/watch-change",
            "a watch tells the path of each change at or below its own",
            w::tells_of_changes as _,
        ),
        (
            "xenbus/watch-removal",
            "a watch tells when a node above its own goes",
            w::tells_of_removals as _,
        ),
        (
            "xenbus/watch-transaction",
            "changes of a transaction are told at its end",
            w::tells_at_the_end as _,
        ),
        (
            "xenbus/watch-ends",
            "a watch that was taken back tells nothing",
            w::ends as _,
        ),
        (
            "xenbus/watch-many",
            "many changes are told, whoever reads late",
            w::many_changes as _,
        ),
    ]
    .into()
}

fn ring_rows<H: Hal, S: Store>() -> Vec<Row<H, S>> {
    use ring as r;
    [
        (
            "xenbus/ring-in-pieces",
            "a message may come byte by byte",
            r::comes_in_pieces as _,
        ),
        (
            "xenbus/ring-of-requests",
            "many requests at once are answered in order, by their numbers",
            r::many_at_once as _,
        ),
        (
            "xenbus/ring-index",
            "an index that lies ends the connection, which can begin anew",
            r::index_lies as _,
        ),
        (
            "xenbus/ring-oversized",
            "so does a message longer than any",
            r::oversized_message as _,
        ),
    ]
    .into()
}

fn states_rows<H: Hal, S: Store>() -> Vec<Row<H, S>> {
    use states as s;
    [
        (
            "xenbus/backend-is-named",
            "a device's two directories name each other",
            s::directories_fit as _,
        ),
        (
            "xenbus/backend-waits",
            "a backend offers its features and waits",
            s::backend_waits as _,
        ),
        (
            "xenbus/closes-and-returns",
            "a device closes with its frontend, and opens again",
            s::closes_and_returns as _,
        ),
        (
            "xenbus/closed-at-once",
            "a frontend may close without a word before",
            s::closes_at_once as _,
        ),
        (
            "xenbus/undefined-state",
            "a state that is none does no lasting harm",
            s::undefined_state as _,
        ),
        (
            "xenbus/restless-frontend",
            "however often a frontend changes its mind, the last word counts",
            s::changes_its_mind as _,
        ),
        (
            "xenbus/backend-is-closed-to-us",
            "a frontend may not write into its backend's directory",
            s::backend_is_closed_to_us as _,
        ),
    ]
    .into()
}

/// A node of the cases'.
fn below(name: &str) -> String {
    format!("{ROOT}/{name}")
}

/// Begins with nothing there.
fn clear<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    bench.store.remove(ROOT)?;
    Ok(bench.store.make_directory(ROOT)?)
}

impl<H: Hal, S: Store> Bench<H, S> {
    /// Goes on only where the store refuses something for one of these reasons.
    fn expect_refusal<T>(&self, what: &str, result: Result<T, Error>, reasons: &[StoreError]) -> Result<(), Stop> {
        match result {
            Err(Error::Store(reason)) => self.expect(
                reasons.contains(&reason),
                format_args!("{what} is refused with {reason:?}"),
            ),
            Err(error) => Err(Stop::Failed(format!("{what}: {error}"))),
            Ok(_) => self.expect(false, format_args!("{what} is accepted")),
        }
    }
}
