//! Server and client, each over its end of a network device on the fake machine: the whole way of a request.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http_echo::{Client, Outcome, Server, md5_of_pattern};
use pv_hal::fake::{Domain, Machine};
use pv_net::back::{self, Back};
use pv_net::front::{self, Front};
use pv_net::phy::Phy;
use pv_net::{Features, Interface, Status};
use pv_xenbus::fake::{LocalClient, LocalStore};
use smoltcp::iface::{Config, Interface as Stack, SocketSet};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

struct Host<D> {
    phy: Phy<D>,
    stack: Stack,
    sockets: SocketSet<'static>,
}

impl<D: Interface> Host<D> {
    fn new(device: D, mac: [u8; 6], address: [u8; 4]) -> Self {
        let mut phy = Phy::new(device);
        let now = phy.time();
        let mut stack = Stack::new(Config::new(EthernetAddress(mac).into()), &mut phy, now);
        let [a, b, c, d] = address;
        stack.update_ip_addrs(|list| list.push(IpCidr::new(IpAddress::v4(a, b, c, d), 24)).expect("room"));
        Self {
            phy,
            stack,
            sockets: SocketSet::new(vec![]),
        }
    }

    fn poll(&mut self) {
        self.phy.device_mut().poll().expect("store");
        let now = self.phy.time();
        self.stack.poll(now, &mut self.phy, &mut self.sockets);
    }
}

struct World {
    machine: Machine,
    client: Host<Back<Domain, LocalClient>>,
    server: Rc<RefCell<Server>>,
    front: Rc<RefCell<Host<Front<Domain, LocalClient>>>>,
    next_port: u16,
}

impl World {
    fn new(front_features: Features, back_features: Features) -> Self {
        let machine = Machine::new();
        let (guest, driver) = (machine.add_domain(1), machine.add_domain(2));
        let store = LocalStore::new();
        store.add_device("vif", 0, &guest, &driver, &[("mac", "00:16:3e:00:00:01")]);
        let config = front::Config {
            features: front_features,
            ..front::Config::default()
        };
        let mut front = Front::new(&guest, store.client(&guest), "device/vif/0", config).expect("a device");
        let config = back::Config {
            features: back_features,
            ..back::Config::default()
        };
        let mut back = Back::new(&driver, store.client(&driver), "backend/vif/1/0", config).expect("a device");
        while (front.poll().expect("store"), back.poll().expect("store")) != (Status::Up, Status::Up) {}
        let mac = front.mac();
        let front = Rc::new(RefCell::new(Host::new(front, mac, [10, 0, 0, 2])));
        let server = Rc::new(RefCell::new(Server::new(&mut front.borrow_mut().sockets, 2, 80)));
        let (host, serving) = (front.clone(), server.clone());
        guest.spawn(move || {
            let host = &mut *host.borrow_mut();
            host.poll();
            if serving.borrow_mut().poll(&mut host.sockets) {
                host.poll();
            }
            host.phy.device_mut().flush();
            host.phy.device_mut().arm(true);
        });
        Self {
            machine,
            client: Host::new(back, [2, 0, 0, 0, 0, 1], [10, 0, 0, 1]),
            server,
            front,
            next_port: 50000,
        }
    }

    fn request(&mut self, path: &str, body: Option<&[u8]>) -> Outcome {
        self.next_port += 1;
        let host = &mut self.client;
        let context = host.stack.context();
        let server = (IpAddress::v4(10, 0, 0, 2), 80).into();
        let mut client = Client::new(&mut host.sockets, context, server, self.next_port, path, body).expect("connects");
        let end = self.machine.now() + Duration::from_secs(60);
        loop {
            assert!(self.machine.now() < end, "{path} takes too long");
            host.poll();
            if let Some(outcome) = client.poll(&mut host.sockets) {
                return outcome;
            }
            host.poll();
            let now = host.phy.time();
            let delay = host.stack.poll_delay(now, &host.sockets);
            host.phy
                .wait(Some(delay.unwrap_or(smoltcp::time::Duration::from_millis(50))));
        }
    }

    fn expect(&mut self, path: &str, body: Option<&[u8]>, answer: &[u8]) {
        match self.request(path, body) {
            Outcome::Answer { status: 200, body } => assert!(body == answer, "{path}: {} bytes", body.len()),
            other => panic!("{path}: {other:?}"),
        }
    }
}

fn serve_all(front: Features, back: Features) {
    let mut world = World::new(front, back);
    let body: Vec<u8> = (0..300_000u32).map(|number| (number ^ (number >> 8)) as u8).collect();
    world.expect("/", None, b"hello from a guest in Rust\n");
    world.expect("/echo", Some(&body), &body);
    world.expect("/echo", Some(b""), b"");
    let sum = format!("{}\n", md5_of_pattern(500_000));
    world.expect("/md5/500000", None, sum.as_bytes());
    let mut data = vec![0; 500_000];
    http_echo::Pattern::new(500_000).fill(&mut data);
    world.expect("/data/500000", None, &data);
    world.expect("/md5", Some(&data), sum.as_bytes());
    assert!(matches!(
        world.request("/nothing", None),
        Outcome::Answer { status: 404, .. }
    ));
    assert!(!world.server.borrow().is_ended());
    world.expect("/end", None, b"goodbye\n");
    world.machine.settle(200);
    assert!(world.server.borrow().is_ended());
    let front = world.front.borrow();
    for lost in [
        front.phy.lost(),
        front.phy.bad_checksums(),
        world.client.phy.lost(),
        world.client.phy.bad_checksums(),
    ] {
        assert_eq!(lost, 0);
    }
}

#[test]
fn requests_are_served_with_every_offload() {
    serve_all(Features::ALL, Features::ALL);
}

#[test]
fn requests_are_served_with_none() {
    serve_all(Features::NONE, Features::NONE);
}

#[test]
fn requests_are_served_with_checksums_alone() {
    let blank = Features {
        blank_v4: true,
        ..Features::NONE
    };
    serve_all(blank, Features::ALL);
    serve_all(Features::ALL, blank);
}
