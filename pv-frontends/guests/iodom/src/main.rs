//! A driver domain without an operating system. It boots as the hardware domain, takes up the machine's virtio devices,
//! builds the guests that it finds in its boot module (`iodom_core::config` says how they are given), and serves them
//! disks, network, consoles and the store until the last has ended; then it powers the machine off.
#![no_std]
#![no_main]
extern crate alloc;

#[allow(unsafe_code, reason = "it makes hypercalls")]
mod door;
#[allow(unsafe_code, reason = "devices have memory and registers of their own")]
mod virtio;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use door::Hypercalls;
use guest_rt::machine::Machine;
use guest_rt::{clock, frames, hypercall, io_port, ports, println};
use iodom_core::config::{GuestConfig, read_guests};
use iodom_core::guest::Disks;
use iodom_core::server::{Reports, Server};
use pv_hal::{Hal, Port};
use virtio::{MsixTransport, Nic, OpenDisk, VirtioDisk};
use virtio_drivers::transport::DeviceType;
use xen_abi::*;
use xenctrl_core::ShutdownReason;

guest_rt::main!(main);

/// Messages of the libraries, on the hypervisor's console.
struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            println!("iodom: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// What the machine has.
#[derive(Default)]
struct Devices {
    disks: Vec<VirtioDisk>,
    nic: Option<Nic>,
    /// Their event channels.
    ports: Vec<Port>,
}

struct OwnDisks(Vec<VirtioDisk>);

impl Disks for OwnDisks {
    type Disk = OpenDisk;

    fn open(&mut self, number: usize, read_only: bool) -> Option<OpenDisk> {
        Some(self.0.get(number)?.open(read_only))
    }
}

/// Prints what the guests say; with their names where there are several.
struct Console {
    with_names: bool,
}

impl Reports for Console {
    fn line(&mut self, guest: &str, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        if self.with_names {
            println!("{guest}| {text}");
        } else {
            println!("{text}");
        }
    }

    fn ended(&mut self, guest: &str, reason: ShutdownReason) {
        println!("iodom: {guest} has ended: {reason:?}");
    }

    fn restarted(&mut self, guest: &str, result: Result<u16, String>) {
        match result {
            Ok(domid) => println!("iodom: {guest} is domain {domid} now, at {} ms", milliseconds()),
            Err(why) => println!("iodom: {guest} is not started anew: {why}"),
        }
    }
}

fn milliseconds() -> u64 {
    clock::system_time() / 1_000_000
}

fn find_devices() -> Result<Devices, String> {
    match io_port::acquire() {
        0 => {}
        errno => {
            return Err(format!(
                "no right to I/O ports ({errno}): iodom runs as the hardware domain only"
            ));
        }
    }
    let mut devices = Devices::default();
    let (mut root, found) = virtio::find();
    for device in found {
        let mut take = || -> Result<(), String> {
            match device.kind {
                DeviceType::Block => {
                    let transport =
                        MsixTransport::new(&mut root, device.function).map_err(|error| error.to_string())?;
                    let disk = VirtioDisk::new(transport).map_err(|error| error.to_string())?;
                    println!(
                        "iodom: disk {}: {} MiB",
                        devices.disks.len(),
                        disk.geometry().sectors >> 11
                    );
                    devices.ports.push(Port(disk.port()));
                    devices.disks.push(disk);
                }
                DeviceType::Network if devices.nic.is_none() => {
                    let transport =
                        MsixTransport::new(&mut root, device.function).map_err(|error| error.to_string())?;
                    let nic = Nic::new(transport).map_err(|error| error.to_string())?;
                    println!("iodom: a network card");
                    devices.ports.push(Port(nic.port()));
                    devices.nic = Some(nic);
                }
                _ => {}
            }
            Ok(())
        };
        if let Err(why) = take() {
            println!("iodom: the virtio device at {} is not used: {why}", device.function);
        }
    }
    Ok(devices)
}

fn configurations() -> Result<Vec<GuestConfig<'static>>, String> {
    let module =
        frames::initrd().ok_or("no boot module: it names the guests (guests/NAME/kernel in a cpio archive)")?;
    let guests = read_guests(module).map_err(|error| error.to_string())?;
    if guests.is_empty() {
        return Err("the boot module has no guests/NAME/kernel".into());
    }
    Ok(guests)
}

fn bind_virq(virq: u32) -> Result<Port, String> {
    ports::bind_virq(virq, 0)
        .map(Port)
        .map_err(|errno| format!("virtual interrupt {virq}: {errno}"))
}

fn main() -> Result<(), String> {
    // Nobody else sets one.
    let _ = log::set_logger(&Logger).map(|()| log::set_max_level(log::LevelFilter::Warn));
    println!("iodom: up at {} ms", milliseconds());
    let guests = configurations()?;
    let devices = find_devices()?;
    let (endings, typing) = (bind_virq(VIRQ_DOM_EXC)?, bind_virq(VIRQ_CONSOLE)?);
    let mut console = Console {
        with_names: guests.len() > 1,
    };
    let own_ports: Vec<Port> = devices.ports.iter().copied().chain([endings, typing]).collect();
    let mut server = Server::new(&Machine, Hypercalls, OwnDisks(devices.disks), devices.nic);
    for guest in &guests {
        let domid = server.start(guest).map_err(|why| format!("{}: {why}", guest.name))?;
        println!(
            "iodom: {} is domain {domid}, started at {} ms",
            guest.name,
            milliseconds()
        );
    }
    let (mut looks, mut naps) = (0u64, 0u64);
    while !server.is_empty() {
        looks += 1;
        let news: Vec<Port> = own_ports
            .iter()
            .copied()
            .filter(|port| Machine.take_event(*port))
            .collect();
        let mut is_busy = server.poll(&mut console);
        if news.contains(&endings) {
            server.check_domains(&mut console);
            is_busy = true;
        }
        if news.contains(&typing) {
            pass_input(|bytes| server.type_bytes(bytes));
            is_busy = true;
        }
        if !is_busy && !server.arm() {
            let all: Vec<Port> = own_ports.iter().copied().chain(server.ports()).collect();
            naps += 1;
            Machine.wait(&all, None);
        }
    }
    println!("iodom: {looks} looks, {naps} naps");
    println!("iodom: no guest is left at {} ms", milliseconds());
    hypercall::shutdown(SHUTDOWN_poweroff)
}

/// Passes on what was typed at the hypervisor's console.
fn pass_input(mut take: impl FnMut(&[u8])) {
    let mut bytes = [0; 128];
    loop {
        match hypercall::console_read(&mut bytes) {
            count @ 1.. => take(&bytes[..count as usize]),
            _ => return,
        }
    }
}
