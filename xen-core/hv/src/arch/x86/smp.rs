//! The other CPUs: starting them, and stopping them at the end.

use super::{acpi, apic, cpu, entry, fpu, gdt, idt, percpu};
use crate::mm::layout::{NR_CPUS, PAGE_SIZE};
use crate::mm::paging::{self, Cache, map_vmap, unmap_vmap};
use crate::time::clock;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

static ONLINE: AtomicU64 = AtomicU64::new(1);
/// CPUs started, the boot CPU included; they are numbered without gaps.
static COUNT: AtomicU32 = AtomicU32::new(1);
/// ACPI's number of each CPU.
static ACPI_IDS: [AtomicU32; NR_CPUS] = [const { AtomicU32::new(0) }; NR_CPUS];

/// For the trampoline: the idle tables and the new CPU's stack.
#[unsafe(no_mangle)]
static ap_cr3: AtomicU64 = AtomicU64::new(0);
#[unsafe(no_mangle)]
static ap_stack: AtomicU64 = AtomicU64::new(0);

/// How long a CPU has to come up.
const START_TIMEOUT_NS: u64 = 1_000_000_000;

/// How many CPUs run.
pub fn cpu_count() -> usize {
    COUNT.load(Ordering::Relaxed) as usize
}

/// The CPUs that take requests, a bit each.
#[inline]
pub fn online_mask() -> u64 {
    ONLINE.load(Ordering::Acquire)
}

/// ACPI's number of CPU `cpu`.
pub fn acpi_id(cpu: usize) -> u32 {
    ACPI_IDS[cpu].load(Ordering::Relaxed)
}

/// Sends every other CPU an NMI, at which it stops for ever.
pub fn stop_others() {
    let others = online_mask() & !(1 << percpu::cpu_id());
    super::mailbox::bits(others).for_each(apic::send_nmi);
}

/// Starts every CPU that the MADT lists, up to `limit`, through the page at machine address `page`, which is free
/// memory below 1 MiB.
pub fn start_all(page: u64, limit: usize) {
    let Some(madt) = &acpi::info().madt else { return };
    ap_cr3.store(paging::idle_l4().maddr(), Ordering::Relaxed);
    let trampoline = Trampoline::install(page);
    let me = apic::own_id();
    for listed in &madt.cpus {
        if listed.apic_id == me {
            ACPI_IDS[0].store(listed.acpi_id, Ordering::Relaxed);
            continue;
        }
        let cpu = cpu_count();
        if cpu >= limit.min(NR_CPUS) {
            log::info!("{} CPUs are left out", madt.cpus.len() - cpu);
            break;
        }
        if listed.apic_id > 0xfe && !apic::is_x2apic() {
            log::warn!("CPU with APIC number {} needs x2APIC, left out", listed.apic_id);
            continue;
        }
        ACPI_IDS[cpu].store(listed.acpi_id, Ordering::Relaxed);
        apic::set_id(cpu, listed.apic_id);
        if !start(cpu, page) {
            log::error!("CPU {cpu} (APIC number {}) does not start", listed.apic_id);
        }
    }
    trampoline.remove();
}

/// Starts one CPU and waits until it is up.
fn start(cpu: usize, page: u64) -> bool {
    if paging::map_stacks(cpu, None, &mut crate::boot::new_table).is_err() {
        log::error!("no memory for CPU {cpu}'s stacks");
        return false;
    }
    // SAFETY: the area has just been mapped, and the CPU does not run.
    unsafe { percpu::init(cpu) };
    crate::trace::init_cpu(cpu);
    ap_stack.store(percpu::stack_top(cpu), Ordering::Release);
    apic::send_init(cpu);
    clock::delay_ns(100_000);
    let online = || percpu::info_of(cpu).online.load(Ordering::Acquire) != 0;
    let begin = clock::now();
    // A CPU that misses the first message, as old ones may, gets a second one.
    for patience in [20_000_000, START_TIMEOUT_NS] {
        apic::send_startup(cpu, (page / PAGE_SIZE) as u8);
        while clock::now() - begin < patience {
            if online() {
                COUNT.fetch_add(1, Ordering::Relaxed);
                warp::compare_as_boot_cpu(cpu);
                return true;
            }
            core::hint::spin_loop();
        }
    }
    // It must not come up later, into the next one's stack.
    apic::send_init(cpu);
    false
}

/// A started CPU's first Rust code, on its own stack.
#[unsafe(no_mangle)]
extern "C" fn ap_main() -> ! {
    let cpu = percpu::cpu_id();
    init_this_cpu(cpu);
    apic::init_cpu(cpu);
    ONLINE.fetch_or(1 << cpu, Ordering::AcqRel);
    percpu::info().online.store(1, Ordering::Release);
    warp::compare_as_started_cpu(cpu);
    crate::sched::start_cpu()
}

/// What every CPU, the boot CPU included, sets up for itself.
pub fn init_this_cpu(cpu: usize) {
    cpu::init();
    gdt::init_cpu(cpu);
    idt::load();
    entry::init_syscall_msrs(cpu);
    fpu::init_cpu();
}

/// The copy of the trampoline below 1 MiB, and what stood there before.
struct Trampoline {
    page: *mut u8,
    saved: alloc::vec::Vec<u8>,
}

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_gdt_base: u8;
    static trampoline_jump32: u8;
    static trampoline_jump64: u8;
    static trampoline_end: u8;
}

impl Trampoline {
    fn install(page: u64) -> Self {
        let base = &raw const trampoline_start;
        let len = &raw const trampoline_end as usize - base as usize;
        let to = map_vmap(page, PAGE_SIZE as usize, Cache::WriteBack);
        // SAFETY: the assembly's bytes, and a page that is free memory; the three words to be relocated lie within.
        unsafe {
            let saved = core::slice::from_raw_parts(to, len).to_vec();
            to.copy_from_nonoverlapping(base, len);
            for word in [
                &raw const trampoline_gdt_base,
                &raw const trampoline_jump32,
                &raw const trampoline_jump64,
            ] {
                let at = to.add(word as usize - base as usize).cast::<u32>();
                at.write_unaligned(at.read_unaligned() + page as u32);
            }
            Self { page: to, saved }
        }
    }

    fn remove(self) {
        // SAFETY: the mapping made by `install`; no CPU is in the trampoline any more.
        unsafe {
            self.page
                .copy_from_nonoverlapping(self.saved.as_ptr(), self.saved.len());
            unmap_vmap(self.page, PAGE_SIZE as usize);
        }
    }
}

/// Do two CPUs' time-stamp counters agree? Each in turn reads the counter and shows it to the other: a later reading
/// that is smaller than an earlier one means a difference.
mod warp {
    use super::{AtomicU64, Ordering, clock, cpu};
    use core::hint::spin_loop;

    const ROUNDS: u64 = 64;
    /// Whose turn it is: even numbers are the boot CPU's.
    static TURN: AtomicU64 = AtomicU64::new(0);
    static SHOWN: AtomicU64 = AtomicU64::new(0);
    /// What the started CPU must add at least, and may add at most, as it found.
    static LEAST: AtomicU64 = AtomicU64::new(0);

    /// Takes turns with CPU `cpu`, and sets its offset if it is behind or ahead.
    pub(super) fn compare_as_boot_cpu(cpu: usize) {
        let mut ahead = 0;
        for round in 0..ROUNDS {
            await_turn(2 * round);
            let now = cpu::rdtsc();
            // The other's reading came before ours: it may not be larger.
            ahead = ahead.max(SHOWN.load(Ordering::Relaxed).saturating_sub(now));
            SHOWN.store(now, Ordering::Relaxed);
            TURN.store(2 * round + 1, Ordering::Release);
        }
        await_turn(2 * ROUNDS);
        let behind = LEAST.load(Ordering::Relaxed);
        if ahead | behind != 0 {
            log::warn!(
                "CPU {cpu}: time-stamp counter is {} ticks {}",
                ahead.max(behind),
                if ahead != 0 { "ahead" } else { "behind" }
            );
            clock::set_offset(cpu, behind.wrapping_sub(ahead));
        }
        SHOWN.store(0, Ordering::Relaxed);
        TURN.store(0, Ordering::Release);
    }

    pub(super) fn compare_as_started_cpu(_cpu: usize) {
        let mut behind = 0;
        for round in 0..ROUNDS {
            await_turn(2 * round + 1);
            let now = cpu::rdtsc();
            behind = behind.max(SHOWN.load(Ordering::Relaxed).saturating_sub(now));
            SHOWN.store(now, Ordering::Relaxed);
            LEAST.store(behind, Ordering::Relaxed);
            TURN.store(2 * round + 2, Ordering::Release);
        }
        // Until the boot CPU has drawn its conclusion, this CPU's clock must not be used.
        await_turn(0);
    }

    fn await_turn(turn: u64) {
        while TURN.load(Ordering::Acquire) != turn {
            spin_loop();
        }
    }
}
