//! Names of kinds, counters and hypercalls. The first two are read from the hypervisor's own table, by order.

const TABLE: &str = include_str!("../../../xen-core/hv/src/trace/kinds.rs");

/// The quoted names of the table that begins with `head`.
fn names(head: &str) -> Vec<&'static str> {
    let body = TABLE.split_once(head).map_or("", |(_, rest)| rest);
    body.lines()
        .skip(1)
        .take_while(|line| !line.starts_with('}'))
        .filter(|line| !line.trim_start().starts_with("//"))
        .filter_map(|line| line.split_once(" = \"")?.1.strip_suffix("\","))
        .collect()
}

/// Kinds of trace entries.
pub fn kinds() -> Vec<&'static str> {
    names("Kind, u16:")
}

const HYPERCALLS: [&str; 42] = [
    "set_trap_table",
    "mmu_update",
    "set_gdt",
    "stack_switch",
    "set_callbacks",
    "fpu_taskswitch",
    "sched_op_compat",
    "platform_op",
    "set_debugreg",
    "get_debugreg",
    "update_descriptor",
    "11",
    "memory_op",
    "multicall",
    "update_va_mapping",
    "set_timer_op",
    "event_channel_op_compat",
    "xen_version",
    "console_io",
    "physdev_op_compat",
    "grant_table_op",
    "vm_assist",
    "update_va_mapping_otherdomain",
    "iret",
    "vcpu_op",
    "set_segment_base",
    "mmuext_op",
    "xsm_op",
    "nmi_op",
    "sched_op",
    "callback_op",
    "xenoprof_op",
    "event_channel_op",
    "physdev_op",
    "hvm_op",
    "sysctl",
    "domctl",
    "kexec_op",
    "tmem_op",
    "argo_op",
    "xenpmu_op",
    "dm_op",
];

/// A hypercall's name.
pub fn hypercall(number: u64) -> String {
    let known = usize::try_from(number).ok().and_then(|number| HYPERCALLS.get(number));
    known.map_or_else(|| format!("hypercall {number}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hypervisors_table_is_understood() {
        assert_eq!(kinds()[..3], ["mark", "hypercall", "hypercall-end"]);
        assert_eq!(hypercall(29), "sched_op");
        assert_eq!(hypercall(99), "hypercall 99");
    }
}
