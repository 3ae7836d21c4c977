//! The FIFO layout against a guest that behaves like Linux, one that does not, and a plain model.

use super::fifo::{self, BUSY, ControlBlock, EventArray, LINK, LINKED, MASKED, PENDING, PRIORITIES, Queues};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

const PORTS: usize = 32;

struct Array([AtomicU32; PORTS]);

impl EventArray for Array {
    type Word = AtomicU32;

    fn word(&self, port: u32) -> Option<&AtomicU32> {
        self.0.get(port as usize)
    }
}

struct Vcpu {
    queues: Mutex<Queues>,
    control: ControlBlock,
    upcall: AtomicBool,
    /// The guest's own copy of the queue heads.
    heads: Mutex<[u32; PRIORITIES]>,
}

struct Machine {
    array: Array,
    vcpus: [Vcpu; 2],
    /// By port: the vcpu and priority it notifies, and the queue it was last appended to.
    target: [AtomicU32; PORTS],
    last: [AtomicU32; PORTS],
}

fn place(vcpu: u32, priority: u8) -> u32 {
    vcpu << 8 | priority as u32
}

impl Machine {
    fn new() -> Self {
        let vcpu = || Vcpu {
            queues: Mutex::new(Queues::new()),
            control: ControlBlock::default(),
            upcall: AtomicBool::new(false),
            heads: Mutex::new([0; PRIORITIES]),
        };
        Machine {
            array: Array(core::array::from_fn(|_| AtomicU32::new(0))),
            vcpus: [vcpu(), vcpu()],
            target: core::array::from_fn(|_| AtomicU32::new(place(0, 7))),
            last: core::array::from_fn(|_| AtomicU32::new(place(0, 7))),
        }
    }

    /// As hv does it.
    fn send(&self, port: u32) {
        let word = self.array.word(port).unwrap();
        let (_, append) = fifo::mark(word);
        if !append {
            return;
        }
        let target = self.target[port as usize].load(SeqCst);
        let to = &self.vcpus[(target >> 8) as usize];
        let mut locked: [Option<_>; 2] = [None, None];
        let last = loop {
            let last = self.last[port as usize].load(SeqCst);
            let mut both = [last >> 8, target >> 8];
            both.sort_unstable();
            for v in both {
                if locked[v as usize].is_none() {
                    locked[v as usize] = Some(self.vcpus[v as usize].queues.lock().unwrap());
                }
            }
            if self.last[port as usize].load(SeqCst) == last {
                break last;
            }
            locked = [None, None];
        };
        if !fifo::claim(word) {
            return;
        }
        locked[(last >> 8) as usize].as_mut().unwrap().forget(last as u8, port);
        self.last[port as usize].store(target, SeqCst);
        let queues = locked[(target >> 8) as usize].as_mut().unwrap();
        if queues.append(&self.array, &to.control, target as u8, port) {
            to.upcall.store(true, SeqCst);
        }
    }

    fn unmask(&self, port: u32) {
        if fifo::unmask(self.array.word(port).unwrap()) {
            self.send(port);
        }
    }

    /// The guest's handler: the highest ready priority first, one event at a time.
    fn handle(&self, vcpu: usize, mut seen: impl FnMut(u32, usize)) {
        let v = &self.vcpus[vcpu];
        let mut heads = v.heads.lock().unwrap();
        while v.upcall.swap(false, SeqCst) {
            let mut ready = v.control.ready.swap(0, SeqCst);
            while ready != 0 {
                let queue = ready.trailing_zeros() as usize;
                let port = match heads[queue] {
                    0 => v.control.head[queue].load(SeqCst),
                    port => port,
                };
                let word = self.array.word(port).unwrap();
                let old = word
                    .fetch_update(SeqCst, SeqCst, |w| Some(w & !(LINKED | LINK)))
                    .unwrap();
                heads[queue] = old & LINK;
                if old & LINK == 0 {
                    ready &= !(1 << queue);
                }
                let now = word.load(SeqCst);
                if now & PENDING != 0 && now & MASKED == 0 {
                    word.fetch_and(!PENDING, SeqCst);
                    seen(port, queue);
                }
                ready |= v.control.ready.swap(0, SeqCst);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Send(u32),
    Mask(u32),
    Unmask(u32),
    Move(u32, u32, u8),
    Handle(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let port = 1u32..8;
    prop_oneof![
        5 => port.clone().prop_map(Op::Send),
        1 => port.clone().prop_map(Op::Mask),
        2 => port.clone().prop_map(Op::Unmask),
        1 => (port, 0u32..2, 0u8..3).prop_map(|(p, v, q)| Op::Move(p, v, q)),
        2 => (0usize..2).prop_map(Op::Handle),
    ]
}

proptest! {
    /// Each event that was sent, and is not masked, is seen once when all vcpus have handled; and an event that
    /// was sent while unlinked is seen on the vcpu and priority it had when it was sent.
    #[test]
    fn agrees_with_a_map(ops in prop::collection::vec(op(), 0..200)) {
        let m = Machine::new();
        // Pending ports; for those in a queue, which.
        let mut pending: BTreeMap<u32, Option<u32>> = BTreeMap::new();
        let mut linked: BTreeMap<u32, u32> = BTreeMap::new();
        let mut masked = [false; PORTS];
        for op in ops.into_iter().chain([Op::Handle(0), Op::Handle(1)]) {
            match op {
                Op::Send(p) => {
                    m.send(p);
                    let at = m.target[p as usize].load(SeqCst);
                    if !masked[p as usize] {
                        linked.entry(p).or_insert(at);
                    }
                    pending.insert(p, linked.get(&p).copied());
                }
                Op::Mask(p) => {
                    m.array.0[p as usize].fetch_or(MASKED, SeqCst);
                    masked[p as usize] = true;
                }
                Op::Unmask(p) => {
                    m.unmask(p);
                    masked[p as usize] = false;
                    if let Some(place) = pending.get_mut(&p) {
                        *place = Some(*linked.entry(p).or_insert(m.target[p as usize].load(SeqCst)));
                    }
                }
                Op::Move(p, v, q) => m.target[p as usize].store(place(v, q), SeqCst),
                Op::Handle(v) => {
                    let mut seen = Vec::new();
                    m.handle(v, |p, q| seen.push((p, q)));
                    // A linked event that is masked when the guest comes to it leaves the queue and stays pending.
                    let mut due = Vec::new();
                    let here: Vec<_> = linked.iter().filter(|(_, at)| (**at >> 8) as usize == v).map(|(p, at)| (*p, *at)).collect();
                    for (p, at) in here {
                        linked.remove(&p);
                        if !masked[p as usize] {
                            pending.remove(&p);
                            due.push((p, (at & 0xff) as usize));
                        }
                    }
                    // Higher priorities come first.
                    prop_assert!(seen.is_sorted_by_key(|(_, q)| *q));
                    seen.sort_unstable();
                    due.sort_unstable();
                    prop_assert_eq!(seen, due);
                }
            }
        }
        for (p, _) in pending {
            prop_assert!(masked[p as usize], "port {} lost", p);
        }
    }

    /// A guest that scribbles on every word and head: nothing panics, nothing loops for ever.
    #[test]
    fn nonsense_stays_the_guests(ops in prop::collection::vec((1u32..PORTS as u32, any::<u32>(), 0u8..6), 0..300)) {
        let m = Machine::new();
        for (port, value, what) in ops {
            match what {
                0 | 1 => m.send(port),
                2 => m.unmask(port),
                3 => m.array.0[port as usize].store(value, SeqCst),
                4 => { m.array.0[port as usize].fetch_and(!LINKED | BUSY, SeqCst); }
                _ => {
                    m.vcpus[0].control.head[port as usize % PRIORITIES].store(value, SeqCst);
                    m.target[port as usize].store(place(value % 2, (value >> 8) as u8 % 16), SeqCst);
                }
            }
        }
    }
}

/// Senders, a mover and two handling vcpus at once: the last send of each port is seen.
#[test]
fn no_lost_event_between_threads() {
    const SENDS: u64 = 10_000;
    let m = Arc::new(Machine::new());
    let sent: Arc<[AtomicU64; 4]> = Arc::new(core::array::from_fn(|_| AtomicU64::new(0)));
    let seen: Arc<[AtomicU64; 4]> = Arc::new(core::array::from_fn(|_| AtomicU64::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..2u32)
        .map(|id| {
            let (m, sent) = (m.clone(), sent.clone());
            std::thread::spawn(move || {
                for n in 0..SENDS as u32 * 2 {
                    let port = id * 2 + n % 2;
                    sent[port as usize].fetch_add(1, SeqCst);
                    m.send(port + 1);
                    if n % 64 == 0 {
                        m.target[port as usize + 1].store(place(n / 64 % 2, (n / 128 % 2) as u8), SeqCst);
                    }
                }
            })
        })
        .collect();
    let handlers: Vec<_> = (0..2usize)
        .map(|vcpu| {
            let (m, sent, seen, stop) = (m.clone(), sent.clone(), seen.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut last = false;
                while !last {
                    last = stop.load(SeqCst);
                    m.handle(vcpu, |port, _| {
                        let n = port as usize - 1;
                        seen[n].fetch_max(sent[n].load(SeqCst), SeqCst);
                    });
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|s| s.join().unwrap());
    stop.store(true, SeqCst);
    handlers.into_iter().for_each(|h| h.join().unwrap());
    for n in seen.iter() {
        assert_eq!(n.load(SeqCst), SENDS);
    }
}
