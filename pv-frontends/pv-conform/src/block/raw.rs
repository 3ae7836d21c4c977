//! A frontend that sends what it likes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use pv_blk::negotiation::Connection;
use pv_hal::{Access, Channel, Error, GrantRef, Hal, Memory, SharedPages};
use pv_ring::Front;
use pv_xenbus::frontend::{Frontend, Step};
use pv_xenbus::{State, Store};
use xen_abi::{
    BLKIF_OP_INDIRECT, BLKIF_OP_READ, BLKIF_OP_WRITE, BLKIF_RSP_OKAY, blkif_request, blkif_request_indirect,
    blkif_request_segment, blkif_response,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::{Bench, Stop};

/// Time for a backend to answer or to change its state.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Pages of data, one for each segment that a request can have and some more.
const DATA: usize = 16;

/// How a backend takes what a frontend publishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// It has connected.
    Connected,
    /// It has closed.
    Refused,
    /// It does nothing.
    Silent,
}

/// One ring of one page, and some pages of data.
pub(super) struct Raw<H: Hal, S: Store> {
    pub(super) bus: Frontend<S>,
    pub(super) ring: Front<SharedPages<H>, blkif_request, blkif_response>,
    pub(super) channel: Channel<H>,
    pub(super) data: SharedPages<H>,
    /// Sectors of the disk, when connected.
    pub(super) sectors: u64,
    handle: u16,
    ids: u64,
}

impl<H: Hal, S: Store> Raw<H, S> {
    /// Makes a ring that the backend does not know yet.
    pub(super) fn prepare(bench: &Bench<H, S>) -> Result<Self, Stop> {
        let path = bench.device("vbd")?;
        let bus = Frontend::new(bench.store.clone(), &path)?;
        let number: u32 = bus.own_value("virtual-device")?.unwrap_or(0);
        let peer = bus.backend_domain();
        let ring = SharedPages::new(&bench.hal, peer, 1, Access::ReadWrite)?;
        Ok(Self {
            ring: Front::with_slot_size(ring, size_of::<blkif_request>()),
            channel: Channel::offer(&bench.hal, peer)?,
            data: SharedPages::new(&bench.hal, peer, DATA, Access::ReadWrite)?,
            bus,
            sectors: 0,
            handle: number as u16,
            ids: 0,
        })
    }

    /// Connects as a simple frontend does.
    pub(super) fn open(bench: &Bench<H, S>) -> Result<Self, Stop> {
        let mut raw = Self::prepare(bench)?;
        let nodes = raw.nodes();
        match raw.publish(bench, &nodes)? {
            Reply::Connected => Ok(raw),
            other => Err(Stop::Failed(format!(
                "the backend takes a simple frontend so: {other:?}"
            ))),
        }
    }

    /// The nodes of a simple frontend.
    pub(super) fn nodes(&self) -> Vec<(&'static str, String)> {
        [
            ("protocol", "x86_64-abi".to_string()),
            ("feature-persistent", "0".to_string()),
            ("ring-ref", self.ring.memory().grants()[0].to_string()),
            ("event-channel", self.channel.port().to_string()),
        ]
        .into()
    }

    /// Publishes nodes in the place of all that an earlier frontend has; how the backend takes it.
    pub(super) fn publish(&mut self, bench: &Bench<H, S>, nodes: &[(&str, String)]) -> Result<Reply, Stop> {
        self.wait_for_step(bench, Step::Publish)?;
        for name in Connection::stale_nodes() {
            bench.store.remove(&format!("{}/{name}", self.bus.path()))?;
        }
        self.bus.publish(nodes, State::Initialised)?;
        let end = bench.hal.now() + PATIENCE;
        loop {
            match self.bus.poll()? {
                Step::Start => break,
                Step::Wait if bench.hal.now() < end => nap(bench),
                Step::Wait => return Ok(Reply::Silent),
                _ => return Ok(Reply::Refused),
            }
        }
        self.sectors = self.bus.backend_value("sectors")?.unwrap_or(0);
        self.bus.start()?;
        Ok(Reply::Connected)
    }

    fn wait_for_step(&mut self, bench: &Bench<H, S>, wanted: Step) -> Result<(), Stop> {
        bench.wait_for(format_args!("step {wanted:?}"), PATIENCE, || match self.bus.poll()? {
            step if step == wanted => Ok(Some(())),
            Step::Release => {
                self.bus.release();
                Ok(None)
            }
            Step::Closed if wanted != Step::Closed => Err(Stop::Failed("the device is closed".into())),
            _ => Ok(None),
        })
    }

    /// Lets go, and waits until the backend has.
    pub(super) fn close(mut self, bench: &Bench<H, S>) -> Result<(), Stop> {
        self.bus.close();
        self.wait_for_step(bench, Step::Closed)
    }

    fn id(&mut self) -> u64 {
        self.ids += 1;
        // Something that no backend mistakes for an index.
        self.ids.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// A request with one segment for each of the first pages of data, all whole.
    pub(super) fn request(&mut self, operation: u8, sector: u64, segments: usize) -> blkif_request {
        let mut request = blkif_request {
            operation,
            nr_segments: segments as u8,
            handle: self.handle,
            id: self.id(),
            sector_number: sector,
            ..Default::default()
        };
        for (index, segment) in request.seg.iter_mut().enumerate() {
            *segment = self.segment(index);
        }
        request
    }

    /// A whole page of data.
    pub(super) fn segment(&self, page: usize) -> blkif_request_segment {
        blkif_request_segment {
            gref: self.data.grants()[page].0,
            first_sect: 0,
            last_sect: 7,
            ..Default::default()
        }
    }

    /// An indirect read of `count` segments, said to be listed in `pages`.
    pub(super) fn indirect(&mut self, count: u16, pages: &[GrantRef]) -> blkif_request {
        let mut request = blkif_request_indirect {
            operation: BLKIF_OP_INDIRECT,
            indirect_op: BLKIF_OP_READ,
            nr_segments: count,
            handle: self.handle,
            id: self.id(),
            ..Default::default()
        };
        for (slot, page) in request.indirect_grefs.iter_mut().zip(pages) {
            *slot = page.0;
        }
        let mut slot = blkif_request::new_zeroed();
        slot.as_mut_bytes()[..size_of::<blkif_request_indirect>()].copy_from_slice(request.as_bytes());
        slot
    }

    /// Puts a request into the ring, and sends an event if the backend wants one.
    pub(super) fn send(&mut self, request: &blkif_request) -> Result<(), Stop> {
        self.ring.push(request).map_err(|full| Stop::Failed(full.to_string()))?;
        if self.ring.publish() {
            self.channel.notify();
        }
        Ok(())
    }

    /// The next response.
    pub(super) fn answer(&mut self, bench: &Bench<H, S>) -> Result<blkif_response, Stop> {
        let end = bench.hal.now() + PATIENCE;
        loop {
            self.channel.take_event();
            let broken = |broken: pv_ring::Broken| Stop::Failed(format!("the backend breaks the ring: {broken}"));
            if let Some(response) = self.ring.pop().map_err(broken)? {
                return Ok(response);
            }
            if self.ring.arm().map_err(broken)? {
                continue;
            }
            if !self.channel.wait(Some(end)) && bench.hal.now() >= end {
                return Err(Stop::Failed("no response".into()));
            }
        }
    }

    /// Sends a request and gives its response's status.
    pub(super) fn ask(&mut self, bench: &Bench<H, S>, request: &blkif_request) -> Result<i16, Stop> {
        self.send(request)?;
        let response = self.answer(bench)?;
        match response.id == request.id {
            true => Ok(response.status),
            false => Err(Stop::Failed(format!(
                "a response to {:#x}, not to {:#x}",
                response.id, request.id
            ))),
        }
    }

    /// Expects that good requests are still served after bad ones.
    pub(super) fn expect_service(&mut self, bench: &Bench<H, S>) -> Result<(), Stop> {
        for operation in [BLKIF_OP_READ, BLKIF_OP_WRITE, BLKIF_OP_READ] {
            let request = self.request(operation, 0, 2);
            let status = self.ask(bench, &request)?;
            bench.expect(
                status == BLKIF_RSP_OKAY,
                format_args!("a good request fails with {status}"),
            )?;
        }
        Ok(())
    }

    /// Fills the data pages with a byte.
    pub(super) fn fill(&self, value: u8) {
        self.data.fill(0, self.data.byte_count(), value);
    }
}

/// Lets others run for a moment.
pub(super) fn nap<H: Hal, S: Store>(bench: &Bench<H, S>) {
    let until = bench.hal.now() + Duration::from_millis(5);
    bench.hal.wait(&[], Some(until));
}

/// A grant that allows to read only, with its page.
pub(super) fn read_only_page<H: Hal, S: Store>(bench: &Bench<H, S>, raw: &Raw<H, S>) -> Result<SharedPages<H>, Error> {
    SharedPages::new(&bench.hal, raw.bus.backend_domain(), 1, Access::ReadOnly)
}
