//! Each CPU's stack area, and what stands at its top.
//!
//! The area is aligned to its size, so that any stack pointer within it, on the main stack or on one of the
//! exception stacks, leads to the CPU's own data. Neither GS nor a register is needed for that, so the guest's GS
//! base stays where the guest put it.

use crate::domain::Vcpu;
use crate::mm::layout::{PAGE_SIZE, STACK_STRIDE, STACKS};
use core::arch::asm;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Bytes at the top of the area kept for [`CpuInfo`].
pub const INFO_SIZE: u64 = 512;

/// What a CPU knows of itself; the guest's frame ends right below.
#[repr(C)]
pub struct CpuInfo {
    /// Number of this CPU.
    pub cpu: u32,
    /// [`Work`] to look at before the guest runs again.
    pub work: AtomicU32,
    /// The vcpu that this CPU runs.
    pub current: AtomicPtr<Vcpu>,
    /// The syscall stub keeps the guest's stack pointer here for two instructions.
    pub scratch: AtomicU64,
    /// The vcpu whose address space, FPU and segments this CPU holds; differs from `current` while idle.
    pub loaded: AtomicPtr<Vcpu>,
    /// Exits to a guest by `sysret`, counted by the assembly.
    pub sysrets: AtomicU64,
    /// Exits to a guest by `iret`, counted by the assembly.
    pub irets: AtomicU64,
    /// Returns to user space by the short way through the iret hypercall: one CR3 load and one `iret` each.
    pub fast_irets: AtomicU64,
    /// System calls bounced by the short way: one CR3 load and one `sysret` each.
    pub fast_syscalls: AtomicU64,
    /// 1 once the CPU runs and takes requests.
    pub online: AtomicU32,
    /// What this CPU counts.
    pub counters: crate::trace::Counters,
}

/// Pages of the area that are mapped; the others guard. First page and count.
pub const STACK_PAGES: [(u64, u64); 5] = [(1, 3), (5, 3), (9, 3), (13, 3), (17, 15)];

/// Interrupt stack table slot of `#DF` (1-based, as in an IDT gate).
pub const IST_DF: u8 = 1;
/// Slot of NMI.
pub const IST_NMI: u8 = 2;
/// Slot of `#MC`.
pub const IST_MC: u8 = 3;
/// Slot of `#DB`.
pub const IST_DB: u8 = 4;

/// First byte after exception stack `ist` of CPU `cpu`.
pub const fn ist_top(cpu: usize, ist: u8) -> u64 {
    stack_area(cpu) + ist as u64 * 4 * PAGE_SIZE
}

/// Lowest byte of CPU `cpu`'s area.
pub const fn stack_area(cpu: usize) -> u64 {
    STACKS + cpu as u64 * STACK_STRIDE
}

/// Where the main stack of CPU `cpu` begins; [`CpuInfo`] stands there.
pub const fn stack_top(cpu: usize) -> u64 {
    stack_area(cpu) + STACK_STRIDE - INFO_SIZE
}

const _: () = assert!(size_of::<CpuInfo>() as u64 <= INFO_SIZE);

/// Things to do on the way to the guest, one bit each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Work(pub u32);

impl Work {
    /// Choose a vcpu anew.
    pub const SCHEDULE: Work = Work(1);
    /// Timers may have expired.
    pub const TIMER: Work = Work(2);
    /// The current vcpu may have events to look at; the exit path looks at them in any case.
    pub const EVENT: Work = Work(4);
    /// An NMI is due for the current vcpu.
    pub const NMI: Work = Work(8);
    /// Say that this CPU has nothing in its hands, and free domains that waited for that.
    pub const QUIESCE: Work = Work(16);
}

/// This CPU's data.
#[inline(always)]
pub fn info() -> &'static CpuInfo {
    let rsp: u64;
    // SAFETY: reads the stack pointer. Not `pure`: the result must not be carried over a context change, and
    // there is none inside a function, since vcpus have no hypervisor stacks of their own.
    unsafe { asm!("mov {}, rsp", out(reg) rsp, options(nomem, nostack, preserves_flags)) };
    // In one step without overflow checks: this is in every path.
    let top = (rsp | (STACK_STRIDE - 1)).wrapping_sub(INFO_SIZE - 1);
    // SAFETY: every hypervisor stack lies in an area of this form, mapped for ever, whose top is a CpuInfo with
    // only atomic or constant fields.
    unsafe { &*(top as *const CpuInfo) }
}

/// CPU `cpu`'s data; the CPU has a stack area.
#[inline]
pub fn info_of(cpu: usize) -> &'static CpuInfo {
    // SAFETY: as in `info`; areas are mapped before the CPU's number is known to anybody.
    unsafe { &*(stack_top(cpu) as *const CpuInfo) }
}

/// The number of the executing CPU.
#[inline(always)]
pub fn cpu_id() -> usize {
    info().cpu as usize
}

/// The vcpu this CPU runs, the idle vcpu included.
#[inline(always)]
pub fn current() -> &'static Vcpu {
    let v = info().current.load(Ordering::Relaxed);
    // SAFETY: set before the CPU first leaves boot; a vcpu is not freed while a CPU has it current.
    unsafe { &*v }
}

/// Asks this CPU to do `work` before it enters the guest again.
#[inline]
pub fn raise(work: Work) {
    info().work.fetch_or(work.0, Ordering::Relaxed);
}

/// Asks CPU `cpu` to do `work` before it enters a guest again, at once if it is in one.
pub fn raise_on(cpu: usize, work: Work) {
    if cpu == cpu_id() {
        return raise(work);
    }
    let old = info_of(cpu).work.fetch_or(work.0, Ordering::SeqCst);
    if old & work.0 == 0 {
        super::apic::send_ipi(cpu, super::regs::vector::KICK);
    }
}

/// The guest's register frame of this CPU, at the top of its main stack.
#[inline]
pub fn guest_frame() -> *mut super::regs::UserRegs {
    (core::ptr::from_ref(info()) as u64 - size_of::<super::regs::UserRegs>() as u64) as *mut super::regs::UserRegs
}

/// Makes CPU `cpu`'s area usable: fills its [`CpuInfo`].
///
/// # Safety
/// The area's pages are mapped and zeroed, and the CPU does not run on it yet.
pub unsafe fn init(cpu: usize) {
    // SAFETY: the caller vouches for the memory.
    unsafe {
        (stack_top(cpu) as *mut CpuInfo).write(CpuInfo {
            cpu: cpu as u32,
            work: AtomicU32::new(0),
            current: AtomicPtr::new(core::ptr::null_mut()),
            scratch: AtomicU64::new(0),
            loaded: AtomicPtr::new(core::ptr::null_mut()),
            sysrets: AtomicU64::new(0),
            irets: AtomicU64::new(0),
            fast_irets: AtomicU64::new(0),
            fast_syscalls: AtomicU64::new(0),
            online: AtomicU32::new(0),
            counters: crate::trace::Counters::new(),
        });
    }
}
