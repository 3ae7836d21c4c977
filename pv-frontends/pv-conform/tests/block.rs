//! The block cases against `pv-blk`'s backend on the fake machine, and what they say of a backend that is broken.

mod support;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use pv_blk::back::{Backend, Condition, Disk, Ended, Geometry, Job, MemoryDisk, Options};
use pv_conform::{Bench, block};
use pv_hal::Hal;
use pv_hal::fake::{Domain, Machine};
use pv_xenbus::Nodes;
use pv_xenbus::fake::{LocalClient, LocalStore};
use support::{answer_requests, try_cases};

const PATH: &str = "backend/vbd/1/51712";

/// A disk that answers each job a little later, so that requests are in flight when something happens; with `loses`, it
/// forgets to write.
struct LateDisk {
    inner: MemoryDisk,
    late: VecDeque<(u32, Job<Vec<u8>>)>,
    loses: bool,
}

impl Disk for LateDisk {
    type Buffer = Vec<u8>;

    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn allocate(&mut self, bytes: usize) -> Option<Vec<u8>> {
        self.inner.allocate(bytes)
    }

    fn start(&mut self, job: Job<Vec<u8>>) -> Result<(), Job<Vec<u8>>> {
        self.late.push_back((3, job));
        Ok(())
    }

    fn poll(&mut self) -> Option<Ended<Vec<u8>>> {
        let (left, _) = self.late.front_mut()?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let (_, job) = self.late.pop_front()?;
        if self.loses && matches!(job.work, pv_blk::back::Work::Write { .. }) {
            return Some((job, Ok(())));
        }
        self.inner.start(job).ok()?;
        self.inner.poll()
    }
}

struct Scene {
    bench: Bench<Domain, LocalClient>,
    _machine: Machine,
}

fn disk(loses: bool) -> LateDisk {
    LateDisk {
        inner: MemoryDisk::new(vec![0; 4 << 20]),
        late: VecDeque::new(),
        loses,
    }
}

/// A guest with a disk, a backend, and a toolstack that does what cases ask for.
fn scene(loses: bool) -> Scene {
    let machine = Machine::new();
    let (front, back) = (machine.add_domain(1), machine.add_domain(2));
    let toolstack = machine.add_domain(3);
    let store = LocalStore::new();
    let plug = {
        let (store, front, back) = (store.clone(), front.clone(), back.clone());
        move || store.add_device("vbd", 51712, &front, &back, &[("mode", "w")])
    };
    plug();
    let served: Rc<RefCell<Option<Backend<Domain, LocalClient, LateDisk>>>> = Rc::default();
    let start = {
        let (served, store, back) = (served.clone(), store.clone(), back.clone());
        move || {
            let client = store.client(&back);
            *served.borrow_mut() = Some(Backend::new(&back, client, PATH, disk(loses), Options::default()).unwrap());
        }
    };
    start();
    let polled = served.clone();
    back.spawn(move || {
        let mut place = polled.borrow_mut();
        let Some(backend) = place.as_mut() else { return };
        // The disk has no event here: it is looked at each time.
        while backend.poll() == Ok(Condition::Busy) {}
    });
    let (asked, tools) = (store.clone(), back.clone());
    answer_requests(&toolstack, &store, move |action| {
        match action {
            "block-detach 51712" => asked.unplug(PATH, &tools),
            "block-attach 51712" => {
                asked.remove("/local/domain/1/device/vbd/51712");
                asked.remove(&format!("/local/domain/2/{PATH}"));
                served.borrow_mut().take();
                plug();
                start();
            }
            "backend-kill vbd" => {
                served.borrow_mut().take();
                start();
            }
            _ => return false,
        }
        true
    });
    let client = store.client(&front);
    client.make_directory("data").unwrap();
    Scene {
        bench: Bench::new(front, client),
        _machine: machine,
    }
}

#[test]
fn our_backend_behaves_in_every_case() {
    let mut scene = scene(false);
    let hal = scene.bench.hal.clone();
    let (tally, lines) = try_cases(&block::cases(), &mut scene.bench, "block/", None);
    assert_eq!(tally.failed, 0, "{lines:#?}");
    assert_eq!(tally.skipped, 0, "{lines:#?}");
    assert!(tally.passed > 25);
    // And the machine is left as it was.
    hal.wait(&[], Some(hal.now() + core::time::Duration::from_secs(1)));
    let machine = hal.machine();
    assert_eq!(machine.grants_in_use(hal.id()), 0);
    assert_eq!(machine.ports_in_use(hal.id()), 0);
    assert_eq!(machine.pages_in_use(hal.id()), 0);
}

#[test]
fn every_case_can_fail() {
    for case in block::cases::<Domain, LocalClient>() {
        let (tally, lines) = try_cases(&block::cases(), &mut scene(false).bench, case.name, Some(case.name));
        assert_eq!(tally.failed, 1, "{lines:#?}");
    }
}

#[test]
fn a_disk_that_loses_writes_is_found_out() {
    let (tally, lines) = try_cases(&block::cases(), &mut scene(true).bench, "block/write-then-read", None);
    assert_eq!(tally.failed, 1, "{lines:#?}");
    let (tally, lines) = try_cases(&block::cases(), &mut scene(true).bench, "block/no-features", None);
    assert_eq!(tally.failed, 1, "{lines:#?}");
}
