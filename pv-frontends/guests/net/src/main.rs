//! Serves HTTP on port 80: what is posted to `/echo` comes back, `/md5` and `/data/N` are for checksums and throughput
//! (see the crate `http-echo`). Ends with status 0 after `/end`.
//!
//! Words: `ip=A.B.C.D` (10.0.0.2), `queues=N` (1), `pages=N` (64, each way and queue), `split=no` (one event channel a
//! queue), `offload=no` (no blank checksums, no large segments), `limit=SECONDS` (600).
//! `echoes=N` measures N echo requests of each kind, and serves nobody.
#![no_std]
#![no_main]
extern crate alloc;

mod echoes;

use core::net::Ipv4Addr;
use core::time::Duration;

use guest_rt::{Machine, option, println};
use http_echo::Server;
use pv_hal::Hal;
use pv_net::front::{Config, Front};
use pv_net::phy::Phy;
use pv_net::{Error, Features, Interface};
use pv_xenbus::RingStore;
use smoltcp::iface::{self, SocketSet};
use smoltcp::wire::{EthernetAddress, IpCidr};

guest_rt::main!(main);

type Device = Front<Machine, RingStore<Machine>>;

/// Time for the backend to appear.
const PATIENCE: Duration = Duration::from_secs(60);
/// Clients served at the same time.
const CLIENTS: usize = 4;

fn number(name: &str, default: usize) -> usize {
    option(name).and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn config() -> Config {
    let pages = number("pages", 64);
    Config {
        queues: number("queues", 1),
        send_pages: pages,
        receive_pages: pages,
        split_channels: option("split") != Some("no"),
        features: match option("offload") {
            Some("no") => Features {
                scatter_gather: true,
                ..Features::NONE
            },
            _ => Features::ALL,
        },
    }
}

fn main() -> Result<(), Error> {
    let machine = Machine;
    let store = RingStore::new(&machine)?;
    let paths = Device::list(&store)?;
    let path = paths.first().ok_or(Error::Down)?;
    let mut device = Front::new(&machine, store, path, config())?;
    if !device.wait_until_up(Some(machine.now() + PATIENCE))? {
        return Err(Error::Down);
    }
    println!(
        "{path}: {} queues, the backend takes {:?}",
        device.queue_count(),
        device.peer_features()
    );
    let address: Ipv4Addr = option("ip")
        .and_then(|text| text.parse().ok())
        .unwrap_or(Ipv4Addr::new(10, 0, 0, 2));
    let device = match number("echoes", 0) {
        0 => serve(device, address)?,
        count => {
            echoes::measure(&mut device, address, count as u32)?;
            device
        }
    };
    println!("{:?}", device.statistics());
    close(device)
}

/// Serves until a client asks for the end.
fn serve(device: Device, address: Ipv4Addr) -> Result<Device, Error> {
    let mac = device.mac();
    let mut phy = Phy::new(device);
    let now = phy.time();
    let mut config = iface::Config::new(EthernetAddress(mac).into());
    config.random_seed = now.total_micros().unsigned_abs();
    let mut stack = iface::Interface::new(config, &mut phy, now);
    let mut is_set = false;
    stack.update_ip_addrs(|list| is_set = list.push(IpCidr::new(address.into(), 24)).is_ok());
    let mut sockets = SocketSet::new(alloc::vec::Vec::new());
    let mut server = Server::new(&mut sockets, CLIENTS, 80);
    println!(
        "guest: serving http://{address}/ ({})",
        if is_set { "24 bits of network" } else { "no address" }
    );
    let end = Machine.now() + Duration::from_secs(number("limit", 600) as u64);
    while !server.is_ended() {
        if Machine.now() >= end {
            println!("nobody has asked for the end");
            return Err(Error::Down);
        }
        phy.device_mut().poll()?;
        let now = phy.time();
        stack.poll(now, &mut phy, &mut sockets);
        if server.poll(&mut sockets) {
            continue;
        }
        let now = phy.time();
        let delay = stack.poll_delay(now, &sockets);
        phy.wait(Some(delay.unwrap_or(smoltcp::time::Duration::from_secs(10))));
    }
    println!(
        "{} requests, {} bytes, {} frames lost, {} bad",
        server.served(),
        server.bytes(),
        phy.lost(),
        phy.bad_checksums()
    );
    Ok(phy.into_device())
}

/// Closes the device in good order, so that the backend has nothing mapped when the domain ends.
fn close(mut device: Device) -> Result<(), Error> {
    device.close();
    match device.wait_until_up(Some(Machine.now() + PATIENCE)) {
        Ok(_) | Err(Error::Down) => Ok(()),
        Err(error) => Err(error),
    }
}
