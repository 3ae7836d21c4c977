//! What a case works with.
use crate::Stop;
use alloc::format;
use alloc::string::String;
use core::cell::Cell;
use core::fmt::Display;
use core::time::Duration;
use pv_hal::Hal;
use pv_xenbus::Store;

/// Node by which a case asks whoever stands beside the guest for something, and the node of the answer.
const REQUEST: &str = "data/request";
const ANSWER: &str = "data/answer";

/// Time for the answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks.
const NAP: Duration = Duration::from_millis(20);

/// The machine and the store that a case uses, and its helper outside.
pub struct Bench<H: Hal, S: Store> {
    /// The machine.
    pub hal: H,
    /// The store.
    pub store: S,
    asked: Cell<u32>,
    is_broken: Cell<bool>,
}

impl<H: Hal, S: Store> Bench<H, S> {
    /// A bench on this machine and store.
    pub fn new(hal: H, store: S) -> Self {
        Self {
            hal,
            store,
            asked: Cell::new(0),
            is_broken: Cell::new(false),
        }
    }

    /// A case begins; with `is_broken` its first expectation is turned into its opposite.
    pub(crate) fn begin(&mut self, is_broken: bool) {
        self.is_broken.set(is_broken);
    }

    /// Goes on only where something holds; otherwise the case has failed, for this reason.
    ///
    /// # Errors
    /// [`Stop::Failed`].
    pub fn expect(&self, holds: bool, why: impl Display) -> Result<(), Stop> {
        if holds != self.is_broken.replace(false) {
            Ok(())
        } else {
            Err(Stop::Failed(format!("{why}")))
        }
    }

    /// Waits until `look` finds something, for at most so long.
    ///
    /// # Errors
    /// [`Stop::Failed`] with `what` was waited for; what `look` fails with.
    pub fn wait_for<T>(
        &self,
        what: impl Display,
        limit: Duration,
        mut look: impl FnMut() -> Result<Option<T>, Stop>,
    ) -> Result<T, Stop> {
        let end = self.hal.now() + limit;
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            let now = self.hal.now();
            if now >= end {
                return Err(Stop::Failed(format!("no {what} within {} ms", limit.as_millis())));
            }
            self.hal.wait(&[], Some(end.min(now + NAP)));
        }
    }

    /// The path of this domain's first device of a kind (`vbd`, `vif`), as `device/vbd/51712`.
    ///
    /// # Errors
    /// [`Stop::NotApplicable`] without one.
    pub fn device(&self, kind: &str) -> Result<String, Stop> {
        let folder = format!("device/{kind}");
        let mut names = self.store.directory(&folder)?;
        names.sort();
        let first = names.first().ok_or_else(|| Stop::NotApplicable(format!("no {kind}")))?;
        Ok(format!("{folder}/{first}"))
    }

    /// Has whoever stands beside the guest do something to it: `block-detach DEVICE`, `block-attach DEVICE`,
    /// `network-detach DEVICE`, `network-attach DEVICE`, `backend-kill KIND`. A detachment has only begun then: it takes
    /// both ends.
    ///
    /// # Errors
    /// [`Stop::NotApplicable`] where nobody can or nobody answers.
    pub fn ask(&self, action: &str) -> Result<(), Stop> {
        let number = self.asked.get() + 1;
        self.asked.set(number);
        self.store.write(REQUEST, format!("{number} {action}"))?;
        let answer = self.wait_for("answer", PATIENCE, || {
            let answer = self.store.read_optional(ANSWER)?.unwrap_or_default();
            Ok(answer.strip_prefix(&format!("{number} ")).map(String::from))
        });
        match answer.as_deref() {
            Ok("done") => Ok(()),
            Ok(other) => Err(Stop::NotApplicable(format!("{action}: {other}"))),
            Err(_) => Err(Stop::NotApplicable(format!("{action}: nobody answers"))),
        }
    }
}
