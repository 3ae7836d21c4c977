use pv_hal::fake::Machine;
use pv_hal::{Memory, SharedPages};
use std::vec::Vec;

use super::*;
use crate::back::MemoryDisk;
use crate::negotiation::QueueAddress;

/// A frontend on another CPU may claim new requests as fast as they are taken; here it does so by having claimed as many
/// as one ring holds while the backend's answers give room again and again.
#[test]
fn one_poll_takes_a_bounded_number_of_requests() {
    let machine = Machine::new();
    let (front, back) = (machine.add_domain(1), machine.add_domain(2));
    let ring = SharedPages::new(&front, back.id(), 16, Access::ReadWrite).unwrap();
    let channel = Channel::offer(&front, back.id()).unwrap();
    let connection = Connection {
        persistent: false,
        ring_order: 4,
        queues: [QueueAddress {
            ring: ring.grants().to_vec(),
            port: channel.port(),
        }]
        .into(),
    };
    let mut engine = Engine::new(&back, front.id(), &connection, 0).unwrap();
    let mut disk = MemoryDisk::new(std::vec![0; 4096]);
    // 512 requests of all zeros but the operation: reads without segments, which are answered with an error.
    ring.store_u32(0, 512, core::sync::atomic::Ordering::SeqCst);
    let mut answered = Vec::new();
    while engine.poll(&mut disk) {
        answered.push(ring.load_u32(8, core::sync::atomic::Ordering::SeqCst));
        assert!(answered.len() < 100);
    }
    assert_eq!(answered[0], TAKEN);
    assert_eq!(ring.load_u32(8, core::sync::atomic::Ordering::SeqCst), 512);
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
    let machine = Machine::new();
    let (front, back) = (machine.add_domain(1), machine.add_domain(2));
    let ring = SharedPages::new(&front, back.id(), 1, Access::ReadWrite).unwrap();
    let list = SharedPages::new(&front, back.id(), 1, Access::ReadOnly).unwrap();
    let channel = Channel::offer(&front, back.id()).unwrap();
    for index in 0..256 {
        // The same page 256 times, whole: a megabyte.
        list.store_u32(index * 8, list.grants()[0].0, core::sync::atomic::Ordering::Relaxed);
        list.write(index * 8 + 4, &[0, 7]);
    }
    let connection = Connection {
        persistent: true,
        ring_order: 0,
        queues: [QueueAddress {
            ring: ring.grants().to_vec(),
            port: channel.port(),
        }]
        .into(),
    };
    for slot in 0..32 {
        let mut bytes = [0; 64];
        (bytes[0], bytes[3]) = (6, 1);
        bytes[28..32].copy_from_slice(&list.grants()[0].0.to_le_bytes());
        ring.write(64 + slot * 112, &bytes);
    }
    ring.store_u32(0, 32, core::sync::atomic::Ordering::SeqCst);
    let mut engine = Engine::new(&back, front.id(), &connection, 256).unwrap();
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
    let machine = Machine::new();
    let (front, back) = (machine.add_domain(1), machine.add_domain(2));
    let ring = SharedPages::new(&front, back.id(), 1, Access::ReadWrite).unwrap();
    let page = SharedPages::new(&front, back.id(), 1, Access::ReadWrite).unwrap();
    let channel = Channel::offer(&front, back.id()).unwrap();
    let connection = Connection {
        persistent: false,
        ring_order: 0,
        queues: [QueueAddress {
            ring: ring.grants().to_vec(),
            port: channel.port(),
        }]
        .into(),
    };
    ring.write(64, &request(page.grants()[0].0.to_le_bytes()));
    ring.store_u32(0, 1, core::sync::atomic::Ordering::SeqCst);
    let mut engine = Engine::new(&back, front.id(), &connection, 0).unwrap();
    while engine.poll(disk) {}
    assert_eq!(ring.load_u32(8, core::sync::atomic::Ordering::SeqCst), 1, "no answer");
    let mut status = [0; 2];
    ring.read(64 + 10, &mut status);
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
