//! The cases for the store and for devices' states on the fake machine: against the store's own code over rings, and
//! backends that follow `pv-xenbus`'s rules.

#[path = "../../pv-xenbus/tests/served/mod.rs"]
mod served;

use pv_conform::{Bench, Case, Tally, run, xenbus};
use pv_hal::Hal;
use pv_hal::fake::Domain;
use pv_xenbus::backend::{Backend, Step};
use pv_xenbus::{Nodes, RingStore, State};
use served::Rig;
use std::time::Duration;

type Store = RingStore<Domain>;

/// What is wrong with a backend.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// It tells no features.
    Silent,
    /// It never comes back once it has closed.
    Stuck,
}

/// What a toolstack makes of a device.
fn add_device(rig: &Rig, kind: &str, number: u32) -> String {
    let front = format!("/local/domain/1/device/{kind}/{number}");
    let back = format!("/local/domain/2/backend/{kind}/1/{number}");
    for (path, list) in [(&front, "n1,r2"), (&back, "n2,r1")] {
        rig.set(path, "", list);
    }
    for (key, value) in [("backend", &*back), ("backend-id", "2"), ("state", "1")] {
        rig.set(&format!("{front}/{key}"), value, "n1,r2");
    }
    for (key, value) in [
        ("frontend", &*front),
        ("frontend-id", "1"),
        ("online", "1"),
        ("state", "1"),
    ] {
        rig.set(&format!("{back}/{key}"), value, "n2,r1");
    }
    format!("backend/{kind}/1/{number}")
}

fn follow(backend: &mut Backend<Store>, fault: Fault) {
    if !backend.has_news() || (fault == Fault::Stuck && backend.own_value("state") == Ok(Some(State::Closed))) {
        return;
    }
    loop {
        match backend.poll().unwrap() {
            Step::Wait | Step::Closed => return,
            Step::Release => backend.release(),
            Step::Offer if fault == Fault::Silent => backend.offer(&[]).unwrap(),
            Step::Offer => backend.offer(&[("feature-example", "1".into())]).unwrap(),
            Step::Connect => backend.fail("no case brings a ring").unwrap(),
        }
    }
}

fn scene(fault: Fault) -> (Rig, Bench<Domain, Store>) {
    let rig = Rig::new();
    let paths = [add_device(&rig, "vbd", 51712), add_device(&rig, "vif", 0)];
    let driver = rig.driver.clone();
    let mut backends = Vec::new();
    driver.clone().spawn(move || {
        if backends.is_empty() {
            let store = RingStore::new(&driver).unwrap();
            backends = paths
                .iter()
                .map(|path| Backend::new(store.clone(), path).unwrap())
                .collect();
        }
        backends.iter_mut().for_each(|backend| follow(backend, fault));
    });
    let bench = Bench::new(rig.guest.clone(), rig.store());
    (rig, bench)
}

fn try_cases(fault: Fault, wanted: &str, broken: Option<&str>) -> (Tally, Vec<String>) {
    let (_rig, mut bench) = scene(fault);
    let mut lines = Vec::new();
    let tally = run(&xenbus::cases(), &mut bench, wanted, broken, &mut |line| {
        lines.push(line.to_string())
    });
    (tally, lines)
}

#[test]
fn our_store_and_backends_behave_in_every_case() {
    let (tally, lines) = try_cases(Fault::Nothing, "xenbus/", None);
    assert_eq!((tally.failed, tally.skipped), (0, 0), "{lines:#?}");
    assert_eq!(tally.passed, 34);
}

#[test]
fn every_case_can_fail() {
    let cases: Vec<Case<Domain, Store>> = xenbus::cases();
    for case in cases {
        let (tally, lines) = try_cases(Fault::Nothing, case.name, Some(case.name));
        assert_eq!(tally.failed, 1, "{}: {lines:#?}", case.name);
    }
}

#[test]
fn backends_that_misbehave_are_found() {
    let failed = |fault| {
        let (_, lines) = try_cases(fault, "xenbus/", None);
        let failed = lines.into_iter().filter(|line| line.contains(" fail "));
        failed
            .map(|line| line.split(' ').nth(1).unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(failed(Fault::Silent), ["xenbus/backend-waits"]);
    assert!(failed(Fault::Stuck).contains(&"xenbus/closes-and-returns".to_owned()));
}

#[test]
fn cases_leave_no_watches_behind() {
    let (rig, mut bench) = scene(Fault::Nothing);
    let until = rig.guest.now() + Duration::from_secs(1);
    bench.hal.wait(&[], Some(until));
    let before = rig.daemon.borrow().watches.len();
    run(&xenbus::cases(), &mut bench, "", None, &mut |_| {});
    bench.store.read("data").unwrap();
    assert_eq!(rig.daemon.borrow().watches.len(), before);
}
