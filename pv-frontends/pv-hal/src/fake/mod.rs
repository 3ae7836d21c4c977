//! A machine that is only memory: several domains in one thread, for tests that run front and back of a protocol against
//! each other. With the feature `fake`.
//!
//! - [`Machine::add_domain`] makes a [`Domain`], which is a [`Hal`](crate::Hal).
//! - A domain that [waits](crate::Hal::wait) lets the others run: what they do is given by [`Domain::spawn`], a closure
//!   that looks at everything once and returns. So a test is deterministic, and an event that nobody sends is a panic
//!   ("every domain sleeps") instead of a test that hangs. Time is virtual and passes only in `wait` and `yield_now`.
//! - The machine counts what is in use ([`Machine::pages_in_use`] …), [records](Machine::start_record) calls,
//!   [fails](Machine::fail) them on demand, and [holds events back](Machine::hold_events) to deliver them late or in
//!   another order.
mod domain;
mod events;
mod grants;
mod memory;
mod plan;
mod state;

pub use domain::Domain;
pub use memory::{Mapping, Pages};
pub use plan::{Call, Kind};

use crate::{DomId, Error, Port};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::time::Duration;
use state::State;

/// The least time that passes when every domain looks around once.
const SHORT_STEP: Duration = Duration::from_micros(10);
/// The most, when nothing happens.
const LONG_STEP: Duration = Duration::from_millis(10);
/// A wait without deadline that nothing ends within this time is a deadlock.
const PATIENCE: Duration = Duration::from_secs(100);

/// Several domains and what is between them; clones stand for the same machine.
#[derive(Clone)]
pub struct Machine(Rc<Core>);

struct Core {
    state: RefCell<State>,
    tasks: RefCell<Vec<Task>>,
    next_task: Cell<u64>,
    now: Cell<Duration>,
    /// State of the generator that orders things; 0 keeps the order of creation.
    shuffle: Cell<u64>,
}

struct Task {
    number: u64,
    domain: DomId,
    /// Taken out while it runs, so that a task that waits does not run within itself.
    body: Option<Box<dyn FnMut()>>,
}

impl Machine {
    /// A machine without domains, at time 0.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Machine {
        Machine(Rc::new(Core {
            state: RefCell::new(State::default()),
            tasks: RefCell::default(),
            next_task: Cell::new(0),
            now: Cell::default(),
            shuffle: Cell::new(0),
        }))
    }

    /// Makes a domain. It has a console ring and a store ring, whose other ends belong to domain 0: see
    /// [`Machine::console_backend`] and [`Machine::store_backend`].
    ///
    /// # Panics
    /// The number is taken.
    pub fn add_domain(&self, id: u16) -> Domain {
        self.0.state.borrow_mut().add_domain(DomId(id));
        Domain::new(self.clone(), DomId(id))
    }

    /// A domain's death: its tasks end, its ports close, what it has mapped is unmapped, and nothing of it can be mapped
    /// or bound any more. Mappings that others have of its pages stay.
    pub fn destroy(&self, domain: DomId) {
        let mut ended = Vec::new();
        self.0.tasks.borrow_mut().retain_mut(|task| {
            if task.domain == domain {
                ended.push(task.body.take());
            }
            task.domain != domain
        });
        drop(ended);
        self.0.state.borrow_mut().destroy(domain);
    }

    /// The page and the not yet bound port of a domain's console, for a backend: the grant and remote port that its
    /// `console/ring-ref` and `console/port` would give.
    pub fn console_backend(&self, domain: DomId) -> (crate::GrantRef, Port) {
        self.0.state.borrow().console_backend(domain)
    }

    /// The same for the store's ring, as `XS_INTRODUCE` would give it to the daemon.
    pub fn store_backend(&self, domain: DomId) -> (crate::GrantRef, Port) {
        self.0.state.borrow().store_backend(domain)
    }

    /// Pages of a domain that are in use: held by it, or granted and not let go of.
    pub fn pages_in_use(&self, domain: DomId) -> usize {
        self.0
            .state
            .borrow()
            .domain(domain)
            .map_or(0, |domain| domain.pages.get())
    }

    /// Entries in use in a domain's grant table, not counting those of its console and store.
    pub fn grants_in_use(&self, domain: DomId) -> usize {
        self.0.state.borrow().grants_in_use(domain)
    }

    /// Grants that a domain has mapped.
    pub fn grants_mapped(&self, domain: DomId) -> usize {
        self.0.state.borrow().grants_mapped(domain)
    }

    /// Ports that a domain holds, not counting those of its console and store.
    pub fn ports_in_use(&self, domain: DomId) -> usize {
        self.0.state.borrow().ports_in_use(domain)
    }

    /// Makes the call of this kind that `domain` makes after `skip` further ones fail with `error`.
    pub fn fail(&self, domain: DomId, kind: Kind, skip: usize, error: Error) {
        self.0.state.borrow_mut().plan.fail(domain, kind, skip, error);
    }

    /// Begins to keep every call, and forgets what was kept.
    pub fn start_record(&self) {
        self.0.state.borrow_mut().plan.record = Some(Vec::new());
    }

    /// Gives what was kept since [`start_record`](Machine::start_record), and ends to keep.
    pub fn take_record(&self) -> Vec<(DomId, Call)> {
        self.0.state.borrow_mut().plan.record.take().unwrap_or_default()
    }

    /// With `true`, events are held back until [`deliver`](Machine::deliver); with `false`, all of them come at once.
    pub fn hold_events(&self, hold: bool) {
        let mut state = self.0.state.borrow_mut();
        state.plan.holds_events = hold;
        while !hold && state.deliver(0) {}
    }

    /// Domain and port of every event that is held back, oldest first.
    pub fn held_events(&self) -> Vec<(DomId, Port)> {
        self.0.state.borrow().plan.held.clone()
    }

    /// Delivers one of the [held](Machine::held_events) events; false if there is none at this place.
    pub fn deliver(&self, index: usize) -> bool {
        self.0.state.borrow_mut().deliver(index)
    }

    /// Makes an event at a domain's port that nobody has sent.
    pub fn raise(&self, domain: DomId, port: Port) {
        self.0.state.borrow_mut().raise(domain, port);
    }

    /// From now on the domains run in an order that changes from round to round, the same for each seed; 0 goes back to
    /// the order in which their tasks were made.
    pub fn shuffle(&self, seed: u64) {
        self.0.shuffle.set(seed);
    }

    /// Virtual time.
    pub fn now(&self) -> Duration {
        self.0.now.get()
    }

    /// Lets time pass without anybody running.
    pub fn advance(&self, by: Duration) {
        self.0.now.set(self.0.now.get() + by);
    }

    /// Runs every domain's tasks until nothing happens any more (and at most `rounds` times).
    pub fn settle(&self, rounds: usize) {
        for _ in 0..rounds {
            if !self.run_round() {
                return;
            }
        }
    }

    /// Runs every task once; true if any of them made a call that changes something.
    pub fn run_round(&self) -> bool {
        let before = self.0.state.borrow().steps;
        let mut order: Vec<u64> = self.0.tasks.borrow().iter().map(|task| task.number).collect();
        self.mix(&mut order);
        for number in order {
            let body = self.task_body(number, |body| body.take());
            let Some(Some(mut body)) = body else { continue };
            body();
            // Gone, if it has ended its own domain; dropped outside of any borrow, for it may own mappings.
            let mut rest = Some(body);
            self.task_body(number, |place| *place = rest.take());
        }
        self.advance(SHORT_STEP);
        self.0.state.borrow().steps != before
    }

    /// What `act` makes of a task's body; none if there is no such task.
    fn task_body<R>(&self, number: u64, act: impl FnOnce(&mut Option<Box<dyn FnMut()>>) -> R) -> Option<R> {
        let mut tasks = self.0.tasks.borrow_mut();
        let task = tasks.iter_mut().find(|task| task.number == number)?;
        Some(act(&mut task.body))
    }

    fn mix(&self, order: &mut [u64]) {
        if self.0.shuffle.get() == 0 {
            return;
        }
        for last in (1..order.len()).rev() {
            // Xorshift: any full-period generator does.
            let mut word = self.0.shuffle.get();
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            self.0.shuffle.set(word);
            order.swap(last, (word % (last as u64 + 1)) as usize);
        }
    }

    /// Lets the others run until `done` or the deadline; false for the deadline.
    fn run_until(&self, deadline: Option<Duration>, mut done: impl FnMut() -> bool) -> bool {
        let mut quiet = Duration::ZERO;
        let mut step = SHORT_STEP;
        while !done() {
            if deadline.is_some_and(|deadline| self.now() >= deadline) {
                return false;
            }
            if self.run_round() {
                (quiet, step) = (Duration::ZERO, SHORT_STEP);
                continue;
            }
            assert!(deadline.is_some() || quiet < PATIENCE, "every domain sleeps");
            let left = deadline.map_or(step, |deadline| deadline.saturating_sub(self.now()));
            self.advance(step.min(left));
            quiet += step;
            step = (step * 2).min(LONG_STEP);
        }
        true
    }
}
