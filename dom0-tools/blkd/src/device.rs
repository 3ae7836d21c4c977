//! One disk of one guest: what xenstore says of it, and what is done about that.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use privcmd::DomId;
use xenstore_client::{Client, Store};

use crate::features;
use crate::image::Image;
use crate::queue::Queue;
use crate::state::{Action, Situation, State, decide};

/// Steps until a device must have settled; more would mean that both ends argue.
const STEPS: usize = 6;

/// A disk by its guest and its number there.
pub(crate) type Key = (DomId, u32);

/// A disk.
#[derive(Debug)]
pub(crate) struct Device {
    key: Key,
    /// Directory of this end, relative to this domain's own.
    backend: String,
    /// Directory of the other end.
    frontend: String,
    image: Option<Arc<Image>>,
    queues: Vec<Queue>,
    max_queues: u32,
    verbose: bool,
}

impl Device {
    /// Takes up a disk that has appeared; none while its nodes are not complete.
    pub(crate) fn find(store: &mut Client, key: Key, max_queues: u32, verbose: bool) -> Result<Option<Self>> {
        let backend = format!("backend/qdisk/{}/{}", key.0, key.1);
        let Some(frontend) = store.read_optional(&format!("{backend}/frontend"))? else {
            return Ok(None);
        };
        if !store.exists(&format!("{backend}/state"))? {
            return Ok(None);
        }
        let device = Self {
            key,
            backend,
            frontend,
            image: None,
            queues: Vec::new(),
            max_queues,
            verbose,
        };
        store.watch(&device.watched(), &device.token())?;
        Ok(Some(device))
    }

    fn watched(&self) -> String {
        format!("{}/state", self.frontend)
    }

    fn token(&self) -> String {
        format!("frontend/{}/{}", self.key.0, self.key.1)
    }

    /// Forgets a disk whose nodes are gone.
    pub(crate) fn forget(self, store: &mut Client) {
        self.tell("is gone");
        // It fails where the watch went with a restarted store, which is as good.
        let _ = store.unwatch(&self.watched(), &self.token());
    }

    fn tell(&self, what: &str) {
        if self.verbose {
            eprintln!("blkd: disk {} of domain {} {what}", self.key.1, self.key.0);
        }
    }

    /// Does whatever the two ends' states ask for. False where the disk's nodes are gone.
    ///
    /// # Errors
    /// The store's. What is wrong with the disk itself is reported in the store, and closes it.
    pub(crate) fn update(&mut self, store: &mut Client, is_living: bool) -> Result<bool> {
        for _ in 0..STEPS {
            let state = store.read_optional(&format!("{}/state", self.backend))?;
            if state.is_none() {
                self.queues.clear();
                return Ok(false);
            }
            // The frontend may have its directory closed to this domain: then it is as good as gone.
            let frontend = store.read_optional(&self.watched()).unwrap_or_default();
            let online = store.read_optional(&format!("{}/online", self.backend))?;
            let action = decide(&Situation {
                backend: State::from_node(state.as_deref()),
                frontend: State::from_node(frontend.as_deref()),
                is_open: self.image.is_some(),
                is_running: !self.queues.is_empty(),
                is_online: online.as_deref() == Some("1"),
                is_living,
            });
            let result = match action {
                Action::Wait => return Ok(true),
                Action::Prepare => self.prepare(store),
                Action::Connect => self.connect(store),
                Action::Adopt => self.adopt(store),
                Action::Release(state) => {
                    self.queues.clear();
                    self.image = None;
                    self.tell("is released");
                    self.announce(store, state)
                }
            };
            if let Err(error) = result {
                self.refuse(store, &error)?;
            }
        }
        Ok(true)
    }

    fn announce(&self, store: &mut Client, state: State) -> Result<()> {
        Ok(store.write(&format!("{}/state", self.backend), state.to_string())?)
    }

    fn write_all(&self, store: &mut Client, nodes: &[(&str, String)], state: State) -> Result<()> {
        store.transaction(|store| {
            // A disk that was detached meanwhile must not come back as half a directory.
            if !store.exists(&format!("{}/state", self.backend))? {
                return Ok(());
            }
            for (name, value) in nodes {
                store.write(&format!("{}/{name}", self.backend), value)?;
            }
            store.write(&format!("{}/state", self.backend), state.to_string())
        })?;
        Ok(())
    }

    fn open(&self, store: &mut Client) -> Result<Image> {
        let mut read = |name: &str| store.read_optional(&format!("{}/{name}", self.backend));
        let params = read("params")?.context("it has no node params")?;
        let mode = read("mode")?.unwrap_or_default();
        let discard = read("discard-enable")?.is_none_or(|text| text != "0");
        // xl puts the format before the path, xlr into a node of its own.
        let (format, path) = match (read("format")?, params.split_once(':')) {
            (Some(format), _) => (format, params.as_str()),
            (None, Some(("aio" | "raw", path))) => ("raw".to_owned(), path),
            (None, Some((format, path))) if !format.contains('/') => (format.to_owned(), path),
            (None, _) => ("raw".to_owned(), params.as_str()),
        };
        Image::open(Path::new(path), &format, mode.starts_with('w'), discard)
    }

    fn prepare(&mut self, store: &mut Client) -> Result<()> {
        self.queues.clear();
        let image = self.open(store)?;
        let offered = features::offered(&image, self.max_queues);
        self.image = Some(Arc::new(image));
        self.tell("waits for its guest");
        self.write_all(store, &offered, State::InitWait)
    }

    fn start_queues(&mut self, store: &mut Client) -> Result<()> {
        let image = self.image.clone().context("its image is not open")?;
        // An earlier blkd may have offered more queues than this one would.
        let offered = store.read_optional(&format!("{}/multi-queue-max-queues", self.backend))?;
        let most = offered
            .and_then(|text| text.parse().ok())
            .unwrap_or(self.max_queues)
            .min(64);
        let asked = features::asked(store, &self.frontend, most)?;
        for (index, address) in asked.queues.iter().enumerate() {
            let name = format!("disk {} of domain {}, queue {index}", self.key.1, self.key.0);
            let queue = Queue::start(name, self.key.0, address, image.clone(), asked.persistent);
            match queue {
                Ok(queue) => self.queues.push(queue),
                Err(error) => {
                    self.queues.clear();
                    bail!("cannot take up queue {index}: {error}");
                }
            }
        }
        Ok(())
    }

    fn connect(&mut self, store: &mut Client) -> Result<()> {
        self.start_queues(store)?;
        let image = self.image.clone().context("its image is not open")?;
        let kind = store.read_optional(&format!("{}/device-type", self.backend))?;
        let described = features::described(&image, kind.as_deref() == Some("cdrom"));
        self.tell("is connected");
        self.write_all(store, &described, State::Connected)
    }

    fn adopt(&mut self, store: &mut Client) -> Result<()> {
        self.image = Some(Arc::new(self.open(store)?));
        self.start_queues(store)?;
        eprintln!("blkd: disk {} of domain {} goes on", self.key.1, self.key.0);
        Ok(())
    }

    /// Reports what is wrong where toolstacks look for it, and closes the disk.
    fn refuse(&mut self, store: &mut Client, error: &anyhow::Error) -> Result<()> {
        self.queues.clear();
        self.image = None;
        let text = shortened(&format!("{error:#}"));
        eprintln!("blkd: disk {} of domain {}: {text}", self.key.1, self.key.0);
        store.write(&format!("error/{}/error", self.backend), &text)?;
        self.announce(store, State::Closed)
    }
}

/// What fits into a node, whatever a frontend has written that the text repeats: a text that the store refuses would end
/// blkd, and the disks of all guests with it.
fn shortened(text: &str) -> String {
    const MOST: usize = 500;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push_str(" …");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_frontend_writes_its_report_fits_into_a_node() {
        for written in ["x".repeat(2048), "\u{1}".repeat(2048), "😀".repeat(500)] {
            let report = shortened(&format!("device/vbd/1/ring-ref holds {written:?}, not a number"));
            assert!(report.len() <= 2048, "{} bytes", report.len());
            assert!(report.starts_with("device/vbd/1/ring-ref holds"));
        }
        assert_eq!(shortened("short"), "short");
    }
}
