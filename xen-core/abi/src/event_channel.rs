//! Event channels (`public/event_channel.h`): operations, their arguments, and the FIFO layout.
#![allow(missing_docs)]
use crate::xen::domid_t;

/// A port of a domain.
pub type evtchn_port_t = u32;

consts! { u32:
    EVTCHNOP_bind_interdomain = 0;
    EVTCHNOP_bind_virq = 1;
    EVTCHNOP_bind_pirq = 2;
    EVTCHNOP_close = 3;
    EVTCHNOP_send = 4;
    EVTCHNOP_status = 5;
    EVTCHNOP_alloc_unbound = 6;
    EVTCHNOP_bind_ipi = 7;
    EVTCHNOP_bind_vcpu = 8;
    EVTCHNOP_unmask = 9;
    EVTCHNOP_reset = 10;
    EVTCHNOP_init_control = 11;
    EVTCHNOP_expand_array = 12;
    EVTCHNOP_set_priority = 13;
    BIND_PIRQ__WILL_SHARE = 1;
    EVTCHNSTAT_closed = 0;
    EVTCHNSTAT_unbound = 1;
    EVTCHNSTAT_interdomain = 2;
    EVTCHNSTAT_pirq = 3;
    EVTCHNSTAT_virq = 4;
    EVTCHNSTAT_ipi = 5;
    EVTCHN_2L_NR_CHANNELS = 4096;
    EVTCHN_FIFO_PRIORITY_MAX = 0;
    EVTCHN_FIFO_PRIORITY_DEFAULT = 7;
    EVTCHN_FIFO_PRIORITY_MIN = 15;
    EVTCHN_FIFO_MAX_QUEUES = 16;
    /// Bit numbers in an event word.
    EVTCHN_FIFO_PENDING = 31;
    EVTCHN_FIFO_MASKED = 30;
    EVTCHN_FIFO_LINKED = 29;
    EVTCHN_FIFO_BUSY = 28;
    EVTCHN_FIFO_LINK_BITS = 17;
    EVTCHN_FIFO_LINK_MASK = (1 << 17) - 1;
    EVTCHN_FIFO_NR_CHANNELS = 1 << 17;
}

structs! {
    struct evtchn_alloc_unbound {
        dom: domid_t,
        remote_dom: domid_t,
        /// Out.
        port: evtchn_port_t,
    }

    struct evtchn_bind_interdomain {
        remote_dom: domid_t,
        _pad: u16,
        remote_port: evtchn_port_t,
        /// Out.
        local_port: evtchn_port_t,
    }

    struct evtchn_bind_virq {
        virq: u32,
        vcpu: u32,
        /// Out.
        port: evtchn_port_t,
    }

    struct evtchn_bind_pirq {
        pirq: u32,
        flags: u32,
        /// Out.
        port: evtchn_port_t,
    }

    struct evtchn_bind_ipi {
        vcpu: u32,
        /// Out.
        port: evtchn_port_t,
    }

    struct evtchn_close {
        port: evtchn_port_t,
    }

    struct evtchn_send {
        port: evtchn_port_t,
    }

    struct evtchn_status {
        dom: domid_t,
        _pad: u16,
        port: evtchn_port_t,
        /// Out: `EVTCHNSTAT_*`.
        status: u32,
        vcpu: u32,
        /// The union `u`, first word: `unbound.dom`, `interdomain.dom` (16 bits each), `pirq` or `virq`.
        u0: u32,
        /// The union `u`, second word: `interdomain.port`.
        u1: u32,
    }

    struct evtchn_bind_vcpu {
        port: evtchn_port_t,
        vcpu: u32,
    }

    struct evtchn_unmask {
        port: evtchn_port_t,
    }

    struct evtchn_reset {
        dom: domid_t,
    }

    struct evtchn_init_control {
        control_gfn: u64,
        offset: u32,
        vcpu: u32,
        /// Out: width of the link field.
        link_bits: u8,
        _pad: [u8; 7],
    }

    struct evtchn_expand_array {
        array_gfn: u64,
    }

    struct evtchn_set_priority {
        port: evtchn_port_t,
        priority: u32,
    }

    /// Argument of the old `event_channel_op_compat`.
    struct evtchn_op {
        cmd: u32,
        /// The union `u`: bytes of one of the structures above.
        u: [u32; 6],
    }

    /// A vcpu's control block of the FIFO interface; both sides write, use atomics.
    struct evtchn_fifo_control_block {
        /// Bitmap of priorities whose queue is not empty.
        ready: u32,
        _rsvd: u32,
        head: [u32; 16],
    }
}
