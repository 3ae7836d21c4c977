//! `debug_keys`: what a person asks of the hypervisor by a single key (`xl debug-keys`). Answers go to the console.

use crate::domain::{self, Domain};
use crate::guest::GuestPtr;
use crate::{mm, sched, time};
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::*;

/// Most keys of one request.
const MAX_KEYS: u32 = 16;

/// A key, what it shows, and how.
type Key = (u8, &'static str, fn());

const KEYS: [Key; 4] = [
    (b'h', "show this list", help),
    (b'm', "show memory", memory),
    (b'q', "show domains and their vcpus", domains),
    (b'r', "show run queues", run_queues),
];

/// Does what the keys stand for, in order.
pub(super) fn press(op: &mut xen_sysctl_debug_keys) -> Result<(), Errno> {
    if op.nr_keys > MAX_KEYS {
        return Err(Errno::EINVAL);
    }
    for n in 0..op.nr_keys {
        let key: u8 = GuestPtr::new(op.keys).at(n.into()).read()?;
        match KEYS.iter().find(|(known, ..)| *known == key) {
            Some((_, what, show)) => {
                log::info!("key '{}': {what}", char::from(key));
                show();
            }
            None => log::info!("key {key:#04x} is not known: 'h' shows which are"),
        }
    }
    Ok(())
}

fn help() {
    for (key, what, _) in KEYS {
        log::info!("  '{}'  {what}", char::from(key));
    }
}

fn memory() {
    log::info!("free frames: {}", mm::alloc::free_frames());
    each_domain(|d| {
        let (total, max) = (d.mm.tot_pages.load(Relaxed), d.mm.max_pages.load(Relaxed));
        let shared = d.mm.shared_pages.load(Relaxed);
        log::info!("  d{}: {total} frames of {max}, {shared} shared with it", d.id);
    });
}

fn domains() {
    log::info!("now {} ns", time::now());
    each_domain(|d| {
        let life = &d.life;
        log::info!(
            "  d{}: {:?}, paused {}, shut down {}, CPUs with its translations {:#x}",
            d.id,
            life.stage(),
            life.is_paused(),
            life.is_shut_down(),
            d.dirty_cpus.load(Relaxed)
        );
        for v in d.vcpus() {
            log::info!("    v{}: {}", v.id, sched::Shown(v));
        }
    });
}

/// Calls `show` for each domain, the list not locked.
fn each_domain(mut show: impl FnMut(&Domain)) {
    let mut from = Some(0);
    while let Some(domain) = from.and_then(domain::next_from) {
        show(&domain);
        from = domain.id.checked_add(1);
    }
}

fn run_queues() {
    sched::show_queues();
}
