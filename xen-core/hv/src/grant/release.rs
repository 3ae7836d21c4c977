//! The end of a domain's grants.

use super::{Mapping, Unmapped};
use crate::domain::Domain;
use crate::hypercall::preempt_needed;
use crate::mm::alloc::unshare;
use core::sync::atomic::Ordering::Relaxed;
use xen_logic::grant::maptrack::Next;

/// Handles that are looked at before it is seen whether to stop.
const PORTION: u32 = 64;

/// Ends a dying domain's mappings of others' grants, and gives up its table. `true` if nothing is left; else the
/// caller, who holds no lock, calls it again.
///
/// The domain's vcpus never run again, so what its page tables still map is out of its reach; the frames' references
/// go with the tables.
pub fn release(domain: &Domain) -> bool {
    let mut done = 0;
    while let Some(mapping) = take_mapping(domain) {
        let (lent, device) = mapping.into_parts();
        drop(device);
        drop(Unmapped::new(lent));
        done += 1;
        if done % PORTION == 0 && preempt_needed() {
            return false;
        }
    }
    loop {
        let frame = domain.grants.table.lock().give_up_frame();
        let Some(frame) = frame else { return true };
        unshare(frame);
        done += 1;
        if done % PORTION == 0 && preempt_needed() {
            return false;
        }
    }
}

/// Takes the next of the domain's mappings out. Handles that were passed are free, and stay so.
fn take_mapping(domain: &Domain) -> Option<Mapping> {
    let passed = &domain.grants.released;
    loop {
        let mut mappings = domain.grants.mappings.lock();
        match mappings.next(passed.load(Relaxed), PORTION) {
            Next::Found(handle, _) => {
                passed.store(handle, Relaxed);
                return mappings.remove(handle);
            }
            Next::Later(handle) => passed.store(handle, Relaxed),
            Next::End => return None,
        }
    }
}
