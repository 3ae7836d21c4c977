//! Two CPUs at one frame: every interleaving of the frame rules, by loom.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p xen-logic --release --test loom_frame`.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use xen_logic::frame::cells::{self, Acquired, Finish, Frame, Released, Word};
use xen_logic::frame::{CountWord, Type, TypeWord};

struct Cell(AtomicU64);

impl Word for Cell {
    fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
    fn exchange(&self, old: u64, new: u64) -> Result<(), u64> {
        self.0
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }
}

/// A frame, and what the CPUs do with it.
struct Model {
    count: Cell,
    typ: Cell,
    /// The epoch at the last stamp; plain stores in the hypervisor, so relaxed here.
    stamp: AtomicU64,
    /// The number of flushes so far, plus one.
    epoch: AtomicU64,
    freed: AtomicU64,
    /// CPUs that may write to the frame, and CPUs that use it as a table.
    writers: AtomicU64,
    tables: AtomicU64,
}

impl Frame for Model {
    type Cell = Cell;
    fn count(&self) -> &Cell {
        &self.count
    }
    fn typ(&self) -> &Cell {
        &self.typ
    }
    fn stamp(&self) {
        self.stamp.store(self.epoch.load(Ordering::Acquire), Ordering::Relaxed);
    }
    fn free(&self) {
        assert_eq!(self.freed.fetch_add(1, Ordering::Relaxed), 0, "freed twice");
        assert_eq!(
            self.writers.load(Ordering::Relaxed) + self.tables.load(Ordering::Relaxed),
            0,
            "freed in use"
        );
    }
}

fn frame(typ: Type) -> Arc<Model> {
    Arc::new(Model {
        count: Cell(AtomicU64::new(CountWord::ALLOCATED.0)),
        typ: Cell(AtomicU64::new(idle(typ))),
        stamp: AtomicU64::new(0),
        epoch: AtomicU64::new(1),
        freed: AtomicU64::new(0),
        writers: AtomicU64::new(0),
        tables: AtomicU64::new(0),
    })
}

/// The word of an idle frame that was used as `typ` last.
fn idle(typ: Type) -> u64 {
    TypeWord::shared(typ).0 & 7 << 60
}

/// Every interleaving with up to three preemptions: more of them only repeat waits.
fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(test);
}

/// Gets a use, if the frame can be used so, with the work that a claim asks for.
fn acquire(f: &Model, want: Type) -> bool {
    loop {
        match cells::get_type(f, want, false, || true) {
            Acquired::Granted => return true,
            Acquired::Claimed { from, .. } => {
                if from != want && from != Type::None {
                    // Here the hypervisor flushes by the stamp: it must see the one of the last use.
                    assert_eq!(f.writers.load(Ordering::Relaxed), 0, "claimed while writable");
                }
                cells::finish(f, Finish::Validated);
                return true;
            }
            Acquired::Undo { .. } => cells::finish(f, Finish::Undone),
            Acquired::Wait => thread::yield_now(),
            Acquired::Refused(_) | Acquired::NotOwned => return false,
        }
    }
}

fn release(f: &Model) {
    if let Released::Undo { .. } = cells::put_type(f) {
        cells::finish(f, Finish::Undone);
    }
}

/// Uses the frame as `want` for a moment.
fn visit(f: &Model, want: Type) {
    if !acquire(f, want) {
        return;
    }
    let (mine, other) = if want == Type::Writable {
        (&f.writers, &f.tables)
    } else {
        (&f.tables, &f.writers)
    };
    mine.fetch_add(1, Ordering::Relaxed);
    assert_eq!(other.load(Ordering::Relaxed), 0, "table and writable at once");
    mine.fetch_sub(1, Ordering::Relaxed);
    release(f);
}

fn check_quiet(f: &Model) {
    assert_eq!(TypeWord(f.typ.load()).count(), 0);
    assert_eq!(f.count.load(), CountWord::ALLOCATED.0);
}

fn two(f: &Arc<Model>, a: impl FnOnce(&Model) + Send + 'static, b: impl FnOnce(&Model)) {
    let other = f.clone();
    let t = thread::spawn(move || a(&other));
    b(f);
    t.join().unwrap();
}

#[test]
fn never_a_table_and_writable() {
    model(|| {
        let f = frame(Type::None);
        two(&f, |f| visit(f, Type::Writable), |f| visit(f, Type::L1));
        check_quiet(&f);
    });
}

#[test]
fn never_two_levels() {
    model(|| {
        let f = frame(Type::Writable);
        let a = |f: &Model| {
            if acquire(f, Type::L1) {
                assert_eq!(TypeWord(f.typ.load()).typ(), Type::L1);
                release(f);
            }
        };
        two(&f, a, |f| {
            if acquire(f, Type::L2) {
                assert_eq!(TypeWord(f.typ.load()).typ(), Type::L2);
                release(f);
            }
        });
        check_quiet(&f);
    });
}

#[test]
fn one_table_for_two_cpus() {
    model(|| {
        let f = frame(Type::None);
        two(&f, |f| visit(f, Type::L1), |f| visit(f, Type::L1));
        check_quiet(&f);
    });
}

#[test]
fn writable_by_two_cpus() {
    model(|| {
        let f = frame(Type::Writable);
        two(&f, |f| visit(f, Type::Writable), |f| visit(f, Type::Writable));
        check_quiet(&f);
    });
}

/// As `update_va_mapping` does with a table that others use too: contention is no refusal.
#[test]
fn a_use_in_common_is_never_refused() {
    model(|| {
        let f = frame(Type::None);
        assert!(acquire(&f, Type::L1));
        let once_more = |f: &Model| {
            assert!(cells::get_type_if_valid(f, Type::L1, || true));
            release(f);
        };
        two(&f, once_more, once_more);
        release(&f);
        check_quiet(&f);
    });
}

/// A frame that turns out to be another domain's is left as it was.
#[test]
fn a_wrong_owner_leaves_no_trace() {
    model(|| {
        let f = frame(Type::None);
        assert!(acquire(&f, Type::L1));
        two(
            &f,
            |f| assert!(!cells::get_type_if_valid(f, Type::L1, || false)),
            release,
        );
        // If its last user left in between, the table is parked for its owner to find.
        visit(&f, Type::Writable);
        check_quiet(&f);
    });
}

#[test]
fn freed_once_and_never_in_use() {
    model(|| {
        let f = frame(Type::None);
        two(
            &f,
            |f| visit(f, Type::Writable),
            |f| {
                assert!(cells::release_allocation(f));
            },
        );
        assert_eq!(f.freed.load(Ordering::Relaxed), 1);
        assert_eq!(CountWord(f.count.load()).count(), 0);
    });
}

fn give_up(f: &Model, done: &AtomicU64) {
    if cells::release_allocation(f) {
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn given_up_once() {
    model(|| {
        let f = frame(Type::None);
        let done = Arc::new(AtomicU64::new(0));
        let other = done.clone();
        two(&f, move |f| give_up(f, &other), |f| give_up(f, &done));
        assert_eq!(done.load(Ordering::Relaxed), 1);
        assert_eq!(f.freed.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn stolen_only_when_unused() {
    model(|| {
        let f = frame(Type::None);
        two(
            &f,
            |f| {
                if acquire(f, Type::Writable) {
                    f.writers.fetch_add(1, Ordering::Relaxed);
                    assert_ne!(CountWord(f.count.load()).count(), 0);
                    f.writers.fetch_sub(1, Ordering::Relaxed);
                    release(f);
                }
            },
            |f| {
                if cells::steal(f) {
                    assert_eq!(f.writers.load(Ordering::Relaxed), 0);
                    assert_eq!(f.count.load(), 0);
                }
            },
        );
    });
}

#[test]
fn the_claimant_sees_the_stamp() {
    model(|| {
        let f = frame(Type::Writable);
        assert!(acquire(&f, Type::Writable));
        let claimant = |f: &Model| {
            if let Acquired::Claimed { from, .. } = cells::get_type(f, Type::L1, false, || true) {
                assert_eq!(from, Type::Writable);
                assert_eq!(f.stamp.load(Ordering::Relaxed), 1, "an unstamped frame is claimed");
                cells::finish(f, Finish::Validated);
                release(f);
            }
        };
        two(&f, claimant, release);
        check_quiet(&f);
    });
}

/// While one CPU drops what it takes for the last use, another one flushes, uses the frame and drops it again: the stamp
/// is that of the last use all the same.
#[test]
fn the_stamp_is_that_of_the_last_use() {
    model(|| {
        let f = frame(Type::Writable);
        assert!(acquire(&f, Type::Writable));
        let flush_and_use = |f: &Model| {
            if cells::get_type_if_valid(f, Type::Writable, || true) {
                // A CPU flushes, and then uses what is mapped: it remembers that from this epoch on.
                let used = f.epoch.fetch_add(1, Ordering::AcqRel) + 1;
                release(f);
                f.writers.store(used, Ordering::Relaxed);
            }
        };
        two(&f, flush_and_use, release);
        check_quiet(&f);
        let (used, stamp) = (f.writers.load(Ordering::Relaxed), f.stamp.load(Ordering::Relaxed));
        assert!(stamp >= used, "used in epoch {used}, stamped in {stamp}");
    });
}

/// Whoever claims a frame that another domain has had mapped hears of it, and so asks all CPUs to flush.
#[test]
fn the_claimant_hears_of_foreign_uses() {
    model(|| {
        let f = frame(Type::Writable);
        let foreign_use = |f: &Model| match cells::get_type(f, Type::Writable, true, || true) {
            Acquired::Granted => {
                f.writers.store(1, Ordering::Relaxed);
                release(f);
            }
            Acquired::Claimed { .. } => {
                cells::finish(f, Finish::Validated);
                f.writers.store(1, Ordering::Relaxed);
                release(f);
            }
            _ => {}
        };
        two(&f, foreign_use, |f| {
            if let Acquired::Claimed { foreign, .. } = cells::get_type(f, Type::L1, false, || true) {
                let was_used = f.writers.load(Ordering::Relaxed) == 1;
                assert!(foreign || !was_used, "a foreign use was forgotten");
                cells::finish(f, Finish::Validated);
                release(f);
            }
        });
        check_quiet(&f);
    });
}

#[test]
fn one_pin_of_two() {
    model(|| {
        let f = frame(Type::None);
        let pin = |f: &Model| {
            if acquire(f, Type::L1) && !cells::pin(f) {
                release(f);
            }
        };
        two(&f, pin, pin);
        assert_eq!(TypeWord(f.typ.load()).count(), 1);
        assert!(cells::unpin(&*f) && !cells::unpin(&*f));
        release(&f);
        check_quiet(&f);
    });
}

/// A table is taken apart with an interruption while another CPU wants it again.
#[test]
fn parked_tables_keep_their_counts() {
    model(|| {
        let f = frame(Type::None);
        assert!(acquire(&f, Type::L2));
        two(
            &f,
            |f| visit(f, Type::L2),
            |f| {
                if let Released::Undo { .. } = cells::put_type(f) {
                    cells::finish(f, Finish::Parked { resume: 3, keep: true });
                    // The pending list drops it later.
                    release(f);
                }
            },
        );
        check_quiet(&f);
    });
}
