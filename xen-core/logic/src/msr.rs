//! Which model-specific registers a paravirtual guest may read and write, and what it gets.
//!
//! `xen-hv` does what the answer says; only registers that the policy names are ever touched for a guest.

/// What the answer depends on.
#[derive(Clone, Copy, Debug)]
pub struct Viewer {
    /// The domain is the hardware domain.
    pub hardware_domain: bool,
    /// The vcpu is number 0.
    pub boot_vcpu: bool,
    /// The processor is AMD's or Hygon's.
    pub amd: bool,
    /// CPUID shows `IA32_ARCH_CAPABILITIES`.
    pub arch_capabilities: bool,
    /// CPUID shows prediction barriers (`IA32_PRED_CMD`).
    pub prediction_barrier: bool,
    /// CPUID shows RDTSCP or RDPID.
    pub tsc_aux: bool,
    /// CPUID shows machine-check registers.
    pub machine_check: bool,
}

/// Answer to a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// This value.
    Value(u64),
    /// The machine's register, with these bits kept.
    Machine(u64),
    /// The machine's EFER, without what only the hypervisor uses.
    Efer,
    /// One of the guest's own registers.
    Guest(GuestReg),
    /// #GP; `known` where that is no surprise, and makes no line in the log.
    Fault {
        /// Guests probe for it.
        known: bool,
    },
}

/// Answer to a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Write {
    /// Nothing happens.
    Ignore,
    /// Nothing happens if the value is what a read gives; #GP otherwise.
    IfSame,
    /// Goes to the machine's register if no bit outside this mask is set; #GP otherwise.
    Machine(u64),
    /// One of the guest's own registers; the value is valid for it.
    Guest(GuestReg),
    /// Fills a hypercall page in the named frame.
    HypercallPage(u64),
    /// #GP; `known` as for reads.
    Fault {
        /// Guests probe for it.
        known: bool,
    },
}

/// Registers whose values belong to the vcpu.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum GuestReg {
    FsBase,
    GsBase,
    ShadowGsBase,
    TscAux,
    Tsc,
}

mod nr {
    pub(super) const TSC: u32 = 0x10;
    pub(super) const PLATFORM_ID: u32 = 0x17;
    pub(super) const APIC_BASE: u32 = 0x1b;
    pub(super) const FEATURE_CONTROL: u32 = 0x3a;
    pub(super) const SPEC_CTRL: u32 = 0x48;
    pub(super) const PRED_CMD: u32 = 0x49;
    pub(super) const UCODE_REVISION: u32 = 0x8b;
    pub(super) const PLATFORM_INFO: u32 = 0xce;
    pub(super) const MTRR_CAP: u32 = 0xfe;
    pub(super) const ARCH_CAPABILITIES: u32 = 0x10a;
    pub(super) const MISC_FEATURES_ENABLES: u32 = 0x140;
    pub(super) const MCG_CAP: u32 = 0x179;
    pub(super) const MCG_STATUS: u32 = 0x17a;
    pub(super) const MCG_CTL: u32 = 0x17b;
    pub(super) const MISC_ENABLE: u32 = 0x1a0;
    pub(super) const DEBUG_CTL: u32 = 0x1d9;
    pub(super) const MTRR_FIRST_VARIABLE: u32 = 0x200;
    pub(super) const MTRR_LAST_VARIABLE: u32 = 0x21f;
    pub(super) const MTRR_FIX_64K: u32 = 0x250;
    pub(super) const MTRR_FIX_16K_0: u32 = 0x258;
    pub(super) const MTRR_FIX_16K_1: u32 = 0x259;
    pub(super) const MTRR_FIRST_FIX_4K: u32 = 0x268;
    pub(super) const MTRR_LAST_FIX_4K: u32 = 0x26f;
    pub(super) const PAT: u32 = 0x277;
    pub(super) const MTRR_DEF_TYPE: u32 = 0x2ff;
    pub(super) const MC_FIRST: u32 = 0x400;
    pub(super) const MC_LAST: u32 = 0x47f;
    pub(super) const X2APIC_FIRST: u32 = 0x800;
    pub(super) const X2APIC_LAST: u32 = 0x8ff;
    pub(super) const HYPERCALL_PAGE: u32 = crate::cpuid::HYPERCALL_MSR;
    pub(super) const BNDCFGS: u32 = 0xd90;
    pub(super) const XSS: u32 = 0xda0;
    pub(super) const EFER: u32 = 0xc000_0080;
    pub(super) const FS_BASE: u32 = 0xc000_0100;
    pub(super) const GS_BASE: u32 = 0xc000_0101;
    pub(super) const SHADOW_GS_BASE: u32 = 0xc000_0102;
    pub(super) const TSC_AUX: u32 = 0xc000_0103;
    pub(super) const K8_SYSCFG: u32 = 0xc001_0010;
    pub(super) const K8_HWCR: u32 = 0xc001_0015;
    pub(super) const K8_TOP_MEM1: u32 = 0xc001_001a;
    pub(super) const K8_TOP_MEM2: u32 = 0xc001_001d;
    pub(super) const K8_INT_PENDING: u32 = 0xc001_0055;
    pub(super) const K8_VM_CR: u32 = 0xc001_0114;
    pub(super) const OSVW_LENGTH: u32 = 0xc001_0140;
    pub(super) const OSVW_STATUS: u32 = 0xc001_0141;
    pub(super) const DR1_MASK: u32 = 0xc001_1019;
    pub(super) const DR0_MASK: u32 = 0xc001_1027;
    pub(super) const AMD64_DE_CFG: u32 = 0xc001_1029;
}

/// Enabled, at its usual place.
const APIC_BASE_VALUE: u64 = 0xfee0_0800;
const APIC_BASE_BOOT_CPU: u64 = 1 << 8;
/// Locked with nothing on.
const FEATURE_CONTROL_LOCKED: u64 = 1;
/// Fast strings are on; branch trace and precise sampling are not there.
const MISC_ENABLE_VALUE: u64 = 1 << 0 | 1 << 11 | 1 << 12;
/// rdcl_no eibrs skip_l1dfl ssb_no mds_no if_pschange_mc_no taa_no doitm sbdr_ssdp_no fbsdp_no psdp_no.
const ARCH_CAPABILITIES_SHOWN: u64 = 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 15;
/// A guest may have CPUID fault in its user space.
const PLATFORM_INFO_CPUID_FAULTING: u64 = 1 << 31;
/// The TSC counts at the P0 frequency.
const HWCR_TSC_FREQ_SEL: u64 = 1 << 24;
/// SVM is off, and cannot be turned on.
const VM_CR_SVM_DISABLED: u64 = 1 << 4;
/// LFENCE waits for what is before it.
const DE_CFG_LFENCE_SERIALISES: u64 = 1 << 1;
/// `IA32_PRED_CMD`: indirect branch prediction barrier.
const PRED_CMD_IBPB: u64 = 1;

/// Whether all bits above 46 are alike.
#[inline]
pub fn is_canonical(address: u64) -> bool {
    ((address as i64) << 16 >> 16) as u64 == address
}

/// The segment base that `msr` is, if it is one: asked first, since guests read them at each change of process.
#[inline]
pub fn segment_base(msr: u32) -> Option<GuestReg> {
    match msr {
        nr::FS_BASE => Some(GuestReg::FsBase),
        nr::GS_BASE => Some(GuestReg::GsBase),
        nr::SHADOW_GS_BASE => Some(GuestReg::ShadowGsBase),
        _ => None,
    }
}

/// What `rdmsr` of `msr` gives.
pub fn read(msr: u32, viewer: &Viewer) -> Read {
    let known = Read::Fault { known: true };
    let only_if = |shown, answer| if shown { answer } else { known };
    match msr {
        nr::FS_BASE => Read::Guest(GuestReg::FsBase),
        nr::GS_BASE => Read::Guest(GuestReg::GsBase),
        nr::SHADOW_GS_BASE => Read::Guest(GuestReg::ShadowGsBase),
        nr::TSC => Read::Guest(GuestReg::Tsc),
        nr::TSC_AUX => only_if(viewer.tsc_aux, Read::Guest(GuestReg::TscAux)),
        nr::EFER => Read::Efer,
        nr::PAT | nr::UCODE_REVISION => Read::Machine(u64::MAX),
        nr::APIC_BASE => Read::Value(APIC_BASE_VALUE | if viewer.boot_vcpu { APIC_BASE_BOOT_CPU } else { 0 }),
        nr::PLATFORM_ID => only_if(!viewer.amd, Read::Machine(u64::MAX)),
        nr::FEATURE_CONTROL => only_if(!viewer.amd, Read::Value(FEATURE_CONTROL_LOCKED)),
        nr::MISC_ENABLE => only_if(!viewer.amd, Read::Value(MISC_ENABLE_VALUE)),
        nr::PLATFORM_INFO | nr::MISC_FEATURES_ENABLES => only_if(!viewer.amd, Read::Value(0)),
        nr::ARCH_CAPABILITIES => only_if(viewer.arch_capabilities, Read::Machine(ARCH_CAPABILITIES_SHOWN)),
        nr::DEBUG_CTL | nr::HYPERCALL_PAGE => Read::Value(0),
        nr::MCG_CAP | nr::MCG_STATUS | nr::MCG_CTL | nr::MC_FIRST..=nr::MC_LAST => {
            only_if(viewer.machine_check, Read::Value(0))
        }
        _ if is_mtrr(msr) => only_if(viewer.hardware_domain, Read::Machine(u64::MAX)),
        nr::K8_SYSCFG | nr::K8_TOP_MEM1 | nr::K8_TOP_MEM2 => {
            only_if(viewer.amd && viewer.hardware_domain, Read::Machine(u64::MAX))
        }
        nr::K8_HWCR => only_if(viewer.amd, Read::Machine(HWCR_TSC_FREQ_SEL)),
        nr::K8_VM_CR => only_if(viewer.amd, Read::Value(VM_CR_SVM_DISABLED)),
        nr::K8_INT_PENDING => only_if(viewer.amd, Read::Value(0)),
        nr::AMD64_DE_CFG => only_if(viewer.amd, Read::Machine(DE_CFG_LFENCE_SERIALISES)),
        nr::OSVW_LENGTH | nr::OSVW_STATUS => known,
        nr::SPEC_CTRL | nr::PRED_CMD | nr::X2APIC_FIRST..=nr::X2APIC_LAST => known,
        _ if is_performance_counter(msr) => known,
        _ => Read::Fault { known: false },
    }
}

/// What `wrmsr` of `value` to `msr` does.
pub fn write(msr: u32, value: u64, viewer: &Viewer) -> Write {
    let known = Write::Fault { known: true };
    let base = |reg| if is_canonical(value) { Write::Guest(reg) } else { known };
    match msr {
        nr::FS_BASE => base(GuestReg::FsBase),
        nr::GS_BASE => base(GuestReg::GsBase),
        nr::SHADOW_GS_BASE => base(GuestReg::ShadowGsBase),
        nr::TSC_AUX if viewer.tsc_aux && value >> 32 == 0 => Write::Guest(GuestReg::TscAux),
        // The guest's clock is the machine's, and microcode is the hypervisor's business.
        nr::TSC | nr::UCODE_REVISION => Write::Ignore,
        nr::HYPERCALL_PAGE => Write::HypercallPage(value >> 12),
        nr::PRED_CMD if viewer.prediction_barrier => Write::Machine(PRED_CMD_IBPB),
        nr::MCG_STATUS | nr::MCG_CTL | nr::MC_FIRST..=nr::MC_LAST if viewer.machine_check => Write::Ignore,
        nr::EFER | nr::PAT | nr::APIC_BASE => Write::IfSame,
        nr::MISC_ENABLE | nr::MISC_FEATURES_ENABLES if !viewer.amd => Write::IfSame,
        // Linux sets what the hypervisor has set already, or what only matters to who owns the caches.
        nr::AMD64_DE_CFG if viewer.amd => Write::Ignore,
        nr::K8_HWCR if viewer.amd => known,
        nr::K8_SYSCFG if viewer.amd => Write::IfSame,
        nr::DEBUG_CTL => Write::IfSame,
        _ if is_mtrr(msr) && viewer.hardware_domain => Write::IfSame,
        nr::TSC_AUX | nr::SPEC_CTRL | nr::X2APIC_FIRST..=nr::X2APIC_LAST => known,
        _ if is_performance_counter(msr) => known,
        _ => Write::Fault { known: false },
    }
}

/// The registers whose values go with a vcpu that is saved, of which a vcpu here has [`SAVED_TSC_AUX`] alone: Xen's list
/// (speculation control, CPUID faulting, bounds, XSS, and AMD's breakpoint masks besides).
pub const SAVED: [u32; 9] = [
    nr::SPEC_CTRL,
    nr::MISC_FEATURES_ENABLES,
    nr::BNDCFGS,
    nr::XSS,
    nr::TSC_AUX,
    nr::DR0_MASK,
    nr::DR1_MASK,
    nr::DR1_MASK + 1,
    nr::DR1_MASK + 2,
];
/// The one of [`SAVED`] that a vcpu here has.
pub const SAVED_TSC_AUX: u32 = nr::TSC_AUX;

/// May a saved vcpu have this value in one of its registers? Those that it has not here must be zero.
pub fn may_restore(msr: u32, value: u64, tsc_aux: bool) -> bool {
    match msr {
        nr::TSC_AUX => value == 0 || (tsc_aux && value >> 32 == 0),
        _ => value == 0 && SAVED.contains(&msr),
    }
}

/// May a toolstack's policy for a domain have this value in a register? It may take bits away from what is shown, whose
/// value of `IA32_ARCH_CAPABILITIES` on this machine is `capabilities`; what the domain is shown stays the machine's.
/// CPUID faulting, which Xen lets all its guests ask for, may be named.
pub fn policy_allows(msr: u32, value: u64, capabilities: u64) -> bool {
    match msr {
        nr::PLATFORM_INFO => value & !PLATFORM_INFO_CPUID_FAULTING == 0,
        nr::ARCH_CAPABILITIES => value & !(capabilities & ARCH_CAPABILITIES_SHOWN) == 0,
        _ => false,
    }
}

/// Counters and their controls, which kernels try out at boot: Intel's, and AMD's two sets.
fn is_performance_counter(msr: u32) -> bool {
    matches!(msr, 0xc1..=0xc8 | 0x186..=0x18d | 0x309..=0x30b | 0x345 | 0x38d..=0x390)
        || matches!(msr, 0xc001_0000..=0xc001_0007 | 0xc001_0200..=0xc001_020b)
}

fn is_mtrr(msr: u32) -> bool {
    matches!(
        msr,
        nr::MTRR_CAP
            | nr::MTRR_FIRST_VARIABLE..=nr::MTRR_LAST_VARIABLE
            | nr::MTRR_FIX_64K
            | nr::MTRR_FIX_16K_0
            | nr::MTRR_FIX_16K_1
            | nr::MTRR_FIRST_FIX_4K..=nr::MTRR_LAST_FIX_4K
            | nr::MTRR_DEF_TYPE
    )
}

/// The bits of EFER that guests know: system calls, long mode, execute-disable.
pub const EFER_SHOWN: u64 = 1 << 0 | 1 << 8 | 1 << 10 | 1 << 11;

#[cfg(test)]
#[path = "msr_tests.rs"]
mod tests;
