//! Operations for tools that write a domain down, and make it again from that.

use alloc::vec::Vec;

use crate::DomId;
use crate::error::Result;

/// A part of a vcpu's state that is a list of bytes whose meaning is the hypervisor's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VcpuPart {
    /// Callbacks of 32-bit code and machine-check banks (`ext_vcpucontext`).
    Extended,
    /// Extended processor state (`vcpuextstate`).
    Xsave,
    /// Model-specific registers (`vcpu_msrs`), 16 bytes each.
    Msrs,
}

/// How a domain's time-stamp counter behaves (`xen_domctl_tsc_info`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TscInfo {
    /// `XEN_CPUID_TSC_MODE_*`: 0 default, 1 always emulated, 2 native.
    pub mode: u32,
    /// Its frequency in kHz.
    pub khz: u32,
    /// How often the domain has been restored.
    pub incarnation: u32,
    /// Nanoseconds since the domain began.
    pub elapsed_ns: u64,
}

/// CPUID and MSR policy of a domain, as arrays of `xen_cpuid_leaf` (24 bytes) and `xen_msr_entry` (16 bytes).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CpuPolicy {
    /// The leaves.
    pub leaves: Vec<u8>,
    /// The MSRs.
    pub msrs: Vec<u8>,
}

/// What the log of dirty frames is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirtyLog {
    /// What has been written since the last time, and begin anew.
    Clean,
    /// The same without beginning anew.
    Peek,
}

/// Saving and restoring. Every operation fails with `ESRCH` for a domain that does not exist.
#[allow(clippy::missing_errors_doc)]
pub trait Migration {
    /// What machine frames of a domain are used as: `XEN_DOMCTL_PFINFO_*`, one for each.
    fn page_types(&self, domid: DomId, mfns: &[u64]) -> Result<Vec<u32>>;
    /// A part of a vcpu's state; empty where there is none.
    fn vcpu_part(&self, domid: DomId, vcpu: u32, part: VcpuPart) -> Result<Vec<u8>>;
    /// Sets a part of a vcpu's state, as it was given.
    fn set_vcpu_part(&self, domid: DomId, vcpu: u32, part: VcpuPart, bytes: &[u8]) -> Result<()>;
    /// How the domain's TSC behaves.
    fn tsc_info(&self, domid: DomId) -> Result<TscInfo>;
    /// Sets how the domain's TSC behaves, its elapsed time and incarnation included.
    fn restore_tsc_info(&self, domid: DomId, info: &TscInfo) -> Result<()>;
    /// What CPUs the domain is shown.
    fn cpu_policy(&self, domid: DomId) -> Result<CpuPolicy>;
    /// Sets what CPUs the domain is shown.
    fn set_cpu_policy(&self, domid: DomId, policy: &CpuPolicy) -> Result<()>;
    /// Begins or ends to log which frames are written.
    fn log_dirty(&self, domid: DomId, on: bool) -> Result<()>;
    /// Fills `bitmap`, a bit for each pfn from 0 on, with what was written; the number of bits that the hypervisor
    /// filled.
    fn dirty_pages(&self, domid: DomId, what: DirtyLog, bitmap: &mut [u64]) -> Result<u64>;
}
