//! What a toolstack asks the hypervisor for.
use guest_rt::hypercall::hypercall;
use guest_rt::pages::{self, Page};
use xen_abi::*;

/// A hypercall whose pointers are the caller's own.
pub fn call(number: u64, args: [u64; 6]) -> i64 {
    // SAFETY: pointers passed here come from references to live values of this kernel, and the mappings that change are
    // those of pool pages that only the calling test uses.
    unsafe { hypercall(number, args) }
}

fn at<T>(value: &mut T) -> u64 {
    core::ptr::from_mut(value) as u64
}

/// A `domctl` about `domain`; what comes back stands in the request.
fn domctl(cmd: u32, domain: u16, prepare: impl FnOnce(&mut xen_domctl)) -> (i64, xen_domctl) {
    let mut request = xen_domctl {
        cmd,
        interface_version: XEN_DOMCTL_INTERFACE_VERSION,
        domain,
        ..Default::default()
    };
    prepare(&mut request);
    let answer = call(__HYPERVISOR_domctl, [at(&mut request), 0, 0, 0, 0, 0]);
    (answer, request)
}

/// A domain that this kernel has made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Domain(pub u16);

impl Domain {
    /// Makes one that may have `pages` frames; it stays paused.
    pub fn create(pages: u64) -> Domain {
        let properties = xen_domctl_createdomain {
            handle: [7; 16],
            max_vcpus: 1,
            max_evtchn_port: u32::MAX,
            max_grant_frames: 4,
            max_maptrack_frames: 4,
            grant_opts: 1,
            ..Default::default()
        };
        let (answer, request) = domctl(XEN_DOMCTL_createdomain, 0, |r| r.set_payload(&properties));
        assert!(answer == 0, "createdomain: {answer}");
        let domain = Domain(request.domain);
        let answer = domain.set_max(pages);
        assert!(answer == 0, "max_mem: {answer}");
        domain
    }

    /// Sets how many frames it may have.
    pub fn set_max(self, pages: u64) -> i64 {
        let limit = xen_domctl_max_mem { max_memkb: pages * 4 };
        domctl(XEN_DOMCTL_max_mem, self.0, |r| r.set_payload(&limit)).0
    }

    /// Ends it.
    pub fn destroy(self) -> i64 {
        domctl(XEN_DOMCTL_destroydomain, self.0, |_| ()).0
    }

    /// What the hypervisor says about it; `None` once there is no such domain.
    pub fn info(self) -> Option<xen_domctl_getdomaininfo> {
        let (answer, request) = domctl(XEN_DOMCTL_getdomaininfo, self.0, |_| ());
        (answer == 0 && request.domain == self.0).then(|| request.payload())
    }

    /// Is it gone? What is left to do for that may take a moment.
    pub fn is_gone(self) -> bool {
        (0..1000).any(|_| self.info().is_none())
    }

    /// How many frames it owns.
    pub fn pages(self) -> u64 {
        self.info().map_or(0, |info| info.tot_pages)
    }

    /// Gives it a frame for each number of `list`, which the frames replace; how many.
    pub fn populate(self, list: &mut [u64]) -> i64 {
        self.reserve(XENMEM_populate_physmap, list)
    }

    /// Takes frames from it; how many.
    pub fn decrease(self, list: &mut [u64]) -> i64 {
        self.reserve(XENMEM_decrease_reservation, list)
    }

    fn reserve(self, op: u32, list: &mut [u64]) -> i64 {
        let mut request = xen_memory_reservation {
            extent_start: list.as_mut_ptr() as u64,
            nr_extents: list.len() as u64,
            domid: self.0,
            ..Default::default()
        };
        memory_op(op, &mut request)
    }

    /// Claims frames for it.
    pub fn claim(self, pages: u64) -> i64 {
        let mut request = xen_memory_reservation {
            nr_extents: pages,
            domid: self.0,
            ..Default::default()
        };
        memory_op(XENMEM_claim_pages, &mut request)
    }

    /// Gives it a vcpu, which stays without context.
    pub fn add_vcpu(self) -> i64 {
        let ask = xen_domctl_max_vcpus { max: 1 };
        domctl(XEN_DOMCTL_max_vcpus, self.0, |r| r.set_payload(&ask)).0
    }

    /// Maps its frame at a page of this kernel's, for which the CPU remembers nothing then; the hypervisor's answer.
    pub fn map(self, page: &Page, mfn: u64, bits: u64) -> i64 {
        let answer = update_as(self.0, entry_of(page), mfn << 12 | bits);
        pages::extended(MMUEXT_INVLPG_LOCAL, page.address(), 0);
        answer
    }

    /// An extended operation on one of its frames.
    pub fn extended(self, cmd: u32, mfn: u64) -> i64 {
        let mut op = mmuext_op {
            cmd,
            arg1: mfn,
            ..Default::default()
        };
        call(__HYPERVISOR_mmuext_op, [at(&mut op), 1, 0, self.0.into(), 0, 0])
    }

    /// A `shadow_op`; what it answers stands in the request.
    pub fn shadow_op(self, ask: &mut xen_domctl_shadow_op) -> i64 {
        let (answer, request) = domctl(XEN_DOMCTL_shadow_op, self.0, |r| r.set_payload(ask));
        *ask = request.payload();
        answer
    }

    /// What a frame is used as, by `getpageframeinfo3`.
    pub fn frame_type(self, mfn: u64) -> u64 {
        let mut word = mfn;
        let ask = xen_domctl_getpageframeinfo3 {
            num: 1,
            array: at(&mut word),
        };
        let (answer, _) = domctl(XEN_DOMCTL_getpageframeinfo3, self.0, |r| r.set_payload(&ask));
        assert!(answer == 0, "getpageframeinfo3: {answer}");
        word & XEN_DOMCTL_PFINFO_LTAB_MASK
    }
}

/// A `memory_op` with its argument.
pub fn memory_op<T>(op: u32, argument: &mut T) -> i64 {
    call(__HYPERVISOR_memory_op, [op.into(), at(argument), 0, 0, 0, 0])
}

/// The machine address of the entry that maps a pool page.
pub fn entry_of(page: &Page) -> u64 {
    pages::entry_address(pages::boot_root(), page.address(), 1).expect("the image is mapped")
}

/// One `mmu_update` whose frame is `owner`'s; the last argument as a whole.
pub fn update_as(owner: u16, ptr: u64, val: u64) -> i64 {
    update_with(owner.into(), ptr, val)
}

/// One `mmu_update` with this last argument.
pub fn update_with(owners: u64, ptr: u64, val: u64) -> i64 {
    let mut request = mmu_update { ptr, val };
    call(__HYPERVISOR_mmu_update, [at(&mut request), 1, 0, owners, 0, 0])
}

/// Maps a pool page's own frame there again.
pub fn restore(page: &Page) -> i64 {
    pages::map(page.address(), page.mfn(), pages::PTE_DATA)
}

/// A `cpupool_op`; what it answers stands in the request.
pub fn cpupool(op: &mut xen_sysctl_cpupool_op) -> i64 {
    let mut request = xen_sysctl {
        cmd: XEN_SYSCTL_cpupool_op,
        interface_version: XEN_SYSCTL_INTERFACE_VERSION,
        ..Default::default()
    };
    request.set_payload(op);
    let answer = call(__HYPERVISOR_sysctl, [at(&mut request), 0, 0, 0, 0, 0]);
    *op = request.payload();
    answer
}

/// What the hypervisor says of the machine's memory.
pub fn physinfo() -> xen_sysctl_physinfo {
    let mut request = xen_sysctl {
        cmd: XEN_SYSCTL_physinfo,
        interface_version: XEN_SYSCTL_INTERFACE_VERSION,
        ..Default::default()
    };
    let answer = call(__HYPERVISOR_sysctl, [at(&mut request), 0, 0, 0, 0, 0]);
    assert!(answer == 0, "physinfo: {answer}");
    request.payload()
}

/// Frames that are free or waiting to be scrubbed, once that stays the same: what is left of a domain that has ended goes
/// when every CPU has noticed, which takes one that the machine below gives no time for longer than the others.
pub fn free_pages() -> u64 {
    let mut last = 0;
    let mut same = 0;
    while same < 4000 {
        let info = physinfo();
        let now = info.free_pages + info.scrub_pages;
        same = if now == last { same + 1 } else { 0 };
        last = now;
        guest_rt::hypercall::sched_op(SCHEDOP_yield, &mut ());
    }
    last
}

/// A list of guest frame numbers from 0 on.
pub fn numbers<const N: usize>() -> [u64; N] {
    core::array::from_fn(|n| n as u64)
}

/// Is the answer this errno?
pub fn is(answer: i64, errno: Errno) -> bool {
    answer == -i64::from(errno.0)
}
