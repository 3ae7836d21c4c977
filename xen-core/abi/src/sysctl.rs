//! Control of the machine by the toolstack (`public/sysctl.h`). The union of [`xen_sysctl`] is words; take a payload
//! from it with [`xen_sysctl::payload`]. Structures of operations that the project does not serve are left out.
#![allow(missing_docs)]
use crate::xen::{domid_t, xenctl_bitmap};
use zerocopy::{FromBytes, Immutable, IntoBytes};

consts! { u32:
    XEN_SYSCTL_INTERFACE_VERSION = 0x15;
    XEN_SYSCTL_readconsole = 1;
    XEN_SYSCTL_tbuf_op = 2;
    XEN_SYSCTL_physinfo = 3;
    XEN_SYSCTL_sched_id = 4;
    XEN_SYSCTL_perfc_op = 5;
    XEN_SYSCTL_getdomaininfolist = 6;
    XEN_SYSCTL_debug_keys = 7;
    XEN_SYSCTL_getcpuinfo = 8;
    XEN_SYSCTL_availheap = 9;
    XEN_SYSCTL_get_pmstat = 10;
    XEN_SYSCTL_cpu_hotplug = 11;
    XEN_SYSCTL_pm_op = 12;
    XEN_SYSCTL_page_offline_op = 14;
    XEN_SYSCTL_lockprof_op = 15;
    XEN_SYSCTL_cputopoinfo = 16;
    XEN_SYSCTL_numainfo = 17;
    XEN_SYSCTL_cpupool_op = 18;
    XEN_SYSCTL_scheduler_op = 19;
    XEN_SYSCTL_coverage_op = 20;
    XEN_SYSCTL_psr_cmt_op = 21;
    XEN_SYSCTL_pcitopoinfo = 22;
    XEN_SYSCTL_psr_alloc = 23;
    XEN_SYSCTL_get_cpu_levelling_caps = 25;
    XEN_SYSCTL_get_cpu_featureset = 26;
    XEN_SYSCTL_livepatch_op = 27;
    XEN_SYSCTL_get_cpu_policy = 29;
    XEN_SYSCTL_PHYSCAP_hvm = 1 << 0;
    XEN_SYSCTL_PHYSCAP_pv = 1 << 1;
    XEN_SYSCTL_PHYSCAP_directio = 1 << 2;
    XEN_SYSCTL_PHYSCAP_hap = 1 << 3;
    XEN_SYSCTL_PHYSCAP_shadow = 1 << 4;
    XEN_SYSCTL_PHYSCAP_iommu_hap_pt_share = 1 << 5;
    XEN_SYSCTL_PHYSCAP_vmtrace = 1 << 6;
    XEN_SYSCTL_PHYSCAP_vpmu = 1 << 7;
    XEN_SYSCTL_PHYSCAP_gnttab_v1 = 1 << 8;
    XEN_SYSCTL_PHYSCAP_gnttab_v2 = 1 << 9;
    XEN_SYSCTL_CPUPOOL_OP_CREATE = 1;
    XEN_SYSCTL_CPUPOOL_OP_DESTROY = 2;
    XEN_SYSCTL_CPUPOOL_OP_INFO = 3;
    XEN_SYSCTL_CPUPOOL_OP_ADDCPU = 4;
    XEN_SYSCTL_CPUPOOL_OP_RMCPU = 5;
    XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN = 6;
    XEN_SYSCTL_CPUPOOL_OP_FREEINFO = 7;
    XEN_SYSCTL_CPUPOOL_PAR_ANY = 0xffff_ffff;
    XEN_SYSCTL_SCHEDOP_putinfo = 0;
    XEN_SYSCTL_SCHEDOP_getinfo = 1;
    XEN_SYSCTL_TBUFOP_get_info = 0;
    XEN_SYSCTL_TBUFOP_set_cpu_mask = 1;
    XEN_SYSCTL_TBUFOP_set_evt_mask = 2;
    XEN_SYSCTL_TBUFOP_set_size = 3;
    XEN_SYSCTL_TBUFOP_enable = 4;
    XEN_SYSCTL_TBUFOP_disable = 5;
    PMSTAT_get_max_cx = 0x21;
    PMSTAT_get_cxstat = 0x22;
    PMSTAT_reset_cxstat = 0x23;
    PM_PARA_CATEGORY_MASK = 0xf0;
    CPUFREQ_PARA = 0x10;
    XEN_SYSCTL_pm_op_set_sched_opt_smt = 0x21;
    XEN_SYSCTL_pm_op_get_max_cstate = 0x22;
    XEN_SYSCTL_pm_op_set_max_cstate = 0x23;
    XEN_SYSCTL_pm_op_enable_turbo = 0x26;
    XEN_SYSCTL_pm_op_disable_turbo = 0x27;
    XEN_SYSCTL_CX_UNLIMITED = !0;
    XEN_SYSCTL_PERFCOP_reset = 1;
    XEN_SYSCTL_PERFCOP_query = 2;
    XEN_SYSCTL_cpu_featureset_raw = 0;
    XEN_SYSCTL_cpu_featureset_host = 1;
    XEN_SYSCTL_cpu_featureset_pv = 2;
    XEN_SYSCTL_cpu_featureset_hvm = 3;
    XEN_SYSCTL_cpu_featureset_pv_max = 4;
    XEN_SYSCTL_cpu_featureset_hvm_max = 5;
    XEN_SYSCTL_cpu_policy_raw = 0;
    XEN_SYSCTL_cpu_policy_host = 1;
    XEN_SYSCTL_cpu_policy_pv_max = 2;
    XEN_SYSCTL_cpu_policy_hvm_max = 3;
    XEN_SYSCTL_cpu_policy_pv_default = 4;
    XEN_SYSCTL_cpu_policy_hvm_default = 5;
    XEN_INVALID_CORE_ID = !0;
    XEN_INVALID_SOCKET_ID = !0;
    XEN_INVALID_NODE_ID = !0;
    XEN_INVALID_NODE_DIST = !0;
    XEN_INVALID_DEV = !0 - 1;
}

/// A node without memory, in `xen_sysctl_meminfo`.
pub const XEN_INVALID_MEM_SZ: u64 = 0xffff_ffff;

structs! {
    struct xen_sysctl {
        cmd: u32,
        interface_version: u32,
        /// The union `u`.
        u: [u64; 16],
    }

    struct xen_sysctl_readconsole {
        /// Drop what was read.
        clear: u8,
        /// Start at `index` rather than at the oldest byte.
        incremental: u8,
        pad0: u8,
        pad1: u8,
        index: u32,
        buffer: u64,
        /// In: room; out: bytes written.
        count: u32,
        _pad: u32,
    }

    struct xen_sysctl_tbuf_op {
        cmd: u32,
        _pad0: u32,
        cpu_mask: xenctl_bitmap,
        evt_mask: u32,
        _pad1: u32,
        buffer_mfn: u64,
        size: u32,
        _pad2: u32,
    }

    struct xen_sysctl_physinfo {
        threads_per_core: u32,
        cores_per_socket: u32,
        nr_cpus: u32,
        max_cpu_id: u32,
        nr_nodes: u32,
        max_node_id: u32,
        cpu_khz: u32,
        /// `XEN_SYSCTL_PHYSCAP_*`.
        capabilities: u32,
        arch_capabilities: u32,
        pad: u32,
        total_pages: u64,
        free_pages: u64,
        scrub_pages: u64,
        outstanding_pages: u64,
        max_mfn: u64,
        hw_cap: [u32; 8],
    }

    struct xen_sysctl_sched_id {
        /// Out: `XEN_SCHEDULER_*`.
        sched_id: u32,
    }

    struct xen_sysctl_perfc_op {
        cmd: u32,
        nr_counters: u32,
        nr_vals: u32,
        _pad: u32,
        desc: u64,
        val: u64,
    }

    struct xen_sysctl_getdomaininfolist {
        first_domain: domid_t,
        _pad0: u16,
        max_domains: u32,
        /// Handle of `xen_domctl_getdomaininfo`.
        buffer: u64,
        /// Out.
        num_domains: u32,
        _pad1: u32,
    }

    struct xen_sysctl_debug_keys {
        keys: u64,
        nr_keys: u32,
        _pad: u32,
    }

    struct xen_sysctl_cpuinfo {
        /// Nanoseconds.
        idletime: u64,
    }

    struct xen_sysctl_getcpuinfo {
        max_cpus: u32,
        _pad0: u32,
        info: u64,
        nr_cpus: u32,
        _pad1: u32,
    }

    struct xen_sysctl_availheap {
        min_bitwidth: u32,
        max_bitwidth: u32,
        node: i32,
        _pad: u32,
        avail_bytes: u64,
    }

    struct xen_sysctl_cputopo {
        core: u32,
        socket: u32,
        node: u32,
    }

    struct xen_sysctl_cputopoinfo {
        /// In: room; out: CPUs.
        num_cpus: u32,
        _pad: u32,
        cputopo: u64,
    }

    struct xen_sysctl_meminfo {
        memsize: u64,
        memfree: u64,
    }

    struct xen_sysctl_numainfo {
        num_nodes: u32,
        _pad: u32,
        meminfo: u64,
        distance: u64,
    }

    struct xen_sysctl_cpupool_op {
        op: u32,
        cpupool_id: u32,
        sched_id: u32,
        domid: u32,
        cpu: u32,
        n_dom: u32,
        cpumap: xenctl_bitmap,
    }

    struct xen_sysctl_credit_schedule {
        tslice_ms: u32,
        ratelimit_us: u32,
        vcpu_migr_delay_us: u32,
    }

    struct xen_sysctl_credit2_schedule {
        ratelimit_us: u32,
    }

    struct xen_sysctl_pcitopoinfo {
        num_devs: u32,
        _pad: u32,
        devs: u64,
        nodes: u64,
    }

    struct xen_sysctl_cpu_levelling_caps {
        caps: u32,
    }

    struct xen_sysctl_cpu_featureset {
        index: u32,
        nr_features: u32,
        features: u64,
    }

    struct xen_sysctl_cpu_policy {
        index: u32,
        nr_leaves: u32,
        nr_msrs: u32,
        _rsvd: u32,
        leaves: u64,
        msrs: u64,
    }
}

impl xen_sysctl {
    /// The union read as one of its arms, which must fit in its 128 bytes.
    pub fn payload<T: FromBytes>(&self) -> T {
        let bytes = self.u.as_bytes();
        T::read_from_prefix(bytes)
            .map(|(value, _)| value)
            .unwrap_or_else(|_| T::new_zeroed())
    }

    /// Writes one arm of the union, which must fit in its 128 bytes; the bytes behind it stay.
    pub fn set_payload<T: IntoBytes + Immutable>(&mut self, value: &T) {
        let bytes = value.as_bytes();
        if let Some(room) = self.u.as_mut_bytes().get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }
}
