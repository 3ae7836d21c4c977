//! The frontend against a backend that does what no backend may.

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use pv_blk::front::{Condition, Error, Fault, Frontend, Options};
use pv_blk::negotiation::{Connection, Nodes as NodeList, Properties, Transport};
use pv_hal::fake::{Domain, Machine};
use pv_hal::{Access, Channel, GrantRef, Hal, Memory};
use pv_ring::Back;
use pv_xenbus::backend::{self as xenbus, Step};
use pv_xenbus::fake::{LocalClient, LocalStore};
use pv_xenbus::{Nodes, State};
use xen_abi::{blkif_request, blkif_response};

type Ring = Back<<Domain as Hal>::Mapping, blkif_request, blkif_response>;

/// What a backend does with its ring and a request.
type Act = Box<dyn FnMut(&mut Ring, &blkif_request)>;

struct Scene {
    front: Domain,
    back: Domain,
    store: LocalStore,
    machine: Machine,
    /// What is published of the disk, in the place of what is right.
    nodes: Rc<RefCell<Vec<(&'static str, String)>>>,
    act: Rc<RefCell<Option<Act>>>,
    /// Pages of requests that stay mapped.
    held: Rc<RefCell<Vec<<Domain as Hal>::Mapping>>>,
}

fn described() -> NodeList {
    let properties = Properties {
        sectors: 128,
        sector_size: 512,
        physical_sector_size: 512,
        read_only: false,
        cdrom: false,
        removable: false,
        flush: true,
        barrier: false,
        persistent: false,
        discard: None,
    };
    properties.nodes()
}

fn scene() -> Scene {
    let machine = Machine::new();
    let (front, back) = (machine.add_domain(1), machine.add_domain(2));
    let store = LocalStore::new();
    store.add_device("vbd", 51712, &front, &back, &[]);
    let scene = Scene {
        front,
        back: back.clone(),
        store: store.clone(),
        machine,
        nodes: Rc::default(),
        act: Rc::default(),
        held: Rc::default(),
    };
    let mut bus = xenbus::Backend::new(store.client(&back), support::BACK_PATH).unwrap();
    let (nodes, act) = (scene.nodes.clone(), scene.act.clone());
    let mut ring: Option<(Ring, Channel<Domain>)> = None;
    let hal = back.clone();
    back.spawn(move || {
        match bus.poll().unwrap() {
            Step::Offer => bus.offer(&[]).unwrap(),
            Step::Connect => {
                let path = bus.frontend_path().to_owned();
                let mut look_up = |name: &str| bus.store().read_optional(&format!("{path}/{name}")).unwrap();
                let connection = Connection::read(&mut look_up, &Transport::MAX).unwrap();
                let queue = &connection.queues[0];
                let mapping = hal.map(bus.frontend_domain(), &queue.ring, Access::ReadWrite).unwrap();
                let channel = Channel::bind(&hal, bus.frontend_domain(), queue.port).unwrap();
                ring = Some((Back::with_slot_size(mapping, 112), channel));
                let mut described = described();
                let lies = nodes.borrow();
                described.retain(|(name, _)| lies.iter().all(|(lie, _)| lie != name));
                let all = described.iter().map(|(name, value)| (name.as_str(), value.clone()));
                let all: Vec<(&str, String)> = all.chain(lies.iter().cloned()).collect();
                bus.connect(&all).unwrap();
            }
            Step::Release => {
                ring = None;
                bus.release();
            }
            Step::Wait | Step::Closed => {}
        }
        if let (Some((ring, channel)), Some(act)) = (&mut ring, act.borrow_mut().as_mut()) {
            channel.take_event();
            while let Ok(Some(request)) = ring.pop() {
                act(ring, &request);
                channel.notify();
            }
            let _ = ring.arm();
        }
    });
    scene
}

impl Scene {
    fn frontend(&self, persistent: bool) -> Frontend<Domain, LocalClient> {
        let options = Options {
            transport: Transport::default(),
            persistent,
        };
        let store = self.store.client(&self.front);
        Frontend::new(&self.front, store, support::FRONT_PATH, options).unwrap()
    }

    fn act(&self, act: impl FnMut(&mut Ring, &blkif_request) + 'static) {
        *self.act.borrow_mut() = Some(Box::new(act));
    }
}

fn response(request: &blkif_request, status: i16) -> blkif_response {
    blkif_response {
        id: request.id,
        operation: request.operation,
        status,
        ..Default::default()
    }
}

fn answer(ring: &mut Ring, request: &blkif_request) {
    ring.push(&response(request, 0));
    let _ = ring.publish();
}

/// Reads under a backend that does `act`; the fault that comes of it.
fn fault(act: impl FnMut(&mut Ring, &blkif_request) + 'static) -> Fault {
    let scene = scene();
    scene.act(act);
    let mut disk = scene.frontend(false);
    disk.connect(None).unwrap();
    let result = disk.read_sectors(0, &mut [0; 65536]);
    let Err(Error::Broken(fault)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(disk.device().fault(), Some(fault));
    assert_eq!(disk.device().in_flight(), 0, "requests hang");
    // The device is closed, with a word where toolstacks look, and can be opened again.
    scene.act(answer);
    assert_eq!(disk.poll_bus().unwrap_err(), Error::Broken(fault));
    assert!(
        scene
            .store
            .get("/local/domain/1/error/device/vbd/51712/error")
            .unwrap()
            .contains("protocol")
    );
    disk.close(None).unwrap();
    assert_eq!(disk.bus().state(), State::Closed);
    disk.connect(None).unwrap();
    disk.read_sectors(0, &mut [0; 65536]).unwrap();
    disk.close(None).unwrap();
    drop(disk);
    scene.machine.settle(100);
    assert_eq!(scene.machine.grants_in_use(scene.front.id()), 0);
    assert_eq!(scene.machine.pages_in_use(scene.front.id()), 0);
    fault
}

#[test]
fn an_index_that_makes_no_sense_is_a_fault() {
    use core::sync::atomic::Ordering;
    for ahead in [1000, 0x8000_0000, u32::MAX] {
        let found = fault(move |ring, _| ring.memory().store_u32(8, ahead, Ordering::SeqCst));
        assert!(matches!(found, Fault::Ring(_)), "{found:?}");
    }
}

#[test]
fn an_answer_to_nothing_is_a_fault() {
    let found = fault(|ring, request| {
        answer(
            ring,
            &blkif_request {
                id: !request.id,
                ..*request
            },
        )
    });
    assert!(matches!(found, Fault::UnknownRequest(_)));
}

#[test]
fn an_answer_twice_is_a_fault() {
    let mut first = None;
    let found = fault(move |ring, request| {
        let first = first.get_or_insert(*request);
        answer(ring, first);
    });
    assert!(matches!(found, Fault::UnknownRequest(_)));
}

#[test]
fn another_operation_is_a_fault() {
    let found = fault(|ring, request| {
        answer(
            ring,
            &blkif_request {
                operation: 1,
                ..*request
            },
        )
    });
    assert_eq!(found, Fault::WrongOperation(1));
}

#[test]
fn pages_that_stay_mapped_without_leave_are_a_fault_and_not_used_again() {
    let scene = scene();
    let (held, back, front) = (scene.held.clone(), scene.back.clone(), scene.front.id());
    scene.act(move |ring, request| {
        let grant = GrantRef(request.seg[0].gref);
        held.borrow_mut()
            .push(back.map(front, &[grant], Access::ReadOnly).unwrap());
        answer(ring, request);
    });
    let mut disk = scene.frontend(false);
    disk.connect(None).unwrap();
    assert_eq!(disk.write_sectors(0, &[1; 512]), Err(Error::Broken(Fault::PagesHeld)));
    // The page is the backend's for as long as it likes.
    drop(disk);
    scene.machine.settle(10);
    let mut byte = [0];
    scene.held.borrow()[0].read(0, &mut byte);
    assert_eq!(byte, [1]);
    assert!(scene.machine.pages_in_use(front) >= 1);
}

#[test]
fn unknown_status_codes_are_failures() {
    let scene = scene();
    scene.act(|ring, request| {
        ring.push(&response(request, 77));
        let _ = ring.publish();
    });
    let mut disk = scene.frontend(true);
    disk.connect(None).unwrap();
    assert_eq!(disk.read_sectors(0, &mut [0; 512]), Err(Error::Failed));
}

#[test]
fn disks_of_senseless_size_are_not_taken_up() {
    for (name, value) in [
        ("sectors", "18446744073709551615"),
        ("sectors", "many"),
        ("sector-size", "0"),
        ("sector-size", "3000"),
        ("sector-size", "1048576"),
    ] {
        let scene = scene();
        scene.act(answer);
        scene.nodes.borrow_mut().push((name, value.to_owned()));
        let mut disk = scene.frontend(true);
        let Err(Error::Node(bad)) = disk.connect(None) else {
            panic!("{name}={value} is taken up");
        };
        assert_eq!(bad.name, name);
        assert_eq!(disk.read_sectors(0, &mut [0; 512]), Err(Error::Disconnected));
    }
}

#[test]
fn numbers_without_sense_in_features_are_as_if_not_there() {
    let scene = scene();
    scene.act(answer);
    let lies = [
        ("feature-discard", "-1"),
        ("info", "x"),
        ("feature-flush-cache", "99999999999"),
    ];
    scene
        .nodes
        .borrow_mut()
        .extend(lies.map(|(name, value)| (name, value.to_owned())));
    let mut disk = scene.frontend(true);
    let properties = disk.connect(None).unwrap();
    assert!(!properties.flush && !properties.read_only && properties.discard.is_none());
}

#[test]
fn a_backend_that_vanishes_ends_every_request() {
    let scene = scene();
    let mut disk = scene.frontend(true);
    disk.connect(None).unwrap();
    for sector in 0..8 {
        let buffer = disk.device().buffer(1).unwrap();
        disk.device().read(sector, 1, buffer).unwrap();
    }
    disk.device().publish();
    scene.machine.destroy(scene.back.id());
    scene.store.remove(&format!("/local/domain/2/{}", support::BACK_PATH));
    for _ in 0..8 {
        let completion = disk.wait(None).unwrap().unwrap();
        assert_eq!(completion.result, Err(Error::Disconnected));
    }
    assert_eq!(disk.poll_bus(), Ok(Condition::Closed));
    drop(disk);
    scene.machine.settle(10);
    assert_eq!(scene.machine.pages_in_use(scene.front.id()), 0);
}
