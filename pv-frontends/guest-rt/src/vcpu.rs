//! Per-vcpu data behind GS, and the start of further vcpus.
use crate::{hypercall, pages, trap};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use xen_abi::*;

/// How many vcpus an image can run.
pub const MAX_VCPUS: usize = 8;
const STACK_SIZE: usize = 65536;

/// One vcpu's data; `start.s` knows the first three words.
#[repr(C, align(64))]
pub struct PerVcpu {
    pub(crate) number: AtomicU64,
    reserved: AtomicU64,
    pub(crate) user_return: AtomicU64,
    /// Where [`trap::catch`] resumes: stack pointer, and whether it is armed.
    pub(crate) recovery: [AtomicU64; 2],
    /// The trap that was caught: vector, error code, CR2, RIP.
    pub(crate) caught: [AtomicU64; 4],
    /// Upcalls taken.
    pub upcalls: AtomicU64,
}

impl PerVcpu {
    const fn new() -> PerVcpu {
        PerVcpu {
            number: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            user_return: AtomicU64::new(0),
            recovery: [const { AtomicU64::new(0) }; 2],
            caught: [const { AtomicU64::new(0) }; 4],
            upcalls: AtomicU64::new(0),
        }
    }
}

static VCPUS: [PerVcpu; MAX_VCPUS] = [const { PerVcpu::new() }; MAX_VCPUS];

/// Memory that only the processor writes, through a stack pointer, above a page that is not mapped while it is in use:
/// what runs over the end stops, and writes into nothing else.
#[repr(C, align(4096))]
struct Stack {
    guard: UnsafeCell<[u8; 4096]>,
    body: UnsafeCell<[u8; STACK_SIZE]>,
}
// SAFETY: no Rust reference to the contents is ever made.
unsafe impl Sync for Stack {}
static STACKS: [Stack; MAX_VCPUS] = [const { Stack::new() }; MAX_VCPUS];
static TRAP_STACKS: [Stack; MAX_VCPUS] = [const { Stack::new() }; MAX_VCPUS];
static ENTRIES: [AtomicUsize; MAX_VCPUS] = [const { AtomicUsize::new(0) }; MAX_VCPUS];

impl Stack {
    const fn new() -> Stack {
        Stack {
            guard: UnsafeCell::new([0; 4096]),
            body: UnsafeCell::new([0; STACK_SIZE]),
        }
    }

    /// The first address above it.
    fn top(&self) -> u64 {
        self.body.get() as u64 + STACK_SIZE as u64
    }
}

/// Unmaps the page below a stack.
fn guard(page: u64) {
    // SAFETY: the page is there for nothing else. Where the hypervisor refuses, the stack is as good as without it.
    unsafe { hypercall::update_va_mapping(page, 0, UVMF_INVLPG | UVMF_ALL) };
}

/// Address of the page below the boot vcpu's stack, which is not mapped.
pub fn boot_guard() -> u64 {
    &raw const boot_stack_guard as u64
}

unsafe extern "C" {
    fn vcpu_entry();
}

/// Lets others have the CPU for a moment.
pub fn yield_now() {
    hypercall::sched_op(SCHEDOP_yield, &mut ());
}

/// The calling vcpu's number.
pub fn number() -> usize {
    let number: u64;
    // SAFETY: GS's base is this vcpu's `PerVcpu` from start of day on; its first word is the number.
    unsafe { asm!("mov {}, gs:[0]", out(reg) number, options(nostack, readonly, preserves_flags)) };
    number as usize
}

/// The calling vcpu's data.
pub fn this() -> &'static PerVcpu {
    &VCPUS[number()]
}

/// A vcpu's data.
pub fn get(number: usize) -> &'static PerVcpu {
    &VCPUS[number]
}

/// Top of the stack on which a vcpu takes traps from user mode.
pub fn trap_stack_top(number: usize) -> u64 {
    TRAP_STACKS[number].top()
}

unsafe extern "C" {
    static boot_stack: u8;
    static boot_stack_guard: u8;
}

/// Whether an address is that of two words on a stack of this image.
pub(crate) fn is_on_a_stack(address: u64) -> bool {
    let boot = &raw const boot_stack as u64;
    let starts = STACKS.iter().chain(&TRAP_STACKS).map(|stack| stack.body.get() as u64);
    starts
        .chain([boot])
        .any(|start| (start..=start + STACK_SIZE as u64 - 16).contains(&address))
}

fn gs_base(number: usize) -> u64 {
    core::ptr::from_ref(&VCPUS[number]) as u64
}

pub(crate) fn init_boot_vcpu() {
    for (number, vcpu) in VCPUS.iter().enumerate() {
        vcpu.number.store(number as u64, Ordering::Relaxed);
    }
    // SAFETY: GS is used by this module alone, which expects the vcpu's data there.
    unsafe { hypercall::set_segment_base(SEGBASE_GS_KERNEL, gs_base(0)) };
    hypercall::stack_switch(trap_stack_top(0));
    guard(boot_guard());
    guard(TRAP_STACKS[0].guard.get() as u64);
}

/// How many vcpus the domain has, the running ones included.
pub fn count() -> usize {
    (0..MAX_VCPUS)
        .take_while(|&number| hypercall::vcpu_op(VCPUOP_is_up, number as u32, &mut ()) >= 0)
        .count()
}

/// Where the context of a vcpu to be started is put together; too large for a stack.
struct ContextCell(UnsafeCell<Option<vcpu_guest_context>>);
// SAFETY: used by `initialise` alone, which the boot vcpu alone calls.
unsafe impl Sync for ContextCell {}
static CONTEXT: ContextCell = ContextCell(UnsafeCell::new(None));

/// Gives a vcpu its first state, to run `entry` on `root`'s page tables; the hypervisor's answer.
pub fn initialise(number: usize, entry: fn(usize), root: u64, change: fn(&mut vcpu_guest_context)) -> i64 {
    ENTRIES[number].store(entry as usize, Ordering::Release);
    // SAFETY: the boot vcpu alone comes here, and the reference ends before it returns.
    let cell = unsafe { &mut *CONTEXT.0.get() };
    let context = cell.insert(Default::default());
    let stack = STACKS[number].top();
    guard(STACKS[number].guard.get() as u64);
    guard(TRAP_STACKS[number].guard.get() as u64);
    context.flags = VGCF_in_kernel;
    context.user_regs.rip = vcpu_entry as *const () as u64;
    context.user_regs.rsp = stack;
    context.user_regs.rdi = number as u64;
    context.user_regs.rflags = 0x202;
    context.user_regs.cs = FLAT_KERNEL_CS;
    context.user_regs.ss = FLAT_KERNEL_SS;
    for entry in trap::table() {
        context.trap_ctxt[usize::from(entry.vector)] = entry;
    }
    context.kernel_ss = FLAT_KERNEL_SS.into();
    context.kernel_sp = trap_stack_top(number);
    context.ctrlreg[3] = xen_pfn_to_cr3(root);
    context.event_callback_eip = trap::event_entry();
    context.failsafe_callback_eip = trap::failsafe_entry();
    context.syscall_callback_eip = trap::syscall_entry();
    context.gs_base_kernel = gs_base(number);
    change(context);
    hypercall::vcpu_op(VCPUOP_initialise, number as u32, context)
}

/// Starts a vcpu in `entry`, on the boot page tables.
pub fn start(number: usize, entry: fn(usize)) -> i64 {
    let answer = initialise(number, entry, pages::boot_root(), |_| ());
    if answer < 0 {
        return answer;
    }
    hypercall::vcpu_op(VCPUOP_up, number as u32, &mut ())
}

#[unsafe(no_mangle)]
extern "C" fn vcpu_start(number: usize) -> ! {
    // SAFETY: the value was stored from a `fn(usize)` before this vcpu was started.
    let entry: fn(usize) = unsafe { core::mem::transmute(ENTRIES[number].load(Ordering::Acquire)) };
    entry(number);
    loop {
        hypercall::vcpu_op(VCPUOP_down, number as u32, &mut ());
    }
}
