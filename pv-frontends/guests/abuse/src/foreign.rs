//! Attacks on other domains: their grants, ports, console and store, by guessing numbers.
use crate::{is, refused};
use alloc::format;
use guest_rt::{Machine, check, ports};
use pv_hal::{Access, CopyPiece, Direction, DomId, GrantRef, Hal};
use pv_xenbus::{Nodes, RingStore};
use xen_abi::Errno;

/// Numbers that are tried of each kind.
const GUESSES: u32 = 64;
/// Domains that may be there: Dom0, the bystander, and some that are not.
const VICTIMS: u16 = 8;

/// Other domains' grants are for those whom they name.
fn grants(own: u16) {
    let mut mapped = 0;
    let mut copied = 0;
    for victim in (0..VICTIMS).filter(|&victim| victim != own) {
        for grant in 0..GUESSES {
            mapped += u32::from(Machine.map(DomId(victim), &[GrantRef(grant)], Access::ReadOnly).is_ok());
        }
        let Ok(page) = Machine.allocate(1) else {
            return check!("foreign/memory", false, "no page");
        };
        for direction in [Direction::FromPeer, Direction::ToPeer] {
            let mut pieces: alloc::vec::Vec<CopyPiece> = (0..GUESSES)
                .map(|grant| CopyPiece::new(GrantRef(grant), 0, 0, 64))
                .collect();
            Machine.copy(direction, DomId(victim), &page, &mut pieces);
            copied += pieces.iter().filter(|piece| piece.result.is_ok()).count();
        }
    }
    check!("foreign/grants-mapped", mapped == 0, "{mapped}");
    check!("foreign/grants-copied", copied == 0, "{copied}");
}

/// Ports are for those for whom they were made.
fn channels(own: u16) {
    let mut bound = 0;
    for victim in (0..VICTIMS).filter(|&victim| victim != own) {
        for port in 0..GUESSES {
            bound += u32::from(ports::bind_interdomain(victim, port).is_ok());
        }
    }
    check!("foreign/ports-bound", bound == 0, "{bound}");
    // Ports beyond any that this guest has.
    let beyond = (1024..4096)
        .step_by(61)
        .map(ports::send)
        .filter(|&answer| !refused(answer));
    check!("foreign/ports-sent", beyond.count() == 0, "an event was sent");
    let none = ports::send(u32::MAX);
    check!("foreign/no-port", is(none, Errno::EINVAL) || refused(none), "{none}");
}

/// Other domains' nodes are theirs.
fn nodes(store: &RingStore<Machine>, own: u16) {
    for victim in (0..VICTIMS).filter(|&victim| victim != own) {
        let home = format!("/local/domain/{victim}");
        let written = store.write(&format!("{home}/data/ping"), "exit").is_ok();
        check!(
            format_args!("foreign/nodes/{victim}/write"),
            !written,
            "the node was written"
        );
        let removed = store.directory(&home).is_ok_and(|names| !names.is_empty()) && store.remove(&home).is_ok();
        check!(
            format_args!("foreign/nodes/{victim}/remove"),
            !removed,
            "the home was removed"
        );
    }
    let own_rights = store.write("/local/domain/0/backend/vbd/attack", "1").is_ok();
    check!("foreign/nodes/backend", !own_rights, "a backend was made");
}

/// More nodes, watches and transactions than a guest may have; the store must still answer.
fn flood(store: &RingStore<Machine>) {
    let written = (0..4000)
        .take_while(|number| store.write(&format!("data/flood/{number}"), number).is_ok())
        .count();
    check!("foreign/flood/nodes", written < 4000, "{written} nodes");
    let long = "x".repeat(4000);
    check!(
        "foreign/flood/value",
        store.write("data/long", long).is_err(),
        "a value of 4000 bytes"
    );
    // Given up, as if nothing had been.
    let cleared = store.remove("data/flood").is_ok();
    check!(
        "foreign/flood/answers",
        cleared && store.read("domid").is_ok(),
        "the store does not answer"
    );
}

/// Attacks whoever may be there.
pub fn run(store: &RingStore<Machine>) {
    let Ok(Some(own)) = store.read_parsed::<u16>("domid") else {
        return check!("foreign/own-id", false, "the store does not say which domain this is");
    };
    grants(own);
    channels(own);
    nodes(store, own);
    flood(store);
}
