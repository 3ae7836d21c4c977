//! Clocks and timers: system time, what guests are shown of it, and deadlines.

mod area;
pub mod clock;
pub mod pvclock;
pub mod timers;
pub mod wallclock;

pub use area::Area;
pub use clock::now;
pub use wallclock::set_wallclock;

use crate::domain::Domain;
use crate::mm::Mfn;
use crate::sync::Mutex;
use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};
use timers::Timer;

/// Watchdogs of a domain (`SCHEDOP_watchdog`).
pub const WATCHDOGS: usize = 2;

/// A domain's part.
pub struct DomainTime {
    /// Its watchdogs; the number of the bit in `watchdogs_used` is that of the timer.
    pub watchdogs: [Timer; WATCHDOGS],
    /// Which of them are in use.
    pub watchdogs_used: Mutex<u32>,
    /// By how many seconds its time of day is ahead of the machine's.
    pub offset_seconds: AtomicI64,
}

impl DomainTime {
    /// No watchdog runs.
    pub const fn new() -> Self {
        DomainTime {
            watchdogs: [const { Timer::new() }; WATCHDOGS],
            watchdogs_used: Mutex::new(0),
            offset_seconds: AtomicI64::new(0),
        }
    }
}

/// A vcpu's part.
pub struct VcpuTime {
    /// `VCPUOP_set_singleshot_timer` and `set_timer_op`.
    pub singleshot: Timer,
    /// `VCPUOP_set_periodic_timer`.
    pub periodic: Timer,
    /// Its period in nanoseconds.
    pub period: AtomicU64,
    /// The timeout of `SCHEDOP_poll`.
    pub poll: Timer,
    /// Which state of the clock the guest has been shown; see [`pvclock`].
    shown: AtomicU32,
    /// Where the guest wants its run state written.
    pub runstate_area: Mutex<Option<Area>>,
    /// Where the guest wants a second copy of its clock.
    time_area: Mutex<Option<Area>>,
}

impl VcpuTime {
    /// No timer runs, and the guest has seen no clock yet.
    pub const fn new() -> Self {
        VcpuTime {
            singleshot: Timer::new(),
            periodic: Timer::new(),
            period: AtomicU64::new(0),
            poll: Timer::new(),
            shown: AtomicU32::new(0),
            runstate_area: Mutex::new(None),
            time_area: Mutex::new(None),
        }
    }

    /// Calls `f` with the frames of those areas.
    fn held_frames(&self, f: &mut impl FnMut(Mfn)) {
        for area in [&self.runstate_area, &self.time_area] {
            area.lock().iter().flat_map(Area::frames).for_each(&mut *f);
        }
    }

    /// Lets the areas go that show the guest run state and clock; the vcpu does not run any more.
    pub fn release_areas(&self) {
        let areas = (self.runstate_area.lock().take(), self.time_area.lock().take());
        drop(areas);
    }
}

/// Calls `f` with the frames of the domain's that the hypervisor writes times to, at any time.
pub fn held_frames(domain: &Domain, f: &mut impl FnMut(Mfn)) {
    domain.vcpus().for_each(|v| v.time.held_frames(f));
}
