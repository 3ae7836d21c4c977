use super::{DEFAULT_WEIGHT, MAX_WEIGHT};

/// What the policy knows of a vcpu. Guarded by the lock of the queue it belongs to.
#[derive(Clone, Debug)]
pub struct Entity {
    /// Virtual time used, on the clock of its queue.
    pub vtime: u64,
    weight: u32,
    /// 2^32 * default weight / weight, so that a charge is one multiplication.
    rate: u64,
    /// The CPUs it may run on.
    pub affinity: u64,
}

impl Entity {
    /// One that has not run yet and may run anywhere.
    pub const fn new() -> Self {
        Entity {
            vtime: 0,
            weight: DEFAULT_WEIGHT,
            rate: 1 << 32,
            affinity: u64::MAX,
        }
    }

    /// Its weight.
    pub const fn weight(&self) -> u32 {
        self.weight
    }

    /// Sets its weight, clamped to what the interface allows.
    pub fn set_weight(&mut self, weight: u32) {
        self.weight = weight.clamp(1, MAX_WEIGHT);
        self.rate = ((DEFAULT_WEIGHT as u64) << 32) / self.weight as u64;
    }

    /// What `ran` nanoseconds cost it in virtual time.
    #[inline]
    pub fn cost(&self, ran: u64) -> u64 {
        ((ran as u128 * self.rate as u128) >> 32) as u64
    }

    /// Accounts for `ran` nanoseconds on a CPU.
    #[inline]
    pub fn charge(&mut self, ran: u64) {
        self.vtime = self.vtime.wrapping_add(self.cost(ran));
    }

    /// May it run on `cpu`?
    #[inline]
    pub const fn allows(&self, cpu: usize) -> bool {
        self.affinity >> (cpu % 64) & 1 != 0
    }
}

impl Default for Entity {
    fn default() -> Self {
        Self::new()
    }
}
