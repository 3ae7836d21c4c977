//! Ends of a device that put into the rings whatever a test wants.
#![allow(dead_code, unreachable_pub)]

use pv_hal::fake::{Domain, Mapping};
use pv_hal::{Access, Channel, GrantRef, Hal, Memory, PAGE_SIZE, Port, SharedPages};
use pv_ring::{Back as BackRing, Front as FrontRing};
use pv_xenbus::backend::{Backend, Step as BackStep};
use pv_xenbus::fake::LocalClient;
use pv_xenbus::frontend::{Frontend, Step};
use pv_xenbus::{Nodes, State};
use xen_abi::{netif_rx_request, netif_tx_request, netif_tx_response};
use zerocopy::IntoBytes;

use crate::pair::Pair;

/// A frontend with one queue and a few pages that it has granted.
pub struct RawFront {
    pub xenbus: Frontend<LocalClient>,
    pub transmit: FrontRing<SharedPages<Domain>, [u8; 12], netif_tx_response>,
    pub receive: FrontRing<SharedPages<Domain>, netif_rx_request, [u8; 8]>,
    pub pages: SharedPages<Domain>,
    pub channel: Channel<Domain>,
}

impl RawFront {
    pub fn new(pair: &Pair) -> Self {
        let (guest, peer) = (&pair.guest, pair.driver.id());
        let ring = || SharedPages::new(guest, peer, 1, Access::ReadWrite).expect("a page");
        Self {
            xenbus: Frontend::new(pair.store.client(guest), "device/vif/0").expect("a device"),
            transmit: FrontRing::new(ring()),
            receive: FrontRing::new(ring()),
            pages: SharedPages::new(guest, peer, 24, Access::ReadWrite).expect("pages"),
            channel: Channel::offer(guest, peer).expect("a port"),
        }
    }

    /// The keys of an honest frontend.
    pub fn keys(&self) -> Vec<(&'static str, String)> {
        let grant = |pages: &SharedPages<Domain>| pages.grants()[0].to_string();
        vec![
            ("tx-ring-ref", grant(self.transmit.memory())),
            ("rx-ring-ref", grant(self.receive.memory())),
            ("event-channel", self.channel.port().to_string()),
            ("request-rx-copy", "1".into()),
            ("feature-rx-notify", "1".into()),
            ("feature-sg", "1".into()),
            ("feature-gso-tcpv4", "1".into()),
        ]
    }

    pub fn publish(&mut self, keys: &[(&str, String)]) {
        assert_eq!(self.xenbus.poll().expect("store"), Step::Publish);
        self.xenbus.publish(keys, State::Connected).expect("store");
    }

    /// A request for `size` bytes of page `page`.
    pub fn request(&self, page: usize, offset: u16, size: u16, flags: u16) -> netif_tx_request {
        netif_tx_request {
            gref: self.pages.grants()[page].0,
            offset,
            flags,
            id: page as u16,
            size,
        }
    }

    pub fn send(&mut self, request: &impl Slot) {
        self.transmit.push(&request.slot()).expect("room");
    }

    pub fn flush(&mut self) {
        if self.transmit.publish() | self.receive.publish() {
            self.channel.notify();
        }
    }

    /// Identifier and status of every answer.
    pub fn answers(&mut self) -> Vec<(u16, i16)> {
        let mut answers = Vec::new();
        while let Some(answer) = self.transmit.pop().expect("an honest backend") {
            answers.push((answer.id, answer.status));
        }
        answers
    }

    pub fn fill(&self, page: usize, value: u8) {
        self.pages.fill(page * PAGE_SIZE, PAGE_SIZE, value);
    }
}

/// What fits into a transmit slot.
pub trait Slot {
    fn slot(&self) -> [u8; 12];
}

impl<T: IntoBytes + zerocopy::Immutable> Slot for T {
    fn slot(&self) -> [u8; 12] {
        let mut slot = [0; 12];
        slot[..size_of::<T>()].copy_from_slice(self.as_bytes());
        slot
    }
}

/// A backend that has mapped the rings of one queue.
pub struct RawBack {
    pub xenbus: Backend<LocalClient>,
    pub transmit: Option<BackRing<Mapping, [u8; 12], netif_tx_response>>,
    pub receive: Option<BackRing<Mapping, netif_rx_request, [u8; 8]>>,
    pub channel: Option<Channel<Domain>>,
    driver: Domain,
}

impl RawBack {
    pub fn new(pair: &Pair, keys: &[(&str, String)]) -> Self {
        let mut xenbus = Backend::new(pair.store.client(&pair.driver), "backend/vif/1/0").expect("a device");
        assert_eq!(xenbus.poll().expect("store"), BackStep::Offer);
        xenbus.offer(keys).expect("store");
        Self {
            xenbus,
            transmit: None,
            receive: None,
            channel: None,
            driver: pair.driver.clone(),
        }
    }

    /// Takes up the frontend's first queue.
    pub fn connect(&mut self) {
        assert_eq!(self.xenbus.poll().expect("store"), BackStep::Connect);
        let number = |key: &str| self.xenbus.frontend_value::<u32>(key).expect("a number");
        let peer = self.xenbus.frontend_domain();
        let prefix = if number("tx-ring-ref").is_some() {
            ""
        } else {
            "queue-0/"
        };
        let needed = |key: &str| number(&format!("{prefix}{key}")).expect(key);
        let map = |key: &str| {
            let grant = GrantRef(needed(key));
            self.driver.map(peer, &[grant], Access::ReadWrite).expect("a grant")
        };
        (self.transmit, self.receive) = (
            Some(BackRing::new(map("tx-ring-ref"))),
            Some(BackRing::new(map("rx-ring-ref"))),
        );
        self.channel = Some(Channel::bind(&self.driver, peer, Port(needed("event-channel"))).expect("a port"));
        self.xenbus.connect(&[]).expect("store");
    }

    /// Takes a request for reception and writes `bytes` into its page.
    pub fn take_page(&mut self, bytes: &[u8]) -> netif_rx_request {
        let request = self
            .receive
            .as_mut()
            .unwrap()
            .pop()
            .expect("an honest frontend")
            .expect("a request");
        let page = self
            .driver
            .map(
                self.xenbus.frontend_domain(),
                &[GrantRef(request.gref)],
                Access::ReadWrite,
            )
            .expect("a page");
        page.write(0, bytes);
        request
    }

    /// Answers the oldest request that was taken.
    pub fn answer(&mut self, slot: [u8; 8]) {
        self.receive.as_mut().unwrap().push(&slot);
    }

    pub fn flush(&mut self) {
        let _ = self.receive.as_mut().unwrap().publish();
        let _ = self.transmit.as_mut().unwrap().publish();
        self.channel.as_ref().unwrap().notify();
    }

    pub fn has_gone(&self, pair: &Pair) -> bool {
        pair.store
            .client(&pair.guest)
            .read("device/vif/0/state")
            .is_ok_and(|state| state != "4")
    }
}
