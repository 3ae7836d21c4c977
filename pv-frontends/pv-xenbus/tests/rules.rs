//! Both ends' rules against each other: every situation that anybody can bring about, and where it settles.
use pv_xenbus::State::{self, Closed, Closing, Connected, Initialised, Initialising, Unknown};
use pv_xenbus::{backend, frontend};
use std::collections::{BTreeSet, VecDeque};

/// A device as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Device {
    front: State,
    front_held: frontend::Held,
    is_wanted: bool,
    back: State,
    back_held: backend::Held,
    is_online: bool,
    /// What the frontend announces with its rings: network devices are in a hurry.
    announced: State,
}

impl Device {
    fn fresh(announced: State) -> Device {
        Device {
            front: Initialising,
            front_held: frontend::Held::Nothing,
            is_wanted: true,
            back: Initialising,
            back_held: backend::Held::Nothing,
            is_online: true,
            announced,
        }
    }

    fn key(&self) -> String {
        format!("{self:?}")
    }

    /// The frontend's driver does what it is told; false if that was nothing.
    fn step_front(&mut self) -> bool {
        let action = frontend::decide(&frontend::Situation {
            frontend: self.front,
            backend: self.back,
            held: self.front_held,
            is_wanted: self.is_wanted,
            is_online: self.is_online,
        });
        match action {
            frontend::Action::Wait | frontend::Action::Rest => return false,
            frontend::Action::Announce(state) => self.front = state,
            frontend::Action::Publish => (self.front, self.front_held) = (self.announced, frontend::Held::Published),
            frontend::Action::Start => (self.front, self.front_held) = (Connected, frontend::Held::Started),
            frontend::Action::Release => self.front_held = frontend::Held::Nothing,
        }
        true
    }

    fn step_back(&mut self) -> bool {
        let action = backend::decide(&backend::Situation {
            backend: self.back,
            frontend: self.front,
            held: self.back_held,
            is_online: self.is_online,
        });
        match action {
            backend::Action::Wait | backend::Action::Rest => return false,
            backend::Action::Announce(state) => self.back = state,
            backend::Action::Offer => (self.back, self.back_held) = (State::InitWait, backend::Held::Offered),
            backend::Action::Connect => (self.back, self.back_held) = (Connected, backend::Held::Running),
            backend::Action::Release => self.back_held = backend::Held::Nothing,
        }
        true
    }

    /// Lets both go on in turns, the frontend first or the backend, until nothing moves.
    fn settle(mut self, front_first: bool) -> Device {
        let start = self;
        for _ in 0..40 {
            let moved = if front_first {
                let moved = self.step_front();
                self.step_back() || moved
            } else {
                let moved = self.step_back();
                self.step_front() || moved
            };
            if !moved {
                return self;
            }
        }
        panic!("{start:?} never settles; it is at {self:?}");
    }

    /// What can happen next, beside the two drivers' own steps.
    fn disturbances(&self) -> Vec<Device> {
        let mut all = Vec::new();
        let mut add = |change: &dyn Fn(&mut Device)| {
            let mut next = *self;
            change(&mut next);
            all.push(next);
        };
        // The driver's wishes.
        add(&|device| device.is_wanted = false);
        add(&|device| device.is_wanted = true);
        // The toolstack detaches the device.
        add(&|device| (device.is_online, device.back) = (false, Closing));
        // A kernel that has been replaced, or resumed elsewhere: it holds nothing of what the store says.
        add(&|device| (device.front_held, device.front) = (frontend::Held::Nothing, device.front));
        add(&|device| (device.front_held, device.front) = (frontend::Held::Nothing, Initialising));
        // A backend that was killed and started again.
        add(&|device| device.back_held = backend::Held::Nothing);
        all
    }
}

/// Every device that can come about by steps and at most this many disturbances.
fn reachable(announced: State, disturbances: usize) -> Vec<Device> {
    let start = Device::fresh(announced);
    let mut seen = BTreeSet::from([start.key()]);
    let mut found = vec![start];
    let mut queue = VecDeque::from([(start, disturbances)]);
    while let Some((device, left)) = queue.pop_front() {
        let (mut by_front, mut by_back) = (device, device);
        by_front.step_front();
        by_back.step_back();
        let mut next = vec![(by_front, left), (by_back, left)];
        if left > 0 {
            next.extend(device.disturbances().into_iter().map(|device| (device, left - 1)));
        }
        for (device, left) in next {
            if seen.insert(format!("{left} {}", device.key())) {
                queue.push_back((device, left));
                found.push(device);
            }
        }
    }
    found
}

#[test]
fn whatever_happened_it_settles_where_everybody_wants_it() {
    for announced in [Initialised, Connected] {
        let devices = reachable(announced, 5);
        assert!(devices.len() > 200, "only {} situations", devices.len());
        for device in devices {
            for front_first in [true, false] {
                let end = device.settle(front_first);
                let holds = (end.front_held, end.back_held);
                match (end.is_wanted, end.is_online) {
                    (true, true) => assert_eq!(
                        (end.front, end.back, holds),
                        (Connected, Connected, (frontend::Held::Started, backend::Held::Running)),
                        "{device:?} settles at {end:?}"
                    ),
                    (false, _) | (true, false) => {
                        assert_eq!(holds.0, frontend::Held::Nothing, "{device:?} settles at {end:?}");
                        assert_ne!(holds.1, backend::Held::Running, "{device:?} settles at {end:?}");
                        assert!(matches!(end.front, Closed | Unknown), "{device:?} settles at {end:?}");
                        assert!(matches!(end.back, Closed | Unknown), "{device:?} settles at {end:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_device_that_closed_opens_again() {
    for device in reachable(Initialised, 2).into_iter().filter(|device| device.is_online) {
        let mut closed = device;
        closed.is_wanted = false;
        let mut closed = closed.settle(true);
        closed.is_wanted = true;
        let opened = closed.settle(true);
        assert_eq!(
            opened.front_held,
            frontend::Held::Started,
            "{closed:?} settles at {opened:?}"
        );
    }
}

#[test]
fn nobody_moves_where_the_device_is_gone() {
    for device in reachable(Initialised, 1) {
        let mut gone = device;
        (gone.front, gone.back, gone.is_online) = (Unknown, Unknown, false);
        let end = gone.settle(true);
        assert_eq!((end.front, end.back), (Unknown, Unknown), "nodes come back: {end:?}");
        assert_eq!(end.front_held, frontend::Held::Nothing);
        assert_ne!(end.back_held, backend::Held::Running);
    }
}

#[test]
fn every_announced_state_of_a_peer_leads_to_rest() {
    use backend::Held as B;
    use frontend::Held as F;
    for frontend in State::ALL {
        for backend in State::ALL {
            for flags in 0..4 {
                let (is_wanted, is_online) = (flags & 1 != 0, flags & 2 != 0);
                for held in [F::Nothing, F::Published, F::Started] {
                    let mut now = Device::fresh(Initialised);
                    (now.front, now.back, now.front_held) = (frontend, backend, held);
                    (now.is_wanted, now.is_online) = (is_wanted, is_online);
                    let steps = (0..10).take_while(|_| now.step_front()).count();
                    assert!(steps < 6, "the frontend goes round at {now:?}");
                }
                for held in [B::Nothing, B::Offered, B::Running] {
                    let mut now = Device::fresh(Initialised);
                    (now.front, now.back, now.back_held) = (frontend, backend, held);
                    now.is_online = is_online;
                    let steps = (0..10).take_while(|_| now.step_back()).count();
                    assert!(steps < 6, "the backend goes round at {now:?}");
                }
            }
        }
    }
}
