//! What a backend does about the states that both ends of a device announce.

pub(crate) use xen_abi::XenbusState as State;

/// What is to be done with a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// Nothing now.
    Wait,
    /// Let go of the frontend if there is one, open the image, tell the features, wait for a ring.
    Prepare,
    /// Take up the frontend's rings and tell of the disk.
    Connect,
    /// Take up rings that an earlier blkd has connected.
    Adopt,
    /// Let go of the frontend and announce this state.
    Release(State),
}

/// What a device looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    /// This end's state in the store: a toolstack may have written it too.
    pub(crate) backend: State,
    /// The other end's.
    pub(crate) frontend: State,
    /// The image is open.
    pub(crate) is_open: bool,
    /// Queues are served.
    pub(crate) is_running: bool,
    /// The toolstack wants the device.
    pub(crate) is_online: bool,
    /// The guest is alive.
    pub(crate) is_living: bool,
}

/// Decides what to do next; [`Action::Wait`] where the situation is as it should be.
pub(crate) fn decide(now: &Situation) -> Action {
    use State::{
        Closed, Closing, Connected, InitWait, Initialised, Initialising, Reconfigured, Reconfiguring, Unknown,
    };
    let release = |state| {
        if now.is_running || now.backend != state {
            Action::Release(state)
        } else {
            Action::Wait
        }
    };
    if !now.is_living {
        return release(Closed);
    }
    match (now.frontend, now.backend) {
        (Closed, _) => {
            // A frontend that has closed before a detached device's backend did needs no second word.
            release(Closed)
        }
        (Closing, Closed) => release(Closed),
        (Closing, _) => release(Closing),
        (Unknown | Reconfiguring | Reconfigured, _) if now.is_running || !now.is_online => release(Closed),
        // Only PCI devices are ever reconfigured.
        (Unknown | Reconfiguring | Reconfigured, _) => Action::Wait,
        // Whoever detaches a device writes Closing here; the frontend answers by closing.
        (_, Closing) => Action::Wait,
        (Initialising | InitWait, Closed) if !now.is_online => Action::Wait,
        (Initialising | InitWait, InitWait) if now.is_open && !now.is_running => Action::Wait,
        (Initialising | InitWait, _) => Action::Prepare,
        (Initialised | Connected, Closed | Unknown | Reconfiguring | Reconfigured) => Action::Wait,
        (Initialised | Connected, Connected) if now.is_running => Action::Wait,
        (Initialised | Connected, Connected) => Action::Adopt,
        (Initialised | Connected, Initialising) => Action::Prepare,
        (Initialised | Connected, InitWait | Initialised) if !now.is_open => Action::Prepare,
        (Initialised | Connected, InitWait | Initialised) => Action::Connect,
    }
}

#[cfg(test)]
mod tests {
    use super::State::{Closed, Closing, Connected, InitWait, Initialised, Initialising};
    use super::*;

    fn perform(now: &mut Situation, action: Action) {
        match action {
            Action::Wait => {}
            Action::Prepare => (now.is_open, now.is_running, now.backend) = (true, false, InitWait),
            Action::Connect => (now.is_running, now.backend) = (true, Connected),
            Action::Adopt => (now.is_open, now.is_running) = (true, true),
            Action::Release(state) => (now.is_running, now.backend) = (false, state),
        }
    }

    fn settle(now: &mut Situation) -> usize {
        for step in 0..5 {
            match decide(now) {
                Action::Wait => return step,
                action => perform(now, action),
            }
        }
        panic!("it never settles: {now:?}");
    }

    fn fresh() -> Situation {
        Situation {
            backend: Initialising,
            frontend: Initialising,
            is_open: false,
            is_running: false,
            is_online: true,
            is_living: true,
        }
    }

    #[test]
    fn a_disks_life() {
        let mut now = fresh();
        settle(&mut now);
        assert_eq!(now.backend, InitWait);
        now.frontend = Initialised;
        settle(&mut now);
        assert!(now.is_running && now.backend == Connected);
        now.frontend = Connected;
        assert_eq!(settle(&mut now), 0);
        // The guest unloads its driver and loads it again.
        for (frontend, backend) in [(Closing, Closing), (Closed, Closed), (Initialising, InitWait)] {
            now.frontend = frontend;
            settle(&mut now);
            assert_eq!((now.backend, now.is_running), (backend, false));
        }
    }

    #[test]
    fn a_detached_disk_closes_behind_its_frontend() {
        let mut now = fresh();
        now.frontend = Connected;
        settle(&mut now);
        (now.backend, now.is_online) = (Closing, false);
        assert_eq!(settle(&mut now), 0, "the frontend must let go first");
        now.frontend = Closing;
        settle(&mut now);
        assert!(!now.is_running);
        now.frontend = Closed;
        settle(&mut now);
        assert_eq!(now.backend, Closed);
    }

    #[test]
    fn a_restarted_blkd_adopts_what_it_finds() {
        let mut now = fresh();
        (now.frontend, now.backend) = (Connected, Connected);
        assert_eq!(decide(&now), Action::Adopt);
        (now.frontend, now.backend) = (Initialised, InitWait);
        settle(&mut now);
        assert!(now.is_running);
    }

    #[test]
    fn every_situation_settles_and_the_dead_hold_nothing() {
        let flags = [false, true];
        for backend in State::ALL {
            for frontend in State::ALL {
                for is_open in flags {
                    for is_running in flags {
                        for is_online in flags {
                            for is_living in flags {
                                let mut now = Situation {
                                    backend,
                                    frontend,
                                    is_open,
                                    is_running,
                                    is_online,
                                    is_living,
                                };
                                settle(&mut now);
                                let gone = !is_living || matches!(frontend, Closing | Closed);
                                assert!(!(gone && now.is_running), "{now:?}");
                            }
                        }
                    }
                }
            }
        }
    }
}
