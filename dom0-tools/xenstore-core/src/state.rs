//! The daemon's state as records; see [`crate::record`].

use alloc::vec::Vec;

use xenstore_proto::ring;

use crate::connection::{Connection, Link, OwnWatch};
use crate::daemon::{Daemon, Domain};
use crate::platform::{Platform, RingPage};
use crate::record::{Tag, begin, put_bytes, put_number, put_permissions};
use crate::tree::{Node, Permissions};

/// A domain.
pub fn put_domain(out: &mut Vec<u8>, number: u16, domain: &Domain) {
    begin(out, Tag::Domain);
    put_number(out, number.into());
    put_number(out, domain.since);
    out.push(domain.shutdown.into());
    put_number(out, domain.target.map_or(u64::MAX, u64::from));
    out.push(domain.ring.is_some().into());
    if let Some(ring) = &domain.ring {
        put_number(out, ring.frame);
        put_number(out, ring.remote_port.into());
    }
}

/// A watch of the ring of a domain, or of a socket by its slot.
pub fn put_watch(out: &mut Vec<u8>, tag: Tag, client: u64, watch: &OwnWatch) {
    begin(out, tag);
    put_number(out, client);
    put_number(out, watch.skip as u64);
    put_number(out, watch.depth.map_or(u64::MAX, u64::from));
    put_bytes(out, &watch.path);
    put_bytes(out, &watch.token);
}

/// A watch of a domain's ring goes.
pub fn put_unwatch(out: &mut Vec<u8>, domain: u16, watch: &OwnWatch) {
    begin(out, Tag::Unwatch);
    put_number(out, domain.into());
    put_bytes(out, &watch.path);
    put_bytes(out, &watch.token);
}

/// The access list of a special name.
pub fn put_special(out: &mut Vec<u8>, name: &[u8], list: &Permissions) {
    begin(out, Tag::Special);
    put_bytes(out, name);
    put_permissions(out, list);
}

/// A limit.
pub fn put_quota(out: &mut Vec<u8>, name: &str, value: u64) {
    begin(out, Tag::Quota);
    put_bytes(out, name.as_bytes());
    put_number(out, value);
}

/// How far the two streams of a ring are, as the daemon will leave them at the end of this round.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RingState {
    /// The index up to which requests are taken.
    pub consumer: u32,
    /// Requests that were taken and not handled.
    pub input: Vec<u8>,
    /// The index at which `output` begins.
    pub producer: u32,
    /// Answers and events to be written from there on.
    pub output: Vec<u8>,
    /// The daemon's end of the event channel; only of use in a handover.
    pub port: u32,
    /// See [`Connection::next_transaction`].
    pub next_transaction: u32,
}

/// A ring's state.
pub fn put_ring(out: &mut Vec<u8>, domain: u16, state: &RingState) {
    begin(out, Tag::Ring);
    put_number(out, domain.into());
    for word in [state.consumer, state.producer, state.port, state.next_transaction] {
        put_number(out, word.into());
    }
    put_bytes(out, &state.input);
    put_bytes(out, &state.output);
}

/// What is to be known of a client's ring; none if it has none or does not serve it any more.
pub fn ring_state<P: Platform>(connection: &Connection<P>) -> Option<RingState> {
    let Link::Ring(link) = &connection.link else {
        return None;
    };
    let order = core::sync::atomic::Ordering::Acquire;
    Some(RingState {
        consumer: link
            .page
            .load_u32(ring::REQUEST_CONSUMER, order)
            .wrapping_add(link.taken),
        input: connection.input.clone(),
        producer: link.page.load_u32(ring::REPLY_PRODUCER, order),
        output: connection.output.pending().to_vec(),
        port: link.port,
        next_transaction: connection.next_transaction,
    })
}

/// All nodes but the root, parents first.
fn put_tree(out: &mut Vec<u8>, root: &Node) {
    let mut put = |path: &[u8], node: &Node| {
        if path.len() > 1 {
            begin(out, Tag::Make);
            put_bytes(out, path);
            put_permissions(out, &node.permissions);
            put_bytes(out, &node.value);
        }
        true
    };
    root.walk(&mut alloc::vec![b'/'], &mut put, &mut |_, _| {});
}

/// Everything that survives a sudden end.
pub fn put_all<P: Platform>(out: &mut Vec<u8>, daemon: &Daemon<P>) {
    begin(out, Tag::Generation);
    put_number(out, daemon.generation);
    for (name, value, _) in daemon.quotas.list() {
        put_quota(out, name, value);
    }
    daemon
        .special
        .iter()
        .for_each(|(name, list)| put_special(out, name, list));
    let root = daemon.live.tree.root();
    begin(out, Tag::Permissions);
    put_bytes(out, b"/");
    put_permissions(out, &root.permissions);
    begin(out, Tag::Value);
    put_bytes(out, b"/");
    put_bytes(out, &root.value);
    put_tree(out, root);
    daemon
        .domains
        .iter()
        .for_each(|(number, domain)| put_domain(out, *number, domain));
    for connection in daemon.connections.iter().flatten() {
        let domain = connection.identity.holder.domain;
        if let Some(state) = ring_state(connection) {
            put_ring(out, domain, &state);
            connection
                .watches
                .iter()
                .for_each(|watch| put_watch(out, Tag::Watch, domain.into(), watch));
        }
    }
}
