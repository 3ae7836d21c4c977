//! One queue of a disk: its thread takes requests from the ring and answers them.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use privcmd::{DomId, EventChannel, GrantDevice, GrantMap, Mapping, Port};

use crate::grants::{Granted, Guest, Pages, pieces};
use crate::image::Image;
use crate::request::{Operation, Request, Segment, Status, parse_segments};
use crate::ring::{Overflow, Ring};

/// What a frontend says of one queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct QueueAddress {
    /// The ring's pages.
    pub(crate) grefs: Vec<u32>,
    /// The frontend's port.
    pub(crate) port: Port,
}

/// Carries out requests, one at a time.
#[derive(Debug)]
pub(crate) struct Server<G: Guest> {
    image: Arc<Image>,
    pages: Pages<G>,
}

impl<G: Guest> Server<G> {
    /// Serves `image` to a guest.
    pub(crate) fn new(image: Arc<Image>, guest: G, persistent: bool) -> Self {
        Self {
            image,
            pages: Pages::new(guest, persistent),
        }
    }

    /// Carries out a request; how to answer it.
    pub(crate) fn serve(&mut self, request: &Request) -> Status {
        let result = match &request.operation {
            Operation::Transfer {
                write,
                sector,
                segments,
                barrier,
            } => self.transfer(*write, *sector, segments, *barrier),
            Operation::Indirect {
                write,
                sector,
                count,
                pages,
            } => self.indirect(*write, *sector, *count, pages),
            Operation::Flush => self.image.flush(),
            Operation::Discard { sector, count } => self.image.discard(*sector, *count),
            Operation::Refuse(status) => return *status,
        };
        match result {
            Ok(()) => Status::Okay,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Status::Unsupported,
            Err(_) => Status::Error,
        }
    }

    fn transfer(&mut self, write: bool, sector: u64, segments: &[Segment], barrier: bool) -> io::Result<()> {
        let places = self.pages.places(segments, !write)?;
        if barrier {
            self.image.flush()?;
        }
        self.image.transfer(write, sector, &pieces(segments, &places))?;
        if barrier { self.image.flush() } else { Ok(()) }
    }

    fn indirect(&mut self, write: bool, sector: u64, count: usize, grefs: &[u32]) -> io::Result<()> {
        // Copied before it is looked at: the guest may change it at any time.
        let list = self.pages.read(grefs, count * size_of::<u64>())?;
        let segments = parse_segments(&list).ok_or(io::ErrorKind::InvalidInput)?;
        self.transfer(write, sector, &segments, false)
    }
}

/// Serves all requests that stand in the ring. `notify` tells the frontend of answers, `stopped` ends it early.
///
/// # Errors
/// The frontend has broken the ring.
pub(crate) fn drain<M: AsRef<Mapping>, G: Guest>(
    ring: &mut Ring<M>,
    server: &mut Server<G>,
    notify: &dyn Fn(),
    stopped: &dyn Fn() -> bool,
) -> Result<(), Overflow> {
    loop {
        while let Some(bytes) = ring.next()? {
            let request = Request::parse(&bytes);
            let status = server.serve(&request);
            if ring.answer(&request.response(status)) {
                notify();
            }
            if stopped() {
                return Ok(());
            }
        }
        if !ring.request_event() {
            return Ok(());
        }
    }
}

/// A queue that is served. Dropping it ends its thread behind the request under way.
#[derive(Debug)]
pub(crate) struct Queue {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Stop {
    flag: AtomicBool,
    event: EventFd,
}

/// The ring's pages.
#[derive(Debug)]
struct RingPages(GrantMap);

impl AsRef<Mapping> for RingPages {
    fn as_ref(&self) -> &Mapping {
        &self.0
    }
}

impl Queue {
    /// Connects to a frontend's queue and serves it. `name` is for messages.
    ///
    /// # Errors
    /// Where the ring cannot be mapped or the port cannot be bound.
    pub(crate) fn start(
        name: String,
        domid: DomId,
        address: &QueueAddress,
        image: Arc<Image>,
        persistent: bool,
    ) -> io::Result<Self> {
        let device = GrantDevice::open()?;
        let ring = Ring::new(RingPages(device.map(domid, &address.grefs, true)?));
        let events = EventChannel::open()?;
        let port = events.bind_interdomain(domid, address.port)?;
        let server = Server::new(image, Granted::new(device, domid), persistent);
        let stop = Arc::new(Stop {
            flag: AtomicBool::new(false),
            event: EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?,
        });
        let theirs = stop.clone();
        let run = move || serve_queue(&name, ring, server, &events, port, &theirs);
        let thread = std::thread::Builder::new().spawn(run)?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.stop.flag.store(true, Ordering::Relaxed);
        // Fails only where the counter is full, and then the thread is awake.
        let _ = self.stop.event.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve_queue(
    name: &str,
    mut ring: Ring<RingPages>,
    mut server: Server<Granted>,
    events: &EventChannel,
    port: Port,
    stop: &Stop,
) {
    let notify = || {
        // Fails only where the port is gone, and with it the frontend.
        let _ = events.notify(port);
    };
    let stopped = || stop.flag.load(Ordering::Relaxed);
    // An earlier blkd may have died between its last answer and the event for it.
    notify();
    while !stopped() {
        if drain(&mut ring, &mut server, &notify, &stopped).is_err() {
            eprintln!("blkd: {name}: the frontend broke its ring; the queue is no longer served");
            return;
        }
        if let Err(error) = wait(events, stop) {
            eprintln!("blkd: {name}: no more events ({error}); the queue is no longer served");
            return;
        }
    }
}

/// Waits for an event or the end.
fn wait(events: &EventChannel, stop: &Stop) -> io::Result<()> {
    let mut fds = [
        PollFd::new(events.as_fd(), PollFlags::POLLIN),
        PollFd::new(stop.event.as_fd(), PollFlags::POLLIN),
    ];
    match poll(&mut fds, PollTimeout::NONE) {
        Err(nix::errno::Errno::EINTR) => return Ok(()),
        result => result?,
    };
    while let Some(port) = events.pending()? {
        events.unmask(port)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::grants::tests::FileGuest;
    use crate::image::tests::disk;
    use crate::request::{REQUEST, SECTOR};

    fn slot(code: u8, sector: u64, segments: &[(u32, u8, u8)]) -> [u8; REQUEST] {
        let mut bytes = [0; REQUEST];
        (bytes[0], bytes[1]) = (code, segments.len() as u8);
        bytes[16..24].copy_from_slice(&sector.to_le_bytes());
        for (index, segment) in segments.iter().enumerate() {
            let at = 24 + 8 * index;
            bytes[at..at + 4].copy_from_slice(&segment.0.to_le_bytes());
            (bytes[at + 4], bytes[at + 5]) = (segment.1, segment.2);
        }
        bytes
    }

    fn server(sectors: u8) -> (tempfile::NamedTempFile, Server<FileGuest>, Mapping) {
        let (file, image) = disk(sectors, true);
        let guest = FileGuest::new();
        let memory = Mapping::of_file(&guest.memory, 0, 2000 * 4096, true).unwrap();
        (file, Server::new(Arc::new(image), guest, true), memory)
    }

    fn byte(memory: &Mapping, page: usize, at: usize) -> u8 {
        memory.atomic_u8(page * 4096 + at).load(Ordering::Relaxed)
    }

    #[test]
    fn sectors_go_to_the_segments_in_order() {
        let (_file, mut server, memory) = server(64);
        let request = Request::parse(&slot(0, 10, &[(3, 6, 7), (2, 0, 0)]));
        assert_eq!(server.serve(&request), Status::Okay);
        assert_eq!(byte(&memory, 3, 6 * 512), 10);
        assert_eq!(byte(&memory, 3, 7 * 512), 11);
        assert_eq!(byte(&memory, 2, 0), 12);
        assert_eq!(byte(&memory, 2, 512), 0);
    }

    #[test]
    fn what_is_written_is_read_back_through_indirect_segments() {
        let (_file, mut server, memory) = server(128);
        // 16 segments of a page each, listed in page 50: pages 1 to 16.
        for page in 1..=16u32 {
            memory.fill(page as usize * 4096, 4096, 0x80 + page as u8);
            let mut segment = [0; 8];
            segment[..4].copy_from_slice(&page.to_le_bytes());
            segment[5] = 7;
            memory.write(50 * 4096 + (page as usize - 1) * 8, &segment);
        }
        let mut bytes = slot(6, 0, &[]);
        bytes[1] = 1;
        bytes[2..4].copy_from_slice(&16u16.to_le_bytes());
        bytes[28..32].copy_from_slice(&50u32.to_le_bytes());
        assert_eq!(server.serve(&Request::parse(&bytes)), Status::Okay);
        let read = Request::parse(&slot(0, 8 * 15, &[(60, 0, 7)]));
        assert_eq!(server.serve(&read), Status::Okay);
        assert_eq!(byte(&memory, 60, 4095), 0x90);
        // A segment that leaves its page spoils the whole request.
        memory.write(50 * 4096 + 5, &[8]);
        assert_eq!(server.serve(&Request::parse(&bytes)), Status::Error);
    }

    #[test]
    fn pages_that_are_not_granted_fail_alone() {
        let (_file, mut server, _memory) = server(16);
        let bad = Request::parse(&slot(1, 0, &[(0, 0, 7)]));
        assert_eq!(server.serve(&bad), Status::Error);
        let good = Request::parse(&slot(1, 0, &[(1, 0, 7)]));
        assert_eq!(server.serve(&good), Status::Okay);
        assert_eq!(server.serve(&Request::parse(&slot(3, 0, &[]))), Status::Okay, "flush");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Writes and reads of any runs of sectors behave as on an array.
        #[test]
        fn a_disk_behaves_like_an_array(
            steps in proptest::collection::vec((any::<bool>(), 0..140u64, 1..20u32, 0..8u8, 0..8u8, any::<u8>()), 1..40),
        ) {
            let (file, mut server, memory) = server(128);
            let mut model: Vec<u8> = (0..128).collect();
            for (write, sector, page, a, b, value) in steps {
                let (first, last) = (a.min(b), a.max(b));
                let count = u64::from(last - first + 1);
                let at = page as usize * 4096 + usize::from(first) * 512;
                memory.fill(at, count as usize * 512, value);
                let status = server.serve(&Request::parse(&slot(u8::from(write), sector, &[(page, first, last)])));
                if sector + count > 128 {
                    prop_assert_eq!(status, Status::Error);
                    continue;
                }
                prop_assert_eq!(status, Status::Okay);
                let range = sector as usize..(sector + count) as usize;
                if write {
                    model[range].fill(value);
                } else {
                    for (index, expected) in model[range].iter().enumerate() {
                        prop_assert_eq!(memory.atomic_u8(at + index * 512 + 511).load(Ordering::Relaxed), *expected);
                    }
                }
            }
            let contents = std::fs::read(file.path()).unwrap();
            let firsts: Vec<u8> = contents.iter().step_by(SECTOR as usize).copied().collect();
            prop_assert_eq!(firsts, model);
        }
    }
}
