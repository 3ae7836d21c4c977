//! What a guest may ask of its toolstack, for tests: to take its devices away, to bring them back, to lose a backend.
//!
//! The guest writes `N ACTION` to `data/request` in its directory and finds `N done` or `N unable WHY` in `data/answer`.
//! A device that is taken away is asked to close, which the guest then has to do; one that is brought back meanwhile
//! comes when it has closed. Actions: `block-detach NUMBER`, `block-attach NUMBER`, `network-detach NUMBER`, `network-attach NUMBER`,
//! `backend-kill vbd|vif`. They touch nothing but the guest's own devices.
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use pv_hal::Hal;
use pv_xenbus::{Error, Nodes, Store, WatchId};

use crate::bridge::Uplink;
use crate::build::Control;
use crate::guest::{Disks, attach_disk, attach_net, serve_disk, serve_net};
use crate::nodes::{Device, domain_path};
use crate::server::Server;

/// Longest request.
const LONGEST: usize = 100;

/// The guests' requests.
#[derive(Debug, Default)]
pub struct Requests {
    watches: BTreeMap<u16, WatchId>,
    /// Devices that are being taken away.
    leaving: Vec<Device>,
    /// Devices that are to come back when they have gone, and the numbers of the requests.
    coming: Vec<(Device, String)>,
}

impl Requests {
    /// Watches for a guest's requests.
    pub(crate) fn watch(&mut self, store: &impl Store, domid: u16) -> Result<(), Error> {
        let watch = store.watch(&format!("{}/data/request", domain_path(domid)))?;
        self.watches.insert(domid, watch);
        Ok(())
    }

    /// Notes a device that is being taken away; false where it was being so already. A guest that does not let go may
    /// ask again and again.
    fn leave(&mut self, device: Device) -> bool {
        let is_new = !self.leaving.contains(&device);
        if is_new {
            self.leaving.push(device);
        }
        is_new
    }

    /// Notes a device that is to come back, for the request of this number; false where it was to already.
    fn come(&mut self, device: Device, number: &str) -> bool {
        let is_new = self.coming.iter().all(|(other, _)| *other != device);
        if is_new {
            self.coming.push((device, number.into()));
        }
        is_new
    }

    /// Forgets a guest.
    pub(crate) fn forget(&mut self, store: &impl Store, domid: u16) {
        if let Some(watch) = self.watches.remove(&domid) {
            store.unwatch(watch);
        }
        self.leaving.retain(|device| device.domid != domid);
        self.coming.retain(|(device, _)| device.domid != domid);
    }
}

/// What came of a request.
enum Outcome {
    Done,
    /// The answer comes when the device has gone and come back.
    Later(Device),
    Unable(String),
}

/// Looks for requests and for the ends of earlier ones; whether there were any.
pub(crate) fn answer<H: Hal, C: Control, D: Disks, U: Uplink>(server: &mut Server<H, C, D, U>) -> bool {
    let mut is_busy = finish_leaving(server);
    let watches: Vec<(u16, WatchId)> = server
        .requests
        .watches
        .iter()
        .map(|(domid, watch)| (*domid, *watch))
        .collect();
    for (domid, watch) in watches {
        let mut is_new = false;
        while server.store.take_event(watch).is_some() {
            is_new = true;
        }
        if !is_new {
            continue;
        }
        let path = format!("{}/data/request", domain_path(domid));
        let Ok(Some(request)) = server.store.read_optional(&path) else {
            continue;
        };
        let Some((number, action)) = request.split_once(' ').filter(|_| request.len() <= LONGEST) else {
            continue;
        };
        is_busy = true;
        match act(server, domid, action) {
            Outcome::Done => reply(&server.store, domid, number, "done"),
            Outcome::Unable(why) => reply(&server.store, domid, number, &format!("unable {why}")),
            Outcome::Later(device) => {
                if !server.requests.come(device, number) {
                    reply(&server.store, domid, number, "unable it is to come already");
                }
            }
        }
    }
    is_busy
}

fn reply(store: &impl Nodes, domid: u16, number: &str, what: &str) {
    // The guest may have gone meanwhile; then nobody reads it.
    let _ = store.write(
        &format!("{}/data/answer", domain_path(domid)),
        format!("{number} {what}"),
    );
}

/// Removes what has closed by now, and brings back what was to come after that.
fn finish_leaving<H: Hal, C: Control, D: Disks, U: Uplink>(server: &mut Server<H, C, D, U>) -> bool {
    let mut any = false;
    for device in core::mem::take(&mut server.requests.leaving) {
        if is_served(server, device) {
            server.requests.leaving.push(device);
            continue;
        }
        any = true;
        if let Err(error) = device.remove(&server.store) {
            log::warn!("{}: {error}", device.backend());
        }
    }
    for (device, number) in core::mem::take(&mut server.requests.coming) {
        if server.requests.leaving.contains(&device) {
            server.requests.coming.push((device, number));
            continue;
        }
        any = true;
        match attach_again(server, device) {
            Ok(()) => reply(&server.store, device.domid, &number, "done"),
            Err(why) => reply(&server.store, device.domid, &number, &format!("unable {why}")),
        }
    }
    any
}

/// Whether a backend holds the device.
fn is_served<H: Hal, C: Control, D: Disks, U: Uplink>(server: &mut Server<H, C, D, U>, device: Device) -> bool {
    if device.kind == "vif" {
        return server.bridge.ends().any(|(other, _)| other == device);
    }
    server.guests.get(&device.domid).is_some_and(|guest| {
        let mut disks = guest.disks.iter();
        disks.any(|disk| disk.device == device && disk.backend.is_some())
    })
}

fn act<H: Hal, C: Control, D: Disks, U: Uplink>(server: &mut Server<H, C, D, U>, domid: u16, action: &str) -> Outcome {
    let (verb, object) = action.split_once(' ').unwrap_or((action, ""));
    let number: Option<u32> = object.parse().ok();
    let device = |kind, number| Device { kind, domid, number };
    let result = match (verb, number) {
        ("block-detach", Some(number)) => detach(server, device("vbd", number)),
        ("network-detach", Some(number)) => detach(server, device("vif", number)),
        ("block-attach", Some(number)) => return Outcome::Later(device("vbd", number)),
        ("network-attach", Some(number)) => return Outcome::Later(device("vif", number)),
        ("backend-kill", None) => kill(server, domid, object),
        _ => Err(format!("{action} is not known here")),
    };
    result.map_or_else(Outcome::Unable, |()| Outcome::Done)
}

fn detach<H: Hal, C: Control, D: Disks, U: Uplink>(
    server: &mut Server<H, C, D, U>,
    device: Device,
) -> Result<(), String> {
    if !is_served(server, device) {
        return Err("there is no such device".into());
    }
    device.withdraw(&server.store).map_err(|error| format!("{error}"))?;
    // Asked for twice, it goes once.
    server.requests.leave(device);
    Ok(())
}

/// Brings a device of the guest's configuration back.
fn attach_again<H: Hal, C: Control, D: Disks, U: Uplink>(
    server: &mut Server<H, C, D, U>,
    device: Device,
) -> Result<(), String> {
    if is_served(server, device) {
        return Err("the device is there".into());
    }
    let domid = device.domid;
    let guest = server.guests.get_mut(&domid).ok_or("there is no such guest")?;
    if device.kind == "vif" {
        let index = device.number as usize;
        let net = *guest.config.nets.get(index).ok_or("there was no such interface")?;
        let (device, end) = attach_net(&server.hal, &server.store, domid, index, &net)?;
        server.bridge.add(device, end);
        return Ok(());
    }
    let disk = guest.disks.iter_mut().find(|disk| disk.device == device);
    let disk = disk.ok_or("there was no such disk")?;
    *disk = attach_disk(&server.hal, &server.store, &mut server.disks, domid, &disk.config)?;
    Ok(())
}

/// Lets go of all backends of a kind without a word, as if they had crashed, and takes their devices up anew.
fn kill<H: Hal, C: Control, D: Disks, U: Uplink>(
    server: &mut Server<H, C, D, U>,
    domid: u16,
    kind: &str,
) -> Result<(), String> {
    match kind {
        "vbd" => {
            let guest = server.guests.get_mut(&domid).ok_or("there is no such guest")?;
            for disk in guest.disks.iter_mut().filter(|disk| disk.backend.is_some()) {
                disk.backend = None;
                let (device, config) = (disk.device, &disk.config);
                disk.backend = Some(serve_disk(
                    &server.hal,
                    &server.store,
                    &mut server.disks,
                    device,
                    config,
                )?);
            }
            Ok(())
        }
        "vif" => {
            let own: Vec<Device> = server.bridge.ends().map(|(device, _)| device).collect();
            for device in own.into_iter().filter(|device| device.domid == domid) {
                drop(server.bridge.remove(device));
                server
                    .bridge
                    .add(device, serve_net(&server.hal, &server.store, device)?);
            }
            Ok(())
        }
        _ => Err(format!("there is no backend {kind} that could die alone")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_asks_again_and_again_is_remembered_once() {
        let device = |number| Device {
            kind: "vif",
            domid: 3,
            number,
        };
        let mut requests = Requests::default();
        let left: Vec<bool> = (0..100).map(|_| requests.leave(device(1))).collect();
        let came: Vec<bool> = (0..100)
            .map(|round| requests.come(device(1), &format!("{round}")))
            .collect();
        for answers in [left, came] {
            assert!(answers[0] && !answers[1..].contains(&true));
        }
        assert!(requests.leave(device(2)) && requests.come(device(2), "x"));
        assert_eq!((requests.leaving.len(), requests.coming.len()), (2, 2));
        assert_eq!(
            requests.coming[0].1, "0",
            "the first request is the one that is answered"
        );
    }
}
