//! Where both `xen-sys` and `xen-abi` have a type or a number, they agree: drivers may be handed either.
use core::mem::offset_of;

macro_rules! same_layouts {
    ($($name:ident { $($field:ident),* })*) => {
        #[test]
        fn structures_have_one_layout() {
            $(
                assert_eq!(size_of::<xen_abi::$name>(), size_of::<xen_sys::$name>(), stringify!($name));
                assert_eq!(align_of::<xen_abi::$name>(), align_of::<xen_sys::$name>(), stringify!($name));
                $(assert_eq!(
                    offset_of!(xen_abi::$name, $field),
                    offset_of!(xen_sys::$name, $field),
                    "{}.{}", stringify!($name), stringify!($field)
                );)*
            )*
        }
    };
}

same_layouts! {
    start_info {
        magic, nr_pages, shared_info, flags, store_mfn, store_evtchn, console, pt_base, nr_pt_frames, mfn_list,
        mod_start, mod_len, cmd_line, first_p2m_pfn, nr_p2m_frames
    }
    shared_info {}
    vcpu_info {}
    vcpu_time_info { version, tsc_timestamp, system_time, tsc_to_system_mul, tsc_shift }
    evtchn_alloc_unbound { dom, remote_dom, port }
    evtchn_bind_interdomain { remote_dom, remote_port, local_port }
    evtchn_bind_virq { virq, vcpu, port }
    evtchn_bind_pirq { pirq, flags, port }
    evtchn_bind_ipi { vcpu, port }
    evtchn_bind_vcpu { port, vcpu }
    evtchn_close { port }
    evtchn_send { port }
    evtchn_status { dom, port, status, vcpu }
    evtchn_unmask { port }
    evtchn_reset { dom }
    evtchn_init_control { control_gfn, offset, vcpu, link_bits }
    evtchn_expand_array { array_gfn }
    evtchn_set_priority { port, priority }
    evtchn_fifo_control_block { ready, head }
    sched_shutdown { reason }
    sched_poll { ports, nr_ports, timeout }
    sched_remote_shutdown { domain_id, reason }
    sched_watchdog { id, timeout }
    sched_pin_override { pcpu }
    mmu_update { ptr, val }
    mmuext_op { cmd, arg1, arg2 }
    multicall_entry { op, result, args }
    trap_info { vector, flags, cs, address }
}

macro_rules! same_numbers {
    ($($name:ident)*) => {
        #[test]
        fn numbers_are_the_same() {
            $(assert_eq!(i128::from(xen_abi::$name), i128::from(xen_sys::$name), stringify!($name));)*
        }
    };
}

same_numbers! {
    __HYPERVISOR_set_trap_table __HYPERVISOR_mmu_update __HYPERVISOR_memory_op __HYPERVISOR_multicall
    __HYPERVISOR_update_va_mapping __HYPERVISOR_xen_version __HYPERVISOR_console_io __HYPERVISOR_grant_table_op
    __HYPERVISOR_iret __HYPERVISOR_vcpu_op __HYPERVISOR_mmuext_op __HYPERVISOR_sched_op __HYPERVISOR_callback_op
    __HYPERVISOR_event_channel_op __HYPERVISOR_physdev_op
    EVTCHNOP_bind_interdomain EVTCHNOP_bind_virq EVTCHNOP_bind_pirq EVTCHNOP_close EVTCHNOP_send EVTCHNOP_status
    EVTCHNOP_alloc_unbound EVTCHNOP_bind_ipi EVTCHNOP_bind_vcpu EVTCHNOP_unmask EVTCHNOP_reset EVTCHNOP_init_control
    EVTCHNOP_expand_array EVTCHNOP_set_priority
    EVTCHNSTAT_closed EVTCHNSTAT_unbound EVTCHNSTAT_interdomain EVTCHNSTAT_pirq EVTCHNSTAT_virq EVTCHNSTAT_ipi
    SCHEDOP_yield SCHEDOP_block SCHEDOP_shutdown SCHEDOP_poll SCHEDOP_remote_shutdown SCHEDOP_shutdown_code
    SCHEDOP_watchdog SCHEDOP_pin_override
    SHUTDOWN_poweroff SHUTDOWN_reboot SHUTDOWN_suspend SHUTDOWN_crash SHUTDOWN_watchdog SHUTDOWN_soft_reset
    MMUEXT_PIN_L1_TABLE MMUEXT_PIN_L4_TABLE MMUEXT_UNPIN_TABLE MMUEXT_NEW_BASEPTR MMUEXT_TLB_FLUSH_LOCAL
    MMUEXT_INVLPG_LOCAL MMUEXT_SET_LDT MMUEXT_NEW_USER_BASEPTR
    VIRQ_TIMER VIRQ_DEBUG VIRQ_CONSOLE VIRQ_DOM_EXC
}
