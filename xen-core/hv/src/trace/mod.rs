//! What each CPU did last, and how often: a ring of typed entries and a row of counters for each CPU.
//!
//! A leaf: calls nothing but the CPU's own data. [`record`] costs two instructions for a kind that is off, [`count`]
//! three. Kinds that are rare are always on; the option `trace` turns others on (see [`enable`]), and makes the
//! rings larger.
//!
//! # Reading it from outside
//! `xtask run --trace` finds the symbol `paravane_trace_header` in the ELF file, and reads memory through QEMU's
//! monitor. [`Header`] begins with [`MAGIC`]; all its words are little-endian and 64 bits wide. For each CPU a [`Cpu`]
//! of 64 bytes tells where its ring and its counters stand in machine memory (0: that CPU never came up), and how many
//! entries were ever written: the newest is at `(next - 1) % entries`. Entries are those of [`Entry`], 32 bytes:
//! time-stamp counter, then 16 bits each of kind, CPU, domain, vcpu (0xffff: none), then `a` and `b`, whose meaning the
//! kind gives. Counters are 64-bit words in the order of [`Counter`]. Four more are kept by the assembly and stand
//! elsewhere, as words one after the other: exits by `sysret`, exits by `iret`, iret hypercalls by the short way (each
//! is also a hypercall, a CR3 load and an exit by `iret`), system calls bounced by the short way (each is also a
//! syscall bounce, a CR3 load and an exit by `sysret`). [`value_at`] adds them up.

mod kinds;

pub use kinds::{Counter, Kind};

use crate::arch::x86::percpu::{self, CpuInfo};
use crate::mm::layout::NR_CPUS;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

/// First word of [`Header`]: `PVTRACE1` in ASCII.
pub const MAGIC: u64 = u64::from_le_bytes(*b"PVTRACE1");

/// Entries of a ring where the command line does not ask for tracing.
const SMALL_RING: u64 = 512;
/// Entries of a ring where it does.
const LARGE_RING: u64 = 1 << 16;

/// A ring's entry.
#[repr(C)]
pub struct Entry {
    tsc: AtomicU64,
    /// kind | CPU << 16 | domain << 32 | vcpu << 48.
    what: AtomicU64,
    a: AtomicU64,
    b: AtomicU64,
}

/// One CPU's part of the header.
#[repr(C, align(64))]
pub struct Cpu {
    /// The ring as the hypervisor sees it; null until there is one.
    ring: AtomicPtr<Entry>,
    /// The ring's machine address.
    ring_maddr: AtomicU64,
    /// Entries in it, a power of two.
    entries: AtomicU64,
    /// Entries written since boot.
    next: AtomicU64,
    /// Virtual address of the counters; it is mapped in every address space.
    counters: AtomicU64,
    /// Virtual address of the assembly's four counters.
    exits: AtomicU64,
}

/// Where to find everything.
#[repr(C)]
pub struct Header {
    magic: u64,
    /// Bytes of one entry.
    entry_size: u64,
    /// CPUs that `cpus` has room for.
    nr_cpus: u64,
    /// Words in a CPU's row of counters.
    nr_counters: u64,
    /// Ticks of the time-stamp counter in a millisecond.
    tsc_khz: AtomicU64,
    /// Kinds that are recorded, a bit each.
    enabled: AtomicU64,
    cpus: [Cpu; NR_CPUS],
}

/// The header; the name is known to xtask.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static paravane_trace_header: Header = Header {
    magic: MAGIC,
    entry_size: size_of::<Entry>() as u64,
    nr_cpus: NR_CPUS as u64,
    nr_counters: Counter::COUNT as u64,
    tsc_khz: AtomicU64::new(0),
    enabled: AtomicU64::new(kinds::ALWAYS),
    cpus: [const {
        Cpu {
            ring: AtomicPtr::new(core::ptr::null_mut()),
            ring_maddr: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            next: AtomicU64::new(0),
            counters: AtomicU64::new(0),
            exits: AtomicU64::new(0),
        }
    }; NR_CPUS],
};

/// A CPU's counters, kept in its [`CpuInfo`] so that counting needs no address computation.
#[repr(C)]
pub struct Counters([AtomicU64; Counter::COUNT]);

impl Counters {
    /// All zero.
    pub const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; Counter::COUNT])
    }
}

/// Adds one to a counter of this CPU.
#[inline(always)]
pub fn count(counter: Counter) {
    add(counter, 1);
}

/// Adds `n` to a counter of this CPU.
#[inline(always)]
pub fn add(counter: Counter, n: u64) {
    let slot = &percpu::info().counters.0[counter as usize];
    // Only this CPU writes it, so no locked instruction is needed.
    slot.store(slot.load(Relaxed).wrapping_add(n), Relaxed);
}

/// A counter's value on one CPU that has a stack area, by number, with what the assembly counted added; the two
/// numbers behind [`Counter::COUNT`] are the exits by `sysret` and by `iret`.
pub fn value_at(cpu: usize, number: usize) -> u64 {
    let info = percpu::info_of(cpu);
    let (irets, syscalls) = (info.fast_irets.load(Relaxed), info.fast_syscalls.load(Relaxed));
    let Some(slot) = info.counters.0.get(number) else {
        let by_sysret = number == Counter::COUNT;
        return if by_sysret {
            info.sysrets.load(Relaxed) + syscalls
        } else {
            info.irets.load(Relaxed) + irets
        };
    };
    let more = match Counter::ALL[number] {
        Counter::Hypercalls => irets,
        Counter::SyscallBounces => syscalls,
        Counter::Cr3Loads => irets + syscalls,
        _ => 0,
    };
    slot.load(Relaxed) + more
}

/// Sets a CPU's counters to zero; what that CPU counts meanwhile may be lost.
pub fn reset(cpu: usize) {
    let info = percpu::info_of(cpu);
    info.counters.0.iter().for_each(|slot| slot.store(0, Relaxed));
    for slot in [&info.sysrets, &info.irets, &info.fast_irets, &info.fast_syscalls] {
        slot.store(0, Relaxed);
    }
}

/// Is this kind recorded?
#[inline(always)]
pub fn is_on(kind: Kind) -> bool {
    paravane_trace_header.enabled.load(Relaxed) & 1 << kind as u32 != 0
}

/// Notes that something happened here and now.
#[inline(always)]
pub fn record(kind: Kind, a: u64, b: u64) {
    if is_on(kind) {
        write_entry(kind, a, b);
    }
}

#[cold]
#[inline(never)]
fn write_entry(kind: Kind, a: u64, b: u64) {
    let info = percpu::info();
    let cpu = &paravane_trace_header.cpus[info.cpu as usize];
    let ring = cpu.ring.load(Relaxed);
    if ring.is_null() {
        return;
    }
    let next = cpu.next.load(Relaxed);
    cpu.next.store(next.wrapping_add(1), Relaxed);
    let at = next & cpu.entries.load(Relaxed).wrapping_sub(1);
    // SAFETY: a ring that is not null has `entries` entries, a power of two, for ever; all their fields are atomic.
    let entry = unsafe { &*ring.add(at as usize) };
    // SAFETY: reads a counter; every CPU has it.
    entry.tsc.store(unsafe { core::arch::x86_64::_rdtsc() }, Relaxed);
    entry
        .what
        .store(kind as u64 | u64::from(info.cpu) << 16 | whose(info) << 32, Relaxed);
    entry.a.store(a, Relaxed);
    entry.b.store(b, Relaxed);
}

/// Domain and vcpu that the CPU runs, as an entry has them.
fn whose(info: &CpuInfo) -> u64 {
    let vcpu = info.current.load(Relaxed);
    if vcpu.is_null() {
        return 0xffff_ffff;
    }
    // SAFETY: what a CPU has current is not freed meanwhile.
    let vcpu = unsafe { &*vcpu };
    u64::from(vcpu.domain().id) | u64::from(vcpu.id as u16) << 16
}

/// Turns kinds on as the option `trace` says: nothing or `all`, or names of [`Kind`]s separated by commas. Comes before
/// [`init_cpu`], which then makes large rings.
///
/// # Errors
/// The first word that is no kind.
pub fn enable(option: &str) -> Result<(), &str> {
    let mut bits = if option.is_empty() { u64::MAX } else { 0 };
    for word in option.split(',').filter(|word| !word.is_empty()) {
        bits |= match word {
            "all" => u64::MAX,
            _ => 1 << *Kind::ALL.iter().find(|kind| kind.name() == word).ok_or(word)? as u32,
        };
    }
    paravane_trace_header.enabled.fetch_or(bits, Relaxed);
    Ok(())
}

/// Gives CPU `cpu` its ring. To be called once for each CPU when its stack area is mapped and pages can be
/// allocated; [`enable`] comes before, so that the size is known.
pub fn init_cpu(cpu: usize) {
    let header = &paravane_trace_header;
    let entries = if header.enabled.load(Relaxed) == kinds::ALWAYS {
        SMALL_RING
    } else {
        LARGE_RING
    };
    let info = percpu::info_of(cpu);
    let desc = &header.cpus[cpu];
    desc.counters.store(core::ptr::from_ref(&info.counters) as u64, Relaxed);
    desc.exits.store(core::ptr::from_ref(&info.sysrets) as u64, Relaxed);
    let bytes = entries * size_of::<Entry>() as u64;
    let order = (bytes / crate::mm::layout::PAGE_SIZE).trailing_zeros();
    let Some(mfn) = crate::mm::alloc::alloc_pages(order, Default::default()) else {
        log::warn!("CPU {cpu}: no memory for a trace ring");
        return;
    };
    desc.entries.store(entries, Relaxed);
    desc.ring_maddr.store(mfn.maddr(), Relaxed);
    desc.ring.store(crate::mm::directmap(mfn.maddr()).cast(), Relaxed);
}

/// Says how fast the time-stamp counter runs.
pub fn set_tsc_khz(khz: u64) {
    paravane_trace_header.tsc_khz.store(khz, Relaxed);
}

/// Writes the last `n` entries of each CPU, oldest first. For a panic: takes no lock and allocates nothing.
pub fn dump_last(n: u64, out: &mut dyn Write) -> fmt::Result {
    for (number, cpu) in paravane_trace_header.cpus.iter().enumerate() {
        let (ring, next) = (cpu.ring.load(Relaxed), cpu.next.load(Relaxed));
        let entries = cpu.entries.load(Relaxed);
        if ring.is_null() || next == 0 {
            continue;
        }
        writeln!(out, "last trace entries of CPU {number}:")?;
        for at in next.saturating_sub(n.min(entries))..next {
            // SAFETY: as in `write_entry`.
            let entry = unsafe { &*ring.add((at & (entries - 1)) as usize) };
            dump_entry(entry, out)?;
        }
    }
    Ok(())
}

fn dump_entry(entry: &Entry, out: &mut dyn Write) -> fmt::Result {
    let (tsc, what) = (entry.tsc.load(Relaxed), entry.what.load(Relaxed));
    let (a, b) = (entry.a.load(Relaxed), entry.b.load(Relaxed));
    let name = Kind::ALL.get((what & 0xffff) as usize).map_or("?", |kind| kind.name());
    let (dom, vcpu) = (what >> 32 & 0xffff, what >> 48);
    writeln!(out, "  {tsc:>16} d{dom}v{vcpu} {name:<12} {a:#x} {b:#x}")
}
