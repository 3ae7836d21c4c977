//! Pools of CPUs: each CPU is in one pool or free, each domain in one pool, on whose CPUs alone its vcpus run.
//!
//! The rules of `XEN_SYSCTL_cpupool_op`, with its errors. Pool 0 is there from the start, with all CPUs and all domains.

use alloc::vec::Vec;
use xen_abi::Errno;

/// Any pool, or any CPU (`XEN_SYSCTL_CPUPOOL_PAR_ANY`).
pub const ANY: u32 = u32::MAX;

/// Most pools: more than there are CPUs would be empty.
const MAX_POOLS: usize = 65;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Pool {
    id: u32,
    cpus: u64,
}

/// The pools, by number.
#[derive(Clone, Debug)]
pub struct Pools {
    /// Pool 0's CPUs.
    first: u64,
    others: Vec<Pool>,
}

impl Default for Pools {
    fn default() -> Self {
        Self::new()
    }
}

impl Pools {
    /// Pool 0, with whatever CPUs there will be.
    pub const fn new() -> Self {
        Self {
            first: u64::MAX,
            others: Vec::new(),
        }
    }

    fn get(&mut self, id: u32) -> Result<&mut u64, Errno> {
        match id {
            0 => Ok(&mut self.first),
            _ => {
                let pool = self.others.iter_mut().find(|pool| pool.id == id);
                pool.map(|pool| &mut pool.cpus).ok_or(Errno::ENOENT)
            }
        }
    }

    /// The CPUs of a pool, those included of pool 0 that the machine has not.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn cpus(&self, id: u32) -> Result<u64, Errno> {
        match id {
            0 => Ok(self.first),
            _ => {
                let pool = self.others.iter().find(|pool| pool.id == id);
                pool.map(|pool| pool.cpus).ok_or(Errno::ENOENT)
            }
        }
    }

    /// The first pool from this number on.
    pub fn next_from(&self, id: u32) -> Option<u32> {
        if id == 0 {
            return Some(0);
        }
        self.others.iter().map(|pool| pool.id).find(|n| *n >= id)
    }

    /// The CPUs of `online` that are in no pool.
    pub fn free(&self, online: u64) -> u64 {
        let taken = self.others.iter().fold(self.first, |all, pool| all | pool.cpus);
        online & !taken
    }

    /// Makes a pool without CPUs, with this number or the one after the last.
    ///
    /// # Errors
    /// `EEXIST`, `ENOMEM`.
    pub fn create(&mut self, id: u32) -> Result<u32, Errno> {
        let after_last = self.others.last().map_or(1, |pool| pool.id.saturating_add(1));
        let id = if id == ANY { after_last } else { id };
        if id == ANY || self.others.len() >= MAX_POOLS {
            return Err(Errno::ENOMEM);
        }
        if self.cpus(id).is_ok() {
            return Err(Errno::EEXIST);
        }
        self.others.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let at = self.others.partition_point(|pool| pool.id < id);
        self.others.insert(at, Pool { id, cpus: 0 });
        Ok(id)
    }

    /// Takes a pool away, which has no CPUs and `domains` domains.
    ///
    /// # Errors
    /// `ENOENT`; `EBUSY` where it has any of these.
    pub fn destroy(&mut self, id: u32, domains: u32) -> Result<(), Errno> {
        if self.cpus(id)? != 0 || domains != 0 {
            return Err(Errno::EBUSY);
        }
        self.others.retain(|pool| pool.id != id);
        Ok(())
    }

    /// Puts a free CPU, or any of those, into a pool.
    ///
    /// # Errors
    /// `EINVAL` for no CPU, `ENODEV` for one that is not free, `ENOENT` for no pool.
    pub fn add(&mut self, id: u32, cpu: u32, online: u64) -> Result<(), Errno> {
        let free = self.free(online);
        let cpu = if cpu == ANY { free.trailing_zeros() } else { cpu };
        let bit = bit(cpu, online)?;
        if free & bit == 0 {
            return Err(Errno::ENODEV);
        }
        *self.get(id)? |= bit;
        Ok(())
    }

    /// Takes a CPU, or the last one, out of a pool that has `domains` domains.
    ///
    /// # Errors
    /// `ENOENT` for no pool, `EINVAL` for no CPU, `ENODEV` for one that is not in the pool; for the last one of a pool with
    /// domains `EBUSY`, and `EINVAL` for that of pool 0.
    pub fn remove(&mut self, id: u32, cpu: u32, domains: u32, online: u64) -> Result<(), Errno> {
        let cpus = self.get(id)?;
        let mine = *cpus & online;
        let cpu = if cpu == ANY {
            mine.checked_ilog2().unwrap_or(ANY)
        } else {
            cpu
        };
        let bit = bit(cpu, online)?;
        if mine & bit == 0 {
            return Err(Errno::ENODEV);
        }
        if mine == bit && domains != 0 {
            return Err(if id == 0 { Errno::EINVAL } else { Errno::EBUSY });
        }
        *cpus &= !bit;
        Ok(())
    }

    /// The CPUs that a domain gets which comes into the pool.
    ///
    /// # Errors
    /// `ENOENT` for no pool, or one without CPUs.
    pub fn join(&self, id: u32, online: u64) -> Result<u64, Errno> {
        let cpus = self.cpus(id)?;
        if cpus & online == 0 {
            Err(Errno::ENOENT)
        } else {
            Ok(cpus)
        }
    }
}

fn bit(cpu: u32, online: u64) -> Result<u64, Errno> {
    let bit = 1u64.checked_shl(cpu).ok_or(Errno::EINVAL)?;
    if online & bit == 0 { Err(Errno::EINVAL) } else { Ok(bit) }
}

/// Where a vcpu may run that wants `wanted`, in a pool with CPUs `pool`: there, or where that is nowhere, anywhere in the
/// pool.
#[inline]
pub const fn allowed(wanted: u64, pool: u64, online: u64) -> u64 {
    if wanted & pool & online == 0 {
        pool
    } else {
        wanted & pool
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const ONLINE: u64 = 0xf;

    #[derive(Clone, Debug)]
    enum Op {
        Create(u32),
        Destroy(u32),
        Add(u32, u32),
        Remove(u32, u32),
        Move(u32, u32),
    }

    fn op() -> impl Strategy<Value = Op> {
        let cpu = || prop_oneof![4 => 0u32..5, 1 => Just(ANY), 1 => Just(64)];
        let pool = || 0u32..4;
        prop_oneof![
            prop_oneof![pool(), Just(ANY)].prop_map(Op::Create),
            pool().prop_map(Op::Destroy),
            (pool(), cpu()).prop_map(|(pool, cpu)| Op::Add(pool, cpu)),
            (pool(), cpu()).prop_map(|(pool, cpu)| Op::Remove(pool, cpu)),
            (0u32..3, pool()).prop_map(|(domain, pool)| Op::Move(domain, pool)),
        ]
    }

    proptest! {
        /// Each CPU is in one pool at most; a domain is always in a pool that has a CPU; what is refused changes nothing.
        #[test]
        fn cpus_are_in_one_pool_and_domains_have_some(ops in proptest::collection::vec(op(), 0..80)) {
            let mut pools = Pools::new();
            let mut domains: BTreeMap<u32, u32> = (0..3).map(|domain| (domain, 0)).collect();
            for op in ops {
                let before = pools.clone();
                let count = |pool: u32| domains.values().filter(|p| **p == pool).count() as u32;
                let done = match op {
                    Op::Create(id) => pools.create(id).map(drop),
                    Op::Destroy(id) => pools.destroy(id, count(id)),
                    Op::Add(id, cpu) => pools.add(id, cpu, ONLINE),
                    Op::Remove(id, cpu) => pools.remove(id, cpu, count(id), ONLINE),
                    Op::Move(domain, id) => pools.join(id, ONLINE).map(|_| domains.extend([(domain, id)])),
                };
                if done.is_err() {
                    prop_assert_eq!(&pools.others, &before.others);
                    prop_assert_eq!(pools.first, before.first);
                }
                let mut seen = pools.free(ONLINE);
                let mut next = Some(0);
                while let Some(id) = next {
                    let cpus = pools.cpus(id).unwrap() & ONLINE;
                    prop_assert_eq!(seen & cpus, 0);
                    seen |= cpus;
                    next = pools.next_from(id + 1);
                }
                prop_assert_eq!(seen, ONLINE);
                for pool in domains.values() {
                    prop_assert!(pools.cpus(*pool).unwrap() & ONLINE != 0);
                }
            }
        }

        /// A vcpu always has a CPU of its domain's pool, and none of another.
        #[test]
        fn vcpus_stay_in_their_pool(wanted: u64, pool in 1u64..16) {
            let mask = allowed(wanted, pool, ONLINE);
            prop_assert!(mask & ONLINE != 0 && mask & !pool == 0);
        }
    }

    #[test]
    fn errors_are_xens() {
        let mut pools = Pools::new();
        assert_eq!(pools.create(0), Err(Errno::EEXIST));
        assert_eq!(pools.create(ANY), Ok(1));
        assert_eq!(pools.add(1, 2, ONLINE), Err(Errno::ENODEV));
        assert_eq!(pools.remove(0, 4, 1, ONLINE), Err(Errno::EINVAL));
        assert_eq!(pools.remove(0, 2, 1, ONLINE), Ok(()));
        assert_eq!(pools.join(1, ONLINE), Err(Errno::ENOENT));
        assert_eq!(pools.add(7, ANY, ONLINE), Err(Errno::ENOENT));
        assert_eq!(pools.add(1, ANY, ONLINE), Ok(()));
        assert_eq!(pools.cpus(1), Ok(4));
        assert_eq!(pools.remove(1, ANY, 1, ONLINE), Err(Errno::EBUSY));
        assert_eq!(pools.destroy(1, 0), Err(Errno::EBUSY));
        assert_eq!(pools.remove(1, ANY, 0, ONLINE), Ok(()));
        assert_eq!(pools.destroy(1, 0), Ok(()));
        assert_eq!(pools.destroy(1, 0), Err(Errno::ENOENT));
        assert_eq!(pools.next_from(1), None);
    }
}
