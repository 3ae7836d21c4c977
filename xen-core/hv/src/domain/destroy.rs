//! Taking a domain apart (`XEN_DOMCTL_destroydomain`), in steps that can be interrupted and continued.
//!
//! First its vcpus are stopped for good, and a grace period lets every CPU finish what it does with a domain that it
//! has seen alive. From then on nobody gives it anything new, so each step that finds nothing left stays done.

use super::life::{Stage, stop_all};
use super::quiesce::{self, Grace};
use super::{Domain, Vcpu, context, list};
use crate::hypercall::Stop;
use crate::mm::typing::Budget;
use crate::mm::{self, descriptor, pending, root};
use crate::sched::Hold;
use crate::time::timers;
use crate::{event, grant, irq, sched};
use core::sync::atomic::Ordering::SeqCst;
use xen_abi::VIRQ_DOM_EXC;

/// A step: true when there is nothing left to do in it.
type Step = fn(&Domain) -> bool;

/// What is taken from the domain, in this order: ports first, which send events into its pages; then what it holds of
/// others and has lent; then what its vcpus hold of its memory; the memory last.
const STEPS: [Step; 7] = [
    grace_is_over,
    event::release,
    grant::release,
    irq::release,
    release_vcpus,
    mm::drop_tables,
    mm::relinquish,
];

/// Begins or continues the destruction of `domain`; `args` are those of the hypercall, which is made again until this
/// succeeds. Under the lock of `domctl`.
///
/// # Errors
/// `ENOMEM` before it has begun; `Again`.
pub fn destroy(domain: &Domain, args: &[u64; 6]) -> Result<(), Stop> {
    if domain.life.stage() == Stage::Alive {
        list::make_room()?;
        domain.life.advance(Stage::Alive, Stage::Dying);
        silence(domain);
        domain.life.grace.store(quiesce::begin().0, SeqCst);
    }
    if domain.life.stage() != Stage::Dying {
        return Ok(());
    }
    // Page tables whose undoing was put off are part of it.
    pending::finish_first(args)?;
    while let Some(step) = STEPS.get(domain.life.step.load(SeqCst) as usize) {
        if !step(domain) {
            return Err(Stop::Again(*args));
        }
        domain.life.step.fetch_add(1, SeqCst);
    }
    pending::finish_first(args)?;
    domain.life.advance(Stage::Dying, Stage::Dead);
    event::send_global_virq(VIRQ_DOM_EXC);
    // What others still hold of it may be gone already.
    list::frames_gone(domain);
    Ok(())
}

/// Stops its vcpus for good: none runs, is loaded on a CPU, waits in a queue or is waited for by a timer.
fn silence(domain: &Domain) {
    stop_all(domain, Hold::DYING);
    for v in domain.vcpus() {
        context::unload_everywhere(v);
        sched::remove(v);
        timers::stop_all(v);
    }
    mm::logdirty::end(domain);
}

fn grace_is_over(domain: &Domain) -> bool {
    quiesce::has_passed(Grace(domain.life.grace.load(SeqCst)))
}

/// Drops what the vcpus hold of the domain's memory.
fn release_vcpus(domain: &Domain) -> bool {
    domain.vcpus().all(release_vcpu)
}

fn release_vcpu(v: &'static Vcpu) -> bool {
    // A table that takes long to undo goes to the pending list, which the next call finishes first.
    let done = root::clear_base_pointers(v, &mut Budget::limited());
    v.time.release_areas();
    // Nothing is checked when nothing is put in place, so these cannot fail.
    let cleared = descriptor::set_gdt(v, &[], 0).and(descriptor::set_ldt(v, 0, 0));
    done && cleared.is_ok() && pending::is_empty()
}
