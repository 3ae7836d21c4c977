//! Hypervisor and guest at the queues of the FIFO event layout: every interleaving, by loom.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p xen-logic --release --test loom_fifo`.
#![cfg(loom)]

use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use xen_logic::evtchn::fifo::{self, ControlBlock, EventArray, LINK, LINKED, MASKED, PENDING, Queues, Word};

/// Loom has no sequential consistency; what is asked for here is weaker than what the hypervisor has.
struct Cell(AtomicU32);

impl Word for Cell {
    fn load(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
    fn store(&self, value: u32) {
        self.0.store(value, Ordering::Release);
    }
    fn set(&self, bits: u32) -> u32 {
        self.0.fetch_or(bits, Ordering::AcqRel)
    }
    fn clear(&self, bits: u32) -> u32 {
        self.0.fetch_and(!bits, Ordering::AcqRel)
    }
    fn exchange(&self, old: u32, new: u32) -> bool {
        self.0
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

struct Array(Vec<Cell>);

impl EventArray for Array {
    type Word = Cell;

    fn word(&self, port: u32) -> Option<&Cell> {
        self.0.get(port as usize)
    }
}

fn cell(value: u32) -> Cell {
    Cell(AtomicU32::new(value))
}

struct Vcpu {
    queues: Mutex<Queues>,
    control: ControlBlock<Cell>,
    upcall: AtomicBool,
    /// The guest's own copy of the one head in use.
    head: Mutex<u32>,
}

/// Two vcpus with one priority; ports 1 and 2.
struct Machine {
    array: Array,
    vcpus: [Vcpu; 2],
    target: [AtomicU32; 3],
    last: [AtomicU32; 3],
    seen: [AtomicU32; 3],
    /// By port: the vcpu that saw it last.
    seen_on: [AtomicU32; 3],
}

const PRIORITY: u8 = 0;

impl Machine {
    fn new() -> Arc<Self> {
        let vcpu = || Vcpu {
            queues: Mutex::new(Queues::new()),
            control: ControlBlock {
                ready: cell(0),
                reserved: 0,
                head: std::array::from_fn(|_| cell(0)),
            },
            upcall: AtomicBool::new(false),
            head: Mutex::new(0),
        };
        let zeros = || std::array::from_fn(|_| AtomicU32::new(0));
        Arc::new(Machine {
            array: Array((0..3).map(|_| cell(0)).collect()),
            vcpus: [vcpu(), vcpu()],
            target: zeros(),
            last: zeros(),
            seen: zeros(),
            seen_on: zeros(),
        })
    }

    /// As the hypervisor does it.
    fn send(&self, port: u32) {
        let word = self.array.word(port).unwrap();
        if !fifo::mark(word).1 {
            return;
        }
        let to = self.target[port as usize].load(Ordering::Acquire) as usize;
        loop {
            let last = self.last[port as usize].load(Ordering::Acquire) as usize;
            let mut low = self.vcpus[to.min(last)].queues.lock().unwrap();
            let mut high = (to != last).then(|| self.vcpus[to.max(last)].queues.lock().unwrap());
            if self.last[port as usize].load(Ordering::Acquire) as usize != last {
                continue;
            }
            if !fifo::claim(word) {
                return;
            }
            let (mine, old) = match &mut high {
                None => (&mut *low, None),
                Some(high) if to < last => (&mut *low, Some(&mut **high)),
                Some(high) => (&mut **high, Some(&mut *low)),
            };
            match old {
                Some(old) => old.forget(PRIORITY, port),
                None => mine.forget(PRIORITY, port),
            }
            self.last[port as usize].store(to as u32, Ordering::Release);
            if mine.append(&self.array, &self.vcpus[to].control, PRIORITY, port) {
                self.vcpus[to].upcall.swap(true, Ordering::AcqRel);
            }
            return;
        }
    }

    /// The guest's upcall handler on one vcpu.
    fn handle(&self, vcpu: usize) {
        let v = &self.vcpus[vcpu];
        let mut head = v.head.lock().unwrap();
        while v.upcall.swap(false, Ordering::AcqRel) {
            let mut ready = v.control.ready.clear(1);
            while ready & 1 != 0 {
                let port = if *head == 0 { v.control.head[0].load() } else { *head };
                let word = self.array.word(port).unwrap();
                let old = loop {
                    let old = word.load();
                    if word.exchange(old, old & !(LINKED | LINK)) {
                        break old;
                    }
                };
                *head = old & LINK;
                if *head == 0 {
                    ready = 0;
                }
                let now = word.load();
                if now & PENDING != 0 && now & MASKED == 0 {
                    word.clear(PENDING);
                    self.seen[port as usize].fetch_add(1, Ordering::AcqRel);
                    self.seen_on[port as usize].store(vcpu as u32, Ordering::Release);
                }
                ready |= v.control.ready.clear(1);
            }
        }
    }

    /// Everything has come to rest: what the guest handles now leaves nothing behind.
    fn check(&self, sent: [u32; 3]) {
        self.handle(0);
        self.handle(1);
        for port in 1..3 {
            let word = self.array.word(port).unwrap().load();
            assert_eq!(word, 0, "port {port} is left behind");
            let seen = self.seen[port as usize].load(Ordering::Acquire);
            assert!(seen <= sent[port as usize] && (seen > 0) == (sent[port as usize] > 0));
        }
    }
}

fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(5);
    builder.check(test);
}

#[test]
fn a_port_sent_again_while_it_is_handled() {
    model(|| {
        let m = Machine::new();
        m.send(1);
        let guest = m.clone();
        let handler = thread::spawn(move || guest.handle(0));
        m.send(1);
        handler.join().unwrap();
        m.check([0, 2, 0]);
    });
}

#[test]
fn a_port_appended_behind_one_that_is_handled() {
    model(|| {
        let m = Machine::new();
        m.send(1);
        let guest = m.clone();
        let handler = thread::spawn(move || guest.handle(0));
        m.send(2);
        handler.join().unwrap();
        m.check([0, 1, 1]);
    });
}

#[test]
fn a_tail_that_moves_while_another_is_appended() {
    model(|| {
        let m = Machine::new();
        // Port 1 was handled, and is still the tail of vcpu 0's queue.
        m.send(1);
        m.handle(0);
        m.target[1].store(1, Ordering::Release);
        let other = m.clone();
        let sender = thread::spawn(move || other.send(1));
        m.send(2);
        sender.join().unwrap();
        m.check([0, 2, 1]);
        // Had the old queue not forgotten port 1, port 2 would have followed it to the other vcpu.
        assert_eq!(m.seen_on[1].load(Ordering::Acquire), 1);
        assert_eq!(m.seen_on[2].load(Ordering::Acquire), 0);
    });
}

#[test]
fn a_port_unmasked_while_it_is_sent() {
    model(|| {
        let m = Machine::new();
        m.array.word(1).unwrap().set(MASKED);
        let other = m.clone();
        let sender = thread::spawn(move || other.send(1));
        if fifo::unmask(m.array.word(1).unwrap()) {
            m.send(1);
        }
        sender.join().unwrap();
        m.check([0, 1, 0]);
    });
}
