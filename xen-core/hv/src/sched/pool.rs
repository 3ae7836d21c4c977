//! Pools of CPUs; the rules are `xen_logic::cpupool`'s.
//!
//! A domain keeps its pool's number and CPUs; both change with the pools locked. A vcpu runs where its own affinity and
//! the pool's CPUs allow it ([`super::affinity`]).

use super::{affinity, online};
use crate::domain::{self, Domain};
use crate::sync::Mutex;
use core::sync::atomic::Ordering::SeqCst;
use xen_abi::Errno;
use xen_logic::cpupool::Pools;

/// All pools. Taken before the list of domains, and before queues.
static POOLS: Mutex<Pools> = Mutex::new(Pools::new());

/// What `cpupool_op` tells of a pool.
pub struct PoolInfo {
    /// Its number.
    pub id: u32,
    /// Its CPUs.
    pub cpus: u64,
    /// How many domains it has.
    pub domains: u32,
}

fn domains_in(id: u32) -> u32 {
    let mut count = 0;
    domain::for_each(|d| count += u32::from(!d.is_idle() && pool_of(d) == id));
    count
}

/// The number of a domain's pool.
pub fn pool_of(domain: &Domain) -> u32 {
    domain.sched.pool.load(SeqCst)
}

/// The first pool from number `id` on.
pub fn pool_info(id: u32) -> Option<PoolInfo> {
    let pools = POOLS.lock();
    let id = pools.next_from(id)?;
    Some(PoolInfo {
        id,
        cpus: pools.cpus(id).ok()? & online(),
        domains: domains_in(id),
    })
}

/// Is there a pool of this number?
pub fn is_pool(id: u32) -> bool {
    POOLS.lock().cpus(id).is_ok()
}

/// CPUs that are in no pool.
pub fn free_cpus() -> u64 {
    POOLS.lock().free(online())
}

/// Makes a pool without CPUs; its number, which is the one asked for or the next.
///
/// # Errors
/// `EEXIST`, `ENOMEM`.
pub fn create_pool(id: u32) -> Result<u32, Errno> {
    POOLS.lock().create(id)
}

/// Takes a pool away that has neither CPUs nor domains.
///
/// # Errors
/// `ENOENT`, `EBUSY`.
pub fn destroy_pool(id: u32) -> Result<(), Errno> {
    let mut pools = POOLS.lock();
    let domains = domains_in(id);
    pools.destroy(id, domains)
}

/// Puts a free CPU into a pool.
///
/// # Errors
/// As [`Pools::add`].
pub fn add_cpu(id: u32, cpu: u32) -> Result<(), Errno> {
    let mut pools = POOLS.lock();
    pools.add(id, cpu, online())?;
    spread(&pools, id);
    Ok(())
}

/// Takes a CPU out of a pool; what runs there goes elsewhere.
///
/// # Errors
/// As [`Pools::remove`].
pub fn remove_cpu(id: u32, cpu: u32) -> Result<(), Errno> {
    let mut pools = POOLS.lock();
    let domains = domains_in(id);
    pools.remove(id, cpu, domains, online())?;
    spread(&pools, id);
    Ok(())
}

/// Tells the domains of a pool which CPUs it has now.
fn spread(pools: &Pools, id: u32) {
    if let Ok(cpus) = pools.cpus(id) {
        domain::for_each(|d| {
            if !d.is_idle() && pool_of(d) == id {
                give(d, id, cpus);
            }
        });
    }
}

fn give(domain: &Domain, id: u32, cpus: u64) {
    domain.sched.pool.store(id, SeqCst);
    domain.sched.cpus.store(cpus, SeqCst);
    domain.vcpus().for_each(affinity::apply);
}

/// Moves a domain into a pool; its vcpus may run on all CPUs of that.
///
/// # Errors
/// `ENOENT` for no pool, or one without CPUs.
pub fn move_domain(domain: &Domain, id: u32) -> Result<(), Errno> {
    let pools = POOLS.lock();
    if pool_of(domain) == id {
        return Ok(());
    }
    let cpus = pools.join(id, online())?;
    domain.vcpus().for_each(affinity::forget_wishes);
    give(domain, id, cpus);
    Ok(())
}
