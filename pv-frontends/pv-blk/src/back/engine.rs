//! Carries requests from rings to a disk and answers back.

use alloc::vec::Vec;

use pv_hal::{Access, Channel, DomId, Hal, Port};
use pv_ring::{Back, Broken};
use xen_abi::{blkif_request, blkif_request_segment, blkif_response};

use super::disk::{Disk, DiskError, Geometry, Job, Work};
use super::pages::Pages;
use super::request::{IndirectPages, Name, Request, Segment, parse, parse_segments, total};
use crate::negotiation::{Connection, QueueAddress};
use crate::pending::Pending;
use crate::{SECTOR_SIZE, Status};

/// Jobs that the disk has at most at a time.
const JOBS: u32 = 64;
/// Bytes of the buffers of all jobs, but for a single one: what one frontend can make this domain hold. It is enough for
/// every disk to be busy.
const BYTES: usize = 4 << 20;
/// Most requests of one queue that one [`Engine::poll`] takes: no frontend keeps others from being served.
const TAKEN: u32 = 64;

/// One ring.
struct Queue<H: Hal> {
    ring: Back<H::Mapping, blkif_request, blkif_response>,
    channel: Channel<H>,
    pages: Pages<H>,
    /// A request that waits for the disk, taken out of the ring.
    parked: Option<(Name, Request)>,
    broken: Option<Broken>,
}

impl<H: Hal> Queue<H> {
    fn new(hal: &H, peer: DomId, address: &QueueAddress, persistent: bool) -> Result<Self, pv_hal::Error> {
        let memory = hal.map(peer, &address.ring, Access::ReadWrite)?;
        Ok(Self {
            // An earlier backend may have died before the rest was answered.
            ring: Back::with_slot_size(memory, size_of::<blkif_request>()),
            channel: Channel::bind(hal, peer, address.port)?,
            pages: Pages::new(hal, peer, persistent),
            parked: None,
            broken: None,
        })
    }

    fn answer(&mut self, name: Name, status: Status) {
        if self.ring.in_flight() > 0 {
            self.ring.push(&name.response(status));
        }
    }

    fn publish(&mut self) {
        if self.ring.publish() {
            self.channel.notify();
        }
    }

    /// The next request, or how to answer it.
    fn take(&mut self, most_indirect: u32) -> Option<(Name, Result<Request, Status>)> {
        if let Some((name, request)) = self.parked.take() {
            return Some((name, Ok(request)));
        }
        match self.ring.pop() {
            Ok(slot) => slot.map(|slot| parse(&slot, most_indirect)),
            Err(broken) => {
                self.broken = Some(broken);
                None
            }
        }
    }

    fn read_segments(&mut self, pages: &IndirectPages) -> Result<Vec<Segment>, Status> {
        const SIZE: usize = size_of::<blkif_request_segment>();
        let mut segments = Vec::with_capacity(pages.count);
        let mut bytes = [0; pv_hal::PAGE_SIZE];
        for (grant, count) in pages.iter() {
            // Copied before anybody looks: the frontend may change it at any time.
            let len = count * SIZE;
            let list = Segment { grant, offset: 0, len };
            self.pages.read(&[list], &mut bytes[..len]).map_err(|_| Status::Error)?;
            parse_segments(&bytes[..len], &mut segments)?;
        }
        Ok(segments)
    }
}

/// What is to be done with a job when the disk has done its part.
struct Underway {
    queue: usize,
    name: Name,
    step: Step,
    /// Of its buffer.
    bytes: usize,
}

enum Step {
    /// Answer.
    Answer,
    /// Copy into the frontend's pages, and answer.
    Deliver(Vec<Segment>),
    /// Go on with the barrier.
    Continue(Stage),
}

/// What is left of a barrier: the disk was flushed before.
enum Stage {
    /// Write, and then flush again.
    Write { sector: u64, segments: Vec<Segment> },
    /// Flush again.
    Flush,
}

/// What could be done with a request.
enum Outcome {
    /// The disk has it.
    Started,
    /// It is over.
    Over(Status),
    /// It must wait for another job's end.
    Later(Request),
}

/// All rings of one frontend, and the requests out of them.
pub struct Engine<H: Hal> {
    queues: Vec<Queue<H>>,
    underway: Pending<Underway>,
    /// Of their buffers.
    bytes: usize,
    most_indirect: u32,
    /// A barrier waits, or is carried out: nothing else is begun.
    has_barrier: bool,
    /// What the barrier under way does next, as soon as the disk has room.
    next_stage: Option<(usize, Name, Stage)>,
    /// The queue to begin with next time.
    first: usize,
}

impl<H: Hal> Engine<H> {
    /// Takes up a frontend's rings. `most_indirect` is what it was offered.
    ///
    /// # Errors
    /// A ring cannot be mapped or a port not be bound; nothing is held then.
    pub fn new(hal: &H, peer: DomId, connection: &Connection, most_indirect: u32) -> Result<Self, pv_hal::Error> {
        let queue = |address| Queue::new(hal, peer, address, connection.persistent);
        Ok(Self {
            queues: connection.queues.iter().map(queue).collect::<Result<_, _>>()?,
            underway: Pending::new(JOBS),
            bytes: 0,
            most_indirect,
            has_barrier: false,
            next_stage: None,
            first: 0,
        })
    }

    /// The ports that say when there is something to do.
    pub fn ports(&self) -> impl Iterator<Item = Port> + '_ {
        self.queues.iter().map(|queue| queue.channel.port())
    }

    /// How the frontend has broken its rings, if it has. Such a ring is not served any more.
    pub fn broken(&self) -> Option<Broken> {
        self.queues.iter().find_map(|queue| queue.broken)
    }

    /// Jobs that the disk has.
    pub fn underway(&self) -> usize {
        self.underway.len()
    }

    /// Carries what can be carried now: never waits, and does a bounded amount. True where there is more to do at once;
    /// else there is an event at a [port](Self::ports), or the disk ends a job, when there is.
    pub fn poll<D: Disk>(&mut self, disk: &mut D) -> bool {
        self.finish_all(disk);
        self.continue_barrier(disk);
        let count = self.queues.len();
        let mut more = false;
        for step in 0..count {
            more |= self.serve((self.first + step) % count, disk);
        }
        self.first = (self.first + 1) % count.max(1);
        // A disk that is quick has made room for requests that wait.
        let has_room = self.finish_all(disk);
        for queue in &mut self.queues {
            queue.publish();
        }
        more |= self.arm();
        more || has_room && self.queues.iter().any(|queue| queue.parked.is_some())
    }

    /// Takes jobs back from the disk without an answer to anybody; true when it has none left. Before that no other
    /// engine may use the disk: it would get this one's jobs.
    pub fn drain<D: Disk>(&mut self, disk: &mut D) -> bool {
        while let Some((job, _)) = disk.poll() {
            self.take_back(job.id);
        }
        self.underway.len() == 0
    }

    /// Deals with the jobs that the disk has ended; true if there were any.
    fn finish_all<D: Disk>(&mut self, disk: &mut D) -> bool {
        let mut any = false;
        while let Some((job, result)) = disk.poll() {
            self.finish(disk, job, result);
            any = true;
        }
        any
    }

    /// Asks for events; true where requests came meanwhile that could be served.
    fn arm(&mut self) -> bool {
        let mut more = false;
        for queue in &mut self.queues {
            queue.channel.take_event();
            if queue.parked.is_some() || queue.broken.is_some() {
                continue;
            }
            match queue.ring.arm() {
                Ok(found) => more |= found,
                Err(broken) => queue.broken = Some(broken),
            }
        }
        more && !self.has_barrier
    }

    /// Serves one queue; true where it has more requests than it may have now.
    fn serve<D: Disk>(&mut self, index: usize, disk: &mut D) -> bool {
        for _ in 0..TAKEN {
            let Some((name, request)) = self.queues[index].take(self.most_indirect) else {
                return false;
            };
            let outcome = match request {
                Ok(request) => self.begin(index, name, request, disk),
                Err(status) => Outcome::Over(status),
            };
            match outcome {
                Outcome::Started => {}
                Outcome::Over(status) => self.queues[index].answer(name, status),
                Outcome::Later(request) => {
                    self.queues[index].parked = Some((name, request));
                    return false;
                }
            }
        }
        true
    }

    fn begin<D: Disk>(&mut self, index: usize, name: Name, request: Request, disk: &mut D) -> Outcome {
        let is_barrier = matches!(request, Request::Transfer { barrier: true, .. });
        if is_barrier && (self.underway.len() > 0 || self.next_stage.is_some()) {
            // Nothing overtakes it: from now on the other requests wait, too.
            self.has_barrier = true;
            return Outcome::Later(request);
        }
        if !is_barrier && self.has_barrier || !self.underway.has_room() {
            return Outcome::Later(request);
        }
        let outcome = match self.try_begin(index, name, request, disk) {
            Ok(outcome) => outcome,
            Err(status) => Outcome::Over(status),
        };
        if is_barrier {
            self.has_barrier = !matches!(outcome, Outcome::Over(_));
        }
        outcome
    }

    /// Checks a request and hands it to the disk.
    fn try_begin<D: Disk>(
        &mut self,
        index: usize,
        name: Name,
        request: Request,
        disk: &mut D,
    ) -> Result<Outcome, Status> {
        let geometry = disk.geometry();
        let (write, barrier, sector, segments) = match request {
            Request::Flush => return Ok(self.begin_flush(index, name, Step::Answer, Request::Flush, disk)),
            Request::Discard { sector, count, secure } => {
                return self.begin_discard(index, name, (sector, count, secure), disk);
            }
            Request::Transfer {
                write,
                barrier,
                sector,
                segments,
            } => (write, barrier, sector, segments),
            Request::Indirect { write, sector, pages } => {
                (write, false, sector, self.queues[index].read_segments(&pages)?)
            }
        };
        let bytes = total(&segments);
        check(&geometry, sector, (bytes / SECTOR_SIZE) as u64, write)?;
        if barrier {
            // It was not offered: a disk that cannot flush keeps no order.
            if !geometry.flush {
                return Err(Status::Unsupported);
            }
            let again = Request::Transfer {
                write,
                barrier,
                sector,
                segments: segments.clone(),
            };
            let step = Step::Continue(Stage::Write { sector, segments });
            return Ok(self.begin_flush(index, name, step, again, disk));
        }
        // From here on the segments are a copy, so a request that waits is not read from the frontend's pages again.
        let again = |segments| Request::Transfer {
            write,
            barrier,
            sector,
            segments,
        };
        if self.bytes > 0 && self.bytes + bytes > BYTES {
            return Ok(Outcome::Later(again(segments)));
        }
        let Some(mut buffer) = disk.allocate(bytes) else {
            return Ok(Outcome::Later(again(segments)));
        };
        if write {
            let pages = &mut self.queues[index].pages;
            pages.read(&segments, buffer.as_mut()).map_err(|_| Status::Error)?;
            let work = Work::Write { sector, buffer };
            return Ok(match self.start(index, name, Step::Answer, work, disk) {
                Ok(()) => Outcome::Started,
                Err(_) => Outcome::Later(again(segments)),
            });
        }
        let work = Work::Read { sector, buffer };
        Ok(match self.start(index, name, Step::Deliver(segments), work, disk) {
            Ok(()) => Outcome::Started,
            Err(Step::Deliver(segments)) => Outcome::Later(again(segments)),
            Err(_) => Outcome::Over(Status::Error),
        })
    }

    fn begin_flush<D: Disk>(&mut self, index: usize, name: Name, step: Step, again: Request, disk: &mut D) -> Outcome {
        // A disk without a cache has nothing to flush, and says so to whoever asks for nothing else.
        if !disk.geometry().flush && matches!(step, Step::Answer) {
            return Outcome::Over(Status::Unsupported);
        }
        match self.start(index, name, step, Work::Flush, disk) {
            Ok(()) => Outcome::Started,
            Err(_) => Outcome::Later(again),
        }
    }

    fn begin_discard<D: Disk>(
        &mut self,
        index: usize,
        name: Name,
        (sector, sectors, secure): (u64, u64, bool),
        disk: &mut D,
    ) -> Result<Outcome, Status> {
        let geometry = disk.geometry();
        let offered = geometry.discard.ok_or(Status::Unsupported)?;
        check(&geometry, sector, sectors, true)?;
        if sectors == 0 {
            return Ok(Outcome::Over(Status::Okay));
        }
        // The header: the flag is ignored where it was not offered.
        let secure = secure && offered.secure;
        let work = Work::Discard {
            sector,
            sectors,
            secure,
        };
        let again = Request::Discard {
            sector,
            count: sectors,
            secure,
        };
        Ok(match self.start(index, name, Step::Answer, work, disk) {
            Ok(()) => Outcome::Started,
            Err(_) => Outcome::Later(again),
        })
    }

    /// Hands work to the disk; the step comes back where it has no room.
    fn start<D: Disk>(
        &mut self,
        queue: usize,
        name: Name,
        step: Step,
        work: Work<D::Buffer>,
        disk: &mut D,
    ) -> Result<(), Step> {
        let bytes = match &work {
            Work::Read { buffer, .. } | Work::Write { buffer, .. } => buffer.as_ref().len(),
            Work::Flush | Work::Discard { .. } => 0,
        };
        let underway = Underway {
            queue,
            name,
            step,
            bytes,
        };
        let id = self.underway.insert(underway).map_err(|underway| underway.step)?;
        self.bytes += bytes;
        match disk.start(Job { id, work }) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.take_back(id).map_or(Step::Answer, |underway| underway.step)),
        }
    }

    /// A job that the disk has no more.
    fn take_back(&mut self, id: u64) -> Option<Underway> {
        let underway = self.underway.remove(id)?;
        self.bytes -= underway.bytes;
        Some(underway)
    }

    fn finish<D: Disk>(&mut self, disk: &mut D, job: Job<D::Buffer>, result: Result<(), DiskError>) {
        // A disk that ends what nobody began has done no harm yet.
        let Some(Underway { queue, name, step, .. }) = self.take_back(job.id) else {
            return;
        };
        let status = match (result, step) {
            (Err(DiskError::Unsupported), _) => Status::Unsupported,
            (Err(DiskError::Failed), _) => Status::Error,
            (Ok(()), Step::Answer) => Status::Okay,
            (Ok(()), Step::Deliver(segments)) => match job.work {
                Work::Read { buffer, .. } => match self.queues[queue].pages.write(&segments, buffer.as_ref()) {
                    Ok(()) => Status::Okay,
                    Err(_) => Status::Error,
                },
                _ => Status::Error,
            },
            (Ok(()), Step::Continue(stage)) => {
                self.next_stage = Some((queue, name, stage));
                return self.continue_barrier(disk);
            }
        };
        self.end(queue, name, status);
    }

    /// Answers a request that was under way.
    fn end(&mut self, queue: usize, name: Name, status: Status) {
        self.queues[queue].answer(name, status);
        if self.underway.len() == 0 && !self.has_parked_barrier() {
            self.has_barrier = false;
        }
    }

    fn has_parked_barrier(&self) -> bool {
        let is_barrier = |request: &Request| matches!(request, Request::Transfer { barrier: true, .. });
        let mut parked = self.queues.iter().filter_map(|queue| queue.parked.as_ref());
        parked.any(|(_, request)| is_barrier(request))
    }

    /// Begins what the barrier under way does next, if there is room.
    fn continue_barrier<D: Disk>(&mut self, disk: &mut D) {
        let Some((queue, name, stage)) = self.next_stage.take() else {
            return;
        };
        let (work, step) = match &stage {
            Stage::Flush => (Work::Flush, Step::Answer),
            Stage::Write { sector, segments } => {
                let Some(mut buffer) = disk.allocate(total(segments)) else {
                    self.next_stage = Some((queue, name, stage));
                    return;
                };
                if self.queues[queue].pages.read(segments, buffer.as_mut()).is_err() {
                    return self.end(queue, name, Status::Error);
                }
                let sector = *sector;
                (Work::Write { sector, buffer }, Step::Continue(Stage::Flush))
            }
        };
        if self.start(queue, name, step, work, disk).is_err() {
            self.next_stage = Some((queue, name, stage));
        }
    }
}

/// Checks that sectors are on the disk, and may be written.
fn check(disk: &Geometry, sector: u64, count: u64, write: bool) -> Result<(), Status> {
    let end = sector.checked_add(count).ok_or(Status::Error)?;
    let unit = u64::from(disk.sector_size) / SECTOR_SIZE as u64;
    let is_aligned = unit > 0 && sector.is_multiple_of(unit) && count.is_multiple_of(unit);
    match end <= disk.sectors && is_aligned && !(write && disk.read_only) {
        true => Ok(()),
        false => Err(Status::Error),
    }
}

impl<H: Hal> core::fmt::Debug for Engine<H> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine")
            .field("queues", &self.queues.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
