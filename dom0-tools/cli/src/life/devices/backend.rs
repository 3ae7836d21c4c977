//! Waiting for a backend: each change of its state comes as an event of the store.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xen_abi::XenbusState as State;
use xenstore_client::{Client, Store};

use super::Device;

/// The state of a device's backend.
pub fn state(store: &mut impl Store, device: &Device) -> Result<State> {
    let text = store.read_optional(&format!("{}/state", device.backend()))?;
    Ok(State::from_node(text.as_deref()))
}

/// Whether nothing stands where `device` would.
pub fn is_free(store: &mut impl Store, device: &Device) -> Result<bool> {
    Ok(!store.exists(&format!("{}/state", device.frontend()))?
        && !store.exists(&format!("{}/state", device.backend()))?)
}

/// Waits until `done` is true of what stands at `path` or below, at most until `end`; false when the time is over.
pub fn wait_for(
    store: &mut Client,
    path: &str,
    end: Instant,
    mut done: impl FnMut(&mut Client) -> Result<bool>,
) -> Result<bool> {
    const TOKEN: &str = "xlr-wait";
    store.watch(path, TOKEN)?;
    let result = loop {
        match done(store) {
            Ok(false) => {}
            other => break other,
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break Ok(false);
        }
        if let Err(error) = store.wait_event(Some(left)) {
            break Err(error.into());
        }
    };
    store.unwatch(path, TOKEN)?;
    result
}

/// Waits until the backend of `device` has taken it up and waits for the guest.
pub fn wait_ready(store: &mut Client, device: &Device, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    let path = format!("{}/state", device.backend());
    let mut seen = State::Unknown;
    let ready = wait_for(store, &path, end, |store| {
        seen = state(store, device)?;
        Ok(seen != State::Initialising)
    })?;
    match seen {
        State::InitWait | State::Initialised | State::Connected => Ok(()),
        State::Closing | State::Closed => bail!("{}", refusal(store, device)?),
        State::Unknown if ready => bail!("{device}: its backend's nodes are gone; was it detached meanwhile?"),
        _ => bail!(
            "{device}: no backend took it up in {} s; {}",
            time.as_secs(),
            advice(device)
        ),
    }
}

/// Waits until the guest has connected its devices; those that it has not connected at `end`.
pub fn wait_connected(store: &mut Client, devices: &[Device], end: Instant) -> Result<Vec<Device>> {
    let mut left = Vec::new();
    for device in devices {
        let path = format!("{}/state", device.backend());
        let connected = wait_for(store, &path, end, |store| {
            // One that closes has been connected before.
            Ok(!matches!(
                state(store, device)?,
                State::Initialising | State::InitWait | State::Initialised
            ))
        })?;
        if !connected {
            left.push(*device);
        }
    }
    Ok(left)
}

/// What the backend has reported, for a message.
pub fn refusal(store: &mut impl Store, device: &Device) -> Result<String> {
    let reported = store
        .read_optional(&format!("{}/error", device.error()))
        .context("cannot read the backend's error")?;
    Ok(match reported {
        Some(text) => format!("{device}: its backend refused it: {text}"),
        None => format!("{device}: its backend closed it; see Dom0's kernel log"),
    })
}

fn advice(device: &Device) -> String {
    let module = match device.class {
        super::Class::Vbd => "modprobe xen-blkback",
        super::Class::Vif => "modprobe xen-netback",
        super::Class::Qdisk => "is blkd running?",
    };
    match device.backend_domid {
        0 => format!("try: {module}"),
        other => format!("is domain {other} running devd?"),
    }
}
