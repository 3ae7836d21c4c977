//! Rings, end against end and against peers that lie.
use proptest::prelude::*;
use pv_hal::fake::{Domain, Machine, Mapping};
use pv_hal::{Access, Hal, Memory, SharedPages};
use pv_ring::{Back, Broken, Front, Full, slot_count};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

type Request = [u8; 12];
type Response = [u8; 8];
type Near = Front<SharedPages<Domain>, Request, Response>;
type Far = Back<Mapping, Request, Response>;

const REQ_PROD: usize = 0;
const RSP_PROD: usize = 8;

fn pair(pages: usize) -> (Near, Far) {
    pair_at(pages, 0, 12)
}

/// A ring whose indexes begin at `start`, with slots of 12 bytes or more.
fn pair_at(pages: usize, start: u32, slot_size: usize) -> (Near, Far) {
    let machine = Machine::new();
    let (front, back) = (machine.add_domain(1), machine.add_domain(2));
    let shared = SharedPages::new(&front, back.id(), pages, Access::ReadWrite).unwrap();
    let mapping = back.map(front.id(), shared.grants(), Access::ReadWrite).unwrap();
    (
        Front::starting_at(shared, slot_size, start),
        Back::with_slot_size(mapping, slot_size),
    )
}

#[test]
fn slots_are_those_of_the_header() {
    // `__RING_SIZE` for block (112 bytes), network transmission (12) and reception (8), one page and sixteen.
    assert_eq!([112, 12, 8].map(|size| slot_count(4096, size)), [32, 256, 256]);
    assert_eq!(slot_count(16 * 4096, 112), 512);
    assert_eq!(slot_count(4096, 4032), 1);
    assert_eq!([slot_count(4096, 4033), slot_count(0, 8)], [0, 0]);
}

#[test]
fn a_full_ring_takes_no_more_and_an_empty_one_gives_none() {
    let (mut front, mut back) = pair(1);
    assert_eq!(front.pop(), Ok(None));
    assert_eq!(back.pop(), Ok(None));
    for number in 0..256 {
        assert_eq!(front.push(&[number as u8; 12]), Ok(number));
    }
    assert_eq!(front.push(&[0; 12]), Err(Full));
    assert_eq!(back.pop(), Ok(None), "nothing is seen before it is published");
    assert!(front.publish());
    for number in 0..=255 {
        assert_eq!(back.pop(), Ok(Some([number; 12])));
    }
    assert_eq!((back.pop(), back.in_flight()), (Ok(None), 256));
    back.push(&[7; 8]);
    assert_eq!(front.pop(), Ok(None));
    assert!(back.publish());
    assert!(!back.publish(), "nothing new");
    assert_eq!(front.pop(), Ok(Some([7; 8])));
    assert_eq!(front.free_count(), 1);
}

#[test]
fn an_index_that_lies_breaks_the_ring_for_good() {
    for lie in [4, 5, 257, u32::MAX, u32::MAX / 2] {
        let (mut front, mut back) = pair(1);
        for _ in 0..3 {
            front.push(&[0; 12]).unwrap();
        }
        assert!(front.publish());
        front.memory().store_u32(RSP_PROD, lie, Ordering::Release);
        let broken = Err(Broken {
            producer: lie,
            limit: 3,
        });
        assert_eq!(front.pop(), broken);
        front.memory().store_u32(RSP_PROD, 1, Ordering::Release);
        assert_eq!(
            (front.pop(), front.arm()),
            (
                broken,
                Err(Broken {
                    producer: lie,
                    limit: 3
                })
            )
        );

        back.memory().store_u32(REQ_PROD, lie.max(257), Ordering::Release);
        let broken = Broken {
            producer: lie.max(257),
            limit: 256,
        };
        assert_eq!(back.pop(), Err(broken));
        back.memory().store_u32(REQ_PROD, 3, Ordering::Release);
        assert_eq!(back.pending(), Err(broken));
    }
}

#[test]
fn a_backend_with_requests_under_way_takes_no_more_than_there_are_slots() {
    let (mut front, mut back) = pair(1);
    for _ in 0..256 {
        front.push(&[0; 12]).unwrap();
    }
    assert!(front.publish());
    while back.pop().unwrap().is_some() {}
    // One more than was answered: the slot's response would overwrite an unread request.
    front.memory().store_u32(REQ_PROD, 257, Ordering::Release);
    assert_eq!(
        back.pop(),
        Err(Broken {
            producer: 257,
            limit: 256
        })
    );
}

#[test]
fn a_new_backend_goes_on_where_the_last_one_answered() {
    let (mut front, mut back) = pair(1);
    for number in 0..3 {
        front.push(&[number; 12]).unwrap();
    }
    assert!(front.publish());
    back.pop().unwrap();
    back.pop().unwrap();
    back.push(&[0; 8]);
    assert!(back.publish());
    let mut next: Far = Back::new(back.into_memory());
    assert_eq!(next.pop(), Ok(Some([1; 12])), "taken by the first, answered by nobody");
    assert_eq!(next.pop(), Ok(Some([2; 12])));
}

#[test]
#[should_panic(expected = "a response without a request")]
fn a_backend_that_answers_nobody_is_wrong() {
    pair(1).1.push(&[0; 8]);
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Push,
    Publish,
    Take,
    Answer,
    PublishAnswers,
    TakeAnswer,
    ArmFront,
    ArmBack,
}

/// Slots of 500 bytes in a page.
const SLOTS: usize = 8;

fn moves() -> impl Strategy<Value = Vec<Move>> {
    use Move::*;
    const OFTEN: [Move; 12] = [
        Push,
        Push,
        Publish,
        Take,
        Take,
        Answer,
        Answer,
        PublishAnswers,
        TakeAnswer,
        TakeAnswer,
        ArmFront,
        ArmBack,
    ];
    proptest::collection::vec((0..OFTEN.len()).prop_map(|at| OFTEN[at]), 1..300)
}

/// Who sleeps is woken: an end that armed and found nothing gets an event with the next entry.
#[derive(Default)]
struct Sleeper {
    sleeps: bool,
}

impl Sleeper {
    fn arm(&mut self, found: bool) {
        self.sleeps = !found;
    }

    fn published(&mut self, any: bool, notified: bool) {
        assert!(!(self.sleeps && any) || notified, "an end sleeps on");
        self.sleeps &= !(any && notified);
    }
}

proptest! {
    #[test]
    fn what_goes_in_comes_out_once_and_in_order_and_nobody_sleeps_on(
        moves in moves(),
        start in prop_oneof![Just(0), Just(u32::MAX - 20), any::<u32>()],
    ) {
        let (mut front, mut back) = pair_at(1, start, 500);
        let mut requests: VecDeque<Request> = VecDeque::new();
        let (mut unpublished, mut taken) = (0usize, VecDeque::new());
        let (mut answers, mut unseen): (VecDeque<Response>, usize) = (VecDeque::new(), 0);
        let (mut near, mut far) = (Sleeper::default(), Sleeper::default());
        let mut number = 0u8;
        for step in moves {
            match step {
                Move::Push => {
                    number = number.wrapping_add(1);
                    let fits = requests.len() + taken.len() + answers.len() < SLOTS;
                    prop_assert_eq!(front.push(&[number; 12]).is_ok(), fits);
                    if fits {
                        requests.push_back([number; 12]);
                        unpublished += 1;
                    }
                }
                Move::Publish => {
                    let notified = front.publish();
                    far.published(unpublished > 0, notified);
                    unpublished = 0;
                }
                Move::Take => {
                    let expected = if requests.len() > unpublished { requests.pop_front() } else { None };
                    prop_assert_eq!(back.pop(), Ok(expected));
                    taken.extend(expected);
                }
                Move::Answer => {
                    if let Some(request) = taken.pop_front() {
                        let response = [request[0]; 8];
                        back.push(&response);
                        answers.push_back(response);
                        unseen += 1;
                    }
                }
                Move::PublishAnswers => {
                    let notified = back.publish();
                    near.published(unseen > 0, notified);
                    unseen = 0;
                }
                Move::TakeAnswer => {
                    let expected = if answers.len() > unseen { answers.pop_front() } else { None };
                    prop_assert_eq!(front.pop(), Ok(expected));
                }
                Move::ArmFront => {
                    let found = front.arm().unwrap();
                    prop_assert_eq!(found, answers.len() > unseen);
                    near.arm(found);
                }
                Move::ArmBack => {
                    let found = back.arm().unwrap();
                    prop_assert_eq!(found, requests.len() > unpublished);
                    far.arm(found);
                }
            }
        }
    }

    #[test]
    fn a_peer_that_writes_anything_anywhere_stops_nobody(
        junk in proptest::collection::vec((0usize..16, any::<u32>()), 1..40),
    ) {
        let (mut front, mut back) = pair(1);
        for (word, value) in junk {
            front.memory().store_u32(4 * word, value, Ordering::Release);
            let _ = front.push(&[1; 12]);
            let _ = front.publish();
            // However the indexes stand, neither end ever has more to take than there are slots.
            let got = std::iter::from_fn(|| back.pop().ok().flatten()).take(1000).count();
            prop_assert!(got <= 256);
            for _ in 0..back.in_flight() {
                back.push(&[2; 8]);
            }
            let _ = back.publish();
            let got = std::iter::from_fn(|| front.pop().ok().flatten()).take(1000).count();
            prop_assert!(got <= 256);
            let _ = (front.arm(), back.arm());
        }
    }
}
