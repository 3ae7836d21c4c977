//! Event channels: a domain's ports, and how an event reaches one of its vcpus.
//!
//! Locks, outermost first: a domain's `admin` (two domains: the lower number first), a port's binding, a vcpu's FIFO
//! queues (two vcpus: the lower number first). Whoever delivers an event holds the lock of a port: the sender's own,
//! which for a connection also keeps the port at the other end, since closing either takes both. So once all of a
//! domain's ports have been closed, nobody touches its event pages any more.

mod bind;
mod close;
mod fifo;
mod port;
mod shared;
mod virq;

pub use bind::{alloc_unbound, bind_interdomain, bind_ipi, bind_pirq, bind_vcpu, bind_virq, set_priority, status};
pub(crate) use bind::{find, find_alive};
pub use close::{close, close_all, release};
pub use fifo::{expand_array, init_control};
pub use shared::{
    held_frames, init_domain, init_vcpu, register_vcpu_info, shared_info_frame, shared_max_pfn, shared_word,
};
pub use virq::{send_global_virq, send_pirq, send_virq, set_virq_handler};

use crate::domain::{Config, Domain, Vcpu};
use crate::mm::frame::TypedRef;
use crate::sched;
use crate::sync::Mutex;
use crate::trace;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64};
use port::{Port, PortTable};
use xen_abi::{Errno, shared_info};
use xen_logic::evtchn::free_ports::FreePorts;
use xen_logic::evtchn::port::{Binding, NR_VIRQS};
use xen_logic::evtchn::{Raised, fifo::Queues, two_level};

/// `poll` of a vcpu that polls several ports, or none.
pub const POLL_ANY: u32 = u32::MAX;

/// A domain's event channels.
pub struct DomainEvents {
    /// The shared page in the direct map; null until there is one.
    shared: AtomicPtr<shared_info>,
    ports: PortTable,
    /// Which ports are free. Held by whoever allocates or binds a port.
    admin: Mutex<FreePorts>,
    /// The highest port it may use.
    max_port: u32,
    /// The event array, in use once `uses_fifo`.
    array: fifo::Array,
    uses_fifo: AtomicBool,
    /// How many vcpus are in `SCHEDOP_poll`.
    pollers: AtomicU32,
    /// By physical interrupt: the port bound to it.
    pirqs: virq::PirqPorts,
}

/// A vcpu's event channels.
pub struct VcpuEvents {
    /// By virtual interrupt: the port bound to it, 0 for none.
    virqs: [AtomicU32; NR_VIRQS as usize],
    /// The appending side of its FIFO queues.
    queues: Mutex<Queues>,
    /// Its control block in the direct map; null until the guest has given one.
    control: AtomicPtr<xen_logic::evtchn::fifo::ControlBlock>,
    /// The page of `control`.
    control_frame: Mutex<Option<TypedRef>>,
    /// The page of a registered `vcpu_info`.
    info_frame: Mutex<Option<TypedRef>>,
    /// The port it polls, [`POLL_ANY`], or 0 while it does not poll.
    poll: AtomicU32,
}

impl DomainEvents {
    /// No port is in use, and the layout is the two-level one.
    pub fn new(config: &Config) -> Self {
        DomainEvents {
            shared: AtomicPtr::new(core::ptr::null_mut()),
            ports: PortTable::new(),
            admin: Mutex::new(FreePorts::new()),
            max_port: config.max_evtchn_port,
            array: fifo::Array::new(),
            uses_fifo: AtomicBool::new(false),
            pollers: AtomicU32::new(0),
            pirqs: virq::PirqPorts::new(),
        }
    }

    /// How many ports the present layout has and the domain may use, port 0 included.
    fn port_limit(&self) -> u32 {
        let layout = if self.uses_fifo.load(SeqCst) {
            xen_logic::evtchn::fifo::PORTS
        } else {
            two_level::PORTS
        };
        layout.min(self.max_port.saturating_add(1))
    }

    /// The two-level layout's pending and mask bits, once there is a shared page.
    #[inline]
    fn bits(&self) -> Option<(&two_level::Bits, &two_level::Bits)> {
        let page = self.shared.load(Relaxed).cast::<u8>();
        if page.is_null() {
            return None;
        }
        // SAFETY: the page is the hypervisor's, lives as long as the domain, and is only accessed by atomics; both
        // bitmaps are 64 aligned words within it.
        unsafe {
            Some((
                &*page.add(xen_abi::SHARED_INFO_EVTCHN_PENDING).cast(),
                &*page.add(xen_abi::SHARED_INFO_EVTCHN_MASK).cast(),
            ))
        }
    }
}

impl VcpuEvents {
    /// Nothing bound.
    pub const fn new() -> Self {
        VcpuEvents {
            virqs: [const { AtomicU32::new(0) }; NR_VIRQS as usize],
            queues: Mutex::new(Queues::new()),
            control: AtomicPtr::new(core::ptr::null_mut()),
            control_frame: Mutex::new(None),
            info_frame: Mutex::new(None),
            poll: AtomicU32::new(0),
        }
    }
}

/// Is an upcall due to the vcpu, and not masked?
#[inline]
pub fn has_pending(v: &Vcpu) -> bool {
    // SAFETY: `info` is never null, is 8-byte aligned, and what it points to is only accessed by atomics; the first
    // word is the two flags and padding.
    let flags = unsafe { AtomicU64::from_ptr(v.hot.info.load(Relaxed).cast()) };
    flags.load(SeqCst) & 0xffff == 1
}

#[inline]
fn upcall_pending(v: &Vcpu) -> &AtomicU8 {
    // SAFETY: as in `has_pending`; the flag is the first byte.
    unsafe { AtomicU8::from_ptr(v.hot.info.load(Relaxed).cast()) }
}

#[inline]
fn selector(v: &Vcpu) -> &AtomicU64 {
    // SAFETY: as in `has_pending`; the selector is the second word.
    unsafe {
        AtomicU64::from_ptr(
            v.hot
                .info
                .load(Relaxed)
                .cast::<u64>()
                .add(xen_abi::VCPU_INFO_PENDING_SEL / 8),
        )
    }
}

/// Makes an upcall due, and makes sure the vcpu soon sees it.
#[inline]
pub fn vcpu_mark_events_pending(v: &'static Vcpu) {
    if upcall_pending(v).swap(1, SeqCst) == 0 {
        vcpu_kick(v);
    }
}

/// Wakes the vcpu if it is blocked, and has a CPU that runs it look at its events.
#[inline]
pub fn vcpu_kick(v: &'static Vcpu) {
    sched::unblock_or_kick(v);
}

/// Marks the event of `port` pending. The caller holds the lock of that port, or of the one connected to it.
#[inline]
fn set_pending(domain: &Domain, number: u32, port: &Port) {
    trace::record(trace::Kind::Event, domain.id as u64, number as u64);
    trace::count(trace::Counter::Events);
    let Some(v) = domain.vcpu(port.vcpu.load(Relaxed)) else {
        return;
    };
    let raised = if domain.events.uses_fifo.load(Relaxed) {
        fifo::set_pending(domain, v, number, port)
    } else {
        let Some((pending, mask)) = domain.events.bits() else {
            return;
        };
        two_level::set_pending(pending, mask, selector(v), number)
    };
    if raised == Raised::Upcall {
        vcpu_mark_events_pending(v);
    }
    if raised != Raised::Already && domain.events.pollers.load(SeqCst) != 0 {
        wake_pollers(domain, number);
    }
}

/// Sends through `number` (`EVTCHNOP_send`).
///
/// # Errors
/// `EINVAL` for a port that is closed, or that only the hypervisor sends through.
#[inline]
pub fn send(domain: &Domain, number: u32) -> Result<(), Errno> {
    let port = domain.events.ports.get(number).ok_or(Errno::EINVAL)?;
    match &*port.binding.lock() {
        Binding::Ipi => set_pending(domain, number, port),
        Binding::Interdomain {
            remote, port: there, ..
        } => {
            if let Some(port) = remote.events.ports.get(*there) {
                set_pending(remote, *there, port);
            }
        }
        // Nobody is there to hear it yet.
        Binding::Unbound { .. } => {}
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

/// Clears a port's mask, and delivers what is pending (`EVTCHNOP_unmask`).
///
/// # Errors
/// `EINVAL` for a port that is closed.
pub fn unmask(domain: &Domain, number: u32) -> Result<(), Errno> {
    let port = domain.events.ports.get(number).ok_or(Errno::EINVAL)?;
    let binding = port.binding.lock();
    if binding.is_free() {
        return Err(Errno::EINVAL);
    }
    let Some(v) = domain.vcpu(port.vcpu.load(Relaxed)) else {
        return Ok(());
    };
    let due = if domain.events.uses_fifo.load(Relaxed) {
        fifo::unmask(domain, v, number, port)
    } else {
        let (pending, mask) = domain.events.bits().ok_or(Errno::EINVAL)?;
        two_level::unmask(pending, mask, selector(v), number)
    };
    if due {
        vcpu_mark_events_pending(v);
    }
    Ok(())
}

/// Is the event of `number` pending, masked or not?
///
/// # Errors
/// `EINVAL` for a number that was never a port.
pub fn is_pending(domain: &Domain, number: u32) -> Result<bool, Errno> {
    let port = domain.events.ports.get(number).ok_or(Errno::EINVAL)?;
    // A bound port keeps the event pages where they are.
    let binding = port.binding.lock();
    if binding.is_free() {
        return Ok(false);
    }
    if domain.events.uses_fifo.load(Relaxed) {
        return Ok(fifo::is_pending(domain, number));
    }
    Ok(domain
        .events
        .bits()
        .is_some_and(|(pending, _)| two_level::test(pending, number)))
}

/// The vcpu begins to poll `port`, or [`POLL_ANY`]; events that arrive from now on wake it.
pub fn poll_start(v: &Vcpu, port: u32) {
    if v.events.poll.swap(port, SeqCst) == 0 {
        v.domain().events.pollers.fetch_add(1, SeqCst);
    }
}

/// Is the vcpu in a poll?
pub fn is_polling(v: &Vcpu) -> bool {
    v.events.poll.load(SeqCst) != 0
}

/// The vcpu polls no more.
pub fn poll_end(v: &Vcpu) {
    if v.events.poll.load(Relaxed) != 0 && v.events.poll.swap(0, SeqCst) != 0 {
        v.domain().events.pollers.fetch_sub(1, SeqCst);
    }
}

#[cold]
fn wake_pollers(domain: &Domain, number: u32) {
    for v in domain.vcpus() {
        let poll = v.events.poll.load(SeqCst);
        if poll == POLL_ANY || poll == number {
            sched::unblock(v);
        }
    }
}
