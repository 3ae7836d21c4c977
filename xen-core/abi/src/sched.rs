//! Scheduling, vcpus, callbacks (`public/sched.h`, `public/vcpu.h`, `public/callback.h`).
#![allow(missing_docs)]
use crate::xen::domid_t;

consts! { u32:
    SCHEDOP_yield = 0;
    SCHEDOP_block = 1;
    SCHEDOP_shutdown = 2;
    SCHEDOP_poll = 3;
    SCHEDOP_remote_shutdown = 4;
    SCHEDOP_shutdown_code = 5;
    SCHEDOP_watchdog = 6;
    SCHEDOP_pin_override = 7;
    SHUTDOWN_poweroff = 0;
    SHUTDOWN_reboot = 1;
    SHUTDOWN_suspend = 2;
    SHUTDOWN_crash = 3;
    SHUTDOWN_watchdog = 4;
    SHUTDOWN_soft_reset = 5;
    SHUTDOWN_MAX = 5;
    VCPUOP_initialise = 0;
    VCPUOP_up = 1;
    VCPUOP_down = 2;
    VCPUOP_is_up = 3;
    VCPUOP_get_runstate_info = 4;
    VCPUOP_register_runstate_memory_area = 5;
    VCPUOP_set_periodic_timer = 6;
    VCPUOP_stop_periodic_timer = 7;
    VCPUOP_set_singleshot_timer = 8;
    VCPUOP_stop_singleshot_timer = 9;
    VCPUOP_register_vcpu_info = 10;
    VCPUOP_send_nmi = 11;
    VCPUOP_get_physid = 12;
    VCPUOP_register_vcpu_time_memory_area = 13;
    /// In `vcpu_set_singleshot_timer.flags`: a timeout in the past is `-ETIME`.
    VCPU_SSHOTTMR_future = 1 << 0;
    CALLBACKOP_register = 0;
    CALLBACKOP_unregister = 1;
}

consts! { i32:
    RUNSTATE_running = 0;
    RUNSTATE_runnable = 1;
    RUNSTATE_blocked = 2;
    RUNSTATE_offline = 3;
}

consts! { u16:
    CALLBACKTYPE_event = 0;
    CALLBACKTYPE_failsafe = 1;
    CALLBACKTYPE_syscall = 2;
    CALLBACKTYPE_sysenter_deprecated = 3;
    CALLBACKTYPE_nmi = 4;
    CALLBACKTYPE_sysenter = 5;
    CALLBACKTYPE_syscall32 = 7;
    CALLBACKF_mask_events = 1 << 0;
}

/// Set in `state_entry_time` of a registered runstate area while it changes.
pub const XEN_RUNSTATE_UPDATE: u64 = 1 << 63;

structs! {
    struct sched_shutdown {
        reason: u32,
    }

    struct sched_poll {
        /// Handle of the ports.
        ports: u64,
        nr_ports: u32,
        _pad: u32,
        /// Absolute system time in nanoseconds, 0 for none.
        timeout: u64,
    }

    struct sched_remote_shutdown {
        domain_id: domid_t,
        _pad: u16,
        reason: u32,
    }

    struct sched_watchdog {
        id: u32,
        /// Seconds.
        timeout: u32,
    }

    struct sched_pin_override {
        pcpu: i32,
    }

    /// How a vcpu spent its time, in nanoseconds by state.
    struct vcpu_runstate_info {
        state: i32,
        _pad: u32,
        state_entry_time: u64,
        time: [u64; 4],
    }

    struct vcpu_register_runstate_memory_area {
        /// Virtual address of a [`vcpu_runstate_info`].
        addr: u64,
    }

    struct vcpu_set_periodic_timer {
        period_ns: u64,
    }

    struct vcpu_set_singleshot_timer {
        timeout_abs_ns: u64,
        flags: u32,
        _pad: u32,
    }

    struct vcpu_register_vcpu_info {
        mfn: u64,
        offset: u32,
        rsvd: u32,
    }

    struct vcpu_get_physid {
        /// APIC id in the low half, ACPI id in the high half.
        phys_id: u64,
    }

    struct vcpu_register_time_memory_area {
        /// Virtual address of a `vcpu_time_info`.
        addr: u64,
    }

    struct callback_register {
        typ: u16,
        flags: u16,
        _pad: u32,
        address: u64,
    }

    struct callback_unregister {
        typ: u16,
        _unused: u16,
    }
}
