//! Where 32-bit system calls of a vcpu's user space would enter its kernel (`CALLBACKTYPE_syscall32`,
//! `CALLBACKTYPE_sysenter`): kept for guests that come from another hypervisor, and for tools that save them.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// One such entry.
pub struct CompatCallback {
    address: AtomicU64,
    /// `CALLBACKF_mask_events`.
    masks_events: AtomicU32,
}

impl CompatCallback {
    /// None.
    pub const fn new() -> Self {
        Self {
            address: AtomicU64::new(0),
            masks_events: AtomicU32::new(0),
        }
    }

    /// The entry's address, 0 for none, and whether it masks events.
    pub fn get(&self) -> (u64, bool) {
        (self.address.load(Relaxed), self.masks_events.load(Relaxed) != 0)
    }

    /// Sets both.
    pub fn set(&self, address: u64, masks_events: bool) {
        self.address.store(address, Relaxed);
        self.masks_events.store(u32::from(masks_events), Relaxed);
    }
}
