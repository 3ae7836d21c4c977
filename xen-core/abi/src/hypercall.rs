//! Hypercall numbers (`public/xen.h`): the value a guest has in RAX at `syscall`.
#![allow(missing_docs)]

macro_rules! hypercalls {
    ($($constant:ident = $number:literal, $name:literal;)*) => {
        $(pub const $constant: u64 = $number;)*

        /// The name of a hypercall without its prefix, for logs and traces; `"?"` where there is none.
        pub fn hypercall_name(number: u64) -> &'static str {
            match number {
                $($number => $name,)*
                _ => "?",
            }
        }
    };
}

hypercalls! {
    __HYPERVISOR_set_trap_table = 0, "set_trap_table";
    __HYPERVISOR_mmu_update = 1, "mmu_update";
    __HYPERVISOR_set_gdt = 2, "set_gdt";
    __HYPERVISOR_stack_switch = 3, "stack_switch";
    __HYPERVISOR_set_callbacks = 4, "set_callbacks";
    __HYPERVISOR_fpu_taskswitch = 5, "fpu_taskswitch";
    __HYPERVISOR_sched_op_compat = 6, "sched_op_compat";
    __HYPERVISOR_platform_op = 7, "platform_op";
    __HYPERVISOR_set_debugreg = 8, "set_debugreg";
    __HYPERVISOR_get_debugreg = 9, "get_debugreg";
    __HYPERVISOR_update_descriptor = 10, "update_descriptor";
    __HYPERVISOR_memory_op = 12, "memory_op";
    __HYPERVISOR_multicall = 13, "multicall";
    __HYPERVISOR_update_va_mapping = 14, "update_va_mapping";
    __HYPERVISOR_set_timer_op = 15, "set_timer_op";
    __HYPERVISOR_event_channel_op_compat = 16, "event_channel_op_compat";
    __HYPERVISOR_xen_version = 17, "xen_version";
    __HYPERVISOR_console_io = 18, "console_io";
    __HYPERVISOR_physdev_op_compat = 19, "physdev_op_compat";
    __HYPERVISOR_grant_table_op = 20, "grant_table_op";
    __HYPERVISOR_vm_assist = 21, "vm_assist";
    __HYPERVISOR_update_va_mapping_otherdomain = 22, "update_va_mapping_otherdomain";
    __HYPERVISOR_iret = 23, "iret";
    __HYPERVISOR_vcpu_op = 24, "vcpu_op";
    __HYPERVISOR_set_segment_base = 25, "set_segment_base";
    __HYPERVISOR_mmuext_op = 26, "mmuext_op";
    __HYPERVISOR_xsm_op = 27, "xsm_op";
    __HYPERVISOR_nmi_op = 28, "nmi_op";
    __HYPERVISOR_sched_op = 29, "sched_op";
    __HYPERVISOR_callback_op = 30, "callback_op";
    __HYPERVISOR_xenoprof_op = 31, "xenoprof_op";
    __HYPERVISOR_event_channel_op = 32, "event_channel_op";
    __HYPERVISOR_physdev_op = 33, "physdev_op";
    __HYPERVISOR_hvm_op = 34, "hvm_op";
    __HYPERVISOR_sysctl = 35, "sysctl";
    __HYPERVISOR_domctl = 36, "domctl";
    __HYPERVISOR_kexec_op = 37, "kexec_op";
    __HYPERVISOR_tmem_op = 38, "tmem_op";
    __HYPERVISOR_argo_op = 39, "argo_op";
    __HYPERVISOR_xenpmu_op = 40, "xenpmu_op";
    __HYPERVISOR_dm_op = 41, "dm_op";
    __HYPERVISOR_hypfs_op = 42, "hypfs_op";
    __HYPERVISOR_arch_0 = 48, "mca";
    __HYPERVISOR_arch_1 = 49, "paging_domctl_cont";
    __HYPERVISOR_arch_2 = 50, "arch_2";
    __HYPERVISOR_arch_3 = 51, "arch_3";
    __HYPERVISOR_arch_4 = 52, "arch_4";
    __HYPERVISOR_arch_5 = 53, "arch_5";
    __HYPERVISOR_arch_6 = 54, "arch_6";
    __HYPERVISOR_arch_7 = 55, "arch_7";
}

/// The machine-check hypercall, x86's first architecture-specific number.
pub const __HYPERVISOR_mca: u64 = __HYPERVISOR_arch_0;
