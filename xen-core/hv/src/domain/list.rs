//! The list of domains, and how one leaves it.
//!
//! The lock is taken for a moment only, with nothing taken inside it but the heap's and the page allocator's when it is
//! held for writing; so it may be asked for with other locks held.

use super::Domain;
use super::life::Stage;
use super::quiesce::{self, Grace};
use crate::arch::x86::percpu::{self, Work};
use crate::sync::{Mutex, RwLock};
use crate::time::timers;
use crate::{console, event, sched};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use xen_abi::{DOMID_FIRST_RESERVED, Errno, VIRQ_DOM_EXC};

/// Every domain, by its number: whoever names one, or lists all, must not pay for how many there are.
static DOMAINS: RwLock<Vec<Arc<Domain>>> = RwLock::new(Vec::new());

/// The domain with this number, dying and dead ones included; the idle domain is nobody's to ask for.
pub fn find(id: u16) -> Option<Arc<Domain>> {
    next_from(id).filter(|d| d.id == id)
}

/// The domain with this number, to give it something new.
///
/// # Errors
/// `ESRCH` where there is none, or it is dying.
pub fn find_alive(id: u16) -> Result<Arc<Domain>, Errno> {
    find(id).filter(|d| !d.is_dying()).ok_or(Errno::ESRCH)
}

/// The domain with the lowest number from `first` on.
pub fn next_from(first: u16) -> Option<Arc<Domain>> {
    let all = DOMAINS.read();
    let above = &all[all.partition_point(|d| d.id < first)..];
    above.iter().find(|d| !d.is_idle()).cloned()
}

/// Calls `f` for each domain, the list locked: `f` takes no lock above it in the order.
pub fn for_each(mut f: impl FnMut(&Arc<Domain>)) {
    DOMAINS.read().iter().for_each(&mut f);
}

/// Lists a new domain.
///
/// # Errors
/// `EEXIST` for a number in use, `ENOMEM`.
pub(super) fn add(domain: &Arc<Domain>) -> Result<(), Errno> {
    let mut all = DOMAINS.write();
    let Err(place) = all.binary_search_by_key(&domain.id, |d| d.id) else {
        return Err(Errno::EEXIST);
    };
    all.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    all.insert(place, domain.clone());
    Ok(())
}

/// The number that the last domain without a wish got.
static LAST_ID: AtomicU32 = AtomicU32::new(0);

/// A number that no domain has, other than those given last.
///
/// # Errors
/// `ENOMEM` where all are in use.
pub fn next_id() -> Result<u16, Errno> {
    let last = LAST_ID.load(SeqCst) as u16;
    let above = last + 1..DOMID_FIRST_RESERVED;
    let free = |id: &u16| find(*id).is_none();
    let id = above.chain(1..=last).find(free).ok_or(Errno::ENOMEM)?;
    LAST_ID.store(id.into(), SeqCst);
    Ok(id)
}

/// A domain that is not listed any more.
struct Grave {
    domain: Arc<Domain>,
    /// After this it can be taken further.
    grace: Grace,
    /// Nobody has a counted reference, and its timers have been stopped for good.
    quiet: bool,
}

/// Domains that are gone, until their memory can be freed.
static GRAVES: Mutex<Vec<Grave>> = Mutex::new(Vec::new());

/// The domain's last frame is free: if it is dead, it is soon unlisted. May be called with any locks held.
#[inline]
pub fn frames_gone(domain: &Domain) {
    if domain.life.stage() == Stage::Dead {
        percpu::raise(Work::QUIESCE);
    }
}

/// Takes dead domains without frames off the list, and frees those whose time has come. Called on the exit path.
pub fn reap() {
    while let Some(domain) = unlist_one() {
        console::forget_guest(domain.id);
        let grace = quiesce::begin();
        // There is room: `make_room` has seen to that.
        GRAVES.lock().push(Grave {
            domain,
            grace,
            quiet: false,
        });
        event::send_global_virq(VIRQ_DOM_EXC);
    }
    while let Some(domain) = exhume_one() {
        sched::forget(domain.vcpus().count());
        drop(domain);
    }
}

/// Takes one dead domain that has no frames off the list.
fn unlist_one() -> Option<Arc<Domain>> {
    let is_due = |d: &Arc<Domain>| d.life.stage() == Stage::Dead && !d.mm.has_frames();
    // Nearly always there is none, and no reader need wait.
    if !DOMAINS.read().iter().any(is_due) {
        return None;
    }
    let mut all = DOMAINS.write();
    let place = all.iter().position(is_due)?;
    let domain = all.remove(place);
    domain.life.advance(Stage::Dead, Stage::Gone);
    Some(domain)
}

/// Makes room for one more domain that has to be freed, while that may still fail.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn make_room() -> Result<(), Errno> {
    let listed = DOMAINS.read().len();
    GRAVES.lock().try_reserve(listed).map_err(|_| Errno::ENOMEM)
}

/// A domain that can be freed, after having taken all of them as far as they can go.
///
/// Since the domain left the list nobody finds it; after a grace period nobody has found it without counting the
/// reference. Once nobody has counted one either, only timers lead to its vcpus, such as one that a CPU set anew that
/// had just let it expire: these are stopped, and when another grace period has passed, none is being served.
fn exhume_one() -> Option<Arc<Domain>> {
    let mut graves = GRAVES.lock();
    for grave in graves.iter_mut() {
        if !grave.quiet && quiesce::has_passed(grave.grace) && Arc::strong_count(&grave.domain) == 1 {
            grave.domain.vcpus().for_each(timers::stop_all);
            (grave.quiet, grave.grace) = (true, quiesce::begin());
        }
    }
    let place = graves.iter().position(|g| g.quiet && quiesce::has_passed(g.grace))?;
    Some(graves.swap_remove(place).domain)
}
