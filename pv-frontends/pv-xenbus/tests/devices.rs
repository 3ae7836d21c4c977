//! Devices over a store: what the two ends write and read, and what a toolstack and a hostile peer do meanwhile.
use pv_hal::fake::{Domain, Machine};
use pv_hal::{DomId, Hal};
use pv_xenbus::backend::{self, Backend};
use pv_xenbus::fake::{LocalClient, LocalStore};
use pv_xenbus::frontend::{self, Frontend};
use pv_xenbus::{Error, Kind, State, StoreError};

const FRONT: &str = "/local/domain/1/device/vbd/51712";
const BACK: &str = "/local/domain/2/backend/vbd/1/51712";

struct Scene {
    store: LocalStore,
    front_domain: Domain,
    back_domain: Domain,
    front: Frontend<LocalClient>,
    back: Backend<LocalClient>,
}

fn scene() -> Scene {
    let machine = Machine::new();
    let (front_domain, back_domain) = (machine.add_domain(1), machine.add_domain(2));
    let store = LocalStore::new();
    store.add_device("vbd", 51712, &front_domain, &back_domain, &[]);
    Scene {
        front: Frontend::new(store.client(&front_domain), "device/vbd/51712").unwrap(),
        back: Backend::new(store.client(&back_domain), "backend/vbd/1/51712").unwrap(),
        store,
        front_domain,
        back_domain,
    }
}

impl Scene {
    /// Both do what they are told until nobody moves.
    fn settle(&mut self) {
        for _ in 0..30 {
            // A poll announces states by itself, too.
            let before = self.states();
            let moved = [self.step_front(), self.step_back()].contains(&true);
            if !moved && self.states() == before {
                return;
            }
        }
        panic!("it never settles");
    }

    fn step_front(&mut self) -> bool {
        match self.front.poll().unwrap() {
            frontend::Step::Wait | frontend::Step::Closed => return false,
            frontend::Step::Publish => self
                .front
                .publish(&[("ring-ref", "8".into())], State::Initialised)
                .unwrap(),
            frontend::Step::Start => self.front.start().unwrap(),
            frontend::Step::Release => self.front.release(),
        }
        true
    }

    fn step_back(&mut self) -> bool {
        match self.back.poll().unwrap() {
            backend::Step::Wait | backend::Step::Closed => return false,
            backend::Step::Offer => self.back.offer(&[("feature-a", "1".into())]).unwrap(),
            backend::Step::Connect => self.back.connect(&[("sectors", "8".into())]).unwrap(),
            backend::Step::Release => self.back.release(),
        }
        true
    }

    fn states(&self) -> [Option<String>; 2] {
        [FRONT, BACK].map(|path| self.store.get(&format!("{path}/state")))
    }
}

fn states(front: u8, back: u8) -> [Option<String>; 2] {
    [Some(front.to_string()), Some(back.to_string())]
}

#[test]
fn keys_and_states_appear_together_and_once() {
    let mut scene = scene();
    scene.settle();
    assert_eq!(scene.states(), states(4, 4));
    assert_eq!(scene.store.get(&format!("{FRONT}/ring-ref")).as_deref(), Some("8"));
    // Another change in between makes a transaction begin again.
    scene.store.make_conflicts(3);
    scene.front.close();
    scene.settle();
    assert_eq!(scene.states(), states(6, 6));
    scene.front.open();
    scene.settle();
    assert_eq!(scene.states(), states(4, 4));
}

#[test]
fn news_cost_no_request() {
    let mut scene = scene();
    assert!(scene.front.has_news() && scene.back.has_news());
    scene.settle();
    assert!(!scene.front.has_news() && !scene.back.has_news());
    scene
        .store
        .set(&format!("{FRONT}/whatever"), "a frontend writes as often as it likes");
    assert!(!scene.back.has_news());
    scene.store.set(&format!("{BACK}/sectors"), "16");
    assert!(scene.front.has_news(), "a disk that grows is told of");
    assert!(!scene.front.has_news());
    let port = scene.front.port().unwrap();
    let hal = scene.front_domain.clone();
    scene.store.unplug(BACK, &scene.back_domain);
    assert!(hal.wait(&[port], None));
}

#[test]
fn a_device_that_is_unplugged_goes_and_comes_back_whole() {
    let mut scene = scene();
    for _ in 0..3 {
        scene.settle();
        assert_eq!(scene.states(), states(4, 4));
        scene.store.unplug(BACK, &scene.back_domain);
        scene.settle();
        assert_eq!(scene.states(), states(6, 6));
        assert_eq!(scene.front.poll(), Ok(frontend::Step::Closed));
        assert_eq!(scene.back.poll(), Ok(backend::Step::Closed));
        scene.store.remove(FRONT);
        scene.store.remove(BACK);
        scene.settle();
        assert_eq!(scene.states(), [None, None], "nobody brings back what was removed");
        scene
            .store
            .add_device("vbd", 51712, &scene.front_domain, &scene.back_domain, &[]);
    }
}

#[test]
fn a_device_that_vanishes_in_mid_step_is_not_brought_back() {
    let mut scene = scene();
    assert_eq!(scene.back.poll(), Ok(backend::Step::Offer));
    scene.store.remove(BACK);
    assert!(scene.back.offer(&[]).is_err_and(|error| error.is_missing()));
    assert_eq!(scene.back.poll(), Ok(backend::Step::Closed));
    scene.store.remove(FRONT);
    let refused = scene.front.publish(&[("ring-ref", "8".into())], State::Initialised);
    assert!(refused.is_err_and(|error| error.is_missing()));
    scene.front.close();
    assert_eq!(scene.front.poll(), Ok(frontend::Step::Closed));
    assert_eq!((scene.store.get(FRONT), scene.store.get(BACK)), (None, None));
}

#[test]
fn a_peer_that_may_not_be_seen_any_more_is_gone() {
    let mut scene = scene();
    scene.settle();
    scene.store.remove(BACK);
    for _ in 0..2 {
        scene.store.refuse(&scene.front_domain, Kind::READ, StoreError::EACCES);
    }
    assert_eq!(scene.front.poll(), Ok(frontend::Step::Release));
    scene.front.release();
    assert_eq!(scene.front.poll(), Ok(frontend::Step::Closed));
    scene.store.refuse(&scene.front_domain, Kind::READ, StoreError::EACCES);
    assert_eq!(scene.front.has_feature("feature-a"), Ok(false));
}

#[test]
fn a_frontend_that_wakes_up_elsewhere_finds_its_new_backend() {
    let mut scene = scene();
    scene.settle();
    let third = scene.front_domain.machine().add_domain(3);
    scene.store.remove(BACK);
    scene.store.add_device("vbd", 51712, &scene.front_domain, &third, &[]);
    scene.front.resume().unwrap();
    assert_eq!(scene.front.backend_domain(), DomId(3));
    scene.back = Backend::new(scene.store.client(&third), "backend/vbd/1/51712").unwrap();
    scene.settle();
    let back = scene.store.get("/local/domain/3/backend/vbd/1/51712/state");
    assert_eq!((scene.front.state(), back.as_deref()), (State::Connected, Some("4")));
}

#[test]
fn failures_are_told_and_close_the_device() {
    let mut scene = scene();
    scene.settle();
    scene.front.fail("the ring is broken").unwrap();
    scene.settle();
    assert_eq!(scene.states(), states(6, 6));
    let told = scene.store.get("/local/domain/1/error/device/vbd/51712/error");
    assert_eq!(told.as_deref(), Some("the ring is broken"));
    scene.front.open();
    scene.settle();
    scene.back.fail("a grant that is none").unwrap();
    scene.settle();
    let told = scene.store.get("/local/domain/2/error/backend/vbd/1/51712/error");
    assert_eq!(told.as_deref(), Some("a grant that is none"));
    assert_eq!(scene.states(), states(4, 4), "the frontend has begun anew");
}

#[test]
fn values_of_a_peer_are_checked() {
    let mut scene = scene();
    for (value, expected) in [
        ("1", true),
        (" 1\n", true),
        ("7", true),
        ("0", false),
        ("yes", false),
        ("", false),
    ] {
        scene.store.set(&format!("{BACK}/feature-a"), value);
        assert_eq!(scene.front.has_feature("feature-a"), Ok(expected), "{value:?}");
    }
    assert_eq!(scene.front.has_feature("feature-b"), Ok(false));
    scene.store.set(&format!("{FRONT}/ring-ref"), "4294967296");
    let bad = Error::BadNode(format!("{FRONT}/ring-ref"));
    assert_eq!(scene.back.frontend_value::<u32>("ring-ref"), Err(bad));
    for value in ["", "connected", "-4", "99", "4\0", "444444444444444444444444444"] {
        scene.store.set(&format!("{FRONT}/state"), value);
        assert_eq!(scene.back.poll(), Ok(backend::Step::Wait), "{value:?}");
    }
}

#[test]
fn a_device_without_another_end_is_refused() {
    let scene = scene();
    scene.store.remove(&format!("{FRONT}/backend-id"));
    let again = || Frontend::new(scene.store.client(&scene.front_domain), "device/vbd/51712").map(drop);
    assert_eq!(again(), Err(Error::BadNode("device/vbd/51712/backend-id".into())));
    scene.store.set(&format!("{FRONT}/backend-id"), "70000");
    assert_eq!(again(), Err(Error::BadNode("device/vbd/51712/backend-id".into())));
    scene.store.set(&format!("{BACK}/frontend"), "");
    let again = Backend::new(scene.store.client(&scene.back_domain), "backend/vbd/1/51712").map(drop);
    assert_eq!(again, Err(Error::BadNode("backend/vbd/1/51712/frontend".into())));
}

#[test]
fn a_store_that_refuses_leaves_everything_as_it_was() {
    let mut scene = scene();
    assert_eq!(scene.back.poll(), Ok(backend::Step::Offer));
    scene
        .store
        .refuse(&scene.back_domain, Kind::TRANSACTION_END, StoreError::EIO);
    assert_eq!(scene.back.offer(&[]), Err(Error::Store(StoreError::EIO)));
    assert_eq!(scene.states(), states(1, 1));
    assert_eq!(scene.back.poll(), Ok(backend::Step::Offer), "it is to be done again");
    scene.settle();
    assert_eq!(scene.states(), states(4, 4));
}

#[test]
fn watches_end_with_the_device() {
    let scene = scene();
    assert_eq!(scene.store.watch_count(), 4);
    let Scene { store, front, back, .. } = scene;
    drop((front, back));
    assert_eq!(store.watch_count(), 0);
}
