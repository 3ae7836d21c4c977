//! Taking devices away: with the guest's consent, or from under it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use xen_abi::XenbusState as State;
use xenctrl::DomId;
use xenstore_client::{Client, Store};
use xl_config::Vif;

use super::backend::{state, wait_for};
use super::presence::Presence;
use super::{Class, Device, hotplug, network, vif};
use crate::life::layout::domain_path;
use crate::{failure, message};

/// How long a guest may take to let go of a device, as in xl.
pub const CONSENT_TIME: Duration = Duration::from_secs(10);

/// All devices of `domid` that the store knows of, served by this domain or others.
pub fn devices_of(store: &mut impl Store, domid: DomId) -> Result<Vec<Device>> {
    let mut devices = Vec::new();
    for class in Class::ALL {
        let root = format!("{}/backend/{}/{domid}", domain_path(0), class.backend_name());
        for devid in numbers(store.directory_or_empty(&root)?) {
            devices.push(Device {
                class,
                domid,
                devid,
                backend_domid: 0,
            });
        }
    }
    for class in [Class::Vbd, Class::Vif] {
        let root = format!("{}/device/{}", domain_path(domid), class.frontend_name());
        for devid in numbers(store.directory_or_empty(&root)?) {
            let device = Device {
                class,
                domid,
                devid,
                backend_domid: 0,
            };
            // The guest can write this path: it is compared, never followed.
            let Some(path) = store.read_optional(&format!("{root}/{devid}/backend"))? else {
                continue;
            };
            if let Some(device) = elsewhere(device, &path)
                && !devices.contains(&device)
            {
                devices.push(device);
            }
        }
    }
    Ok(devices)
}

fn numbers(names: Vec<String>) -> impl Iterator<Item = u32> {
    names.into_iter().filter_map(|name| name.parse().ok())
}

fn elsewhere(device: Device, path: &str) -> Option<Device> {
    let domid = path.strip_prefix("/local/domain/")?.split('/').next()?.parse().ok()?;
    let found = Device {
        backend_domid: domid,
        ..device
    };
    (domid != 0 && found.backend() == path).then_some(found)
}

/// Asks the guest to let go of a device and waits; then nothing of it is left.
pub fn detach(store: &mut Client, device: &Device, time: Duration) -> Result<()> {
    let path = device.backend();
    let presence = Presence::new();
    store.transaction(|store| {
        store.write(&format!("{path}/online"), "0")?;
        match store
            .read_optional(&format!("{path}/state"))?
            .map(|text| State::from_node(Some(&text)))
        {
            Some(State::Closed) | None => Ok(()),
            Some(_) => store.write(&format!("{path}/state"), "5"),
        }
    })?;
    let end = Instant::now() + time;
    let closed = wait_for(store, &path, end, |store| {
        Ok(matches!(state(store, device)?, State::Closed | State::Unknown)
            || !presence.holds(device) && device.backend_domid == 0)
    })?;
    if !closed {
        bail!(
            "{device}: the guest did not let go of it in {} s; try --force",
            time.as_secs()
        );
    }
    forget(store, &presence, &[*device], end)
}

/// Takes devices away whether their guest likes it or not, and waits until the kernel has let go of them.
pub fn take_away(store: &mut Client, devices: &[Device], time: Duration) -> Result<()> {
    let presence = Presence::new();
    begin(store, devices)?;
    forget(store, &presence, devices, Instant::now() + time)
}

/// Tells the backends that their guest is gone.
pub fn begin(store: &mut Client, devices: &[Device]) -> Result<()> {
    store.transaction(|store| {
        for device in devices {
            if store.exists(&device.backend())? {
                store.write(&format!("{}/online", device.backend()), "0")?;
            }
            store.remove(&device.frontend())?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Waits until the kernel has let go, undoes what connected the devices, and removes their nodes.
pub fn forget(store: &mut Client, presence: &Presence, devices: &[Device], end: Instant) -> Result<()> {
    let here = || devices.iter().filter(|device| device.backend_domid == 0);
    for device in here() {
        disconnect(store, device)?;
    }
    // Removing a backend's nodes makes the kernel drop what it still holds.
    store.transaction(|store| {
        for device in devices {
            for path in [device.backend(), device.frontend(), device.toolstack(), device.error()] {
                store.remove(&path)?;
            }
        }
        for device in devices {
            prune_upwards(store, &device.backend(), 3)?;
            prune_upwards(store, &device.error(), 4)?;
        }
        Ok(())
    })?;
    if !presence.wait(end, |presence| !here().any(|device| presence.holds(device))) {
        let held: Vec<String> = here()
            .filter(|device| presence.holds(device))
            .map(Device::sysfs_name)
            .collect();
        bail!("the kernel still holds {}; see Dom0's kernel log", held.join(", "));
    }
    Ok(())
}

/// Removes up to `levels` directories above `path`, from below, as far as they have become empty.
pub fn prune_upwards(store: &mut impl Store, path: &str, levels: usize) -> xenstore_client::Result<()> {
    let mut path = path;
    for _ in 0..levels {
        path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if path.is_empty() || !store.exists(path)? || !store.directory(path)?.is_empty() {
            return Ok(());
        }
        store.remove(path)?;
    }
    Ok(())
}

/// Undoes what connected a device of this domain. Failures are told, not passed on: the device goes in any case.
fn disconnect(store: &mut impl Store, device: &Device) -> Result<()> {
    let path = device.backend();
    let script = store.read_optional(&format!("{path}/script"))?;
    if device.class == Class::Vif {
        let chosen = store.read_optional(&format!("{path}/vifname"))?;
        let name = vif::name_of(device, chosen.as_deref());
        let mode = store.read_optional(&format!("{path}/{}", vif::MODE_NODE))?;
        match (mode.as_deref().and_then(vif::mode_of), script) {
            (Some(mode), _) => network::disconnect(&name, mode),
            (None, Some(script)) => tell(hotplug::run_vif(&script, device, &name, &Vif::default(), "offline")),
            (None, None) => {}
        }
    } else if let Some(script) = script {
        tell(hotplug::run_block(&script, device, "remove"));
    }
    Ok(())
}

fn tell(result: Result<()>) {
    if let Err(error) = result {
        message::warn(failure::text(&error));
    }
}
