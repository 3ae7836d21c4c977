//! The daemon: finds disks in xenstore and keeps them served.

use std::collections::BTreeMap;
use std::fs::{self, File};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use xenctrl::{Domains, Live};
use xenstore_client::{Client, Event, Store};

use crate::device::{Device, Key};

/// Where toolstacks announce disks for a backend in a process, relative to this domain's own directory.
const ROOT: &str = "backend/qdisk";
/// Whoever holds this file serves the disks.
const LOCK: &str = "/run/paravane/blkd.serving";
const BACKEND_TOKEN: &str = "backend";
const RELEASE_TOKEN: &str = "release";

/// What an event is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum About {
    One(Key),
    All,
}

struct Daemon {
    store: Client,
    hypervisor: Live,
    devices: BTreeMap<Key, Device>,
    queues: u32,
    verbose: bool,
}

/// Waits until no other blkd runs: two that serve one disk would destroy it.
fn become_the_only_one() -> Result<Flock<File>> {
    fs::create_dir_all("/run/paravane").context("cannot make /run/paravane; run as root")?;
    let file = File::create(LOCK).with_context(|| format!("cannot open {LOCK}; run as root"))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((file, _)) => {
            eprintln!("blkd: another blkd runs; waiting for its end");
            Flock::lock(file, FlockArg::LockExclusive)
                .map_err(|(_, error)| error)
                .with_context(|| format!("cannot lock {LOCK}"))
        }
    }
}

/// Runs until something fails that a restart may cure.
///
/// # Errors
/// What it was.
pub(crate) fn run(queues: u32, verbose: bool) -> Result<()> {
    let _lock = become_the_only_one()?;
    let mut store = Client::open().context("cannot reach xenstore; is xenstored running?")?;
    store.watch(ROOT, BACKEND_TOKEN)?;
    store.watch("@releaseDomain", RELEASE_TOKEN)?;
    let mut daemon = Daemon {
        store,
        hypervisor: Live::open()?,
        devices: BTreeMap::new(),
        queues,
        verbose,
    };
    loop {
        if let Some(event) = daemon.store.wait_event(None)? {
            daemon.handle(&event)?;
        }
    }
}

impl Daemon {
    fn handle(&mut self, event: &Event) -> Result<()> {
        match about(event) {
            About::One(key) => self.update(key),
            About::All => {
                let mut keys = self.announced()?;
                keys.extend(self.devices.keys());
                keys.sort_unstable();
                keys.dedup();
                keys.into_iter().try_for_each(|key| self.update(key))
            }
        }
    }

    fn announced(&mut self) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        for domid in self.store.directory_or_empty(ROOT)? {
            for number in self.store.directory_or_empty(&format!("{ROOT}/{domid}"))? {
                keys.extend(key(&domid, &number));
            }
        }
        Ok(keys)
    }

    fn update(&mut self, key: Key) -> Result<()> {
        if !self.devices.contains_key(&key) {
            match Device::find(&mut self.store, key, self.queues, self.verbose)? {
                Some(device) => self.devices.insert(key, device),
                None => return Ok(()),
            };
        }
        let is_living = match self.hypervisor.domain_info(key.0) {
            Ok(info) => !info.dying,
            Err(error) if error.is_no_domain() => false,
            Err(error) => return Err(error.into()),
        };
        let Some(device) = self.devices.get_mut(&key) else {
            return Ok(());
        };
        if !device.update(&mut self.store, is_living)?
            && let Some(device) = self.devices.remove(&key)
        {
            device.forget(&mut self.store);
        }
        Ok(())
    }
}

fn key(domid: &str, number: &str) -> Option<Key> {
    Some((domid.parse().ok()?, number.parse().ok()?))
}

/// Which disk an event is about: its path or, for a frontend's, its token names it.
fn about(event: &Event) -> About {
    let path = match event.token.strip_prefix("frontend/") {
        Some(path) => path,
        None => match event.path.strip_prefix("backend/qdisk/") {
            Some(path) => path,
            None => return About::All,
        },
    };
    let mut parts = path.split('/');
    match (parts.next(), parts.next()) {
        (Some(domid), Some(number)) => key(domid, number).map_or(About::All, About::One),
        _ => About::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_name_their_disk() {
        let event = |path: &str, token: &str| Event {
            path: path.to_owned(),
            token: token.to_owned(),
        };
        let state = event("backend/qdisk/3/51712/state", BACKEND_TOKEN);
        assert_eq!(about(&state), About::One((3, 51712)));
        let front = event("/local/domain/3/device/vbd/51712/state", "frontend/3/51712");
        assert_eq!(about(&front), About::One((3, 51712)));
        for path in [
            "backend/qdisk",
            "backend/qdisk/3",
            "backend/qdisk/x/y",
            "@releaseDomain",
        ] {
            assert_eq!(about(&event(path, BACKEND_TOKEN)), About::All);
        }
    }
}
