//! Memory reservations and maps (`public/memory.h`).
#![allow(missing_docs)]
use crate::physdev::physdev_pci_device;
use crate::xen::domid_t;

consts! { u32:
    XENMEM_increase_reservation = 0;
    XENMEM_decrease_reservation = 1;
    XENMEM_maximum_ram_page = 2;
    XENMEM_current_reservation = 3;
    XENMEM_maximum_reservation = 4;
    XENMEM_machphys_mfn_list = 5;
    XENMEM_populate_physmap = 6;
    XENMEM_add_to_physmap = 7;
    XENMEM_memory_map = 9;
    XENMEM_machine_memory_map = 10;
    XENMEM_exchange = 11;
    XENMEM_machphys_mapping = 12;
    XENMEM_set_memory_map = 13;
    XENMEM_maximum_gpfn = 14;
    XENMEM_remove_from_physmap = 15;
    XENMEM_set_pod_target = 16;
    XENMEM_get_pod_target = 17;
    XENMEM_get_sharing_freed_pages = 18;
    XENMEM_get_sharing_shared_pages = 19;
    XENMEM_paging_op = 20;
    XENMEM_access_op = 21;
    XENMEM_sharing_op = 22;
    XENMEM_add_to_physmap_batch = 23;
    XENMEM_claim_pages = 24;
    XENMEM_machphys_compat_mfn_list = 25;
    XENMEM_get_vnumainfo = 26;
    XENMEM_reserved_device_memory_map = 27;
    XENMEM_acquire_resource = 28;
    /// Bits of `xen_memory_reservation.mem_flags` with the address width; the node stands in bits 8 to 15, plus one.
    XENMEMF_address_bits_mask = 0xff;
    XENMEMF_populate_on_demand = 1 << 16;
    XENMEMF_exact_node_request = 1 << 17;
    XENMEMF_vnode = 1 << 18;
    XENMAPSPACE_shared_info = 0;
    XENMAPSPACE_grant_table = 1;
    XENMAPSPACE_gmfn = 2;
    XENMAPSPACE_gmfn_range = 3;
    XENMAPSPACE_gmfn_foreign = 4;
    XENMAPSPACE_dev_mmio = 5;
    XENMEM_RDM_ALL = 1;
    XENMEM_resource_grant_table_id_shared = 0;
    XENMEM_resource_grant_table_id_status = 1;
    /// E820 types.
    E820_RAM = 1;
    E820_RESERVED = 2;
    E820_ACPI = 3;
    E820_NVS = 4;
    E820_UNUSABLE = 5;
}

consts! { u16:
    XENMEM_resource_ioreq_server = 0;
    XENMEM_resource_grant_table = 1;
    XENMEM_resource_vmtrace_buf = 2;
}

/// In `xen_add_to_physmap.idx`, with `XENMAPSPACE_grant_table`: the status frames.
pub const XENMAPIDX_grant_table_status: u64 = 0x8000_0000;

structs! {
    struct xen_memory_reservation {
        /// Handle of frame numbers, read or written as the operation says.
        extent_start: u64,
        nr_extents: u64,
        extent_order: u32,
        mem_flags: u32,
        domid: domid_t,
        _pad: [u16; 3],
    }

    /// Frames given up (`in`) against frames of another shape (`out`).
    struct xen_memory_exchange {
        r#in: xen_memory_reservation,
        out: xen_memory_reservation,
        /// In and out: input extents done; must be zero on entry.
        nr_exchanged: u64,
    }

    struct xen_memory_domain {
        domid: domid_t,
    }

    struct xen_machphys_mfn_list {
        max_extents: u32,
        _pad0: u32,
        extent_start: u64,
        nr_extents: u32,
        _pad1: u32,
    }

    struct xen_machphys_mapping {
        v_start: u64,
        v_end: u64,
        max_mfn: u64,
    }

    struct xen_add_to_physmap {
        domid: domid_t,
        size: u16,
        space: u32,
        idx: u64,
        gpfn: u64,
    }

    struct xen_add_to_physmap_batch {
        domid: domid_t,
        space: u16,
        size: u16,
        /// The union `u`: `foreign_domid` or `res0`.
        foreign_domid: domid_t,
        idxs: u64,
        gpfns: u64,
        errs: u64,
    }

    struct xen_remove_from_physmap {
        domid: domid_t,
        _pad: [u16; 3],
        gpfn: u64,
    }

    struct xen_memory_map {
        /// In: room; out: entries written.
        nr_entries: u32,
        _pad: u32,
        /// Handle of `e820entry`.
        buffer: u64,
    }

    struct xen_foreign_memory_map {
        domid: domid_t,
        _pad: [u16; 3],
        map: xen_memory_map,
    }

    struct xen_pod_target {
        target_pages: u64,
        tot_pages: u64,
        pod_cache_pages: u64,
        pod_entries: u64,
        domid: domid_t,
        _pad: [u16; 3],
    }

    struct xen_reserved_device_memory {
        start_pfn: u64,
        nr_pages: u64,
    }

    struct xen_reserved_device_memory_map {
        flags: u32,
        nr_entries: u32,
        buffer: u64,
        /// The union `dev`.
        pci: physdev_pci_device,
        _pad: u32,
    }

    struct xen_mem_acquire_resource {
        domid: domid_t,
        typ: u16,
        id: u32,
        nr_frames: u32,
        pad: u32,
        frame: u64,
        frame_list: u64,
    }

    struct xen_vmemrange {
        start: u64,
        end: u64,
        flags: u32,
        nid: u32,
    }

    struct xen_vnuma_topology_info {
        domid: domid_t,
        pad: u16,
        nr_vnodes: u32,
        nr_vcpus: u32,
        nr_vmemranges: u32,
        vdistance: u64,
        vcpu_to_vnode: u64,
        vmemrange: u64,
    }
}
