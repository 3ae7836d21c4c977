//! The one table of hypercalls, by number (`xen.h`, `__HYPERVISOR_*`).

use super::*;
use xen_abi as abi;

const NUMBERS: usize = 64;

const fn build() -> [Option<Handler>; NUMBERS] {
    let mut t: [Option<Handler>; NUMBERS] = [None; NUMBERS];
    macro_rules! entries {
        ($($number:ident => $handler:path,)*) => {
            $(t[abi::$number as usize] = Some($handler);)*
        };
    }
    entries! {
        __HYPERVISOR_set_trap_table => trap_table::set_trap_table,
        __HYPERVISOR_mmu_update => mmu_update::mmu_update,
        __HYPERVISOR_set_gdt => segments::set_gdt,
        __HYPERVISOR_stack_switch => cpu_state::stack_switch,
        __HYPERVISOR_set_callbacks => callback_op::set_callbacks,
        __HYPERVISOR_fpu_taskswitch => cpu_state::fpu_taskswitch,
        __HYPERVISOR_sched_op_compat => sched_op::sched_op_compat,
        __HYPERVISOR_platform_op => platform_op::platform_op,
        __HYPERVISOR_set_debugreg => cpu_state::set_debugreg,
        __HYPERVISOR_get_debugreg => cpu_state::get_debugreg,
        __HYPERVISOR_update_descriptor => segments::update_descriptor,
        __HYPERVISOR_memory_op => memory_op::memory_op,
        __HYPERVISOR_multicall => multicall::multicall,
        __HYPERVISOR_update_va_mapping => update_va_mapping::update_va_mapping,
        __HYPERVISOR_set_timer_op => timer_op::set_timer_op,
        __HYPERVISOR_xen_version => xen_version::xen_version,
        __HYPERVISOR_console_io => console_io::console_io,
        __HYPERVISOR_grant_table_op => grant_table_op::grant_table_op,
        __HYPERVISOR_vm_assist => vm_assist::vm_assist,
        __HYPERVISOR_update_va_mapping_otherdomain => update_va_mapping::update_va_mapping_otherdomain,
        __HYPERVISOR_vcpu_op => vcpu_op::vcpu_op,
        __HYPERVISOR_set_segment_base => cpu_state::set_segment_base,
        __HYPERVISOR_mmuext_op => mmuext_op::mmuext_op,
        __HYPERVISOR_nmi_op => callback_op::nmi_op,
        __HYPERVISOR_sched_op => sched_op::sched_op,
        __HYPERVISOR_callback_op => callback_op::callback_op,
        __HYPERVISOR_event_channel_op_compat => event_channel_op::event_channel_op_compat,
        __HYPERVISOR_event_channel_op => event_channel_op::event_channel_op,
        __HYPERVISOR_physdev_op => physdev_op::physdev_op,
        __HYPERVISOR_sysctl => sysctl::sysctl,
        __HYPERVISOR_domctl => domctl::domctl,
    }
    t
}

static TABLE: [Option<Handler>; NUMBERS] = build();

/// The handler of hypercall `number`, if there is one.
#[inline]
pub fn handler(number: u64) -> Option<Handler> {
    TABLE.get(usize::try_from(number).ok()?).copied().flatten()
}
