//! A virtual CPU.

use super::Domain;
use crate::arch::x86::guest_cpu::GuestCpu;
use crate::arch::x86::regs::UserRegs;
use crate::mm::layout::HOLE_END;
use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};
use xen_abi::{Errno, vcpu_info};

/// State that one CPU at a time owns: the one that runs the vcpu, or one that holds it descheduled.
pub struct Local<T>(UnsafeCell<T>);

// SAFETY: by the ownership rule above, there is never more than one CPU at it.
unsafe impl<T: Send> Sync for Local<T> {}

impl<T> Local<T> {
    /// Wraps an initial value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// # Safety
    /// The vcpu is current on this CPU, or descheduled and kept so by the caller; and no other reference to
    /// this state is alive.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn get(&self) -> &mut T {
        // SAFETY: the caller vouches for exclusive access.
        unsafe { &mut *self.0.get() }
    }
}

/// What the entry and exit paths read; offsets are known to the assembly. Scalars are atomics used with
/// relaxed order, which compile to plain moves.
#[repr(C)]
pub struct Hot {
    /// 1 while the guest kernel runs, 0 while its user space does.
    pub kernel_mode: AtomicU32,
    /// Does the syscall callback mask events on entry? (`CALLBACKF_mask_events`.)
    pub syscall_masks_events: AtomicU32,
    /// CR3 of the guest kernel's address space: its own table, or the shadow of that (`mm::logdirty`).
    pub kernel_cr3: AtomicU64,
    /// CR3 of the guest user's address space; 0 while there is none.
    pub user_cr3: AtomicU64,
    /// The guest kernel's top table, by its machine address, whatever is loaded for it.
    pub kernel_table: AtomicU64,
    /// The guest user's; 0 while there is none.
    pub user_table: AtomicU64,
    /// Stack pointer set by `stack_switch`.
    pub kernel_sp: AtomicU64,
    /// `CALLBACKTYPE_syscall` address.
    pub syscall_callback: AtomicU64,
    /// The same, if the short way may be taken; see [`Hot::update_fast_paths`].
    pub fast_syscall: AtomicU64,
    /// Where a system call's bounce frame begins on the kernel stack, if the short way may be taken; else 0.
    pub frame_sp: AtomicU64,
    /// `CALLBACKTYPE_event` address.
    pub event_callback: AtomicU64,
    /// `CALLBACKTYPE_failsafe` address.
    pub failsafe_callback: AtomicU64,
    /// Does the failsafe callback mask events on entry?
    pub failsafe_masks_events: AtomicU32,
    /// `CALLBACKTYPE_nmi` is in trap gate 2; a pending NMI is noted here.
    pub nmi_pending: AtomicU32,
    /// The vcpu's `vcpu_info` in the direct map; never null.
    pub info: AtomicPtr<vcpu_info>,
}

impl Hot {
    /// Sets the kernel stack for entries from user space.
    pub fn set_kernel_sp(&self, sp: u64) {
        self.kernel_sp.store(sp, Relaxed);
        let frame = (sp & !15).wrapping_sub(SYSCALL_FRAME);
        let fast = frame >= HOLE_END && frame < frame.wrapping_add(SYSCALL_FRAME);
        self.frame_sp.store(if fast { frame } else { 0 }, Relaxed);
    }

    /// Decides whether system calls take the short way; after a change of the callback or of `vm_assist`.
    pub fn update_fast_paths(&self, architectural_iopl: bool) {
        let fast = !architectural_iopl && self.syscall_masks_events.load(Relaxed) != 0;
        let entry = if fast { self.syscall_callback.load(Relaxed) } else { 0 };
        self.fast_syscall.store(entry, Relaxed);
    }
}

/// Bytes of the frame that a system call pushes on the guest kernel's stack.
const SYSCALL_FRAME: u64 = 56;

/// A virtual CPU.
#[repr(C)]
pub struct Vcpu {
    /// What the assembly reads; first, so that its offsets start at 0.
    pub hot: Hot,
    /// Number within the domain.
    pub id: u32,
    idle: bool,
    /// The domain, which owns this vcpu and so outlives it.
    domain: *const Domain,
    /// General registers while not running; the running vcpu's are in the CPU's stack frame.
    pub regs: Local<UserRegs>,
    /// The CPU that holds this vcpu's address space, FPU and segments; `u32::MAX` where none does.
    pub loaded_on: AtomicU32,
    /// Trap table, segments, descriptor tables, debug registers, FPU.
    pub cpu: GuestCpu,
    /// Event channels, per-vcpu part.
    pub events: crate::event::VcpuEvents,
    /// Scheduler, per-vcpu part.
    pub sched: crate::sched::VcpuSched,
    /// Clocks and timers, per-vcpu part.
    pub time: crate::time::VcpuTime,
    /// Has `VCPUOP_initialise` or the domain builder given it a context?
    pub initialised: AtomicBool,
}

// SAFETY: `domain` points to the owner, which is Sync; the other fields are Sync by themselves.
unsafe impl Sync for Vcpu {}
// SAFETY: as above.
unsafe impl Send for Vcpu {}

impl Vcpu {
    /// Makes vcpu `id` of `domain`, without context.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn new(domain: &Domain, id: u32) -> Result<Box<Self>, Errno> {
        Ok(Box::new(Self {
            hot: Hot {
                kernel_mode: AtomicU32::new(1),
                syscall_masks_events: AtomicU32::new(0),
                kernel_cr3: AtomicU64::new(0),
                user_cr3: AtomicU64::new(0),
                kernel_table: AtomicU64::new(0),
                user_table: AtomicU64::new(0),
                kernel_sp: AtomicU64::new(0),
                syscall_callback: AtomicU64::new(0),
                fast_syscall: AtomicU64::new(0),
                frame_sp: AtomicU64::new(0),
                event_callback: AtomicU64::new(0),
                failsafe_callback: AtomicU64::new(0),
                failsafe_masks_events: AtomicU32::new(0),
                nmi_pending: AtomicU32::new(0),
                info: AtomicPtr::new(super::dummy_info()),
            },
            id,
            idle: domain.is_idle(),
            domain,
            regs: Local::new(UserRegs::default()),
            loaded_on: AtomicU32::new(u32::MAX),
            cpu: GuestCpu::new()?,
            events: crate::event::VcpuEvents::new(),
            sched: crate::sched::VcpuSched::new(),
            time: crate::time::VcpuTime::new(),
            initialised: AtomicBool::new(false),
        }))
    }

    /// The domain it belongs to.
    #[inline]
    pub fn domain(&self) -> &'static Domain {
        // SAFETY: the domain owns its vcpus, and frees them only with itself, after they have left every CPU and
        // queue; so it is alive wherever a vcpu can be used.
        unsafe { &*self.domain }
    }

    /// Is it a CPU's idle vcpu?
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.idle
    }
}
