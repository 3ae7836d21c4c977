//! Pools of CPUs: made, filled, joined, and taken apart again, with Xen's errors.
use crate::control::{Domain, cpupool, is};
use guest_rt::check;
use xen_abi::*;

const ANY: u32 = u32::MAX;

fn ask(op: u32, cpupool_id: u32) -> xen_sysctl_cpupool_op {
    xen_sysctl_cpupool_op {
        op,
        cpupool_id,
        sched_id: XEN_SCHEDULER_CREDIT2,
        cpu: ANY,
        ..Default::default()
    }
}

/// An operation on a pool, with this CPU and this domain.
fn operate(op: u32, pool: u32, cpu: u32, domid: u16) -> i64 {
    cpupool(&mut xen_sysctl_cpupool_op {
        cpu,
        domid: domid.into(),
        ..ask(op, pool)
    })
}

/// Domains and CPUs of the first pool from this number on, and its number.
fn info(pool: u32) -> Result<(u32, u32, u64), i64> {
    let mut cpus = 0u64;
    let mut op = ask(XEN_SYSCTL_CPUPOOL_OP_INFO, pool);
    op.cpumap = map_of(&mut cpus);
    match cpupool(&mut op) {
        0 => Ok((op.cpupool_id, op.n_dom, cpus)),
        errno => Err(errno),
    }
}

fn map_of(cpus: &mut u64) -> xenctl_bitmap {
    xenctl_bitmap {
        bitmap: core::ptr::from_mut(cpus) as u64,
        nr_bits: 64,
        ..Default::default()
    }
}

fn free() -> u64 {
    let mut cpus = 0;
    let mut op = ask(XEN_SYSCTL_CPUPOOL_OP_FREEINFO, 0);
    op.cpumap = map_of(&mut cpus);
    assert!(cpupool(&mut op) == 0, "freeinfo");
    cpus
}

fn refused(domain: Domain) {
    let errno = |answer, errno| is(answer, errno);
    check!("pools/first", info(0) == Ok((0, 2, 3)), "{:?}", info(0));
    check!("pools/no-free", free() == 0, "{:x}", free());
    let answers = [
        errno(operate(XEN_SYSCTL_CPUPOOL_OP_CREATE, 0, 0, 0), Errno::EEXIST),
        errno(operate(XEN_SYSCTL_CPUPOOL_OP_DESTROY, 7, 0, 0), Errno::ENOENT),
        errno(operate(XEN_SYSCTL_CPUPOOL_OP_DESTROY, 0, 0, 0), Errno::EBUSY),
        errno(operate(XEN_SYSCTL_CPUPOOL_OP_ADDCPU, 0, 1, 0), Errno::ENODEV),
        errno(operate(XEN_SYSCTL_CPUPOOL_OP_ADDCPU, 0, 99, 0), Errno::EINVAL),
        errno(operate(XEN_SYSCTL_CPUPOOL_OP_RMCPU, 7, 0, 0), Errno::ENOENT),
        errno(operate(XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, 7, 0, domain.0), Errno::ENOENT),
        errno(operate(XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, 0, 0, 0), Errno::EPERM),
        errno(operate(XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, 0, 0, 0x7000), Errno::ESRCH),
    ];
    check!("pools/refused", answers == [true; 9], "{answers:?}");
    let mut other = ask(XEN_SYSCTL_CPUPOOL_OP_CREATE, ANY);
    other.sched_id = XEN_SCHEDULER_CREDIT;
    let answer = cpupool(&mut other);
    check!("pools/scheduler", is(answer, Errno::ENOENT), "{answer}");
}

fn used(domain: Domain) {
    let mut new = ask(XEN_SYSCTL_CPUPOOL_OP_CREATE, ANY);
    let answer = cpupool(&mut new);
    let pool = new.cpupool_id;
    check!("pools/create", answer == 0 && pool != 0, "{answer}, {pool}");
    check!("pools/empty", info(1) == Ok((pool, 0, 0)), "{:?}", info(1));
    let answer = operate(XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, pool, 0, domain.0);
    check!("pools/no-cpus", is(answer, Errno::ENOENT), "{answer}");
    // This kernel goes to the other CPU, and cannot give that away, too.
    let answer = operate(XEN_SYSCTL_CPUPOOL_OP_RMCPU, 0, 0, 0);
    check!("pools/remove", answer == 0 && free() == 1, "{answer}");
    let answer = operate(XEN_SYSCTL_CPUPOOL_OP_RMCPU, 0, 1, 0);
    check!("pools/last", is(answer, Errno::EINVAL), "{answer}");
    let answer = operate(XEN_SYSCTL_CPUPOOL_OP_ADDCPU, pool, ANY, 0);
    check!("pools/add", answer == 0 && info(1) == Ok((pool, 0, 1)), "{answer}");
    let answer = operate(XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, pool, 0, domain.0);
    let told = domain.info().map_or(0, |info| info.cpupool);
    check!("pools/move", answer == 0 && told == pool, "{answer}, in pool {told}");
    check!("pools/one-each", info(0) == Ok((0, 1, 2)), "{:?}", info(0));
    let answer = operate(XEN_SYSCTL_CPUPOOL_OP_RMCPU, pool, 0, 0);
    check!("pools/in-use", is(answer, Errno::EBUSY), "{answer}");
    let answer = operate(XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, 0, 0, domain.0);
    check!("pools/move-back", answer == 0, "{answer}");
    let answers = [
        operate(XEN_SYSCTL_CPUPOOL_OP_RMCPU, pool, ANY, 0),
        operate(XEN_SYSCTL_CPUPOOL_OP_DESTROY, pool, 0, 0),
        operate(XEN_SYSCTL_CPUPOOL_OP_ADDCPU, 0, 0, 0),
    ];
    check!(
        "pools/as-before",
        answers == [0; 3] && info(0) == Ok((0, 2, 3)),
        "{answers:?}"
    );
    check!("pools/gone", info(1).is_err(), "{:?}", info(1));
}

pub fn run() {
    let domain = Domain::create(1);
    refused(domain);
    used(domain);
    domain.destroy();
    check!("pools/ended", domain.is_gone(), "still there");
}
