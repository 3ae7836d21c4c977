//! A virtio disk, shared by those who have opened it.
use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use bitflags::bitflags;
use iodom_core::share::{may_take, next_part};
use pv_blk::back::{Disk, DiskError, Geometry, Job, Work};
use pv_blk::negotiation::Discard;
use virtio_drivers::transport::Transport;
use xen_abi::evtchn_port_t;

use super::dma::{Account, DmaBuffer, SHARED};
use super::queue::{Chain, Queue};
use super::transport::MsixTransport;

bitflags! {
    /// Features of virtio disks (virtio 1.2, 5.2.3) and of all devices (6).
    #[derive(Clone, Copy, Debug)]
    struct Features: u64 {
        const READ_ONLY = 1 << 5;
        const BLOCK_SIZE = 1 << 6;
        const FLUSH = 1 << 9;
        const DISCARD = 1 << 13;
        const INDIRECT = 1 << 28;
        const VERSION_1 = 1 << 32;
    }
}

/// Offsets in the configuration (virtio 1.2, 5.2.4).
const CAPACITY: usize = 0;
const BLOCK_SIZE: usize = 20;
const DISCARD_MOST: usize = 36;
const DISCARD_ALIGNMENT: usize = 44;

/// Kinds of requests (5.2.6).
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const DISCARD: u32 = 11;
const STATUS_OK: u8 = 0;
const STATUS_UNSUPPORTED: u8 = 2;

const QUEUE_SIZE: usize = 128;
/// Most bytes of a discard's description.
const NO_STATUS: u8 = 0xff;

/// Who asked for what.
#[derive(Debug)]
struct Tag {
    user: u32,
    id: u64,
    what: What,
    /// Sectors that earlier parts of a long discard have done, and those of this part.
    part: (u64, u64),
}

#[derive(Clone, Copy, Debug)]
enum What {
    Read(u64),
    Write(u64),
    Flush,
    Discard(u64, u64, bool),
}

type Ended = (Job<DmaBuffer>, Result<(), DiskError>);

struct Device {
    transport: MsixTransport,
    queue: Queue<Tag, QUEUE_SIZE>,
    geometry: Geometry,
    /// Sectors that one request may discard.
    discard_most: u32,
    /// What has ended, by who asked; none of users that are gone.
    ended: BTreeMap<u32, VecDeque<Ended>>,
    next_user: u32,
}

/// A disk of this machine: a handle.
#[derive(Clone)]
pub(crate) struct VirtioDisk(Rc<RefCell<Device>>);

impl VirtioDisk {
    /// Sets the device up.
    ///
    /// # Errors
    /// As the virtio crate says.
    pub(crate) fn new(mut transport: MsixTransport) -> virtio_drivers::Result<Self> {
        let features = transport.begin_init(Features::all());
        let word = |offset: usize| transport.read_config_space::<u32>(offset);
        let capacity =
            transport.read_consistent(|| Ok(u64::from(word(CAPACITY)?) | u64::from(word(CAPACITY + 4)?) << 32))?;
        let sector_size = match features.contains(Features::BLOCK_SIZE) {
            true => word(BLOCK_SIZE)?,
            false => 512,
        };
        let discard_most = match features.contains(Features::DISCARD) {
            true => word(DISCARD_MOST)?,
            false => 0,
        };
        let discard = match discard_most {
            1.. => Some(Discard {
                granularity: word(DISCARD_ALIGNMENT)?.max(1) * 512,
                alignment: 0,
                secure: false,
            }),
            _ => None,
        };
        let queue = Queue::new(&mut transport, 0, features.contains(Features::INDIRECT))?;
        transport.finish_init();
        let geometry = Geometry {
            sectors: capacity,
            sector_size,
            physical_sector_size: sector_size,
            read_only: features.contains(Features::READ_ONLY),
            flush: features.contains(Features::FLUSH),
            discard,
        };
        Ok(Self(Rc::new(RefCell::new(Device {
            transport,
            queue,
            geometry,
            discard_most,
            ended: BTreeMap::new(),
            next_user: 0,
        }))))
    }

    /// The event channel of its interrupt.
    pub(crate) fn port(&self) -> evtchn_port_t {
        self.0.borrow().transport.port()
    }

    /// What it is.
    pub(crate) fn geometry(&self) -> Geometry {
        self.0.borrow().geometry
    }

    /// The disk as one guest sees it.
    pub(crate) fn open(&self, read_only: bool) -> OpenDisk {
        let mut device = self.0.borrow_mut();
        let user = device.next_user;
        device.next_user += 1;
        device.ended.insert(user, VecDeque::new());
        OPEN.fetch_add(1, Ordering::Relaxed);
        OpenDisk {
            disk: self.clone(),
            user,
            read_only,
            account: Account::default(),
        }
    }
}

impl Device {
    /// Sorts what the device is done with by who asked.
    fn collect(&mut self) {
        while let Some((chain, _)) = self.queue.complete() {
            let result = match chain.answer.first() {
                Some(&STATUS_OK) => Ok(()),
                Some(&STATUS_UNSUPPORTED) => Err(DiskError::Unsupported),
                _ => Err(DiskError::Failed),
            };
            let Tag { user, id, what, part } = chain.tag;
            let job = Job {
                id,
                work: work_of(what, chain.data),
            };
            let (job, result) = match result {
                Ok(()) => match self.go_on(user, job, part) {
                    Ok(()) => continue,
                    Err(job) => (job, Ok(())),
                },
                failed => (job, failed),
            };
            if let Some(list) = self.ended.get_mut(&user) {
                list.push_back((job, result));
            }
        }
    }
}

impl Device {
    /// Begins the next part of a long discard, where there is one; else the job comes back, which is done.
    fn go_on(&mut self, user: u32, job: Job<DmaBuffer>, part: (u64, u64)) -> Result<(), Job<DmaBuffer>> {
        let done = part.0 + part.1;
        match &job.work {
            Work::Discard { sectors, .. } if done < *sectors => {}
            _ => return Err(job),
        }
        let chain = chain_of(user, job, done, self.discard_most);
        // There is room: the part before has just left it. Contents that are given up may as well stay.
        self.queue.submit(&mut self.transport, chain).map_err(|chain| Job {
            id: chain.tag.id,
            work: work_of(chain.tag.what, chain.data),
        })
    }
}

/// The work that a chain was made of.
fn work_of(what: What, data: Option<(DmaBuffer, usize)>) -> Work<DmaBuffer> {
    match (what, data) {
        (What::Read(sector), Some((buffer, _))) => Work::Read { sector, buffer },
        (What::Write(sector), Some((buffer, _))) => Work::Write { sector, buffer },
        (What::Discard(sector, sectors, secure), _) => Work::Discard {
            sector,
            sectors,
            secure,
        },
        _ => Work::Flush,
    }
}

fn header(kind: u32, sector: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(32);
    header.extend(kind.to_le_bytes());
    header.extend(0u32.to_le_bytes());
    header.extend(sector.to_le_bytes());
    header
}

/// A job as a request, of which `done` sectors are done by earlier ones where it is a discard of more than `most`.
fn chain_of(user: u32, job: Job<DmaBuffer>, done: u64, most: u32) -> Chain<Tag> {
    let mut part = 0;
    let (what, header, data) = match job.work {
        Work::Read { sector, buffer } => (What::Read(sector), header(IN, sector), Some(buffer)),
        Work::Write { sector, buffer } => (What::Write(sector), header(OUT, sector), Some(buffer)),
        Work::Flush => (What::Flush, header(FLUSH, 0), None),
        Work::Discard {
            sector,
            sectors,
            secure,
        } => {
            // Behind the header stands what to discard: sector, number of sectors, flags.
            let mut header = header(DISCARD, 0);
            part = next_part(sectors, done, most);
            header.extend((sector + done).to_le_bytes());
            header.extend((part as u32).to_le_bytes());
            header.extend(0u32.to_le_bytes());
            (What::Discard(sector, sectors, secure), header, None)
        }
    };
    Chain {
        header,
        data: data.map(|buffer| {
            let length = buffer.as_ref().len();
            (buffer, length)
        }),
        is_inbound: matches!(what, What::Read(_)),
        answer: alloc::vec![NO_STATUS],
        tag: Tag {
            user,
            id: job.id,
            what,
            part: (done, part),
        },
    }
}

/// A disk that one guest has opened.
pub(crate) struct OpenDisk {
    disk: VirtioDisk,
    user: u32,
    read_only: bool,
    account: Account,
}

/// How many disks are open, of all guests.
static OPEN: AtomicUsize = AtomicUsize::new(0);

impl Disk for OpenDisk {
    type Buffer = DmaBuffer;

    fn geometry(&self) -> Geometry {
        let geometry = self.disk.geometry();
        Geometry {
            read_only: geometry.read_only || self.read_only,
            ..geometry
        }
    }

    fn allocate(&mut self, bytes: usize) -> Option<DmaBuffer> {
        let users = OPEN.load(Ordering::Relaxed);
        if !may_take(SHARED, users, self.account.get(), bytes) {
            return None;
        }
        DmaBuffer::of(&self.account, bytes)
    }

    fn start(&mut self, job: Job<DmaBuffer>) -> Result<(), Job<DmaBuffer>> {
        let device = &mut *self.disk.0.borrow_mut();
        let chain = chain_of(self.user, job, 0, device.discard_most);
        device.queue.submit(&mut device.transport, chain).map_err(|chain| Job {
            id: chain.tag.id,
            work: work_of(chain.tag.what, chain.data),
        })
    }

    fn poll(&mut self) -> Option<Ended> {
        let mut device = self.disk.0.borrow_mut();
        device.collect();
        device.ended.get_mut(&self.user)?.pop_front()
    }
}

impl Drop for OpenDisk {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
        // What is under way still ends; its memory is free then.
        self.disk.0.borrow_mut().ended.remove(&self.user);
    }
}
