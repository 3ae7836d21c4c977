//! Frontend and backend against each other on the fake machine.

mod support;

use std::collections::BTreeMap;

use embedded_io::{Read, Seek, SeekFrom, Write};
use proptest::prelude::*;
use pv_blk::back::{Geometry, MemoryDisk, Options as Offer};
use pv_blk::front::{Buffer, Error, Frontend, Operation, Options, Stream, Token};
use pv_blk::negotiation::Transport;
use pv_hal::fake::{Call, Domain};
use pv_hal::{Access, Memory};
use pv_xenbus::fake::LocalClient;
use support::{Bed, pattern};

fn transport(queues: u32, ring_order: u32, indirect_segments: u32) -> Transport {
    Transport {
        queues,
        ring_order,
        indirect_segments,
    }
}

fn options(transport: Transport, persistent: bool) -> Options {
    Options { transport, persistent }
}

fn offer(transport: Transport, persistent: bool) -> Offer {
    Offer {
        transport,
        persistent,
        barrier: true,
    }
}

#[test]
fn every_feature_on_either_side_carries_the_same_bytes() {
    for theirs in [transport(1, 0, 0), transport(4, 4, 256)] {
        for ours in [transport(1, 0, 0), transport(3, 2, 256)] {
            for (here, there) in [(false, false), (true, false), (false, true), (true, true)] {
                let bed = Bed::new(600, offer(theirs, there));
                let mut disk = bed.connected(options(ours, here));
                assert_eq!(*disk.device().transport(), ours.common(theirs));
                let mut expected = pattern(600);
                let mut all = vec![0; 600 * 512];
                disk.read_sectors(0, &mut all).unwrap();
                assert!(all == expected, "{ours:?} {theirs:?}");
                let new = vec![0xa5; 300 * 512];
                disk.write_sectors(234, &new).unwrap();
                expected[234 * 512..534 * 512].copy_from_slice(&new);
                disk.flush().unwrap();
                disk.read_sectors(0, &mut all).unwrap();
                assert!(all == expected && bed.contents() == expected);
                disk.close(None).unwrap();
                drop(disk);
                bed.expect_nothing_left();
            }
        }
    }
}

#[test]
fn a_disk_is_described_as_it_is() {
    let geometry = Geometry {
        sectors: 0,
        sector_size: 4096,
        physical_sector_size: 8192,
        read_only: true,
        flush: true,
        discard: None,
    };
    let bed = Bed::with(MemoryDisk::new(pattern(64)).with_geometry(geometry), Offer::default());
    let mut disk = bed.connected(Options::default());
    let properties = *disk.properties().unwrap();
    assert_eq!((properties.sectors, properties.sector_size), (64, 4096));
    assert!(properties.read_only && !properties.flush && properties.discard.is_none());
    assert_eq!(disk.write_sectors(0, &[0; 4096]), Err(Error::ReadOnly));
    assert_eq!(disk.read_sectors(1, &mut [0; 4096]), Err(Error::Misaligned));
    assert_eq!(disk.read_sectors(0, &mut [0; 512]), Err(Error::Misaligned));
    assert_eq!(disk.read_sectors(0, &mut [0; 500]), Err(Error::BadLength));
    assert_eq!(disk.read_sectors(64, &mut [0; 4096]), Err(Error::OutOfRange));
    assert_eq!(disk.read_sectors(u64::MAX - 7, &mut [0; 4096]), Err(Error::OutOfRange));
    assert_eq!(disk.flush(), Err(Error::Unsupported));
    assert_eq!(disk.discard(0, 8, false), Err(Error::Unsupported));
    disk.read_sectors(56, &mut [0; 4096]).unwrap();
}

#[test]
fn persistent_grants_are_made_and_mapped_once() {
    let bed = Bed::new(1024, Offer::default());
    let mut disk = bed.connected(Options::default());
    let mut bytes = vec![0; 256 * 512];
    for _ in 0..3 {
        disk.read_sectors(0, &mut bytes).unwrap();
        disk.write_sectors(256, &bytes).unwrap();
    }
    bed.machine.start_record();
    for _ in 0..5 {
        disk.read_sectors(512, &mut bytes).unwrap();
        disk.write_sectors(0, &bytes).unwrap();
    }
    let calls = bed.machine.take_record();
    let is_event = |call: &Call| matches!(call, Call::Notify { .. });
    assert!(calls.iter().all(|(_, call)| is_event(call)), "{calls:?}");
}

#[test]
fn other_grants_last_as_long_as_their_request_and_allow_no_more() {
    let bed = Bed::new(1024, Offer::default());
    let mut disk = bed.connected(options(transport(1, 0, 0), false));
    bed.machine.settle(10);
    let before = bed.machine.grants_in_use(bed.front.id());
    bed.machine.start_record();
    disk.write_sectors(0, &[1; 8192]).unwrap();
    let made = |calls: &[(pv_hal::DomId, Call)], wanted: Access| {
        let is_meant = |call: &Call| matches!(call, Call::Grant { access, .. } if *access == wanted);
        calls.iter().filter(|(_, call)| is_meant(call)).count()
    };
    let calls = bed.machine.take_record();
    assert_eq!(
        (made(&calls, Access::ReadOnly), made(&calls, Access::ReadWrite)),
        (2, 0)
    );
    bed.machine.start_record();
    disk.read_sectors(0, &mut [0; 8192]).unwrap();
    assert_eq!(made(&bed.machine.take_record(), Access::ReadWrite), 2);
    assert_eq!(bed.machine.grants_in_use(bed.front.id()), before);
}

#[test]
fn discarded_sectors_are_given_up() {
    let bed = Bed::new(64, Offer::default());
    let mut disk = bed.connected(Options::default());
    disk.discard(8, 8, false).unwrap();
    disk.discard(24, 8, true).unwrap();
    let mut expected = pattern(64);
    expected[8 * 512..16 * 512].fill(0);
    expected[24 * 512..32 * 512].fill(0);
    assert_eq!(bed.contents(), expected);
    assert_eq!(disk.discard(60, 8, false), Err(Error::OutOfRange));
    assert_eq!(disk.discard(0, u64::MAX, false), Err(Error::OutOfRange));
}

#[test]
fn a_disks_failures_reach_the_asker_and_end() {
    let bed = Bed::new(64, Offer::default());
    let mut disk = bed.connected(Options::default());
    bed.mood.borrow_mut().fails = true;
    assert_eq!(disk.read_sectors(0, &mut [0; 512]), Err(Error::Failed));
    assert_eq!(disk.write_sectors(0, &[0; 32768]), Err(Error::Failed));
    assert_eq!(disk.flush(), Err(Error::Failed));
    bed.mood.borrow_mut().fails = false;
    disk.read_sectors(0, &mut [0; 512]).unwrap();
}

#[test]
fn a_disk_without_room_serves_all_in_the_end() {
    for room in 1..4 {
        for reverses in [false, true] {
            let bed = Bed::new(2048, Offer::default());
            (bed.mood.borrow_mut().room, bed.mood.borrow_mut().reverses) = (room, reverses);
            let mut disk = bed.connected(options(transport(2, 0, 0), true));
            let mut all = vec![0; 2048 * 512];
            disk.read_sectors(0, &mut all).unwrap();
            assert!(all == pattern(2048), "{room}");
        }
    }
}

#[test]
fn a_silent_disk_makes_blocking_calls_time_out_and_nothing_else() {
    let bed = Bed::new(64, Offer::default());
    let mut disk = bed.connected(Options::default());
    disk.set_timeout(Some(core::time::Duration::from_millis(50)));
    bed.mood.borrow_mut().holds = true;
    assert_eq!(disk.read_sectors(0, &mut [0; 4096]), Err(Error::TimedOut));
    bed.mood.borrow_mut().holds = false;
    let mut sector = [0; 512];
    disk.read_sectors(9, &mut sector).unwrap();
    assert_eq!(
        sector[..],
        pattern(64)[9 * 512..10 * 512],
        "no answer to the earlier request"
    );
}

#[test]
fn a_stream_reads_and_writes_any_bytes() {
    let bed = Bed::new(40, Offer::default());
    let mut disk = bed.connected(Options::default());
    let mut expected = pattern(40);
    let mut stream = Stream::new(&mut disk);
    for (start, len) in [(0u64, 1usize), (511, 2), (512, 512), (100, 5000), (20_000, 480)] {
        stream.seek(SeekFrom::Start(start)).unwrap();
        let bytes: Vec<u8> = (0..len).map(|at| (at * 11 + len) as u8).collect();
        stream.write_all(&bytes).unwrap();
        expected[start as usize..start as usize + len].copy_from_slice(&bytes);
    }
    stream.flush().unwrap();
    stream.seek(SeekFrom::End(-20_480)).unwrap();
    let mut all = vec![0; 20_480];
    stream.read_exact(&mut all[..777]).unwrap();
    stream.read_exact(&mut all[777..]).unwrap();
    assert!(all == expected && bed.contents() == expected);
    assert_eq!(stream.read(&mut [0; 4]), Ok(0), "the end");
    assert_eq!(stream.write(&[0; 4]), Err(Error::OutOfRange));
    stream.seek(SeekFrom::Current(-2)).unwrap();
    assert_eq!(stream.write(&[7; 4]), Ok(2));
    assert_eq!(stream.seek(SeekFrom::Current(-30_000)), Err(Error::OutOfRange));
}

type Disk = Frontend<Domain, LocalClient>;

/// What is in flight of a random run.
struct Flight {
    operation: Operation,
    expected: Vec<u8>,
}

/// Waits for a request's end, and compares what it has read.
fn land(disk: &mut Disk, flights: &mut BTreeMap<Token, Flight>, spare: &mut Vec<Buffer<Domain>>) {
    let completion = disk.wait(None).unwrap().expect("a request is lost");
    let flight = flights
        .remove(&completion.token)
        .expect("a completion that nobody waits for");
    assert_eq!(completion.result, Ok(()));
    let buffer = completion.buffer.expect("the buffer is lost");
    if let Operation::Read { .. } = flight.operation {
        let mut bytes = vec![0; flight.expected.len()];
        buffer.read(0, &mut bytes);
        assert!(bytes == flight.expected);
    }
    spare.push(buffer);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Requests of any size in any number, over several queues, in any order of domains: each ends once, with what the
    /// disk held when no write to the same sectors was in flight.
    #[test]
    fn a_disk_behaves_like_an_array(
        seed in 0u64..1000,
        reverses: bool,
        persistent: bool,
        queues in 1u32..4,
        steps in proptest::collection::vec((any::<bool>(), 0u64..500, 1u32..200, any::<u8>()), 1..40),
    ) {
        let bed = Bed::new(512, Offer::default());
        bed.machine.shuffle(seed);
        bed.mood.borrow_mut().reverses = reverses;
        let mut disk = bed.connected(options(transport(queues, 1, 40), persistent));
        let most = disk.device().max_sectors();
        let mut model = pattern(512);
        let mut flights: BTreeMap<Token, Flight> = BTreeMap::new();
        let mut spare: Vec<Buffer<Domain>> = Vec::new();
        for (write, sector, sectors, value) in steps {
            let sectors = sectors.min(most).min((512 - sector) as u32);
            let range = sector as usize * 512..(sector as usize + sectors as usize) * 512;
            // What overlaps with a write would depend on who is first.
            let overlaps = |flight: &Flight| {
                let (Operation::Read { sector: s, sectors: n } | Operation::Write { sector: s, sectors: n })
                    = flight.operation else { return false };
                let writes = write || matches!(flight.operation, Operation::Write { .. });
                writes && s < sector + u64::from(sectors) && sector < s + u64::from(n)
            };
            while flights.values().any(overlaps) {
                land(&mut disk, &mut flights, &mut spare);
            }
            let buffer = match spare.pop() {
                Some(buffer) if buffer.byte_count() >= range.len() => buffer,
                _ => disk.device().buffer(sectors).unwrap(),
            };
            let operation = if write {
                model[range.clone()].fill(value);
                buffer.write(0, &model[range.clone()]);
                Operation::Write { sector, sectors }
            } else {
                Operation::Read { sector, sectors }
            };
            let mut buffer = Some(buffer);
            let token = loop {
                match disk.device().submit(operation, buffer.take()) {
                    Ok(token) => break token,
                    Err(refused) => {
                        assert_eq!(refused.error, Error::Full);
                        buffer = refused.buffer;
                        land(&mut disk, &mut flights, &mut spare);
                    }
                }
            };
            disk.device().publish();
            flights.insert(token, Flight { operation, expected: model[range].to_vec() });
        }
        while !flights.is_empty() {
            land(&mut disk, &mut flights, &mut spare);
        }
        prop_assert!(bed.contents() == model);
        disk.close(None).unwrap();
        drop((disk, spare));
        bed.expect_nothing_left();
    }
}
