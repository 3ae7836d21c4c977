//! Rings of bytes.
use proptest::prelude::*;
use pv_hal::fake::Machine;
use pv_hal::{Hal, Memory};
use pv_ring::bytes::Layout;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

const ALL: [Layout; 4] = [
    Layout::CONSOLE_IN,
    Layout::CONSOLE_OUT,
    Layout::STORE_REQUESTS,
    Layout::STORE_REPLIES,
];

#[test]
fn the_rings_of_a_page_do_not_overlap() {
    for pair in [&ALL[..2], &ALL[2..]] {
        let mut used = [0u8; 4096];
        for layout in pair {
            let words = [layout.consumer, layout.producer];
            let indexes = words.into_iter().flat_map(|offset| offset..offset + 4);
            for byte in indexes.chain(layout.bytes..layout.bytes + layout.size as usize) {
                used[byte] += 1;
            }
        }
        assert!(used.iter().all(|&count| count <= 1));
    }
}

proptest! {
    #[test]
    fn bytes_come_out_as_they_went_in(
        which in 0usize..4,
        start in prop_oneof![Just(0), Just(u32::MAX - 700), any::<u32>()],
        moves in proptest::collection::vec((any::<bool>(), 0usize..1500), 1..60),
    ) {
        let page = Machine::new().add_domain(1).allocate(1).unwrap();
        let ring = ALL[which];
        page.store_u32(ring.consumer, start, Ordering::Relaxed);
        page.store_u32(ring.producer, start, Ordering::Relaxed);
        let mut model = VecDeque::new();
        let mut number = 0u8;
        for (put, count) in moves {
            if put {
                let bytes: Vec<u8> = (0..count).map(|_| { number = number.wrapping_add(1); number }).collect();
                let done = ring.put(&page, &bytes).unwrap();
                prop_assert_eq!(done, count.min(ring.size as usize - model.len()));
                model.extend(&bytes[..done]);
                number = number.wrapping_sub((count - done) as u8);
            } else {
                let mut bytes = vec![0; count];
                let done = ring.take(&page, &mut bytes).unwrap();
                prop_assert_eq!(done, count.min(model.len()));
                prop_assert!(bytes[..done].iter().copied().eq(model.drain(..done)));
            }
            prop_assert_eq!(ring.used(&page).unwrap() as usize, model.len());
        }
    }

    #[test]
    fn indexes_that_are_too_far_apart_are_refused_and_left(consumer: u32, producer: u32) {
        let page = Machine::new().add_domain(1).allocate(1).unwrap();
        for ring in ALL {
            page.store_u32(ring.consumer, consumer, Ordering::Relaxed);
            page.store_u32(ring.producer, producer, Ordering::Relaxed);
            let makes_sense = producer.wrapping_sub(consumer) <= ring.size;
            prop_assert_eq!(ring.put(&page, b"x").is_ok(), makes_sense);
            prop_assert_eq!(ring.take(&page, &mut [0; 8]).is_ok(), makes_sense);
            if !makes_sense {
                prop_assert_eq!(page.load_u32(ring.consumer, Ordering::Relaxed), consumer);
                prop_assert_eq!(page.load_u32(ring.producer, Ordering::Relaxed), producer);
            }
        }
    }
}
