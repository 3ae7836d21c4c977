//! The fake machine keeps the promises of the trait, and notices who breaks them.
use proptest::prelude::*;
use pv_hal::fake::{Call, Domain, Kind, Machine};
use pv_hal::{
    Access, Channel, CopyPiece, Direction, DomId, Error, GrantRef, Hal, Memory, PAGE_SIZE, Port, SharedPages,
};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn pair() -> (Machine, Domain, Domain) {
    let machine = Machine::new();
    let (front, back) = (machine.add_domain(1), machine.add_domain(2));
    (machine, front, back)
}

#[test]
fn a_page_is_the_peers_until_it_lets_go() {
    let (machine, front, back) = pair();
    let shared = SharedPages::new(&front, back.id(), 2, Access::ReadWrite).unwrap();
    let mapping = back.map(front.id(), shared.grants(), Access::ReadWrite).unwrap();
    assert!(!shared.end_access(), "the peer has both pages mapped");
    assert_eq!(
        (machine.pages_in_use(front.id()), machine.grants_in_use(front.id())),
        (2, 2)
    );
    mapping.store_u32(4096, 1, Ordering::Relaxed);
    drop(mapping);
    assert_eq!(
        (machine.pages_in_use(front.id()), machine.grants_in_use(front.id())),
        (0, 0)
    );
    let shared = SharedPages::new(&front, back.id(), 2, Access::ReadWrite).unwrap();
    assert!(shared.end_access());
    assert_eq!(machine.grants_in_use(front.id()), 0);
}

#[test]
fn grants_are_for_one_peer_and_one_use() {
    let (machine, front, back) = pair();
    let third = machine.add_domain(3);
    let page = front.allocate(1).unwrap();
    let read_only = front.grant(&page, 0, back.id(), Access::ReadOnly).unwrap();
    let map = |domain: &Domain, grant, access| domain.map(front.id(), &[grant], access).map(drop);
    assert_eq!(map(&back, read_only, Access::ReadOnly), Ok(()));
    assert_eq!(map(&back, read_only, Access::ReadWrite), Err(Error::BadGrant));
    assert_eq!(map(&third, read_only, Access::ReadOnly), Err(Error::BadGrant));
    assert_eq!(map(&back, GrantRef(7), Access::ReadOnly), Err(Error::BadGrant));
    assert_eq!(map(&back, GrantRef(u32::MAX), Access::ReadOnly), Err(Error::BadGrant));
    assert_eq!(
        back.map(DomId(9), &[read_only], Access::ReadOnly).err(),
        Some(Error::NoDomain)
    );
    assert_eq!(back.map(front.id(), &[], Access::ReadOnly).err(), Some(Error::BadRange));
    // All or nothing.
    let list = [read_only, GrantRef(99)];
    assert_eq!(
        back.map(front.id(), &list, Access::ReadOnly).err(),
        Some(Error::BadGrant)
    );
    assert_eq!(machine.grants_mapped(back.id()), 0);
    assert!(front.end_access(read_only));
    assert_eq!(map(&back, read_only, Access::ReadOnly), Err(Error::BadGrant));
    assert_eq!(front.grant(&page, 1, back.id(), Access::ReadOnly), Err(Error::BadRange));
}

#[test]
#[should_panic(expected = "page fault")]
fn a_read_only_mapping_cannot_be_written() {
    let (_machine, front, back) = pair();
    let shared = SharedPages::new(&front, back.id(), 1, Access::ReadOnly).unwrap();
    let mapping = back.map(front.id(), shared.grants(), Access::ReadOnly).unwrap();
    mapping.write(8, b"x");
}

#[test]
fn pieces_are_copied_one_by_one() {
    let (_machine, front, back) = pair();
    let theirs = SharedPages::new(&front, back.id(), 2, Access::ReadWrite).unwrap();
    theirs.write(100, b"from the front");
    let own = back.allocate(1).unwrap();
    let grants = [theirs.grants()[0], theirs.grants()[1]];
    let mut pieces = [
        CopyPiece::new(grants[0], 100, 1, 14),
        CopyPiece::new(GrantRef(55), 0, 0, 1),
        CopyPiece::new(grants[1], 4095, 0, 2),
        CopyPiece::new(grants[1], 4096, 0, 0),
        CopyPiece::new(grants[1], 0, 4096, 1),
        CopyPiece::new(grants[1], 0, 0, 0),
    ];
    back.copy(Direction::FromPeer, front.id(), &own, &mut pieces);
    let results = pieces.map(|piece| piece.result);
    let bad = Err(Error::BadRange);
    assert_eq!(results, [Ok(()), Err(Error::BadGrant), bad, bad, bad, Ok(())]);
    let mut bytes = [0; 16];
    own.read(0, &mut bytes);
    assert_eq!(&bytes, b"\0from the front\0");
    own.write(0, b"back");
    let mut pieces = [CopyPiece::new(grants[1], 7, 0, 4)];
    back.copy(Direction::ToPeer, front.id(), &own, &mut pieces);
    theirs.read(4096 + 7, &mut bytes[..4]);
    assert_eq!((pieces[0].result, &bytes[..4]), (Ok(()), &b"back"[..]));
}

#[test]
fn events_go_to_who_is_bound() {
    let (machine, front, back) = pair();
    let near = Channel::offer(&front, back.id()).unwrap();
    assert_eq!(
        machine.add_domain(3).bind_interdomain(front.id(), near.port()),
        Err(Error::BadPort)
    );
    let far = Channel::bind(&back, front.id(), near.port()).unwrap();
    assert_eq!(
        back.bind_interdomain(front.id(), near.port()),
        Err(Error::BadPort),
        "bound already"
    );
    assert!(
        far.take_event(),
        "what was sent before the binding may be lost, so it comes with an event"
    );
    assert!(!far.take_event() && !near.take_event());
    near.notify();
    near.notify();
    assert!(far.take_event());
    assert!(!far.take_event(), "an event is a mark, not a count");
    drop(near);
    far.notify();
    assert_eq!(machine.ports_in_use(front.id()), 0);
    front.notify(Port(999));
    assert!(!front.take_event(Port(999)));
}

#[test]
fn events_that_are_held_come_in_any_order() {
    let (machine, front, back) = pair();
    let near = [(); 3].map(|()| Channel::offer(&front, back.id()).unwrap());
    let far = near
        .each_ref()
        .map(|near| Channel::bind(&back, front.id(), near.port()).unwrap());
    machine.hold_events(true);
    far.iter().for_each(Channel::notify);
    assert!(near.iter().all(|channel| !channel.take_event()));
    let held = machine.held_events();
    assert_eq!(held, near.each_ref().map(|channel| (front.id(), channel.port())));
    assert!(machine.deliver(2));
    assert!(near[2].take_event() && !near[0].take_event());
    assert!(!machine.deliver(2));
    machine.hold_events(false);
    assert!(near[0].take_event() && near[1].take_event());
}

#[test]
fn who_waits_lets_the_others_run() {
    let (machine, front, back) = pair();
    let near = Channel::offer(&front, back.id()).unwrap();
    let far = Channel::bind(&back, front.id(), near.port()).unwrap();
    let rounds = Rc::new(Cell::new(0));
    let counted = rounds.clone();
    back.spawn(move || {
        counted.set(counted.get() + 1);
        if counted.get() == 5 {
            far.notify();
        }
    });
    assert!(near.wait(None));
    assert_eq!(rounds.get(), 5);
    assert!(near.take_event());
    let start = front.now();
    assert!(!near.wait(Some(start + Duration::from_secs(2))));
    assert_eq!(front.now(), start + Duration::from_secs(2));
    machine.advance(Duration::from_secs(1));
    assert_eq!(back.now(), start + Duration::from_secs(3));
}

#[test]
#[should_panic(expected = "every domain sleeps")]
fn a_wait_that_nobody_ends_is_found() {
    let (_machine, front, back) = pair();
    let near = Channel::offer(&front, back.id()).unwrap();
    near.wait(None);
}

#[test]
fn calls_are_recorded_and_fail_on_demand() {
    let (machine, front, back) = pair();
    machine.start_record();
    machine.fail(front.id(), Kind::Grant, 1, Error::NoGrants);
    assert_eq!(
        SharedPages::new(&front, back.id(), 3, Access::ReadWrite).err(),
        Some(Error::NoGrants)
    );
    assert_eq!(
        machine.grants_in_use(front.id()),
        0,
        "what was granted before is taken back"
    );
    let grant = GrantRef(8);
    let (peer, access, is_over) = (back.id(), Access::ReadWrite, true);
    assert_eq!(
        machine.take_record(),
        [
            (front.id(), Call::Allocate { pages: 3 }),
            (front.id(), Call::Grant { grant, peer, access }),
            (front.id(), Call::EndAccess { grant, is_over }),
        ]
    );
    for kind in [Kind::Allocate, Kind::AllocateUnbound, Kind::Bind, Kind::Map] {
        machine.fail(front.id(), kind, 0, Error::Denied);
    }
    assert_eq!(front.allocate(1).err(), Some(Error::Denied));
    assert_eq!(front.allocate_unbound(back.id()).err(), Some(Error::Denied));
    assert_eq!(front.bind_interdomain(back.id(), Port(1)).err(), Some(Error::Denied));
    assert_eq!(front.map(back.id(), &[grant], access).err(), Some(Error::Denied));
    assert!(front.allocate(1).is_ok(), "only once");
}

#[test]
fn a_domain_that_dies_leaves_nothing_mapped() {
    let (machine, front, back) = pair();
    let shared = SharedPages::new(&front, back.id(), 1, Access::ReadWrite).unwrap();
    let near = Channel::offer(&front, back.id()).unwrap();
    let mapping = back.map(front.id(), shared.grants(), Access::ReadWrite).unwrap();
    let far = Channel::bind(&back, front.id(), near.port()).unwrap();
    back.spawn(move || {
        let _held = (&mapping, &far);
    });
    machine.destroy(back.id());
    assert!(shared.end_access());
    near.notify();
    assert_eq!(front.bind_interdomain(back.id(), Port(3)), Err(Error::NoDomain));
    // The other way round, a mapping outlives the domain whose page it is.
    let late = machine.add_domain(4);
    let page = SharedPages::new(&late, front.id(), 1, Access::ReadWrite).unwrap();
    let mapping = front.map(late.id(), page.grants(), Access::ReadWrite).unwrap();
    machine.destroy(late.id());
    assert_eq!(mapping.load_u32(0, Ordering::Relaxed), 0);
    assert_eq!(
        front.map(late.id(), &[GrantRef(8)], Access::ReadOnly).err(),
        Some(Error::NoDomain)
    );
}

#[test]
fn the_order_of_tasks_changes_with_the_seed_and_is_the_same_again() {
    let order = |seed| {
        let machine = Machine::new();
        machine.shuffle(seed);
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        for id in 1..6 {
            let order = order.clone();
            machine.add_domain(id).spawn(move || order.borrow_mut().push(id));
        }
        for _ in 0..4 {
            machine.run_round();
        }
        order.take()
    };
    assert_eq!(order(0)[..10], [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]);
    assert_eq!(order(7), order(7));
    assert_ne!(order(7), order(8));
}

proptest! {
    #[test]
    fn bytes_are_copied_wherever_they_begin_and_end(
        writes in proptest::collection::vec((0usize..3 * PAGE_SIZE, 0usize..600, any::<u8>()), 1..20),
    ) {
        let (_machine, front, _) = pair();
        let pages = front.allocate(3).unwrap();
        let mut model = vec![0u8; 3 * PAGE_SIZE];
        for (offset, length, first) in writes {
            let length = length.min(model.len() - offset);
            let bytes: Vec<u8> = (0..length).map(|at| first.wrapping_add(at as u8)).collect();
            pages.write(offset, &bytes);
            model[offset..offset + length].copy_from_slice(&bytes);
            pages.fill(offset, length / 2, first);
            model[offset..offset + length / 2].fill(first);
            let mut read = vec![0; length];
            pages.read(offset, &mut read);
            prop_assert_eq!(&read[..], &model[offset..offset + length]);
        }
        let mut all = vec![0; model.len()];
        pages.read(0, &mut all);
        prop_assert_eq!(all, model);
    }
}
