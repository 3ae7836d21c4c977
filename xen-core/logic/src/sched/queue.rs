use super::{Entity, MIN_TURN, MOVE_LAG, PUSH_INTERVAL, SLICE, WAKE_CREDIT};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// When a vcpu that waits gets the CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preempt {
    /// At once.
    Now,
    /// After this many nanoseconds, unless the running one goes before.
    After(u64),
}

struct Waiting<K> {
    vtime: u64,
    weight: u32,
    key: K,
}

/// The vcpus that wait for one CPU; `K` names one. The one that runs is not in it, but counts in its load.
pub struct RunQueue<K> {
    /// By virtual time, the next to run last.
    waiting: Vec<Waiting<K>>,
    /// Virtual time of the latest to run; never goes back.
    clock: u64,
    load: u32,
    last_push: u64,
    /// Shortest turn before another may take the CPU.
    min_turn: u64,
}

/// `a - b` on a clock that may wrap.
#[inline]
fn ahead(a: u64, b: u64) -> i64 {
    a.wrapping_sub(b) as i64
}

impl<K: Copy + PartialEq> Default for RunQueue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy + PartialEq> RunQueue<K> {
    /// An empty queue, without memory.
    pub const fn new() -> Self {
        RunQueue {
            waiting: Vec::new(),
            clock: 0,
            load: 0,
            last_push: 0,
            min_turn: MIN_TURN,
        }
    }

    /// Makes room for `count` vcpus in all.
    ///
    /// # Errors
    /// When the memory is not there.
    pub fn reserve(&mut self, count: usize) -> Result<(), TryReserveError> {
        self.waiting.try_reserve(count.saturating_sub(self.waiting.len()))
    }

    /// Does nobody wait?
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The sum of the weights of those that wait.
    #[inline]
    pub fn load(&self) -> u32 {
        self.load
    }

    /// Its clock.
    #[inline]
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// Brings the clock up to date before a vcpu comes in from outside: `running` is the virtual time of the one that
    /// runs, up to now. The clock stands still while one runs alone; one that comes in then must not find it where it
    /// was when that began.
    pub fn advance(&mut self, running: u64) {
        let earliest = match self.waiting.last() {
            Some(next) if ahead(next.vtime, running) < 0 => next.vtime,
            _ => running,
        };
        if ahead(earliest, self.clock) > 0 {
            self.clock = earliest;
        }
    }

    /// Enters a vcpu that has been asleep: it may be ahead of the clock by its credit and no more.
    pub fn enter_woken(&mut self, key: K, entity: &mut Entity) {
        let earliest = self.clock.wrapping_sub(WAKE_CREDIT);
        if ahead(entity.vtime, earliest) < 0 {
            entity.vtime = earliest;
        }
        self.enter(key, entity);
    }

    /// Enters a vcpu that could go on: its turn has ended, or it comes from another queue.
    pub fn enter(&mut self, key: K, entity: &Entity) {
        // Among equals the one that came first runs first.
        let place = self
            .waiting
            .iter()
            .rposition(|w| ahead(w.vtime, entity.vtime) > 0)
            .map_or(0, |p| p + 1);
        self.waiting.insert(
            place,
            Waiting {
                vtime: entity.vtime,
                weight: entity.weight(),
                key,
            },
        );
        self.load += entity.weight();
    }

    /// The vcpu wants the next in the queue to run before it: it enters right behind that.
    pub fn let_go_first(&self, entity: &mut Entity) {
        if let Some(next) = self.waiting.last()
            && ahead(next.vtime, entity.vtime) > 0
        {
            entity.vtime = next.vtime;
        }
    }

    /// Takes the next to run.
    #[inline]
    pub fn take_next(&mut self) -> Option<K> {
        let next = self.waiting.pop()?;
        self.load -= next.weight;
        if ahead(next.vtime, self.clock) > 0 {
            self.clock = next.vtime;
        }
        Some(next.key)
    }

    /// Takes out one that waits; false where it does not.
    pub fn remove(&mut self, key: K) -> bool {
        match self.waiting.iter().position(|w| w.key == key) {
            Some(index) => {
                self.load -= self.waiting.remove(index).weight;
                true
            }
            None => false,
        }
    }

    /// Takes out, for another CPU, the one that `may` leave and is due first.
    pub fn give_away(&mut self, mut may: impl FnMut(K, u32) -> bool) -> Option<K> {
        let index = self.waiting.iter().rposition(|w| may(w.key, w.weight))?;
        let given = self.waiting.remove(index);
        self.load -= given.weight;
        Some(given.key)
    }

    /// Bounds the lead and the lag of a vcpu that comes from another queue. Having got one, this one gives none away
    /// for a while.
    #[inline]
    pub fn adopt(&mut self, entity: &mut Entity, now: u64) {
        self.last_push = now;
        let lead = ahead(entity.vtime, self.clock).clamp(-(MOVE_LAG as i64), MOVE_LAG as i64);
        entity.vtime = self.clock.wrapping_add(lead as u64);
    }

    /// When the next in the queue gets the CPU from `running`, which has had it for `ran` nanoseconds that are not
    /// charged yet. `None` while nobody waits.
    #[inline]
    pub fn preempt(&self, running: &Entity, ran: u64) -> Option<Preempt> {
        let next = self.waiting.last()?;
        let behind = ahead(running.vtime.wrapping_add(running.cost(ran)), next.vtime);
        let turn = if behind > 0 {
            self.min_turn
        } else {
            SLICE.max(self.min_turn)
        };
        Some(if ran >= turn {
            Preempt::Now
        } else {
            Preempt::After(turn - ran)
        })
    }

    /// Sets the shortest turn, in nanoseconds, instead of [`MIN_TURN`].
    pub fn set_min_turn(&mut self, ns: u64) {
        self.min_turn = ns;
    }

    /// Is it time for a busy CPU to give one away? At most once a [`PUSH_INTERVAL`].
    pub fn push_due(&mut self, now: u64) -> bool {
        let due = !self.is_empty() && now.saturating_sub(self.last_push) >= PUSH_INTERVAL;
        if due {
            self.last_push = now;
        }
        due
    }
}

/// Whether moving a vcpu of `weight` from a CPU loaded with `from` to one loaded with `to`, those that run included,
/// leaves them no less even. Equal counts: that is how an odd one goes round.
pub const fn worth_moving(from: u32, to: u32, weight: u32) -> bool {
    from >= to.saturating_add(weight)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn at(vtime: u64) -> Entity {
        let mut entity = Entity::new();
        entity.vtime = vtime;
        entity
    }

    #[test]
    fn least_virtual_time_first_and_equals_in_order() {
        let mut q = RunQueue::new();
        for (key, vtime) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
            q.enter(key, &at(vtime));
        }
        let order: std::vec::Vec<_> = core::iter::from_fn(|| q.take_next()).collect();
        assert_eq!(order, [2, 4, 3, 1]);
        assert_eq!(q.load(), 0);
        assert_eq!(q.clock(), 30);
    }

    #[test]
    fn a_long_sleep_earns_no_more_than_the_credit() {
        let mut q = RunQueue::new();
        q.enter(0, &at(1 << 40));
        q.take_next();
        let mut sleeper = at(5);
        q.enter_woken(1, &mut sleeper);
        assert_eq!(sleeper.vtime, (1 << 40) - WAKE_CREDIT);
    }

    #[test]
    fn the_clock_may_wrap() {
        let mut q = RunQueue::new();
        q.enter(0, &at(u64::MAX / 2));
        q.take_next();
        q.enter(0, &at(u64::MAX - 5));
        q.take_next();
        q.enter(1, &at(u64::MAX - 1));
        q.enter(2, &at(3));
        assert_eq!(q.take_next(), Some(1));
        assert_eq!(q.take_next(), Some(2));
        assert_eq!(q.clock(), 3);
    }

    #[test]
    fn a_waker_waits_for_the_shortest_turn_only() {
        let mut q = RunQueue::new();
        assert_eq!(q.preempt(&at(0), 10 * SLICE), None);
        q.enter(1, &at(0));
        assert_eq!(q.preempt(&at(10), 1), Some(Preempt::After(MIN_TURN - 1)));
        assert_eq!(q.preempt(&at(10), MIN_TURN), Some(Preempt::Now));
        let behind = at(0u64.wrapping_sub(2 * SLICE));
        assert_eq!(q.preempt(&behind, MIN_TURN), Some(Preempt::After(SLICE - MIN_TURN)));
        q.set_min_turn(2 * SLICE);
        assert_eq!(q.preempt(&at(10), SLICE), Some(Preempt::After(SLICE)));
        assert_eq!(q.preempt(&behind, SLICE), Some(Preempt::After(SLICE)));
        q.set_min_turn(0);
        assert_eq!(q.preempt(&at(10), 0), Some(Preempt::Now));
        assert_eq!(q.preempt(&behind, SLICE), Some(Preempt::Now));
    }

    #[test]
    fn one_that_yields_goes_behind_the_next() {
        let mut q = RunQueue::new();
        q.enter(1, &at(50));
        q.enter(2, &at(60));
        let mut yields = at(10);
        q.let_go_first(&mut yields);
        q.enter(3, &yields);
        let order: std::vec::Vec<_> = core::iter::from_fn(|| q.take_next()).collect();
        assert_eq!(order, [1, 3, 2]);
    }

    #[test]
    fn removal_keeps_the_load() {
        let mut q = RunQueue::new();
        q.enter(1, &at(1));
        q.enter(2, &at(2));
        assert!(q.remove(1));
        assert!(!q.remove(1));
        assert_eq!(q.load(), 256);
        assert_eq!(q.give_away(|key, _| key == 2), Some(2));
        assert_eq!(q.give_away(|_, _| true), None);
        assert_eq!(q.load(), 0);
    }
}
