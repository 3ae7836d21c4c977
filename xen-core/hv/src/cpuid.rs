//! CPUID: what the machine says, what a domain is shown of it, and what a toolstack has taken away.

use crate::arch::x86::{fpu, segment};
use crate::domain::{Domain, Vcpu};
use crate::mm::frame;
use crate::sync::Mutex;
use crate::time::clock;
use core::arch::x86_64::__cpuid_count;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use xen_logic::cpuid::policy::Restriction;
use xen_logic::cpuid::{Clock, Leaf, Viewer, guest_leaf};

const CR4_OSXSAVE: u64 = 1 << 18;

/// A domain's part.
pub struct DomainCpuid {
    /// What its toolstack leaves of it.
    restriction: Mutex<Restriction>,
    /// There is anything in that.
    is_restricted: AtomicBool,
}

impl DomainCpuid {
    /// Nothing is taken away.
    pub const fn new() -> Self {
        Self {
            restriction: Mutex::new(Restriction::NONE),
            is_restricted: AtomicBool::new(false),
        }
    }

    /// Leaves only that from now on.
    pub fn restrict(&self, restriction: Restriction) {
        *self.restriction.lock() = restriction;
        self.is_restricted.store(true, Relaxed);
    }
}

/// What the machine says.
pub fn raw(leaf: u32, subleaf: u32) -> Leaf {
    let r = __cpuid_count(leaf, subleaf);
    Leaf {
        a: r.eax,
        b: r.ebx,
        c: r.ecx,
        d: r.edx,
    }
}

/// What the code that runs on a vcpu is shown; `kernel` where that is the guest's kernel.
pub fn of_vcpu(v: &Vcpu, kernel: bool, leaf: u32, subleaf: u32) -> Leaf {
    // Linux asks for OSXSAVE before it sets CR4, and takes it for a promise that XSAVE is there.
    let osxsave = fpu::xcr0_all() != 0 && (kernel || v.cpu.cr4.load(Relaxed) & CR4_OSXSAVE != 0);
    restricted(v.domain(), viewer(v.domain().privileged, v.id, osxsave), leaf, subleaf)
}

/// What a domain is shown, its vcpus' state aside.
pub fn of_domain(domain: &Domain, leaf: u32, subleaf: u32) -> Leaf {
    restricted(domain, viewer(domain.privileged, 0, false), leaf, subleaf)
}

/// What a domain is shown that has the machine's drivers, or (`false`) one that has not, if nothing is taken away.
pub fn of_guests(hardware_domain: bool, leaf: u32, subleaf: u32) -> Leaf {
    guest_leaf(raw, &viewer(hardware_domain, 0, false), leaf, subleaf)
}

fn restricted(domain: &Domain, viewer: Viewer, leaf: u32, subleaf: u32) -> Leaf {
    let shown = guest_leaf(raw, &viewer, leaf, subleaf);
    if !domain.cpuid.is_restricted.load(Relaxed) {
        return shown;
    }
    domain.cpuid.restriction.lock().apply(leaf, subleaf, shown)
}

fn viewer(hardware_domain: bool, vcpu_id: u32, osxsave: bool) -> Viewer {
    Viewer {
        hardware_domain,
        vcpu_id,
        osxsave,
        fsgsbase: segment::has_fsgsbase(),
        clock: clock_facts(),
        machine_address_bits: (64 - (frame::limit() - 1).leading_zeros() + 12) as u8,
    }
}

fn clock_facts() -> Clock {
    let rate = clock::rate();
    Clock {
        reliable: clock::is_stable() && clock::is_invariant(),
        khz: (clock::tsc_hz() / 1000) as u32,
        multiplier: rate.mul,
        shift: rate.shift,
    }
}
