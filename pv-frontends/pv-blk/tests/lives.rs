//! Connections that end and begin again, with requests in flight, and machines that run out of things.

mod support;

use pv_blk::back::{MemoryDisk, Options as Offer};
use pv_blk::front::{Condition, Error, Options};
use pv_blk::negotiation::Transport;
use pv_hal::Memory;
use pv_hal::fake::Kind;
use support::{BACK_PATH, Bed, pattern};

#[test]
fn requests_outlive_their_backend() {
    for persistent in [false, true] {
        let bed = Bed::new(256, Offer::default());
        bed.mood.borrow_mut().holds = true;
        let mut disk = bed.connected(Options {
            persistent,
            ..Options::default()
        });
        for sector in 0..8u64 {
            let buffer = disk.device().buffer(8).unwrap();
            buffer.fill(0, 4096, 0x40 + sector as u8);
            disk.device().write(sector * 8, 8, buffer).unwrap();
        }
        disk.device().publish();
        bed.machine.settle(20);
        // The backend's domain restarts it: the old one is gone without a word, the new one begins from the start.
        *bed.backend.borrow_mut() = None;
        bed.set_back_node("state", "1");
        bed.mood.borrow_mut().holds = false;
        bed.serve(MemoryDisk::new(pattern(256)));
        for _ in 0..8 {
            let completion = disk.wait(None).unwrap().expect("a request is lost");
            assert_eq!(completion.result, Ok(()));
        }
        let mut expected = pattern(256);
        for (sector, page) in expected.chunks_mut(4096).take(8).enumerate() {
            page.fill(0x40 + sector as u8);
        }
        assert!(bed.contents() == expected);
        disk.close(None).unwrap();
        drop(disk);
        bed.expect_nothing_left();
    }
}

#[test]
fn another_disk_behind_the_new_backend_is_noticed() {
    let bed = Bed::new(256, Offer::default());
    bed.mood.borrow_mut().holds = true;
    let mut disk = bed.connected(Options::default());
    let buffer = disk.device().buffer(8).unwrap();
    disk.device().read(200, 8, buffer).unwrap();
    disk.device().publish();
    bed.machine.settle(20);
    *bed.backend.borrow_mut() = None;
    bed.set_back_node("state", "1");
    bed.mood.borrow_mut().holds = false;
    bed.serve(MemoryDisk::new(pattern(64)));
    let completion = disk.wait(None).unwrap().unwrap();
    assert_eq!(completion.result, Err(Error::OutOfRange), "the disk is shorter now");
    assert_eq!(disk.properties().unwrap().sectors, 64);
}

#[test]
fn a_disk_is_unplugged_under_load() {
    let bed = Bed::new(256, Offer::default());
    let mut disk = bed.connected(Options::default());
    bed.mood.borrow_mut().holds = true;
    for sector in 0..16 {
        let buffer = disk.device().buffer(8).unwrap();
        disk.device().read(sector, 8, buffer).unwrap();
    }
    disk.device().publish();
    bed.machine.settle(20);
    bed.store.unplug(BACK_PATH, &bed.back);
    // The backend closes only when its disk has given back what it has.
    let soon = bed.machine.now() + core::time::Duration::from_millis(50);
    assert!(disk.wait(Some(soon)).unwrap().is_none());
    assert_eq!(bed.back_node("state").as_deref(), Some("5"));
    bed.mood.borrow_mut().holds = false;
    for _ in 0..16 {
        let completion = disk.wait(None).unwrap().unwrap();
        assert_eq!(completion.result, Err(Error::Disconnected));
    }
    assert_eq!(bed.back_node("state").as_deref(), Some("6"));
    assert_eq!(disk.poll_bus(), Ok(Condition::Closed));
    assert!(bed.backend.borrow().is_none(), "the backend is not told that it can go");
    drop(disk);
    bed.expect_nothing_left();
}

#[test]
fn a_resumed_domain_connects_again_and_goes_on() {
    let bed = Bed::new(64, Offer::default());
    let mut disk = bed.connected(Options::default());
    bed.mood.borrow_mut().holds = true;
    let buffer = disk.device().buffer(8).unwrap();
    disk.device().read(8, 8, buffer).unwrap();
    disk.device().publish();
    bed.machine.settle(10);
    bed.mood.borrow_mut().holds = false;
    disk.resume().unwrap();
    let completion = disk.wait(None).unwrap().unwrap();
    assert_eq!(completion.result, Ok(()));
    let mut bytes = [0; 4096];
    completion.buffer.unwrap().read(0, &mut bytes);
    assert_eq!(bytes[..], pattern(64)[4096..8192]);
}

#[test]
fn nodes_of_an_earlier_connection_do_not_stay() {
    let bed = Bed::new(64, Offer::default());
    let many = Options {
        transport: Transport {
            queues: 3,
            ring_order: 2,
            indirect_segments: 0,
        },
        persistent: true,
    };
    let mut disk = bed.connected(many);
    assert!(bed.front_node("queue-2/ring-ref3").is_some() && bed.front_node("event-channel").is_none());
    disk.close(None).unwrap();
    drop(disk);
    let simple = Options {
        transport: Transport::default(),
        persistent: false,
    };
    let mut disk = bed.connected(simple);
    for stale in [
        "queue-0",
        "queue-2",
        "ring-page-order",
        "num-ring-pages",
        "multi-queue-num-queues",
    ] {
        assert_eq!(bed.front_node(stale), None, "{stale}");
    }
    disk.read_sectors(0, &mut [0; 512]).unwrap();
}

#[test]
fn a_frontend_that_runs_out_of_anything_says_so_and_leaks_nothing() {
    for kind in [Kind::Allocate, Kind::Grant, Kind::AllocateUnbound] {
        for skip in 0..24 {
            let bed = Bed::new(160, Offer::default());
            bed.machine.fail(bed.front.id(), kind, skip, pv_hal::Error::NoGrants);
            let mut disk = bed.frontend(Options {
                persistent: skip % 2 == 0,
                ..Options::default()
            });
            let first = disk
                .connect(None)
                .and_then(|_| disk.read_sectors(0, &mut vec![0; 160 * 512]));
            assert!(
                matches!(first, Ok(()) | Err(Error::Machine(pv_hal::Error::NoGrants))),
                "{kind:?} {skip}: {first:?}"
            );
            // What failed once may be tried again.
            disk.connect(None).unwrap();
            let mut all = vec![0; 160 * 512];
            disk.read_sectors(0, &mut all).unwrap();
            assert!(all == pattern(160), "{kind:?} {skip}");
            disk.close(None).unwrap();
            drop(disk);
            bed.expect_nothing_left();
        }
    }
}

#[test]
fn a_backend_that_runs_out_of_anything_refuses_and_leaks_nothing() {
    for kind in [Kind::Map, Kind::Bind, Kind::Copy, Kind::Allocate] {
        for skip in 0..4 {
            let bed = Bed::new(64, Offer::default());
            bed.machine.fail(bed.back.id(), kind, skip, pv_hal::Error::NoMemory);
            let mut disk = bed.frontend(Options {
                persistent: skip % 2 == 0,
                ..Options::default()
            });
            // A connection that fails at the backend's end is made again.
            let mut all = vec![0; 64 * 512];
            disk.connect(None).unwrap();
            let mut tries = 0;
            while disk.read_sectors(0, &mut all).is_err() {
                tries += 1;
                assert!(tries < 3, "{kind:?} {skip}");
            }
            assert!(all == pattern(64));
            disk.close(None).unwrap();
            drop(disk);
            bed.expect_nothing_left();
        }
    }
}
