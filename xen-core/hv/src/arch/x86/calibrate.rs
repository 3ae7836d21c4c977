//! How fast the time-stamp counter and the local APIC's timer run, by a clock whose rate is known: HPET, ACPI's power
//! management timer, or the old interval timer.

use super::{acpi, apic, cpu, port};
use crate::mm::paging::{Cache, map_vmap};
use xen_logic::time::NS_PER_SEC;

/// How long is measured.
const WINDOW_NS: u64 = 20_000_000;
/// Readings of the two clocks at each end of the window; the closest pair counts.
const TRIES: usize = 8;

/// A clock of known rate that counts up and wraps at `mask`.
struct Reference {
    name: &'static str,
    hz: u64,
    mask: u64,
    read: Source,
}

#[derive(Clone, Copy)]
enum Source {
    Hpet(*const u32),
    PmTimer(u16),
    Pit,
}

impl Reference {
    fn read(&self) -> u64 {
        match self.read {
            // SAFETY: the HPET's counter register, mapped uncached.
            Source::Hpet(counter) => unsafe { counter.read_volatile() }.into(),
            // SAFETY: reading the timer's port changes nothing.
            Source::PmTimer(at) => unsafe { port::read(at, 4) }.into(),
            Source::Pit => read_pit(),
        }
    }

    fn now(&self) -> u64 {
        self.read() & self.mask
    }
}

const PIT_HZ: u64 = 1_193_182;

/// The interval timer's channel 2, which counts down from 65536; the result counts up.
fn read_pit() -> u64 {
    // SAFETY: latches and reads a channel that nothing else uses at boot.
    unsafe {
        port::write(0x43, 1, 0x80);
        let low = port::read(0x42, 1) as u64;
        let high = port::read(0x42, 1) as u64;
        0xffff - (high << 8 | low)
    }
}

fn start_pit() -> Reference {
    // SAFETY: starts channel 2 in mode 2 with the largest count, gate on and speaker off.
    unsafe {
        let gate = port::read(0x61, 1);
        port::write(0x61, 1, gate & !2 | 1);
        port::write(0x43, 1, 0xb4);
        port::write(0x42, 1, 0);
        port::write(0x42, 1, 0);
    }
    Reference {
        name: "PIT",
        hz: PIT_HZ,
        mask: 0xffff,
        read: Source::Pit,
    }
}

fn start_hpet(address: u64) -> Option<Reference> {
    let base = map_vmap(address, 1024, Cache::Uncached);
    // SAFETY: registers of the HPET: capabilities (period in femtoseconds in the upper half), configuration, counter.
    unsafe {
        let period = base.add(4).cast::<u32>().read_volatile() as u64;
        if !(100_000..=100_000_000).contains(&period) {
            return None;
        }
        let config = base.add(0x10).cast::<u32>();
        config.write_volatile(config.read_volatile() | 1);
        let hz = 1_000_000_000_000_000 / period;
        let counter = base.add(0xf0).cast::<u32>();
        Some(Reference {
            name: "HPET",
            hz,
            mask: u32::MAX.into(),
            read: Source::Hpet(counter),
        })
    }
}

/// The best clock there is, running.
fn choose() -> Reference {
    let info = acpi::info();
    let pm_timer = || {
        let fadt = info.fadt.as_ref().filter(|f| f.pm_timer != 0)?;
        let mask = if fadt.pm_timer_wide { u32::MAX.into() } else { 0xff_ffff };
        let source = Reference {
            name: "PM timer",
            hz: 3_579_545,
            mask,
            read: Source::PmTimer(fadt.pm_timer),
        };
        // A timer that stands still is none.
        let first = source.now();
        (0..10_000).any(|_| source.now() != first).then_some(source)
    };
    info.hpet
        .and_then(start_hpet)
        .or_else(pm_timer)
        .unwrap_or_else(start_pit)
}

/// One reading of everything at once.
struct Sample {
    tsc: u64,
    reference: u64,
    timer: u32,
}

/// The reading whose time-stamp counters before and after are closest, so that least came in between.
fn sample(reference: &Reference) -> Sample {
    let one = |_| {
        let before = cpu::rdtsc();
        let s = Sample {
            tsc: before,
            reference: reference.now(),
            timer: apic::calibration_ticks(),
        };
        (cpu::rdtsc() - before, s)
    };
    (0..TRIES)
        .map(one)
        .min_by_key(|(took, _)| *took)
        .expect("TRIES is not 0")
        .1
}

/// Measures; returns the time-stamp counter's rate, and sets the APIC timer's.
pub fn run() -> u64 {
    let reference = choose();
    apic::start_calibration();
    let start = sample(&reference);
    let window = WINDOW_NS * reference.hz / NS_PER_SEC;
    while (reference.now().wrapping_sub(start.reference) & reference.mask) < window {
        core::hint::spin_loop();
    }
    let end = sample(&reference);
    let elapsed = end.reference.wrapping_sub(start.reference) & reference.mask;
    let rate = |ticks: u64| (ticks as u128 * reference.hz as u128 / elapsed.max(1) as u128) as u64;
    let timer_hz = rate((end.timer - start.timer).into()).max(1);
    apic::end_calibration(timer_hz);
    let tsc_hz = cpu::tsc_hz_by_cpuid()
        .unwrap_or_else(|| rate(end.tsc - start.tsc))
        .max(1);
    log::info!(
        "TSC {}.{:03} MHz, APIC timer {}.{:03} MHz (by {})",
        tsc_hz / 1_000_000,
        tsc_hz / 1000 % 1000,
        timer_hz / 1_000_000,
        timer_hz / 1000 % 1000,
        reference.name
    );
    tsc_hz
}
