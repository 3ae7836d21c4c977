//! Physical devices (`public/physdev.h`): pirqs, I/O permission, PCI.
#![allow(missing_docs)]
use crate::xen::domid_t;

consts! { u32:
    PHYSDEVOP_irq_status_query = 5;
    PHYSDEVOP_set_iopl = 6;
    PHYSDEVOP_set_iobitmap = 7;
    PHYSDEVOP_apic_read = 8;
    PHYSDEVOP_apic_write = 9;
    PHYSDEVOP_alloc_irq_vector = 10;
    PHYSDEVOP_free_irq_vector = 11;
    PHYSDEVOP_eoi = 12;
    PHYSDEVOP_map_pirq = 13;
    PHYSDEVOP_unmap_pirq = 14;
    PHYSDEVOP_manage_pci_add = 15;
    PHYSDEVOP_manage_pci_remove = 16;
    PHYSDEVOP_pirq_eoi_gmfn_v1 = 17;
    PHYSDEVOP_restore_msi = 19;
    PHYSDEVOP_manage_pci_add_ext = 20;
    PHYSDEVOP_setup_gsi = 21;
    PHYSDEVOP_get_free_pirq = 23;
    PHYSDEVOP_pci_mmcfg_reserved = 24;
    PHYSDEVOP_pci_device_add = 25;
    PHYSDEVOP_pci_device_remove = 26;
    PHYSDEVOP_restore_msi_ext = 27;
    PHYSDEVOP_pirq_eoi_gmfn_v2 = 28;
    PHYSDEVOP_dbgp_op = 29;
    PHYSDEVOP_prepare_msix = 30;
    PHYSDEVOP_release_msix = 31;
    /// The old name of an unmask notification in `physdev_op_compat`.
    PHYSDEVOP_IRQ_UNMASK_NOTIFY = 4;
    XENIRQSTAT_needs_eoi = 1 << 0;
    XENIRQSTAT_shared = 1 << 1;
    XEN_PCI_MMCFG_RESERVED = 1;
    XEN_PCI_DEV_EXTFN = 1;
    XEN_PCI_DEV_VIRTFN = 2;
    XEN_PCI_DEV_PXM = 4;
}

consts! { i32:
    MAP_PIRQ_TYPE_MSI = 0;
    MAP_PIRQ_TYPE_GSI = 1;
    MAP_PIRQ_TYPE_UNKNOWN = 2;
    MAP_PIRQ_TYPE_MSI_SEG = 3;
    MAP_PIRQ_TYPE_MULTI_MSI = 4;
}

consts! { u8:
    PHYSDEVOP_DBGP_RESET_PREPARE = 1;
    PHYSDEVOP_DBGP_RESET_DONE = 2;
    PHYSDEVOP_DBGP_BUS_UNKNOWN = 0;
    PHYSDEVOP_DBGP_BUS_PCI = 1;
}

structs! {
    struct physdev_eoi {
        irq: u32,
    }

    struct physdev_pirq_eoi_gmfn {
        /// Frame of a bitmap, a bit a pirq, set where an eoi call is needed.
        gmfn: u64,
    }

    struct physdev_irq_status_query {
        irq: u32,
        /// Out: `XENIRQSTAT_*`.
        flags: u32,
    }

    struct physdev_set_iopl {
        iopl: u32,
    }

    struct physdev_set_iobitmap {
        bitmap: u64,
        nr_ports: u32,
        _pad: u32,
    }

    struct physdev_apic {
        apic_physbase: u64,
        reg: u32,
        value: u32,
    }

    struct physdev_irq {
        irq: u32,
        /// Out.
        vector: u32,
    }

    struct physdev_map_pirq {
        domid: domid_t,
        _pad0: u16,
        typ: i32,
        /// GSI number, or for MSI the vector, -1 for any.
        index: i32,
        /// In: wanted, -1 for any free one; out: given.
        pirq: i32,
        /// Bus in the low 16 bits, segment in the high ones for `MAP_PIRQ_TYPE_MSI_SEG`.
        bus: i32,
        devfn: i32,
        /// MSI-X entry, or the count of messages for `MAP_PIRQ_TYPE_MULTI_MSI`.
        entry_nr: i32,
        _pad1: u32,
        /// Machine address of the MSI-X table, 0 for plain MSI.
        table_base: u64,
    }

    struct physdev_unmap_pirq {
        domid: domid_t,
        _pad: u16,
        pirq: i32,
    }

    struct physdev_manage_pci {
        bus: u8,
        devfn: u8,
    }

    struct physdev_restore_msi {
        bus: u8,
        devfn: u8,
    }

    struct physdev_manage_pci_ext {
        bus: u8,
        devfn: u8,
        _pad0: u16,
        is_extfn: u32,
        is_virtfn: u32,
        physfn: physdev_manage_pci,
        _pad1: u16,
    }

    struct physdev_setup_gsi {
        gsi: i32,
        /// 0 edge, 1 level.
        triggering: u8,
        /// 0 high, 1 low.
        polarity: u8,
        _pad: u16,
    }

    struct physdev_get_free_pirq {
        typ: i32,
        /// Out.
        pirq: u32,
    }

    struct physdev_pci_mmcfg_reserved {
        address: u64,
        segment: u16,
        start_bus: u8,
        end_bus: u8,
        flags: u32,
    }

    /// The fixed part; the optional words behind it are absent here.
    struct physdev_pci_device_add {
        seg: u16,
        bus: u8,
        devfn: u8,
        flags: u32,
        physfn: physdev_manage_pci,
        _pad: u16,
    }

    struct physdev_pci_device {
        seg: u16,
        bus: u8,
        devfn: u8,
    }

    struct physdev_dbgp_op {
        op: u8,
        bus: u8,
        pci: physdev_pci_device,
    }

    /// Argument of the old `physdev_op_compat`.
    struct physdev_op {
        cmd: u32,
        _pad: u32,
        /// The union `u`: bytes of one of the structures above.
        u: [u64; 2],
    }
}
