//! States of devices, whatever they are: a frontend that makes no ring.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use pv_hal::Hal;
use pv_xenbus::{State, Store, StoreError};

use crate::{Bench, Outcome, Stop};

/// Time for a backend to follow.
const PATIENCE: Duration = Duration::from_secs(10);
/// Kinds of devices that the cases try.
const KINDS: [&str; 2] = ["vbd", "vif"];

/// A device's two directories.
struct Device {
    own: String,
    backend: String,
}

impl Device {
    /// One of each kind that this domain has.
    fn all<H: Hal, S: Store>(bench: &Bench<H, S>) -> Result<Vec<Device>, Stop> {
        let paths: Vec<String> = KINDS.iter().filter_map(|kind| bench.device(kind).ok()).collect();
        if paths.is_empty() {
            return Err(Stop::NotApplicable("no device".into()));
        }
        let device = |own: String| {
            let backend = bench.store.read(&format!("{own}/backend"))?;
            Ok(Device { own, backend })
        };
        paths.into_iter().map(device).collect()
    }

    fn announce<H: Hal, S: Store>(&self, bench: &Bench<H, S>, state: impl core::fmt::Display) -> Outcome {
        Ok(bench.store.write(&format!("{}/state", self.own), state)?)
    }

    fn backend_state<H: Hal, S: Store>(&self, bench: &Bench<H, S>) -> Result<State, Stop> {
        let value = bench.store.read_optional(&format!("{}/state", self.backend))?;
        Ok(State::from_node(value.as_deref()))
    }

    fn wait_for<H: Hal, S: Store>(&self, bench: &Bench<H, S>, states: &[State]) -> Outcome {
        bench.wait_for(format_args!("{states:?} of {}", self.backend), PATIENCE, || {
            let state = self.backend_state(bench)?;
            Ok(states.contains(&state).then_some(()))
        })
    }

    /// Has the backend wait for a ring, whatever it did before. One step at a time: a backend need not follow a frontend
    /// that takes a word back before it was heard.
    fn begin<H: Hal, S: Store>(&self, bench: &Bench<H, S>) -> Outcome {
        if !matches!(self.backend_state(bench)?, State::InitWait | State::Closed) {
            self.close(bench, &[State::Closing, State::Closed])?;
        }
        self.open(bench)
    }

    /// Announces the frontend's way to Closed, and has the backend follow.
    fn close<H: Hal, S: Store>(&self, bench: &Bench<H, S>, steps: &[State]) -> Outcome {
        for &state in steps {
            self.announce(bench, state)?;
            self.wait_for(
                bench,
                if state == State::Closed {
                    &[State::Closed]
                } else {
                    &[State::Closing, State::Closed]
                },
            )?;
        }
        Ok(())
    }

    /// Has a backend that waits or has closed wait for a ring.
    fn open<H: Hal, S: Store>(&self, bench: &Bench<H, S>) -> Outcome {
        self.announce(bench, State::Initialising)?;
        self.wait_for(bench, &[State::InitWait])
    }
}

/// Lets a backend hear of everything that was written.
fn settle<H: Hal, S: Store>(bench: &Bench<H, S>) {
    bench.hal.wait(&[], Some(bench.hal.now() + Duration::from_millis(500)));
}

pub(super) fn directories_fit<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    for device in Device::all(bench)? {
        let domain: u16 = bench
            .store
            .read_parsed(&format!("{}/backend-id", device.own))?
            .unwrap_or(u16::MAX);
        let prefix = format!("/local/domain/{domain}/backend/");
        bench.expect(
            device.backend.starts_with(&prefix),
            format_args!("{} is not of domain {domain}", device.backend),
        )?;
        let frontend = bench.store.read(&format!("{}/frontend", device.backend))?;
        bench.expect(
            frontend.ends_with(&format!("/{}", device.own)),
            format_args!("{} names {frontend}", device.backend),
        )?;
    }
    Ok(())
}

pub(super) fn backend_waits<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    for device in Device::all(bench)? {
        device.begin(bench)?;
        let names = bench.store.directory(&device.backend)?;
        let features = names.iter().filter(|name| name.starts_with("feature-")).count();
        bench.expect(features > 0, format_args!("no features among {names:?}"))?;
    }
    Ok(())
}

/// Closes every device so many times, each time in `steps`, and opens it again.
fn close_and_return<H: Hal, S: Store>(bench: &Bench<H, S>, times: usize, steps: &[State]) -> Outcome {
    for device in Device::all(bench)? {
        for _ in 0..times {
            device.begin(bench)?;
            device.close(bench, steps)?;
        }
        device.open(bench)?;
        bench.expect(device.backend_state(bench)? == State::InitWait, "it waits no more")?;
    }
    Ok(())
}

pub(super) fn closes_and_returns<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    close_and_return(bench, 3, &[State::Closing, State::Closed])
}

pub(super) fn closes_at_once<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    close_and_return(bench, 1, &[State::Closed])
}

pub(super) fn undefined_state<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    for device in Device::all(bench)? {
        device.begin(bench)?;
        device.announce(bench, 99)?;
        settle(bench);
        let state = device.backend_state(bench)?;
        let stands = matches!(state, State::InitWait | State::Closing | State::Closed);
        bench.expect(stands, format_args!("the backend goes to {state:?}"))?;
        device.begin(bench)?;
    }
    Ok(())
}

pub(super) fn changes_its_mind<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    for device in Device::all(bench)? {
        device.begin(bench)?;
        for number in 0..60 {
            let states = [State::Closing, State::Closed, State::Initialising];
            device.announce(bench, states[number % states.len()])?;
        }
        // A backend may have seen any of them, and have stopped at any.
        settle(bench);
        let state = device.backend_state(bench)?;
        let stands = matches!(state, State::InitWait | State::Closing | State::Closed);
        bench.expect(stands, format_args!("the backend goes to {state:?}"))?;
        device.begin(bench)?;
    }
    Ok(())
}

pub(super) fn backend_is_closed_to_us<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    for device in Device::all(bench)? {
        for key in ["state", "online", "params", "conform"] {
            let path = format!("{}/{key}", device.backend);
            bench.expect_refusal(&path, bench.store.write(&path, 1), &[StoreError::EACCES])?;
        }
    }
    Ok(())
}
