//! A machine with a disk between two domains, for the tests.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use pv_blk::back::{Backend, Condition, Disk, DiskError, Ended, Geometry, Job, MemoryDisk, Options as Offer};
use pv_blk::front::{Frontend, Options};
use pv_hal::fake::{Domain, Machine};
use pv_xenbus::fake::{LocalClient, LocalStore};

pub const BACK_PATH: &str = "backend/vbd/1/51712";
pub const FRONT_PATH: &str = "device/vbd/51712";

/// How a test's disk behaves, changed while it runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mood {
    /// Jobs stay in the disk until this is false.
    pub holds: bool,
    /// The last job that was begun ends first.
    pub reverses: bool,
    /// Most jobs at a time; 0 for any number.
    pub room: usize,
    /// Every job fails.
    pub fails: bool,
}

/// A memory disk with moods.
pub struct MoodyDisk {
    inner: MemoryDisk,
    mood: Rc<RefCell<Mood>>,
    held: VecDeque<Job<Vec<u8>>>,
    /// What was carried out, in order.
    pub log: Rc<RefCell<Vec<&'static str>>>,
}

impl Disk for MoodyDisk {
    type Buffer = Vec<u8>;

    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn allocate(&mut self, bytes: usize) -> Option<Vec<u8>> {
        self.has_room().then(|| vec![0xee; bytes])
    }

    fn start(&mut self, job: Job<Vec<u8>>) -> Result<(), Job<Vec<u8>>> {
        if !self.has_room() {
            return Err(job);
        }
        self.held.push_back(job);
        Ok(())
    }

    fn poll(&mut self) -> Option<Ended<Vec<u8>>> {
        let mood = *self.mood.borrow();
        if mood.holds {
            return None;
        }
        let job = if mood.reverses {
            self.held.pop_back()
        } else {
            self.held.pop_front()
        }?;
        if mood.fails {
            return Some((job, Err(DiskError::Failed)));
        }
        self.log.borrow_mut().push(match job.work {
            pv_blk::back::Work::Read { .. } => "read",
            pv_blk::back::Work::Write { .. } => "write",
            pv_blk::back::Work::Flush => "flush",
            pv_blk::back::Work::Discard { .. } => "discard",
        });
        assert!(self.inner.start(job).is_ok());
        self.inner.poll()
    }
}

impl MoodyDisk {
    fn has_room(&self) -> bool {
        let room = self.mood.borrow().room;
        room == 0 || self.held.len() < room
    }
}

pub type Served = Backend<Domain, LocalClient, MoodyDisk>;

pub struct Bed {
    pub machine: Machine,
    pub front: Domain,
    pub back: Domain,
    pub store: LocalStore,
    pub mood: Rc<RefCell<Mood>>,
    pub log: Rc<RefCell<Vec<&'static str>>>,
    /// None when it has closed, or was killed.
    pub backend: Rc<RefCell<Option<Served>>>,
    offer: Offer,
}

/// Contents in which every sector tells its number.
pub fn pattern(sectors: usize) -> Vec<u8> {
    let byte = |at: usize| (at / 512 * 7 + at % 512 * 3 + at / 131_072) as u8;
    (0..sectors * 512).map(byte).collect()
}

impl Bed {
    /// A disk of some sectors, served.
    pub fn new(sectors: usize, offer: Offer) -> Bed {
        Bed::with(MemoryDisk::new(pattern(sectors)), offer)
    }

    pub fn with(disk: MemoryDisk, offer: Offer) -> Bed {
        let machine = Machine::new();
        let (front, back) = (machine.add_domain(1), machine.add_domain(2));
        let store = LocalStore::new();
        store.add_device("vbd", 51712, &front, &back, &[("mode", "w")]);
        let bed = Bed {
            machine,
            front,
            back,
            store,
            mood: Rc::default(),
            log: Rc::default(),
            backend: Rc::default(),
            offer,
        };
        bed.serve(disk);
        bed
    }

    /// (Again) serves this disk.
    pub fn serve(&self, disk: MemoryDisk) {
        let disk = MoodyDisk {
            inner: disk,
            mood: self.mood.clone(),
            held: VecDeque::new(),
            log: self.log.clone(),
        };
        let store = self.store.client(&self.back);
        let backend = Backend::new(&self.back, store, BACK_PATH, disk, self.offer).unwrap();
        let is_first = self.backend.borrow_mut().replace(backend).is_none();
        if is_first {
            let served = self.backend.clone();
            self.back.spawn(move || {
                let mut place = served.borrow_mut();
                let Some(backend) = place.as_mut() else { return };
                loop {
                    match backend.poll() {
                        Ok(Condition::Busy) => {}
                        Ok(Condition::Idle) => return,
                        Ok(Condition::Closed) | Err(_) => {
                            *place = None;
                            return;
                        }
                    }
                }
            });
        }
    }

    pub fn frontend(&self, options: Options) -> Frontend<Domain, LocalClient> {
        Frontend::new(&self.front, self.store.client(&self.front), FRONT_PATH, options).unwrap()
    }

    /// A frontend, connected.
    pub fn connected(&self, options: Options) -> Frontend<Domain, LocalClient> {
        let mut disk = self.frontend(options);
        disk.connect(None).unwrap();
        disk
    }

    pub fn contents(&self) -> Vec<u8> {
        self.backend
            .borrow_mut()
            .as_mut()
            .unwrap()
            .disk()
            .inner
            .bytes()
            .to_vec()
    }

    pub fn back_node(&self, name: &str) -> Option<String> {
        self.store.get(&format!("/local/domain/2/{BACK_PATH}/{name}"))
    }

    pub fn set_back_node(&self, name: &str, value: &str) {
        self.store.set(&format!("/local/domain/2/{BACK_PATH}/{name}"), value);
    }

    pub fn front_node(&self, name: &str) -> Option<String> {
        self.store.get(&format!("/local/domain/1/{FRONT_PATH}/{name}"))
    }

    /// Whatever the frontend held is free again; nothing of it is mapped any more.
    pub fn expect_nothing_left(&self) {
        self.machine.settle(100);
        let (front, back) = (self.front.id(), self.back.id());
        assert_eq!(self.machine.grants_mapped(back), 0, "mapped");
        assert_eq!(self.machine.grants_in_use(front), 0, "grants");
        assert_eq!(self.machine.ports_in_use(front), 0, "the frontend's ports");
        assert_eq!(self.machine.ports_in_use(back), 0, "the backend's ports");
        assert_eq!(self.machine.pages_in_use(front), 0, "pages");
    }
}
