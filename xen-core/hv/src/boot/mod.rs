//! From the loader to the first domain: everything in the order in which it is set up.
//!
//! `arch/x86/start.s` enters [`boot_main`] on the boot page tables and CPU 0's stack. What cannot be set up ends the boot with
//! one line that says why.

mod info;
mod memory;

pub use info::Module;
pub use memory::new_table;

use crate::arch::x86::{acpi, apic, calibrate, cpu, fpu, idt, percpu, power, rtc, smp, usercopy};
use crate::console::{self, input, panic::boot_failure};
use crate::mm::{self, layout::NR_CPUS};
use crate::sync::Once;
use crate::time::{clock, wallclock};
use crate::{domain, event, irq, sched, trace};
use info::Info;
use xen_logic::cmdline::{self, Options};

static INFO: Once<Info> = Once::new();
static OPTIONS: Once<Options> = Once::new();

/// The command line's options; the defaults until it has been read.
pub fn options() -> &'static Options {
    static DEFAULT: Options = Options::DEFAULT;
    OPTIONS.get().unwrap_or(&DEFAULT)
}

/// The command line as the loader gave it, without the image's name.
pub fn command_line() -> &'static str {
    INFO.get().map_or("", |info| info.cmdline)
}

/// The modules, in the loader's order; their memory is given away once Dom0 is built.
pub fn modules() -> &'static [Module] {
    INFO.get().map_or(&[], Info::modules)
}

/// The firmware's memory map.
pub fn memory_map() -> &'static xen_logic::e820::Map {
    static NONE: xen_logic::e820::Map = xen_logic::e820::Map::new();
    INFO.get().map_or(&NONE, |info| &info.memory)
}

/// Machine address of CPU 0's main stack, which is part of the image.
fn boot_cpu_stack() -> u64 {
    unsafe extern "C" {
        static boot_cpu_stack: u8;
    }
    mm::maddr_of(&raw const boot_cpu_stack)
}

/// The first Rust code: boot CPU, boot page tables, interrupts off.
#[unsafe(no_mangle)]
extern "C" fn boot_main(magic: u32, loader_info: u32) -> ! {
    let origin = cpu::rdtsc();
    // SAFETY: CPU 0's area is mapped, its information zero as it is in the image, and no reference to it exists.
    unsafe { percpu::init(0) };
    cpu::choose_features();
    idt::init();
    smp::init_this_cpu(0);
    if cpu::cr4() & cpu::cr4::SMAP != 0 {
        // SAFETY: no guest exists yet.
        unsafe { usercopy::set_smap() };
    }
    let info = read_loader(magic, loader_info);
    describe(info);
    init_memory(info);
    init_time(info, origin);
    init_devices();
    start_cpus(info);
    start_dom0();
    // From now on only CPUs that come up need the stack this runs on.
    log::debug!(
        "entering the scheduler {} ms after the first instruction",
        clock::now() / 1_000_000
    );
    sched::start_cpu()
}

/// Reads the loader's information and the command line, and opens the console.
fn read_loader(magic: u32, addr: u32) -> &'static Info {
    let info = match info::read(magic, addr) {
        Ok(info) => INFO.call_once(|| info),
        Err(error) => {
            console::init(&Options::DEFAULT);
            boot_failure(format_args!("{error}"));
        }
    };
    let options = cmdline::parse(info.cmdline, |_| ());
    console::init(OPTIONS.call_once(|| options));
    log::info!("Paravane {}, a Xen-compatible hypervisor", env!("CARGO_PKG_VERSION"));
    log::info!("command line: {}", info.cmdline);
    // Only now is there a console to complain on.
    cmdline::parse(info.cmdline, |problem| log::warn!("{problem}"));
    if let Some(Err(word)) = cmdline::value(info.cmdline, "trace").map(trace::enable) {
        log::warn!("command line: '{word}' in 'trace=' is no kind of trace entry");
    }
    info
}

fn describe(info: &Info) {
    let brand = cpu::brand();
    let len = brand.iter().position(|b| *b == 0).unwrap_or(brand.len());
    log::info!("CPU: {}", brand[..len].trim_ascii().escape_ascii());
    for r in info.memory.ranges() {
        log::debug!("e820: {:#014x} - {:#014x} type {}", r.start, r.end, r.kind.0);
    }
    for (i, m) in info.modules().iter().enumerate() {
        log::info!("module {i}: {:#x}, {} KiB: {}", m.start, m.len >> 10, m.cmdline);
    }
    if info.modules_left_out {
        log::warn!("the loader gave more modules than are used");
    }
}

fn init_memory(info: &Info) {
    if memory::is_too_small(info) {
        boot_failure(format_args!("too little memory"));
    }
    // A loader that has too little room may put a module over the firmware's tables, or over the image.
    if let Some(m) = info.modules().iter().find(|m| !memory::is_sound(info, m)) {
        let end = m.start + m.len;
        boot_failure(format_args!(
            "too little memory: the module at {:#x} - {end:#x} is not in free memory",
            m.start
        ));
    }
    let done = memory::init_tables(info).and_then(|()| memory::init_frames(info));
    if done.is_err() {
        boot_failure(format_args!("too little memory for the hypervisor's tables"));
    }
    trace::init_cpu(0);
}

fn init_time(info: &Info, origin: u64) {
    acpi::init(info.rsdp);
    let address = acpi::info()
        .madt
        .as_ref()
        .map_or(0xfee0_0000, |madt| madt.lapic_address);
    apic::init(address);
    let hz = calibrate::run();
    clock::init(origin, hz);
    trace::set_tsc_khz(hz / 1000);
    match rtc::read_unix_seconds() {
        Some(seconds) => wallclock::init(seconds),
        None => log::warn!("no real-time clock: it is 1970"),
    }
}

fn init_devices() {
    let firmware = acpi::info();
    fpu::init();
    if let Some(fadt) = &firmware.fadt {
        power::init(fadt);
    }
    let Some(madt) = &firmware.madt else {
        boot_failure(format_args!(
            "the firmware's tables describe no interrupt controllers (ACPI MADT)"
        ))
    };
    irq::init(&irq::Firmware {
        madt,
        fadt: firmware.fadt.as_ref(),
        mcfg: &firmware.mcfg,
        hpet: firmware.hpet,
    });
    match rtc::read_unix_seconds() {
        Some(seconds) => wallclock::init(seconds),
        None => log::warn!("no real-time clock: the time of day is unknown"),
    }
}

fn start_cpus(info: &Info) {
    let limit = options().maxcpus.map_or(NR_CPUS, |n| n as usize);
    let listed = acpi::info().madt.as_ref().map_or(1, |madt| madt.cpus.len());
    sched::init(listed.clamp(1, NR_CPUS.min(limit)));
    match memory::low_page(info) {
        Some(page) => smp::start_all(page, limit),
        None => log::warn!("no memory below 1 MiB to start other CPUs with"),
    }
    let stable = if clock::is_stable() { "in step" } else { "not in step" };
    log::info!("{} CPUs, their time-stamp counters {stable}", smp::cpu_count());
    memory::release_boot_tables();
}

fn start_dom0() {
    if modules().is_empty() {
        boot_failure(format_args!(
            "no module: the loader must pass Dom0's kernel as the first module"
        ));
    }
    if let Some((first, last)) = input::ports() {
        irq::reserve_ports(first, last);
    }
    if let Err(error) = domain::dom0::build() {
        boot_failure(format_args!("{error}"));
    }
    for module in modules() {
        memory::release(module.start, module.start + module.len);
    }
    start_input();
}

/// Lets what is typed on the serial port reach Dom0.
fn start_input() {
    let Some(line) = input::isa_irq() else { return };
    match irq::request_hv_isa(line, take_input) {
        Ok(()) => input::start(),
        Err(error) => log::warn!(
            "no interrupt for the serial port ({}): nothing can be typed",
            error.name()
        ),
    }
}

/// Serves the serial port's interrupt.
fn take_input() {
    if input::poll() {
        event::send_global_virq(xen_abi::VIRQ_CONSOLE);
    }
}
