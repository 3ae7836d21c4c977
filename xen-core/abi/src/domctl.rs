//! Control of domains by the toolstack (`public/domctl.h`). The union of [`xen_domctl`] is words; take a payload
//! from it with [`xen_domctl::payload`]. Structures of operations that the project does not serve are left out.
#![allow(missing_docs)]
use crate::arch::xen_arch_domainconfig;
use crate::xen::{domid_t, xen_domain_handle_t, xenctl_bitmap};
use zerocopy::{FromBytes, Immutable, IntoBytes};

consts! { u32:
    XEN_DOMCTL_INTERFACE_VERSION = 0x15;
    XEN_DOMCTL_createdomain = 1;
    XEN_DOMCTL_destroydomain = 2;
    XEN_DOMCTL_pausedomain = 3;
    XEN_DOMCTL_unpausedomain = 4;
    XEN_DOMCTL_getdomaininfo = 5;
    XEN_DOMCTL_setvcpuaffinity = 9;
    XEN_DOMCTL_shadow_op = 10;
    XEN_DOMCTL_max_mem = 11;
    XEN_DOMCTL_setvcpucontext = 12;
    XEN_DOMCTL_getvcpucontext = 13;
    XEN_DOMCTL_getvcpuinfo = 14;
    XEN_DOMCTL_max_vcpus = 15;
    XEN_DOMCTL_scheduler_op = 16;
    XEN_DOMCTL_setdomainhandle = 17;
    XEN_DOMCTL_setdebugging = 18;
    XEN_DOMCTL_irq_permission = 19;
    XEN_DOMCTL_iomem_permission = 20;
    XEN_DOMCTL_ioport_permission = 21;
    XEN_DOMCTL_hypercall_init = 22;
    XEN_DOMCTL_settimeoffset = 24;
    XEN_DOMCTL_getvcpuaffinity = 25;
    XEN_DOMCTL_resumedomain = 27;
    XEN_DOMCTL_sendtrigger = 28;
    XEN_DOMCTL_subscribe = 29;
    XEN_DOMCTL_gethvmcontext = 33;
    XEN_DOMCTL_sethvmcontext = 34;
    XEN_DOMCTL_set_address_size = 35;
    XEN_DOMCTL_get_address_size = 36;
    XEN_DOMCTL_assign_device = 37;
    XEN_DOMCTL_bind_pt_irq = 38;
    XEN_DOMCTL_memory_mapping = 39;
    XEN_DOMCTL_ioport_mapping = 40;
    XEN_DOMCTL_set_ext_vcpucontext = 42;
    XEN_DOMCTL_get_ext_vcpucontext = 43;
    XEN_DOMCTL_test_assign_device = 45;
    XEN_DOMCTL_set_target = 46;
    XEN_DOMCTL_deassign_device = 47;
    XEN_DOMCTL_unbind_pt_irq = 48;
    XEN_DOMCTL_get_device_group = 50;
    XEN_DOMCTL_debug_op = 54;
    XEN_DOMCTL_gethvmcontext_partial = 55;
    XEN_DOMCTL_vm_event_op = 56;
    XEN_DOMCTL_mem_sharing_op = 57;
    XEN_DOMCTL_gettscinfo = 59;
    XEN_DOMCTL_settscinfo = 60;
    XEN_DOMCTL_getpageframeinfo3 = 61;
    XEN_DOMCTL_setvcpuextstate = 62;
    XEN_DOMCTL_getvcpuextstate = 63;
    XEN_DOMCTL_set_access_required = 64;
    XEN_DOMCTL_audit_p2m = 65;
    XEN_DOMCTL_set_virq_handler = 66;
    XEN_DOMCTL_set_broken_page_p2m = 67;
    XEN_DOMCTL_setnodeaffinity = 68;
    XEN_DOMCTL_getnodeaffinity = 69;
    XEN_DOMCTL_cacheflush = 71;
    XEN_DOMCTL_get_vcpu_msrs = 72;
    XEN_DOMCTL_set_vcpu_msrs = 73;
    XEN_DOMCTL_setvnumainfo = 74;
    XEN_DOMCTL_psr_cmt_op = 75;
    XEN_DOMCTL_monitor_op = 77;
    XEN_DOMCTL_psr_alloc = 78;
    XEN_DOMCTL_soft_reset = 79;
    XEN_DOMCTL_vuart_op = 81;
    XEN_DOMCTL_get_cpu_policy = 82;
    XEN_DOMCTL_set_cpu_policy = 83;
    XEN_DOMCTL_vmtrace_op = 84;
    XEN_DOMCTL_get_paging_mempool_size = 85;
    XEN_DOMCTL_set_paging_mempool_size = 86;
    XEN_DOMCTL_gdbsx_guestmemio = 1000;
    XEN_DOMCTL_gdbsx_pausevcpu = 1001;
    XEN_DOMCTL_gdbsx_unpausevcpu = 1002;
    XEN_DOMCTL_gdbsx_domstatus = 1003;
    XEN_DOMCTL_CDF_hvm = 1 << 0;
    XEN_DOMCTL_CDF_hap = 1 << 1;
    XEN_DOMCTL_CDF_s3_integrity = 1 << 2;
    XEN_DOMCTL_CDF_oos_off = 1 << 3;
    XEN_DOMCTL_CDF_xs_domain = 1 << 4;
    XEN_DOMCTL_CDF_iommu = 1 << 5;
    XEN_DOMCTL_CDF_nested_virt = 1 << 6;
    XEN_DOMCTL_CDF_vpmu = 1 << 7;
    XEN_DOMCTL_IOMMU_no_sharept = 1 << 0;
    XEN_DOMCTL_GRANT_version_mask = 0xf;
    XEN_DOMINF_dying = 1 << 0;
    XEN_DOMINF_hvm_guest = 1 << 1;
    XEN_DOMINF_shutdown = 1 << 2;
    XEN_DOMINF_paused = 1 << 3;
    XEN_DOMINF_blocked = 1 << 4;
    XEN_DOMINF_running = 1 << 5;
    XEN_DOMINF_debugged = 1 << 6;
    XEN_DOMINF_xs_domain = 1 << 7;
    XEN_DOMINF_hap = 1 << 8;
    XEN_DOMINF_shutdownmask = 255;
    XEN_DOMINF_shutdownshift = 16;
    XEN_INVALID_MAX_VCPU_ID = !0;
    XEN_VCPUAFFINITY_HARD = 1 << 0;
    XEN_VCPUAFFINITY_SOFT = 1 << 1;
    XEN_VCPUAFFINITY_FORCE = 1 << 2;
    XEN_SCHEDULER_CREDIT = 5;
    XEN_SCHEDULER_CREDIT2 = 6;
    XEN_SCHEDULER_ARINC653 = 7;
    XEN_SCHEDULER_RTDS = 8;
    XEN_SCHEDULER_NULL = 9;
    XEN_DOMCTL_SCHEDOP_putinfo = 0;
    XEN_DOMCTL_SCHEDOP_getinfo = 1;
    XEN_DOMCTL_SCHEDOP_putvcpuinfo = 2;
    XEN_DOMCTL_SCHEDOP_getvcpuinfo = 3;
    XEN_DOMCTL_SHADOW_OP_OFF = 0;
    XEN_DOMCTL_SHADOW_OP_ENABLE_TEST = 1;
    XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY = 2;
    XEN_DOMCTL_SHADOW_OP_CLEAN = 11;
    XEN_DOMCTL_SHADOW_OP_PEEK = 12;
    XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION = 30;
    XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION = 31;
    XEN_DOMCTL_SHADOW_OP_ENABLE = 32;
    XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY = 1 << 2;
    XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL = 1 << 0;
    XEN_DOMCTL_SENDTRIGGER_NMI = 0;
    XEN_DOMCTL_SENDTRIGGER_POWER = 3;
    XEN_DOMCTL_SENDTRIGGER_SLEEP = 4;
    XEN_DOMCTL_DEV_PCI = 0;
    XEN_DOMCTL_DEV_DT = 1;
}

consts! { u64:
    XEN_DOMCTL_PFINFO_NOTAB = 0;
    XEN_DOMCTL_PFINFO_L1TAB = 1 << 28;
    XEN_DOMCTL_PFINFO_L2TAB = 2 << 28;
    XEN_DOMCTL_PFINFO_L3TAB = 3 << 28;
    XEN_DOMCTL_PFINFO_L4TAB = 4 << 28;
    XEN_DOMCTL_PFINFO_LTABTYPE_MASK = 7 << 28;
    XEN_DOMCTL_PFINFO_LPINTAB = 1 << 31;
    XEN_DOMCTL_PFINFO_XTAB = 0xf << 28;
    XEN_DOMCTL_PFINFO_XALLOC = 0xe << 28;
    XEN_DOMCTL_PFINFO_BROKEN = 0xd << 28;
    XEN_DOMCTL_PFINFO_LTAB_MASK = 0xf << 28;
}

structs! {
    struct xen_domctl {
        cmd: u32,
        interface_version: u32,
        domain: domid_t,
        _pad: [u16; 3],
        /// The union `u`.
        u: [u64; 16],
    }

    struct xen_domctl_createdomain {
        ssidref: u32,
        handle: xen_domain_handle_t,
        /// `XEN_DOMCTL_CDF_*`.
        flags: u32,
        iommu_opts: u32,
        max_vcpus: u32,
        max_evtchn_port: u32,
        max_grant_frames: i32,
        max_maptrack_frames: i32,
        grant_opts: u32,
        vmtrace_size: u32,
        cpupool_id: u32,
        arch: xen_arch_domainconfig,
    }

    struct xen_domctl_getdomaininfo {
        domain: domid_t,
        pad1: u16,
        /// `XEN_DOMINF_*`.
        flags: u32,
        tot_pages: u64,
        max_pages: u64,
        outstanding_pages: u64,
        shr_pages: u64,
        paged_pages: u64,
        shared_info_frame: u64,
        /// Nanoseconds.
        cpu_time: u64,
        nr_online_vcpus: u32,
        max_vcpu_id: u32,
        ssidref: u32,
        handle: xen_domain_handle_t,
        cpupool: u32,
        gpaddr_bits: u8,
        pad2: [u8; 7],
        arch_config: xen_arch_domainconfig,
    }

    struct xen_domctl_getpageframeinfo3 {
        num: u64,
        array: u64,
    }

    struct xen_domctl_shadow_op_stats {
        fault_count: u32,
        dirty_count: u32,
    }

    struct xen_domctl_shadow_op {
        op: u32,
        mode: u32,
        mb: u32,
        _pad: u32,
        dirty_bitmap: u64,
        pages: u64,
        stats: xen_domctl_shadow_op_stats,
    }

    struct xen_domctl_max_mem {
        max_memkb: u64,
    }

    struct xen_domctl_vcpucontext {
        vcpu: u32,
        _pad: u32,
        ctxt: u64,
    }

    struct xen_domctl_getvcpuinfo {
        vcpu: u32,
        online: u8,
        blocked: u8,
        running: u8,
        _pad0: u8,
        cpu_time: u64,
        cpu: u32,
        _pad1: u32,
    }

    struct xen_domctl_nodeaffinity {
        nodemap: xenctl_bitmap,
    }

    struct xen_domctl_vcpuaffinity {
        vcpu: u32,
        flags: u32,
        cpumap_hard: xenctl_bitmap,
        cpumap_soft: xenctl_bitmap,
    }

    struct xen_domctl_max_vcpus {
        max: u32,
    }

    struct xen_domctl_sched_credit {
        weight: u16,
        cap: u16,
    }

    struct xen_domctl_sched_credit2 {
        weight: u16,
        cap: u16,
    }

    struct xen_domctl_scheduler_op {
        sched_id: u32,
        cmd: u32,
        /// The union `u`: bytes of [`xen_domctl_sched_credit2`] and the like.
        u: [u64; 2],
    }

    struct xen_domctl_setdomainhandle {
        handle: xen_domain_handle_t,
    }

    struct xen_domctl_setdebugging {
        enable: u8,
    }

    struct xen_domctl_irq_permission {
        pirq: u32,
        allow_access: u8,
        pad: [u8; 3],
    }

    struct xen_domctl_iomem_permission {
        first_mfn: u64,
        nr_mfns: u64,
        allow_access: u8,
        _pad: [u8; 7],
    }

    struct xen_domctl_ioport_permission {
        first_port: u32,
        nr_ports: u32,
        allow_access: u8,
        _pad: [u8; 3],
    }

    struct xen_domctl_hypercall_init {
        gmfn: u64,
    }

    struct xen_domctl_settimeoffset {
        time_offset_seconds: i64,
    }

    struct xen_domctl_address_size {
        size: u32,
    }

    struct xen_domctl_sendtrigger {
        trigger: u32,
        vcpu: u32,
    }

    struct xen_domctl_ext_vcpucontext {
        vcpu: u32,
        size: u32,
        syscall32_callback_eip: u64,
        sysenter_callback_eip: u64,
        syscall32_callback_cs: u16,
        sysenter_callback_cs: u16,
        syscall32_disables_events: u8,
        sysenter_disables_events: u8,
        _pad: [u8; 2],
        /// The union of `mcg_cap` and `vmce`.
        vmce: [u64; 4],
    }

    struct xen_domctl_set_target {
        target: domid_t,
    }

    struct xen_domctl_cpu_policy {
        nr_leaves: u32,
        nr_msrs: u32,
        leaves: u64,
        msrs: u64,
        err_leaf: u32,
        err_subleaf: u32,
        err_msr: u32,
        _pad: u32,
    }

    struct xen_domctl_tsc_info {
        tsc_mode: u32,
        gtsc_khz: u32,
        incarnation: u32,
        pad: u32,
        elapsed_nsec: u64,
    }

    struct xen_domctl_set_virq_handler {
        virq: u32,
    }

    struct xen_domctl_vcpuextstate {
        vcpu: u32,
        _pad: u32,
        xfeature_mask: u64,
        size: u64,
        buffer: u64,
    }

    struct xen_domctl_vcpu_msr {
        index: u32,
        reserved: u32,
        value: u64,
    }

    struct xen_domctl_vcpu_msrs {
        vcpu: u32,
        msr_count: u32,
        msrs: u64,
    }

    struct xen_domctl_vnuma {
        nr_vnodes: u32,
        nr_vmemranges: u32,
        nr_vcpus: u32,
        pad: u32,
        vdistance: u64,
        vcpu_to_vnode: u64,
        vnode_to_pnode: u64,
        vmemrange: u64,
    }

    struct xen_domctl_paging_mempool {
        size: u64,
    }
}

impl xen_domctl {
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
