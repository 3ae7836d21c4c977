//! A frontend that sends what it likes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use pv_hal::{Access, Channel, Error, Hal, Memory, PAGE_SIZE, Port, SharedPages};
use pv_net::rx_chain::RxChain;
use pv_net::{Mac, parse_mac};
use pv_ring::Front;
use pv_xenbus::frontend::{Frontend, Step};
use pv_xenbus::{State, Store};
use xen_abi::{NETIF_RSP_OKAY, netif_rx_request, netif_tx_request, netif_tx_response};
use zerocopy::{Immutable, IntoBytes};

use super::frames;
use crate::{Bench, Stop};

/// Time for a backend to answer or to change its state; hotplug scripts take theirs.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Time for a frame to come back.
const ROUND_TRIP: Duration = Duration::from_millis(1000);
/// Time between two looks at the store.
const NAP: Duration = Duration::from_millis(10);
/// Pages to send from and to receive into.
pub(super) const PAGES: usize = 32;

/// One pair of rings.
pub(super) struct Queue<H: Hal> {
    pub(super) transmit: Front<SharedPages<H>, [u8; 12], netif_tx_response>,
    pub(super) receive: Front<SharedPages<H>, netif_rx_request, [u8; 8]>,
    pub(super) sent: SharedPages<H>,
    pub(super) room: SharedPages<H>,
    channel: Channel<H>,
    receive_channel: Option<Channel<H>>,
    posted: u32,
}

impl<H: Hal> Queue<H> {
    fn new<S: Store>(bench: &Bench<H, S>, bus: &Frontend<S>, is_split: bool) -> Result<Self, Stop> {
        let peer = bus.backend_domain();
        let pages = |count| SharedPages::new(&bench.hal, peer, count, Access::ReadWrite);
        Ok(Self {
            transmit: Front::new(pages(1)?),
            receive: Front::new(pages(1)?),
            sent: pages(PAGES)?,
            room: pages(PAGES)?,
            channel: Channel::offer(&bench.hal, peer)?,
            receive_channel: match is_split {
                true => Some(Channel::offer(&bench.hal, peer)?),
                false => None,
            },
            posted: 0,
        })
    }

    fn nodes(&self, prefix: &str) -> Vec<(String, String)> {
        let mut nodes = Vec::from([
            (
                format!("{prefix}tx-ring-ref"),
                self.transmit.memory().grants()[0].to_string(),
            ),
            (
                format!("{prefix}rx-ring-ref"),
                self.receive.memory().grants()[0].to_string(),
            ),
        ]);
        let mut port = |key: &str, port: Port| nodes.push((format!("{prefix}{key}"), port.to_string()));
        match &self.receive_channel {
            None => port("event-channel", self.channel.port()),
            Some(receive) => {
                port("event-channel-tx", self.channel.port());
                port("event-channel-rx", receive.port());
            }
        }
        nodes
    }

    /// Requests every page that is not requested yet.
    pub(super) fn post(&mut self) {
        while (self.receive.in_flight() as usize) < PAGES {
            let request = netif_rx_request {
                id: self.posted as u16,
                pad: 0,
                gref: self.room.grants()[self.posted as usize % PAGES].0,
            };
            if self.receive.push(&request).is_err() {
                return;
            }
            self.posted = self.posted.wrapping_add(1);
        }
    }

    /// Requests one page with a grant that is none.
    pub(super) fn post_bad(&mut self) {
        let request = netif_rx_request {
            id: self.posted as u16,
            pad: 0,
            gref: 0xffff_fff0,
        };
        if self.receive.push(&request).is_ok() {
            self.posted = self.posted.wrapping_add(1);
        }
    }

    /// Writes bytes into a page and describes them; the identifier is the page's number.
    pub(super) fn request(&self, page: usize, bytes: &[u8], flags: u16) -> netif_tx_request {
        self.sent.write(page * PAGE_SIZE, bytes);
        netif_tx_request {
            gref: self.sent.grants()[page].0,
            offset: 0,
            flags,
            id: page as u16,
            size: bytes.len() as u16,
        }
    }

    /// Puts a request or an extra info into the ring.
    ///
    /// # Errors
    /// The ring is full.
    pub(super) fn push<T: IntoBytes + Immutable>(&mut self, what: &T) -> Result<(), Stop> {
        let mut slot = [0; 12];
        let bytes = what.as_bytes();
        slot[..bytes.len()].copy_from_slice(bytes);
        let pushed = self.transmit.push(&slot);
        pushed
            .map(drop)
            .map_err(|_| Stop::Failed("the transmit ring is full".into()))
    }

    /// Publishes both rings and notifies.
    pub(super) fn flush(&mut self) {
        if self.transmit.publish() {
            self.channel.notify();
        }
        if self.receive.publish() {
            self.receive_channel.as_ref().unwrap_or(&self.channel).notify();
        }
    }

    /// Notifies, whether it is wanted or not.
    pub(super) fn notify(&self) {
        self.channel.notify();
    }

    fn ports(&self) -> Vec<Port> {
        let receive = self.receive_channel.as_ref().map(Channel::port);
        core::iter::once(self.channel.port()).chain(receive).collect()
    }

    /// Waits for an event, a little while at most.
    fn wait<S: Store>(&self, bench: &Bench<H, S>) {
        bench.hal.wait(&self.ports(), Some(bench.hal.now() + NAP));
        for port in self.ports() {
            bench.hal.take_event(port);
        }
    }

    /// Waits for `count` answers: identifier and status of each.
    pub(super) fn answers<S: Store>(&mut self, bench: &Bench<H, S>, count: usize) -> Result<Vec<(u16, i16)>, Stop> {
        let (end, mut answers) = (bench.hal.now() + PATIENCE, Vec::new());
        while answers.len() < count {
            if let Some(answer) = self.transmit.pop().map_err(broken)? {
                answers.push((answer.id, answer.status));
                continue;
            }
            if bench.hal.now() >= end {
                return Err(Stop::Failed(format!("{} of {count} answers", answers.len())));
            }
            let _ = self.transmit.arm();
            self.wait(bench);
        }
        Ok(answers)
    }

    /// The next frame that is there; what was dropped on the way is passed over.
    pub(super) fn next_frame(&mut self) -> Result<Option<Vec<u8>>, Stop> {
        let (mut chain, mut trouble) = (RxChain::default(), None);
        loop {
            let receive = &mut self.receive;
            let verdict = chain.read(|| {
                receive.pop_indexed().unwrap_or_else(|error| {
                    trouble = Some(error);
                    None
                })
            });
            if let Some(error) = trouble {
                return Err(broken(error));
            }
            let Some(verdict) = verdict else { return Ok(None) };
            if verdict.is_ok() {
                break;
            }
        }
        let mut frame = Vec::with_capacity(chain.len);
        for piece in &chain.pieces {
            let start = frame.len();
            frame.resize(start + usize::from(piece.len), 0);
            let page = piece.slot as usize % PAGES;
            self.room
                .read(page * PAGE_SIZE + usize::from(piece.offset), &mut frame[start..]);
        }
        self.post();
        self.flush();
        Ok(Some(frame))
    }

    /// Waits for a frame that `look` likes; none if none comes in time.
    pub(super) fn receive_where<S: Store, T>(
        &mut self,
        bench: &Bench<H, S>,
        look: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Stop> {
        let end = bench.hal.now() + ROUND_TRIP;
        loop {
            while let Some(frame) = self.next_frame()? {
                if let Some(found) = look(&frame) {
                    return Ok(Some(found));
                }
            }
            if bench.hal.now() >= end {
                return Ok(None);
            }
            if !self.receive.arm().map_err(broken)? {
                self.wait(bench);
            }
        }
    }
}

fn broken(error: pv_ring::Broken) -> Stop {
    Stop::Failed(format!("{error}"))
}

/// How a backend takes what a frontend publishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// It has connected.
    Connected,
    /// It has closed, or does nothing.
    Refused,
}

/// A device with some queues.
pub(super) struct Raw<H: Hal, S: Store> {
    pub(super) bus: Frontend<S>,
    pub(super) queues: Vec<Queue<H>>,
    pub(super) mac: Mac,
}

impl<H: Hal, S: Store> Raw<H, S> {
    /// Makes rings that the backend does not know yet.
    pub(super) fn prepare(bench: &Bench<H, S>, queues: usize, is_split: bool) -> Result<Self, Stop> {
        let bus = Frontend::new(bench.store.clone(), &bench.device("vif")?)?;
        let mac: Option<String> = bus.own_value("mac")?;
        let mac = mac.as_deref().and_then(parse_mac);
        let queues: Result<_, _> = (0..queues).map(|_| Queue::new(bench, &bus, is_split)).collect();
        Ok(Self {
            bus,
            queues: queues?,
            mac: mac.ok_or_else(|| Stop::Failed("the device has no hardware address".into()))?,
        })
    }

    /// Connects as a simple frontend does. A backend that is still busy with an earlier frontend's end may close once
    /// more; so it is tried again.
    pub(super) fn open(bench: &Bench<H, S>) -> Result<Self, Stop> {
        for _ in 0..3 {
            let mut raw = Self::prepare(bench, 1, false)?;
            let nodes = raw.nodes();
            if raw.publish(bench, &nodes)? == Reply::Connected {
                return Ok(raw);
            }
        }
        Err(Stop::Failed("the backend refuses a simple frontend".into()))
    }

    /// The nodes of a simple frontend with these queues.
    pub(super) fn nodes(&self) -> Vec<(String, String)> {
        let mut nodes = Vec::new();
        for (index, queue) in self.queues.iter().enumerate() {
            let prefix = if self.queues.len() == 1 {
                String::new()
            } else {
                format!("queue-{index}/")
            };
            nodes.extend(queue.nodes(&prefix));
        }
        if self.queues.len() > 1 {
            nodes.push(("multi-queue-num-queues".into(), self.queues.len().to_string()));
        }
        for key in ["request-rx-copy", "feature-rx-notify", "feature-sg"] {
            nodes.push((key.into(), "1".into()));
        }
        nodes
    }

    /// Publishes nodes in the place of all that an earlier frontend has, and gives all pages for receiving.
    pub(super) fn publish(&mut self, bench: &Bench<H, S>, nodes: &[(String, String)]) -> Result<Reply, Stop> {
        self.wait_for_step(bench, Step::Publish)?;
        self.forget_nodes(bench)?;
        let nodes: Vec<(&str, String)> = nodes.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        for queue in &mut self.queues {
            queue.post();
        }
        self.bus.publish(&nodes, State::Connected)?;
        let end = bench.hal.now() + PATIENCE;
        loop {
            match self.bus.poll()? {
                Step::Start => break,
                Step::Wait if bench.hal.now() < end => nap(bench),
                _ => return Ok(Reply::Refused),
            }
        }
        self.bus.start()?;
        self.queues.iter_mut().for_each(Queue::flush);
        Ok(Reply::Connected)
    }

    fn forget_nodes(&self, bench: &Bench<H, S>) -> Result<(), Stop> {
        let path = self.bus.path();
        for name in bench.store.directory(path)? {
            let is_ours = [
                "queue-",
                "multi-queue-num",
                "event-channel",
                "feature-",
                "request-",
                "tx-ring",
                "rx-ring",
            ];
            if is_ours.iter().any(|start| name.starts_with(start)) {
                bench.store.remove(&format!("{path}/{name}"))?;
            }
        }
        Ok(())
    }

    fn wait_for_step(&mut self, bench: &Bench<H, S>, wanted: Step) -> Result<(), Stop> {
        bench.wait_for(format_args!("step {wanted:?}"), PATIENCE, || match self.bus.poll()? {
            step if step == wanted => Ok(Some(())),
            Step::Release => {
                self.bus.release();
                Ok(None)
            }
            _ => Ok(None),
        })
    }

    /// Closes the device as a frontend does that ends, and waits for the backend; true if the backend has let go of every
    /// page by then.
    pub(super) fn close(mut self, bench: &Bench<H, S>) -> Result<bool, Stop> {
        self.bus.close();
        self.wait_for_step(bench, Step::Closed)?;
        let mut is_free = true;
        for queue in self.queues {
            for pages in [
                queue.transmit.into_memory(),
                queue.receive.into_memory(),
                queue.sent,
                queue.room,
            ] {
                is_free &= pages.end_access();
            }
        }
        Ok(is_free)
    }

    /// Begins anew on the same device, with nodes as they were.
    pub(super) fn reopen(self, bench: &Bench<H, S>) -> Result<Self, Stop> {
        self.close(bench)?;
        Self::open(bench)
    }

    /// Has the other side answer by ARP: its hardware address. Tries again when a frame is lost, as bridges lose some
    /// while they come up.
    pub(super) fn probe(&mut self, bench: &Bench<H, S>, queue: usize) -> Result<Mac, Stop> {
        let request = frames::arp_request(self.mac);
        let queue = &mut self.queues[queue];
        for _ in 0..20 {
            let slot = queue.request(0, &request, 0);
            queue.push(&slot)?;
            queue.flush();
            let answers = queue.answers(bench, 1)?;
            if answers != [(0, NETIF_RSP_OKAY)] {
                return Err(Stop::Failed(format!("a frame is answered by {answers:?}")));
            }
            if let Some(mac) = queue.receive_where(bench, frames::arp_answer)? {
                return Ok(mac);
            }
        }
        Err(Stop::Failed("nobody beyond the backend answers".into()))
    }

    /// Whether the backend takes a frame from the first queue at all.
    pub(super) fn is_served(&mut self, bench: &Bench<H, S>) -> Result<bool, Stop> {
        let queue = &mut self.queues[0];
        let request = queue.request(0, &frames::arp_request(self.mac), 0);
        queue.push(&request)?;
        queue.flush();
        let end = bench.hal.now() + ROUND_TRIP;
        while bench.hal.now() < end {
            if queue.transmit.pop().map_err(broken)?.is_some() {
                return Ok(true);
            }
            queue.wait(bench);
        }
        Ok(false)
    }

    /// Whether the device works: an ARP request is answered.
    pub(super) fn works(&mut self, bench: &Bench<H, S>) -> Result<(), Stop> {
        self.probe(bench, 0).map(drop)
    }
}

/// Waits a little.
pub(super) fn nap<H: Hal, S: Store>(bench: &Bench<H, S>) {
    bench.hal.wait(&[], Some(bench.hal.now() + NAP));
}

impl From<pv_net::Error> for Stop {
    fn from(error: pv_net::Error) -> Stop {
        match error {
            pv_net::Error::Hal(Error::NoMemory) => Stop::NotApplicable("not enough memory".into()),
            other => Stop::Failed(format!("{other}")),
        }
    }
}
