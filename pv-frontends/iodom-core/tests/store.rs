//! The store as guests see it over their rings, and as the driver domain uses it.
mod bed;

use bed::bed;
use iodom_core::nodes::{Device, remove_domain};
use pv_xenbus::{Error, Nodes, Store, StoreError};

const DISK: Device = Device {
    kind: "vbd",
    domid: 1,
    number: 51712,
};

#[test]
fn a_guest_reads_its_own_nodes_and_writes_where_it_may() {
    let bed = bed(2);
    let (_, guest) = &bed.guests[0];
    assert_eq!(guest.read("name").unwrap(), "guest");
    assert_eq!(guest.read("cpu/0/availability").unwrap(), "online");
    guest.write("data/note", "here").unwrap();
    guest.write("control/feature-poweroff", "1").unwrap();
    assert_eq!(bed.store.read("/local/domain/1/data/note").unwrap(), "here");
    let refused = Err(Error::Store(StoreError::EACCES));
    assert_eq!(guest.write("name", "other"), refused);
    assert_eq!(guest.write("/local/domain/2/data/note", "x"), refused);
    assert_eq!(guest.write("/tool/x", "x"), refused);
}

#[test]
fn the_driver_domain_hears_of_what_guests_write() {
    let bed = bed(1);
    let watch = bed.store.watch("/local/domain/1/data").unwrap();
    assert_eq!(
        bed.store.take_event(watch).as_deref(),
        Some("/local/domain/1/data"),
        "the first comes at once"
    );
    assert_eq!(bed.store.take_event(watch), None);
    bed.guests[0].1.write("data/request", "1 x").unwrap();
    assert_eq!(
        bed.store.take_event(watch).as_deref(),
        Some("/local/domain/1/data/request")
    );
    bed.store.unwatch(watch);
    bed.guests[0].1.write("data/request", "2 x").unwrap();
    assert_eq!(bed.store.take_event(watch), None);
}

#[test]
fn a_device_appears_closes_and_goes_on_both_sides() {
    let bed = bed(1);
    let (_, guest) = &bed.guests[0];
    let own = [("params", String::from("virtio:0"))];
    DISK.announce(&bed.store, &own, &[("virtual-device", "51712".into())])
        .unwrap();
    let backend = guest.read("device/vbd/51712/backend").unwrap();
    assert_eq!(backend, DISK.backend());
    assert_eq!(guest.read(&format!("{backend}/state")).unwrap(), "1");
    assert_eq!(guest.read("device/vbd/51712/virtual-device").unwrap(), "51712");
    guest.write("device/vbd/51712/state", "4").unwrap();
    assert!(guest.write(&format!("{backend}/state"), "4").is_err());
    DISK.withdraw(&bed.store).unwrap();
    let state = |key: &str| guest.read(&format!("{backend}/{key}"));
    assert_eq!(
        (state("online").unwrap(), state("state").unwrap()),
        ("0".into(), "5".into())
    );
    DISK.remove(&bed.store).unwrap();
    assert!(
        state("state").unwrap_err().is_missing(),
        "a guest can tell that the device has gone"
    );
    assert_eq!(guest.directory("device/vbd").unwrap(), Vec::<String>::new());
}

#[test]
fn nothing_is_left_of_a_guest() {
    let bed = bed(1);
    bed.guests[0].1.write("data/a/b", "c").unwrap();
    remove_domain(&bed.store, 1).unwrap();
    assert_eq!(bed.store.directory("/local/domain").unwrap(), Vec::<String>::new());
}

#[test]
fn events_that_nobody_takes_are_few() {
    let bed = bed(1);
    let (watched, other) = (
        bed.store.watch("/local/domain/1/data").unwrap(),
        bed.store.watch("/local/domain/1/attr").unwrap(),
    );
    for round in 0..200 {
        bed.guests[0].1.write(&format!("data/{}", round % 7), "x").unwrap();
        // Whoever looks at one watch sorts the events of all.
        bed.store.take_event(other);
    }
    let events: Vec<String> = std::iter::from_fn(|| bed.store.take_event(watched)).collect();
    assert!(events.len() <= 32, "{} events", events.len());
    assert!(
        events.contains(&String::from("/local/domain/1/data")),
        "one stands for those that were lost"
    );
}
