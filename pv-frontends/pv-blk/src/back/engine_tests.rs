use pv_hal::fake::{Domain, Machine};
use pv_hal::{Memory, SharedPages};
use std::vec::Vec;

use super::*;
use crate::back::MemoryDisk;
use crate::negotiation::QueueAddress;

/// A frontend with one ring of `1 << order` pages, and the backend's domain.
struct Scene {
    front: Domain,
    back: Domain,
    ring: SharedPages<Domain>,
    connection: Connection,
    _channel: Channel<Domain>,
}

fn scene(order: u32, persistent: bool) -> Scene {
    let machine = Machine::new();
    let (front, back) = (machine.add_domain(1), machine.add_domain(2));
    let ring = SharedPages::new(&front, back.id(), 1 << order, Access::ReadWrite).unwrap();
    let channel = Channel::offer(&front, back.id()).unwrap();
    let address = QueueAddress {
        ring: ring.grants().to_vec(),
        port: channel.port(),
    };
    Scene {
        front,
        back,
        ring,
        connection: Connection {
            persistent,
            ring_order: order,
            queues: [address].into(),
        },
        _channel: channel,
    }
}

impl Scene {
    /// A page that the backend may reach.
    fn page(&self, access: Access) -> SharedPages<Domain> {
        SharedPages::new(&self.front, self.back.id(), 1, access).unwrap()
    }

    fn engine(&self, most_indirect: u32) -> Engine<Domain> {
        Engine::new(&self.back, self.front.id(), &self.connection, most_indirect).unwrap()
    }

    /// Claims so many requests.
    fn publish(&self, count: u32) {
        self.ring.store_u32(0, count, core::sync::atomic::Ordering::SeqCst);
    }

    /// How many responses there are.
    fn answered(&self) -> u32 {
        self.ring.load_u32(8, core::sync::atomic::Ordering::SeqCst)
    }
}

/// A frontend on another CPU may claim new requests as fast as they are taken; here it does so by having claimed as many
/// as one ring holds while the backend's answers give room again and again.
#[test]
fn one_poll_takes_a_bounded_number_of_requests() {
    let scene = scene(4, false);
    let mut engine = scene.engine(0);
    let mut disk = MemoryDisk::new(std::vec![0; 4096]);
    // 512 requests of all zeros but the operation: reads without segments, which are answered with an error.
    scene.publish(512);
    let mut answered = Vec::new();
    while engine.poll(&mut disk) {
        answered.push(scene.answered());
        assert!(answered.len() < 100);
    }
    assert_eq!(answered[0], TAKEN);
    assert_eq!(scene.answered(), 512);
    assert!(engine.broken().is_none());
}

/// A disk that keeps every job.
struct Slow(Vec<Job<Vec<u8>>>);

impl Disk for Slow {
    type Buffer = Vec<u8>;

    fn geometry(&self) -> Geometry {
        MemoryDisk::new(std::vec![0; 4 << 20]).geometry()
    }

    fn allocate(&mut self, bytes: usize) -> Option<Vec<u8>> {
        Some(std::vec![0; bytes])
    }

    fn start(&mut self, job: Job<Vec<u8>>) -> Result<(), Job<Vec<u8>>> {
        self.0.push(job);
        Ok(())
    }

    fn poll(&mut self) -> Option<crate::back::Ended<Vec<u8>>> {
        None
    }
}

#[test]
fn one_frontend_cannot_make_the_backend_hold_more_than_so_many_bytes() {
    let scene = scene(0, true);
    let list = scene.page(Access::ReadOnly);
    for index in 0..256 {
        // The same page 256 times, whole: a megabyte.
        list.store_u32(index * 8, list.grants()[0].0, core::sync::atomic::Ordering::Relaxed);
        list.write(index * 8 + 4, &[0, 7]);
    }
    for slot in 0..32 {
        let mut bytes = [0; 64];
        (bytes[0], bytes[3]) = (6, 1);
        bytes[28..32].copy_from_slice(&list.grants()[0].0.to_le_bytes());
        scene.ring.write(64 + slot * 112, &bytes);
    }
    scene.publish(32);
    let mut engine = scene.engine(256);
    let mut disk = Slow(Vec::new());
    while engine.poll(&mut disk) {}
    let sum: usize = disk
        .0
        .iter()
        .map(|job| match &job.work {
            Work::Read { buffer, .. } => buffer.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(sum, BYTES);
    assert_eq!(engine.underway(), 4);
}

/// How `disk` answers the only request of a ring, which is made of the grant of a page.
fn answer_to(disk: &mut impl Disk, request: impl Fn([u8; 4]) -> Vec<u8>) -> i16 {
    let scene = scene(0, false);
    let page = scene.page(Access::ReadWrite);
    scene.ring.write(64, &request(page.grants()[0].0.to_le_bytes()));
    scene.publish(1);
    let mut engine = scene.engine(0);
    while engine.poll(disk) {}
    assert_eq!(scene.answered(), 1, "no answer");
    let mut status = [0; 2];
    scene.ring.read(64 + 10, &mut status);
    i16::from_le_bytes(status)
}

#[test]
fn a_barrier_is_refused_where_the_disk_cannot_flush() {
    let barrier = |grant: [u8; 4]| [&[2, 1][..], &[0; 22], &grant].concat();
    let mut disk = MemoryDisk::new(std::vec![0; 4096]);
    assert_eq!(answer_to(&mut disk, barrier), Status::Okay.code());
    let geometry = Geometry {
        flush: false,
        ..disk.geometry()
    };
    let mut disk = disk.with_geometry(geometry);
    assert_eq!(answer_to(&mut disk, barrier), Status::Unsupported.code());
}

#[test]
fn a_discard_of_no_sector_is_done_without_the_disk() {
    let mut disk = Slow(Vec::new());
    assert_eq!(answer_to(&mut disk, |_| std::vec![5]), Status::Okay.code());
    assert!(disk.0.is_empty());
}
