//! The two-level layout against a guest that behaves like Linux, and a plain model.

use super::Raised;
use super::two_level::{self, Bits};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::vec::Vec;

struct Guest {
    pending: Bits,
    mask: Bits,
    selector: AtomicU64,
    upcall: AtomicBool,
}

impl Guest {
    fn new() -> Self {
        Guest {
            pending: core::array::from_fn(|_| AtomicU64::new(0)),
            mask: core::array::from_fn(|_| AtomicU64::new(0)),
            selector: AtomicU64::new(0),
            upcall: AtomicBool::new(false),
        }
    }

    fn send(&self, port: u32) -> Raised {
        let raised = two_level::set_pending(&self.pending, &self.mask, &self.selector, port);
        if raised == Raised::Upcall {
            self.upcall.store(true, SeqCst);
        }
        raised
    }

    fn set_mask(&self, port: u32) {
        self.mask[port as usize / 64].fetch_or(1 << (port % 64), SeqCst);
    }

    fn unmask(&self, port: u32) {
        if two_level::unmask(&self.pending, &self.mask, &self.selector, port) {
            self.upcall.store(true, SeqCst);
        }
    }

    /// The guest's upcall handler: takes the selector, then each pending and unmasked port.
    fn handle(&self, mut seen: impl FnMut(u32)) {
        while self.upcall.swap(false, SeqCst) {
            let mut words = self.selector.swap(0, SeqCst);
            while words != 0 {
                let word = words.trailing_zeros();
                words &= words - 1;
                let due = self.pending[word as usize].load(SeqCst) & !self.mask[word as usize].load(SeqCst);
                for bit in (0..64).filter(|b| due & 1 << b != 0) {
                    let port = word * 64 + bit;
                    two_level::clear_pending(&self.pending, port);
                    seen(port);
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Send(u32),
    Mask(u32),
    Unmask(u32),
    Handle,
}

fn op() -> impl Strategy<Value = Op> {
    let port = prop_oneof![0u32..6, 62u32..66, 4090u32..4096];
    prop_oneof![
        4 => port.clone().prop_map(Op::Send),
        1 => port.clone().prop_map(Op::Mask),
        2 => port.prop_map(Op::Unmask),
        2 => Just(Op::Handle),
    ]
}

proptest! {
    /// Whatever was sent and is not masked is handled once the guest handles; what is masked stays pending.
    #[test]
    fn agrees_with_sets(ops in prop::collection::vec(op(), 0..200)) {
        let guest = Guest::new();
        let (mut pending, mut masked) = (BTreeSet::new(), BTreeSet::new());
        for op in ops {
            match op {
                Op::Send(p) => {
                    let new = pending.insert(p);
                    prop_assert_eq!(guest.send(p) == Raised::Already, !new);
                }
                Op::Mask(p) => { guest.set_mask(p); masked.insert(p); }
                Op::Unmask(p) => { guest.unmask(p); masked.remove(&p); }
                Op::Handle => {
                    let mut seen = Vec::new();
                    guest.handle(|p| seen.push(p));
                    let due: Vec<u32> = pending.difference(&masked).copied().collect();
                    seen.sort_unstable();
                    prop_assert_eq!(&seen, &due);
                    pending.retain(|p| masked.contains(p));
                }
            }
        }
    }
}

#[test]
fn ports_beyond_the_layout_do_not_panic() {
    let guest = Guest::new();
    guest.send(u32::MAX);
    guest.unmask(u32::MAX);
}

/// Two senders against a guest that handles: the last send of each port is never lost.
#[test]
fn no_lost_wakeup_between_threads() {
    let guest = Arc::new(Guest::new());
    let sent: Arc<[AtomicU64; 4]> = Arc::new(core::array::from_fn(|_| AtomicU64::new(0)));
    let senders: Vec<_> = (0..2u32)
        .map(|id| {
            let (guest, sent) = (guest.clone(), sent.clone());
            std::thread::spawn(move || {
                for n in 0..20_000u32 {
                    let port = id * 2 + n % 2;
                    sent[port as usize].fetch_add(1, SeqCst);
                    guest.send(port * 64);
                }
            })
        })
        .collect();
    // A receiver reads the counter after clearing pending, so at the end it has seen the last value.
    let mut seen = [0; 4];
    let mut done = false;
    while !done {
        done = senders.iter().all(|s| s.is_finished());
        guest.handle(|port| seen[port as usize / 64] = sent[port as usize / 64].load(SeqCst));
    }
    assert_eq!(seen, [10_000; 4]);
}
