//! Dom0's control of the machine (`public/platform.h`). The union of [`xen_platform_op`] is bytes; take a payload
//! from them with [`xen_platform_op::payload`].
#![allow(missing_docs)]
use zerocopy::{FromBytes, Immutable, IntoBytes};

consts! { u32:
    XENPF_INTERFACE_VERSION = 0x0300_0001;
    XENPF_settime32 = 17;
    XENPF_add_memtype = 31;
    XENPF_del_memtype = 32;
    XENPF_read_memtype = 33;
    XENPF_microcode_update = 35;
    XENPF_platform_quirk = 39;
    XENPF_get_cpu_version = 48;
    XENPF_efi_runtime_call = 49;
    XENPF_firmware_info = 50;
    XENPF_enter_acpi_sleep = 51;
    XENPF_change_freq = 52;
    XENPF_getidletime = 53;
    XENPF_set_processor_pminfo = 54;
    XENPF_get_cpuinfo = 55;
    XENPF_cpu_online = 56;
    XENPF_cpu_offline = 57;
    XENPF_cpu_hotadd = 58;
    XENPF_mem_hotadd = 59;
    XENPF_core_parking = 60;
    XENPF_resource_op = 61;
    XENPF_settime64 = 62;
    XENPF_get_symbol = 63;
    XEN_FW_DISK_INFO = 1;
    XEN_FW_DISK_MBR_SIGNATURE = 2;
    XEN_FW_VBEDDC_INFO = 3;
    XEN_FW_EFI_INFO = 4;
    XEN_FW_KBD_SHIFT_FLAGS = 5;
    XENPF_ACPI_SLEEP_EXTENDED = 1;
    XEN_PROCESSOR_PM_CX = 1;
    XEN_PROCESSOR_PM_PX = 2;
    XEN_PROCESSOR_PM_TX = 4;
    XEN_PM_CX = 0;
    XEN_PM_PX = 1;
    XEN_PM_TX = 2;
    XEN_PM_PDC = 3;
    XEN_PX_PCT = 1;
    XEN_PX_PSS = 2;
    XEN_PX_PPC = 4;
    XEN_PX_PSD = 8;
    XEN_PCPU_FLAGS_ONLINE = 1;
    XEN_PCPU_FLAGS_INVALID = 2;
    XEN_RESOURCE_OP_MSR_READ = 0;
    XEN_RESOURCE_OP_MSR_WRITE = 1;
    XEN_CORE_PARKING_SET = 1;
    XEN_CORE_PARKING_GET = 2;
}

structs! {
    struct xen_platform_op {
        cmd: u32,
        interface_version: u32,
        /// The union `u`.
        u: [u64; 16],
    }

    struct xenpf_settime32 {
        secs: u32,
        nsecs: u32,
        system_time: u64,
    }

    struct xenpf_settime64 {
        secs: u64,
        nsecs: u32,
        mbz: u32,
        system_time: u64,
    }

    struct xenpf_add_memtype {
        mfn: u64,
        nr_mfns: u64,
        typ: u32,
        handle: u32,
        reg: u32,
        _pad: u32,
    }

    struct xenpf_del_memtype {
        handle: u32,
        reg: u32,
    }

    struct xenpf_read_memtype {
        reg: u32,
        _pad0: u32,
        mfn: u64,
        nr_mfns: u64,
        typ: u32,
        _pad1: u32,
    }

    struct xenpf_microcode_update {
        data: u64,
        length: u32,
        _pad: u32,
    }

    struct xenpf_platform_quirk {
        quirk_id: u32,
    }

    struct xenpf_efi_runtime_call {
        function: u32,
        misc: u32,
        status: u64,
        /// The union `u`, opaque.
        u: [u64; 5],
    }

    struct xenpf_firmware_info {
        typ: u32,
        index: u32,
        /// The union `u`: bytes of one of the `fw_*` structures; `kbd_shift_flags` is its first byte.
        u: [u64; 4],
    }

    /// `xenpf_firmware_info.u.disk_info`.
    struct fw_disk_info {
        device: u8,
        version: u8,
        interface_support: u16,
        legacy_max_cylinder: u16,
        legacy_max_head: u8,
        legacy_sectors_per_track: u8,
        edd_params: u64,
    }

    /// `xenpf_firmware_info.u.disk_mbr_signature`.
    struct fw_disk_mbr_signature {
        device: u8,
        _pad: [u8; 3],
        mbr_signature: u32,
    }

    /// `xenpf_firmware_info.u.vbeddc_info`.
    struct fw_vbeddc_info {
        capabilities: u8,
        edid_transfer_time: u8,
        _pad: [u8; 6],
        edid: u64,
    }

    struct xenpf_enter_acpi_sleep {
        /// PM1a control value, or the sleep-control register with `XENPF_ACPI_SLEEP_EXTENDED`.
        val_a: u16,
        val_b: u16,
        sleep_state: u32,
        flags: u32,
    }

    struct xenpf_change_freq {
        flags: u32,
        cpu: u32,
        freq: u64,
    }

    struct xenpf_getidletime {
        cpumap_bitmap: u64,
        cpumap_nr_cpus: u32,
        _pad: u32,
        idletime: u64,
        now: u64,
    }

    struct xenpf_set_processor_pminfo {
        id: u32,
        typ: u32,
        /// The union `u`, opaque: [`xen_processor_power`], [`xen_processor_performance`] or the handle `pdc`.
        u: [u64; 13],
    }

    struct xen_processor_power {
        count: u32,
        flags: u32,
        states: u64,
    }

    struct xen_pct_register {
        descriptor: u8,
        _pad0: u8,
        length: u16,
        space_id: u8,
        bit_width: u8,
        bit_offset: u8,
        reserved: u8,
        address: u64,
    }

    struct xen_psd_package {
        num_entries: u64,
        revision: u64,
        domain: u64,
        coord_type: u64,
        num_processors: u64,
    }

    struct xen_processor_performance {
        flags: u32,
        platform_limit: u32,
        control_register: xen_pct_register,
        status_register: xen_pct_register,
        state_count: u32,
        _pad0: u32,
        states: u64,
        domain_info: xen_psd_package,
        shared_type: u32,
        _pad1: u32,
    }

    struct xenpf_pcpuinfo {
        xen_cpuid: u32,
        /// Out: the highest CPU number that could be asked for.
        max_present: u32,
        flags: u32,
        apic_id: u32,
        acpi_id: u32,
    }

    struct xenpf_pcpu_version {
        xen_cpuid: u32,
        max_present: u32,
        vendor_id: [u8; 12],
        family: u32,
        model: u32,
        stepping: u32,
    }

    struct xenpf_cpu_ol {
        cpuid: u32,
    }

    struct xenpf_cpu_hotadd {
        apic_id: u32,
        acpi_id: u32,
        pxm: u32,
    }

    struct xenpf_mem_hotadd {
        spfn: u64,
        epfn: u64,
        pxm: u32,
        flags: u32,
    }

    struct xenpf_core_parking {
        typ: u32,
        idle_nums: u32,
    }

    struct xenpf_resource_entry {
        /// The union `u`: `cmd` in, `ret` (signed) out.
        u: u32,
        rsvd: u32,
        idx: u64,
        val: u64,
    }

    struct xenpf_resource_op {
        nr_entries: u32,
        cpu: u32,
        entries: u64,
    }

    struct xenpf_symdata {
        namelen: u32,
        symnum: u32,
        name: u64,
        address: u64,
        typ: u8,
        _pad: [u8; 7],
    }
}

impl xen_platform_op {
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
