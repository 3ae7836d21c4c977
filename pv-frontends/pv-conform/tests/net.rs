//! The network cases against pv-net's backend on the fake machine, and what they say of a backend that is broken.

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use pv_conform::{Bench, net};
use pv_hal::fake::{Domain, Machine};
use pv_net::back::{Back, Config};
use pv_net::phy::Phy;
use pv_net::{Interface, Status};
use pv_xenbus::Nodes;
use pv_xenbus::fake::{LocalClient, LocalStore};
use smoltcp::iface::{self, SocketSet};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};
use support::{answer_requests, try_cases};

const PATH: &str = "backend/vif/1/0";

/// A backend and a TCP stack behind it that answers ARP, pings and connections.
struct Served {
    phy: Phy<Back<Domain, LocalClient>>,
    stack: iface::Interface,
    sockets: SocketSet<'static>,
}

impl Served {
    fn new(driver: &Domain, store: &LocalStore) -> Self {
        let back = Back::new(driver, store.client(driver), PATH, Config::default()).expect("a device");
        let mut phy = Phy::new(back);
        let now = phy.time();
        let config = iface::Config::new(EthernetAddress([2, 0, 0, 0, 0, 1]).into());
        let mut stack = iface::Interface::new(config, &mut phy, now);
        stack.update_ip_addrs(|list| list.push(IpCidr::new(IpAddress::v4(10, 0, 0, 1), 24)).expect("room"));
        Self {
            phy,
            stack,
            sockets: SocketSet::new(Vec::new()),
        }
    }

    fn poll(&mut self, is_deaf: bool) {
        let Ok(status) = self.phy.device_mut().poll() else {
            return;
        };
        if status == Status::Up && !is_deaf {
            let now = self.phy.time();
            self.stack.poll(now, &mut self.phy, &mut self.sockets);
            self.phy.device_mut().flush();
        }
        self.phy.device_mut().arm(true);
    }
}

struct Scene {
    bench: Bench<Domain, LocalClient>,
    _machine: Machine,
}

/// A guest with a network device, a backend, and a toolstack that does what cases ask for. A deaf backend connects and
/// then does nothing.
fn scene(is_deaf: bool) -> Scene {
    let machine = Machine::new();
    let (guest, driver) = (machine.add_domain(1), machine.add_domain(2));
    let toolstack = machine.add_domain(3);
    let store = LocalStore::new();
    let plug = {
        let (store, guest, driver) = (store.clone(), guest.clone(), driver.clone());
        move || {
            store.add_device("vif", 0, &guest, &driver, &[("mac", "00:16:3e:00:00:01")]);
            store.set("/local/domain/1/device/vif/0/mac", "00:16:3e:00:00:01");
        }
    };
    plug();
    let served = Rc::new(RefCell::new(Some(Served::new(&driver, &store))));
    let polled = served.clone();
    driver.spawn(move || {
        if let Some(served) = polled.borrow_mut().as_mut() {
            served.poll(is_deaf);
        }
    });
    let (asked, tools) = (store.clone(), driver.clone());
    answer_requests(&toolstack, &store, move |action| {
        match action {
            "network-detach 0" => asked.unplug(PATH, &tools),
            "network-attach 0" => {
                served.borrow_mut().take();
                asked.remove("/local/domain/1/device/vif/0");
                asked.remove(&format!("/local/domain/2/{PATH}"));
                plug();
                *served.borrow_mut() = Some(Served::new(&tools, &asked));
            }
            "backend-kill vif" => {
                served.borrow_mut().take();
                *served.borrow_mut() = Some(Served::new(&tools, &asked));
            }
            _ => return false,
        }
        true
    });
    let client = store.client(&guest);
    client.make_directory("data").unwrap();
    Scene {
        bench: Bench::new(guest, client),
        _machine: machine,
    }
}

#[test]
fn our_backend_behaves_in_every_case() {
    let mut scene = scene(false);
    let (tally, lines) = try_cases(&net::cases(), &mut scene.bench, "net/", None);
    assert_eq!((tally.failed, tally.skipped), (0, 0), "{lines:#?}");
    assert!(tally.passed > 25);
}

#[test]
fn every_case_can_fail() {
    let mut scene = scene(false);
    for case in net::cases::<Domain, LocalClient>() {
        let (tally, lines) = try_cases(&net::cases(), &mut scene.bench, case.name, Some(case.name));
        assert_eq!(tally.failed, 1, "{lines:?}");
    }
}

#[test]
fn a_deaf_backend_is_found_out() {
    let mut scene = scene(true);
    let (tally, lines) = try_cases(&net::cases(), &mut scene.bench, "net/connects", None);
    assert_eq!(tally.failed, 1, "{lines:?}");
}
