//! What toolstacks do: begin and end tracking, and end rounds. Under the lock of `domctl`, which is let go between the
//! portions of an operation.

use super::holders::{self, Search};
use super::machine::Hardware;
use super::{State, TRACKED, with};
use crate::arch::x86::cpu;
use crate::domain::{Domain, context, life};
use crate::guest::GuestPtr;
use crate::hypercall::{Stop, preempt_needed};
use crate::mm::{flush, root};
use alloc::boxed::Box;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use xen_abi::{Errno, xen_domctl_shadow_op, xen_domctl_shadow_op_stats};
use xen_logic::logdirty::{PAGES_PER_LEAF, Tracker, WORDS};
use zerocopy::IntoBytes;

/// An operation between two calls of the hypercall. What is left of it is found again by a number that only its own
/// continuation has: another call could otherwise go on where a broken-off one has left.
pub(super) struct Job {
    token: u64,
    step: Step,
    /// Marked pages found so far.
    found: u32,
}

/// What is to be done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Marks are copied out, from this page of marks on.
    Copy {
        leaf: usize,
    },
    /// As `Copy`, and cleared.
    Take {
        leaf: usize,
    },
    /// Rights to write are taken back, from this shadow on.
    Revoke {
        shadow: usize,
    },
    /// Who may write without saying so is marked.
    Mark(Search),
    Done,
}

/// Pages that may have numbers beyond the most that the domain may own: holes in its memory map (1 GiB), and as much
/// again for memory that it has set aside.
const SLACK: u64 = 1 << 18;
/// Frames of the domain's for one shadow, at most: page tables take one in 512, of several address spaces.
const FRAMES_PER_SHADOW: u64 = 32;
const MAX_SHADOWS: u64 = 1 << 16;
/// Shadows that a vcpu cannot do without: two top tables, and what one instruction may touch.
const PER_VCPU: u64 = 40;
/// Shadows that rights are taken from in one go.
const REVOKE: usize = 16;

fn shadows(domain: &Domain) -> (usize, usize) {
    let least = u64::from(domain.max_vcpus()) * PER_VCPU + 8;
    let wanted = match domain.mm.log.limit.load(Relaxed) {
        0 => domain.mm.tot_pages.load(Relaxed) / FRAMES_PER_SHADOW,
        limit => limit.into(),
    };
    let most = wanted.clamp(least, MAX_SHADOWS.max(least));
    (most as usize, least as usize)
}

/// Begins to track the domain, or goes on beginning: `args` are the hypercall's.
///
/// # Errors
/// `EINVAL` where it is tracked, `ENOMEM`; `Again`.
pub fn enable(domain: &Domain, args: &[u64; 6]) -> Result<(), Stop> {
    if domain.mm.log.on.load(SeqCst) {
        let job = resume(domain, args).ok_or(Errno::EINVAL)?;
        return carry_on(domain, args, job, &mut xen_domctl_shadow_op::default());
    }
    begin(domain)?;
    let job = Job {
        token: 0,
        step: Step::Mark(Search::Begin),
        found: 0,
    };
    carry_on(domain, args, job, &mut xen_domctl_shadow_op::default())
}

fn begin(domain: &Domain) -> Result<(), Errno> {
    let pages = domain.mm.max_pages.load(Relaxed).max(domain.mm.tot_pages.load(Relaxed));
    // Toolstacks say "no limit" by the greatest number; no domain has more pages than the machine.
    let pages = pages.min(crate::mm::frame::limit()) + SLACK;
    let (most, reserved) = shadows(domain);
    let tracker = Tracker::new(&mut Hardware(domain), pages, most, reserved).map_err(|_| Errno::ENOMEM)?;
    life::pause(domain)?;
    domain.vcpus().for_each(context::unload_everywhere);
    let log = &domain.mm.log;
    *log.state.lock() = Some(Box::new(State { tracker, job: None }));
    log.on.store(true, SeqCst);
    TRACKED.fetch_add(1, SeqCst);
    let done = domain.vcpus().try_for_each(root::take_shadows);
    if done.is_err() {
        leave(domain);
    }
    life::unpause(domain)?;
    log::info!(
        "d{}: its writes are tracked, {pages} pages, {most} shadows at most",
        domain.id
    );
    done
}

/// Ends tracking; nothing where it is not on.
///
/// # Errors
/// `EOVERFLOW` for a domain that cannot be paused once more.
pub fn disable(domain: &Domain) -> Result<(), Errno> {
    if domain.mm.log.on.load(SeqCst) {
        life::pause(domain)?;
        domain.vcpus().for_each(context::unload_everywhere);
        leave(domain);
        life::unpause(domain)?;
    }
    Ok(())
}

/// Ends tracking of a domain whose vcpus have stopped for good and are loaded nowhere.
pub fn end(domain: &Domain) {
    if domain.mm.log.on.load(SeqCst) {
        leave(domain);
    }
}

/// Gives the vcpus, which are loaded nowhere, their own tables again, and the shadows up. CPUs that had a shadow loaded
/// have loaded something else since, and so remember none.
fn leave(domain: &Domain) {
    let log = &domain.mm.log;
    domain.vcpus().for_each(root::leave_shadows);
    log.on.store(false, SeqCst);
    let state = log.state.lock().take();
    TRACKED.fetch_sub(1, SeqCst);
    if let Some(mut state) = state {
        state.tracker.dismantle(&mut Hardware(domain));
    }
}

/// Sets how many frames shadows may take from the next time on that the domain is tracked.
pub fn set_limit(domain: &Domain, frames: u32) {
    domain.mm.log.limit.store(frames, Relaxed);
}

/// Frames that shadows take now, or may take.
pub fn frames(domain: &Domain) -> u64 {
    let now = with(domain, |tracker, _| tracker.frames() as u64);
    now.unwrap_or_else(|| domain.mm.log.limit.load(Relaxed).into())
}

/// Copies the marks out, and ends the round with `clear`.
///
/// # Errors
/// `EINVAL` where the domain is not tracked, `EOVERFLOW` where it writes pages that have no marks, `EFAULT`, after which
/// everything is marked; `Again`.
pub fn round(domain: &Domain, args: &[u64; 6], ask: &mut xen_domctl_shadow_op, clear: bool) -> Result<(), Stop> {
    let overflow = with(domain, |tracker, _| tracker.has_overflown()).ok_or(Errno::EINVAL)?;
    if overflow {
        log::warn!(
            "d{} writes pages with numbers that it cannot have: its writes are lost",
            domain.id
        );
        return Err(Errno::EOVERFLOW.into());
    }
    let job = resume(domain, args).unwrap_or(Job {
        token: 0,
        step: if clear {
            Step::Take { leaf: 0 }
        } else {
            Step::Copy { leaf: 0 }
        },
        found: 0,
    });
    carry_on(domain, args, job, ask)
}

/// The operation that this call continues. One that somebody has left behind is over: what it took is marked again.
fn resume(domain: &Domain, args: &[u64; 6]) -> Option<Job> {
    let mut state = domain.mm.log.state.lock();
    let state = state.as_mut()?;
    let job = state.job.take()?;
    if job.token == args[1] {
        return Some(job);
    }
    if !matches!(job.step, Step::Copy { .. }) {
        state.tracker.mark_all();
    }
    None
}

/// Carries an operation out, as far as time allows.
fn carry_on(domain: &Domain, args: &[u64; 6], mut job: Job, ask: &mut xen_domctl_shadow_op) -> Result<(), Stop> {
    loop {
        job.step = match job.step {
            Step::Copy { leaf } | Step::Take { leaf } => {
                let clear = matches!(job.step, Step::Take { .. });
                job.found = job.found.saturating_add(hand_out(domain, ask, leaf, clear)?);
                match (leaf + 1 < leaves(domain, ask), clear) {
                    (true, true) => Step::Take { leaf: leaf + 1 },
                    (true, false) => Step::Copy { leaf: leaf + 1 },
                    (false, true) => Step::Revoke { shadow: 0 },
                    (false, false) => Step::Done,
                }
            }
            Step::Revoke { shadow } => {
                let next = with(domain, |tracker, m| tracker.revoke(m, shadow, REVOKE)).flatten();
                match next {
                    Some(shadow) => Step::Revoke { shadow },
                    None => {
                        flush::flush_tlb_mask(domain.dirty_cpus.load(SeqCst));
                        Step::Mark(Search::Begin)
                    }
                }
            }
            Step::Mark(at) => holders::mark(domain, at).map_or(Step::Done, Step::Mark),
            Step::Done => {
                ask.stats = xen_domctl_shadow_op_stats {
                    fault_count: with(domain, |tracker, _| tracker.take_faults()).unwrap_or(0),
                    dirty_count: job.found,
                };
                return Ok(());
            }
        };
        if job.step != Step::Done && preempt_needed() {
            return Err(leave_for_later(domain, args, job));
        }
    }
}

fn leave_for_later(domain: &Domain, args: &[u64; 6], mut job: Job) -> Stop {
    job.token = cpu::rdtsc() << 1 | 1;
    let token = job.token;
    if let Some(state) = domain.mm.log.state.lock().as_mut() {
        state.job = Some(job);
    }
    Stop::Again([args[0], token, args[2], args[3], args[4], args[5]])
}

/// How many pages of marks are handed out: as many as the caller has room for, or all where it has none and wants none.
fn leaves(domain: &Domain, ask: &xen_domctl_shadow_op) -> usize {
    let pages = match ask.dirty_bitmap {
        0 => with(domain, |tracker, _| tracker.pages()).unwrap_or(0),
        _ => ask.pages,
    };
    usize::try_from(pages.div_ceil(PAGES_PER_LEAF)).unwrap_or(usize::MAX)
}

/// Copies one page of marks to the caller; answers how many pages are marked in it.
fn hand_out(domain: &Domain, ask: &xen_domctl_shadow_op, leaf: usize, clear: bool) -> Result<u32, Errno> {
    let first = leaf as u64 * PAGES_PER_LEAF;
    let wanted = match ask.dirty_bitmap {
        0 => PAGES_PER_LEAF,
        _ => ask.pages.saturating_sub(first).min(PAGES_PER_LEAF),
    };
    let words = with(domain, |tracker, _| {
        let mut words = if clear { tracker.take(leaf) } else { tracker.peek(leaf) };
        for page in wanted..PAGES_PER_LEAF {
            // Beyond the caller's room: it stays for another time.
            let (word, bit) = ((page / 64) as usize % WORDS, 1 << (page % 64));
            if words[word] & bit != 0 {
                words[word] &= !bit;
                if clear {
                    tracker.mark_page(first + page);
                }
            }
        }
        words
    })
    .ok_or(Errno::EINVAL)?;
    if ask.dirty_bitmap != 0 {
        let bytes = &words.as_bytes()[..wanted.div_ceil(8) as usize];
        let to = GuestPtr::<u8>::new(ask.dirty_bitmap).at(first / 8);
        to.write_slice(bytes).inspect_err(|_| {
            if clear {
                with(domain, |tracker, _| tracker.mark_all());
            }
        })?;
    }
    Ok(words.iter().map(|word| word.count_ones()).sum())
}
