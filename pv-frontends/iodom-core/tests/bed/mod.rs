//! A driver domain and guests on the fakes: the store is served whenever a guest waits.
#![allow(dead_code)]

use std::rc::Rc;

use iodom_core::nodes::{Domain, write_domain};
use iodom_core::store::StoreServer;
use pv_hal::DomId;
use pv_hal::fake::{self, Machine};
use pv_xenbus::RingStore;
use xenctrl::fake::Fake;
use xenctrl::{CreateDomain, Domains};

pub(crate) type Server = StoreServer<fake::Domain, Fake>;
pub(crate) type Client = RingStore<fake::Domain>;

pub(crate) struct Bed {
    pub(crate) machine: Machine,
    pub(crate) driver: fake::Domain,
    pub(crate) store: Server,
    pub(crate) guests: Vec<(fake::Domain, Client)>,
}

/// A machine with so many guests, numbered from 1.
pub(crate) fn bed(count: u16) -> Bed {
    let machine = Machine::new();
    let driver = machine.add_domain(0);
    let control = Fake::new(64, 1);
    let numbers: Vec<u16> = (0..count)
        .map(|guest| {
            control
                .create_domain(&CreateDomain::new([guest as u8; 16], 1))
                .expect("a domain")
        })
        .collect();
    let store = StoreServer::new(&driver, Rc::new(control));
    let mut guests = Vec::new();
    for domid in numbers {
        let guest = machine.add_domain(domid);
        let (_, port) = machine.store_backend(DomId(domid));
        let said = Domain {
            domid,
            name: "guest",
            memory_kib: 4096,
            vcpus: 1,
            store: (7, port.0),
            console: (8, 2),
        };
        write_domain(&store, &said).expect("nodes of a guest");
        store.introduce(domid, 7, port.0).expect("a ring");
        guests.push(guest);
    }
    let serve = store.clone();
    driver.spawn(move || {
        serve.serve();
    });
    let guests = guests.into_iter().map(|guest| {
        let client = RingStore::new(&guest).expect("a store");
        (guest, client)
    });
    Bed {
        guests: guests.collect(),
        machine,
        driver,
        store,
    }
}
