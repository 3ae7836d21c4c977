//! What the sources do not say of the interface's operations.

use super::State;
use super::State::{Absent, Partial};

/// The page's beginning.
pub const HEAD: &str = "# Xen's interface, operation by operation

Written by `cargo xtask abi`; the lint compares. *Whole*: carried out as Xen 4.17 does it for paravirtual domains,
as far as is known. *Partial*: the note says what is missing. *Absent*: answered `ENOSYS`, or as the note says. \"Used by\" names cases of `cargo xtask test` whose
sources use the operation, and one of those that boot Linux for what its kernel uses; operations of Debian's tools are
compared with stock Xen's besides (`cargo xtask parity`).
";

/// Operations that go through one table.
pub struct Family {
    /// As the page has it.
    pub title: &'static str,
    /// How the operations' names begin.
    pub prefix: &'static str,
    /// Do they go on in capital letters?
    pub upper: bool,
    /// What else begins so.
    pub not: &'static [&'static str],
    /// The table, below the hypervisor's `hypercall`.
    pub files: &'static [&'static str],
    /// Where it ends, in each file.
    pub until: Option<&'static str>,
}

const fn family(title: &'static str, prefix: &'static str, files: &'static [&'static str]) -> Family {
    Family {
        title,
        prefix,
        upper: false,
        not: &[],
        files,
        until: None,
    }
}

pub const FAMILIES: &[Family] = &[
    family("Hypercalls", "__HYPERVISOR_", &["table.rs", "mod.rs"]),
    Family {
        upper: true,
        ..family("mmuext_op (26)", "MMUEXT_", &["mmuext_op.rs"])
    },
    Family {
        not: &["resource_"],
        until: Some("fn sub_not_built"),
        ..family("memory_op (12)", "XENMEM_", &["memory_op.rs"])
    },
    family("event_channel_op (32)", "EVTCHNOP_", &["event_channel_op.rs"]),
    family(
        "grant_table_op (20)",
        "GNTTABOP_",
        &["grant_table_op.rs", "grant_table_op/table.rs"],
    ),
    family("vcpu_op (24)", "VCPUOP_", &["vcpu_op.rs"]),
    family("sched_op (29)", "SCHEDOP_", &["sched_op.rs"]),
    family("callback_op (30), types", "CALLBACKTYPE_", &["callback_op.rs"]),
    family("xen_version (17)", "XENVER_", &["xen_version.rs"]),
    family("console_io (18)", "CONSOLEIO_", &["console_io.rs"]),
    family("physdev_op (33)", "PHYSDEVOP_", &["physdev_op.rs"]),
    family("platform_op (7)", "XENPF_", &["platform_op.rs"]),
    Family {
        until: Some("/// What a `domctl` that"),
        ..family("domctl (36)", "XEN_DOMCTL_", &["domctl/mod.rs"])
    },
    Family {
        not: &["cpu_featureset_", "cpu_policy_"],
        until: Some("/// What a `sysctl` that"),
        ..family("sysctl (35)", "XEN_SYSCTL_", &["sysctl/mod.rs"])
    },
];

/// Operations that are not whole though their tables name them, or of which more is to be said.
pub const NOTES: &[(&str, State, &str)] = &[
    (
        "XENMEM_get_sharing_freed_pages",
        Absent,
        "there is no sharing: `ENOSYS`, which tools take for none",
    ),
    (
        "XENMEM_get_sharing_shared_pages",
        Absent,
        "there is no sharing: `ENOSYS`, which tools take for none",
    ),
    ("XENMEM_add_to_physmap", Absent, "for translated guests"),
    ("XENMEM_add_to_physmap_batch", Absent, "for translated guests"),
    ("XENMEM_remove_from_physmap", Absent, "for translated guests"),
    (
        "XENMEM_get_vnumainfo",
        Partial,
        "`EOPNOTSUPP`: no domain is given virtual nodes",
    ),
    (
        "XENMEM_reserved_device_memory_map",
        Partial,
        "always empty: there is no IOMMU",
    ),
    ("XEN_DOMCTL_assign_device", Absent, "`ENODEV`: there is no IOMMU"),
    ("XEN_DOMCTL_test_assign_device", Absent, "`ENODEV`: there is no IOMMU"),
    ("XEN_DOMCTL_deassign_device", Absent, "`ENODEV`: there is no IOMMU"),
    ("XEN_DOMCTL_settscinfo", Partial, "an emulated counter is refused"),
    ("XEN_DOMCTL_setnodeaffinity", Partial, "there is one node"),
    ("XEN_DOMCTL_set_address_size", Partial, "64-bit guests only"),
    (
        "XEN_DOMCTL_set_cpu_policy",
        Partial,
        "MSRs may be named, and stay the machine's",
    ),
    (
        "XEN_DOMCTL_shadow_op",
        State::Whole,
        "for tracking writes, the only use of shadows here",
    ),
    ("XEN_SYSCTL_scheduler_op", Partial, "one ratelimit for all pools"),
    ("XEN_SYSCTL_get_pmstat", Partial, "idle states; no frequencies"),
    ("XEN_SYSCTL_pm_op", Partial, "idle states; no frequencies"),
    (
        "XEN_SYSCTL_coverage_op",
        Absent,
        "`EOPNOTSUPP`, as Debian's image answers",
    ),
    (
        "XENPF_efi_runtime_call",
        Absent,
        "firmware's runtime services are not offered",
    ),
    (
        "XENPF_set_processor_pminfo",
        Partial,
        "taken, and not used: frequencies are the machine's",
    ),
    (
        "XEN_SYSCTL_get_cpu_levelling_caps",
        Partial,
        "none: CPUID is not masked by MSRs",
    ),
];

/// What Linux 6.1 does at boot or at work, in Dom0 or in a guest.
pub const LINUX: &[&str] = &[
    "__HYPERVISOR_set_trap_table",
    "__HYPERVISOR_mmu_update",
    "__HYPERVISOR_set_gdt",
    "__HYPERVISOR_stack_switch",
    "__HYPERVISOR_fpu_taskswitch",
    "__HYPERVISOR_platform_op",
    "__HYPERVISOR_set_debugreg",
    "__HYPERVISOR_get_debugreg",
    "__HYPERVISOR_update_descriptor",
    "__HYPERVISOR_memory_op",
    "__HYPERVISOR_multicall",
    "__HYPERVISOR_update_va_mapping",
    "__HYPERVISOR_xen_version",
    "__HYPERVISOR_console_io",
    "__HYPERVISOR_grant_table_op",
    "__HYPERVISOR_vm_assist",
    "__HYPERVISOR_iret",
    "__HYPERVISOR_vcpu_op",
    "__HYPERVISOR_set_segment_base",
    "__HYPERVISOR_mmuext_op",
    "__HYPERVISOR_sched_op",
    "__HYPERVISOR_callback_op",
    "__HYPERVISOR_event_channel_op",
    "__HYPERVISOR_physdev_op",
    "MMUEXT_PIN_L1_TABLE",
    "MMUEXT_PIN_L4_TABLE",
    "MMUEXT_UNPIN_TABLE",
    "MMUEXT_NEW_BASEPTR",
    "MMUEXT_NEW_USER_BASEPTR",
    "MMUEXT_TLB_FLUSH_LOCAL",
    "MMUEXT_TLB_FLUSH_MULTI",
    "MMUEXT_INVLPG_LOCAL",
    "MMUEXT_INVLPG_MULTI",
    "MMUEXT_SET_LDT",
    "XENMEM_machine_memory_map",
    "XENMEM_maximum_reservation",
    "XENMEM_machphys_mapping",
    "XENMEM_exchange",
    "EVTCHNOP_bind_virq",
    "EVTCHNOP_bind_pirq",
    "EVTCHNOP_bind_ipi",
    "EVTCHNOP_bind_vcpu",
    "EVTCHNOP_send",
    "EVTCHNOP_unmask",
    "EVTCHNOP_close",
    "EVTCHNOP_init_control",
    "EVTCHNOP_expand_array",
    "EVTCHNOP_set_priority",
    "VCPUOP_initialise",
    "VCPUOP_up",
    "VCPUOP_is_up",
    "VCPUOP_register_runstate_memory_area",
    "VCPUOP_set_singleshot_timer",
    "VCPUOP_stop_singleshot_timer",
    "VCPUOP_stop_periodic_timer",
    "VCPUOP_register_vcpu_info",
    "VCPUOP_register_vcpu_time_memory_area",
    "SCHEDOP_yield",
    "SCHEDOP_block",
    "SCHEDOP_shutdown",
    "SCHEDOP_poll",
    "CALLBACKTYPE_event",
    "CALLBACKTYPE_failsafe",
    "CALLBACKTYPE_syscall",
    "CALLBACKTYPE_nmi",
    "XENVER_version",
    "XENVER_get_features",
    "CONSOLEIO_write",
    "CONSOLEIO_read",
    "PHYSDEVOP_set_iopl",
    "PHYSDEVOP_setup_gsi",
    "PHYSDEVOP_map_pirq",
    "PHYSDEVOP_unmap_pirq",
    "PHYSDEVOP_eoi",
    "PHYSDEVOP_irq_status_query",
    "PHYSDEVOP_pci_device_add",
    "PHYSDEVOP_pci_mmcfg_reserved",
    "XENPF_get_cpuinfo",
    "XENPF_enter_acpi_sleep",
];
