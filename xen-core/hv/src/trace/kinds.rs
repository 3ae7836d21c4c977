//! The table of what is recorded and what is counted. xtask's trace export reads the two tables of this file, whose
//! order gives the numbers.

macro_rules! table {
    ($(#[$meta:meta])* $type:ident, $repr:ty: $($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr($repr)]
        pub enum $type {
            $($(#[$doc])* $variant,)*
        }

        impl $type {
            /// All of them, in order of their numbers.
            pub const ALL: &[$type] = &[$($type::$variant),*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Its name in options, dumps and exports.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)*
                }
            }
        }
    };
}

table! {
    /// What an entry tells; its documentation says what `a` and `b` are.
    Kind, u16:
    /// A mark of the hypervisor's own making; both words free.
    Mark = "mark",
    /// Hypercall begins. a: number, b: first argument.
    Hypercall = "hypercall",
    /// Hypercall ends. a: number, b: result as the guest sees it.
    HypercallEnd = "hypercall-end",
    /// Exception from a guest. a: vector, error code << 32; b: rip.
    Trap = "trap",
    /// Page fault from a guest. a: address; b: rip.
    PageFault = "page-fault",
    /// Privileged instruction emulated. a: rip; b: first bytes of the instruction.
    Emulate = "emulate",
    /// Write to a page table emulated. a: address; b: new entry.
    PtWrite = "pt-write",
    /// Interrupt taken. a: vector; b: rip.
    Interrupt = "interrupt",
    /// Another vcpu runs from here on. a: the one before, b: the one after; domain << 16 | vcpu.
    Switch = "switch",
    /// A vcpu becomes runnable. a: domain << 16 | vcpu.
    Wake = "wake",
    /// A vcpu waits. a: domain << 16 | vcpu.
    Block = "block",
    /// An event is sent. a: receiving domain; b: port.
    Event = "event",
    /// A timer of a guest is set. a: system time in ns.
    TimerSet = "timer-set",
    /// Timers expire. a: system time in ns.
    TimerFire = "timer-fire",
    /// A flush. a: CPUs; b: address, or all ones for everything.
    Flush = "flush",
    /// A page table is pinned. a: frame; b: level.
    Pin = "pin",
    /// A page table is unpinned. a: frame; b: level.
    Unpin = "unpin",
    /// The CPU has nothing to do. a: system time in ns.
    Idle = "idle",
    /// The CPU has something to do again. a: system time in ns.
    IdleEnd = "idle-end",
    /// A domain crashed. a: domain.
    Crash = "crash",
    /// A domain shut down. a: domain; b: reason.
    Shutdown = "shutdown",
    /// A vcpu gets a CPU. a: domain << 16 | vcpu; b: nanoseconds it has waited for it.
    Run = "run",
}

/// Kinds that are recorded in any case: rare ones.
pub(super) const ALWAYS: u64 = 1 << Kind::Mark as u32
    | 1 << Kind::Pin as u32
    | 1 << Kind::Unpin as u32
    | 1 << Kind::Crash as u32
    | 1 << Kind::Shutdown as u32;

const _: () = assert!(Kind::COUNT <= 64);

table! {
    /// What is counted for each CPU. Exits by `sysret` and `iret` are counted by the assembly, in `CpuInfo`.
    Counter, usize:
    /// Hypercalls by `syscall`; those inside a multicall count below.
    Hypercalls = "hypercalls",
    /// Calls inside multicalls.
    Multicalls = "multicall entries",
    /// Loads of CR3, be it for another address space or to flush.
    Cr3Loads = "cr3 loads",
    /// Flushes of the whole TLB for their own sake; each is also a CR3 load.
    FullFlushes = "full flushes",
    /// `invlpg` instructions.
    Invlpgs = "invlpg",
    /// Interrupts sent to other CPUs.
    Ipis = "ipis",
    /// Exceptions handed on to the guest kernel.
    Bounces = "exception bounces",
    /// System calls of guest user space handed to the guest kernel.
    SyscallBounces = "syscall bounces",
    /// Privileged instructions emulated.
    Emulations = "emulations",
    /// Page-table writes emulated.
    PtWrites = "page-table writes",
    /// Page-table entries changed by `mmu_update` and `update_va_mapping`.
    PtUpdates = "page-table updates",
    /// Runs of the scheduler.
    Schedules = "schedules",
    /// Changes from one vcpu to another.
    Switches = "vcpu switches",
    /// Vcpus woken.
    Wakes = "wakes",
    /// Events sent.
    Events = "events sent",
    /// Hypercalls cut short, to continue later.
    Preemptions = "preemptions",
    /// Page tables promoted to their type: every entry validated.
    Validations = "page tables validated",
    /// Requests served for other CPUs.
    MailboxRequests = "mailbox requests",
}
