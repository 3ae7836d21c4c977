//! The FIFO layout: a word for each port in an array of guest pages, linked into one queue for each priority of
//! each vcpu; queue heads stand in the vcpu's control block.
//!
//! The hypervisor appends, the guest consumes. A word is in at most one queue, for which its LINKED bit answers:
//! whoever sets it links the word. The appending side of a vcpu's queues is [`Queues`], kept behind a lock by the
//! caller; a word that moves between vcpus needs both locks, since until the old queue forgets it as its tail, an
//! event appended there would follow the word into the new queue. A guest that writes nonsense loses its own
//! events and nothing else: every port read from it is looked up again, and every loop is bounded.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::SeqCst;

/// The event waits to be handled.
pub const PENDING: u32 = 1 << 31;
/// The guest does not want to hear of it.
pub const MASKED: u32 = 1 << 30;
/// The word is in a queue.
pub const LINKED: u32 = 1 << 29;
/// The hypervisor asks the guest to leave the word alone for a moment.
pub const BUSY: u32 = 1 << 28;
/// The next port in the queue, 0 at its end.
pub const LINK: u32 = (1 << 17) - 1;

/// Ports of the layout.
pub const PORTS: u32 = 1 << 17;
/// Words in a page of the event array.
pub const WORDS_PER_PAGE: u32 = 4096 / 4;
/// Queues of a vcpu.
pub const PRIORITIES: usize = 16;
/// Priority of a port that nobody has given one.
pub const DEFAULT_PRIORITY: u8 = 7;

/// A word shared with the guest. All operations are sequentially consistent; tests have their own kind.
pub trait Word {
    /// Reads it.
    fn load(&self) -> u32;
    /// Writes it.
    fn store(&self, value: u32);
    /// Sets bits; the old value.
    fn set(&self, bits: u32) -> u32;
    /// Clears bits; the old value.
    fn clear(&self, bits: u32) -> u32;
    /// Changes it from `old` to `new`, if it is that.
    fn exchange(&self, old: u32, new: u32) -> bool;
}

impl Word for AtomicU32 {
    #[inline(always)]
    fn load(&self) -> u32 {
        self.load(SeqCst)
    }

    #[inline(always)]
    fn store(&self, value: u32) {
        self.store(value, SeqCst);
    }

    #[inline(always)]
    fn set(&self, bits: u32) -> u32 {
        self.fetch_or(bits, SeqCst)
    }

    #[inline(always)]
    fn clear(&self, bits: u32) -> u32 {
        self.fetch_and(!bits, SeqCst)
    }

    #[inline(always)]
    fn exchange(&self, old: u32, new: u32) -> bool {
        self.compare_exchange(old, new, SeqCst, SeqCst).is_ok()
    }
}

/// A vcpu's control block, in memory shared with the guest.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ControlBlock<W = AtomicU32> {
    /// Bitmap of the priorities whose queue may have events.
    pub ready: W,
    /// Not used.
    pub reserved: u32,
    /// The first port of each queue, 0 where it is empty.
    pub head: [W; PRIORITIES],
}

/// The last port appended to each queue of a vcpu; 0 where there is none.
#[derive(Debug, Default)]
pub struct Queues {
    tail: [u32; PRIORITIES],
}

impl Queues {
    /// Nothing appended yet.
    pub const fn new() -> Self {
        Queues { tail: [0; PRIORITIES] }
    }
}

/// The event array: the word of each port whose page the guest has given.
pub trait EventArray {
    /// Its words.
    type Word: Word;

    /// The word of `port`, which may be any number.
    fn word(&self, port: u32) -> Option<&Self::Word>;
}

/// Marks a word pending. Returns whether it was already, and whether it has to be appended to its queue.
#[inline]
pub fn mark(word: &impl Word) -> (bool, bool) {
    let was = word.set(PENDING) & PENDING != 0;
    // Read after the mark: a guest that unlinks the word from here on sees the event.
    (was, word.load() & (MASKED | LINKED) == 0)
}

/// Clears a word's mask; true where its event is pending, and so has to be marked anew.
#[inline]
pub fn unmask(word: &impl Word) -> bool {
    word.clear(MASKED);
    word.load() & PENDING != 0
}

/// Takes the right and the duty to append a word.
#[inline]
pub fn claim(word: &impl Word) -> bool {
    word.set(LINKED) & LINKED == 0
}

impl Queues {
    /// A claimed word that may still be this queue's tail must stop being it before it is appended anywhere.
    #[inline]
    pub fn forget(&mut self, priority: u8, port: u32) {
        let tail = &mut self.tail[priority as usize % PRIORITIES];
        if *tail == port {
            *tail = 0;
        }
    }

    /// Appends the claimed `port`; true where the queue has become ready, so that an upcall is due.
    pub fn append<A: EventArray>(
        &mut self,
        array: &A,
        control: &ControlBlock<A::Word>,
        priority: u8,
        port: u32,
    ) -> bool {
        let queue = priority as usize % PRIORITIES;
        let tail = core::mem::replace(&mut self.tail[queue], port);
        if tail != 0 && array.word(tail).is_some_and(|word| link(word, port)) {
            return false;
        }
        // The guest has consumed all, the old tail included: the queue starts anew.
        control.head[queue].store(port);
        let ready = 1 << queue;
        control.ready.set(ready) & ready == 0
    }
}

/// How often a busy word is tried before its guest is taken to be playing tricks.
const TRIES: u32 = 4;

/// Makes `port` follow the word `tail`; false where the guest has taken the word out of the queue.
fn link(tail: &impl Word, port: u32) -> bool {
    let mut seen = tail.load();
    for attempt in 0..=TRIES {
        if seen & LINKED == 0 {
            if attempt > 0 {
                tail.clear(BUSY);
            }
            return false;
        }
        if tail.exchange(seen, seen & !(LINK | BUSY) | port & LINK) {
            return true;
        }
        // Another vcpu of the guest changes the word: ask it to wait.
        seen = tail.set(BUSY) | BUSY;
    }
    // A well-behaved guest leaves a busy word alone. This one loses the events behind it.
    tail.clear(BUSY);
    false
}
