//! What happened to domains between two looks.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use xenctrl::{DomId, ShutdownReason};

use super::domains::{Domain, reason_word, uuid_text};

/// Domains by number.
pub type Look = BTreeMap<DomId, Domain>;

/// What can happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// It was there when the following began.
    Present,
    /// It is new.
    Created,
    /// It has this name now; the old one, if it had one.
    Renamed(Option<String>),
    /// Somebody paused it.
    Paused,
    /// It goes on.
    Unpaused,
    /// It has ended by itself, so.
    Shutdown(ShutdownReason),
    /// It has ended and lives again, after a save that failed or a checkpoint.
    Resumed,
    /// It is being taken apart.
    Dying,
    /// It is gone.
    Destroyed,
    /// It has another amount of memory: MiB before.
    Memory(u64),
    /// It has another number of vcpus: so many before.
    Vcpus(u32),
}

/// One thing that happened to one domain.
#[derive(Clone, Debug)]
pub struct Change {
    /// What.
    pub what: What,
    /// The domain as it is now, or was last.
    pub domain: Domain,
}

impl What {
    /// The word, also in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Created => "created",
            Self::Renamed(_) => "renamed",
            Self::Paused => "paused",
            Self::Unpaused => "unpaused",
            Self::Shutdown(ShutdownReason::Crash) => "crashed",
            Self::Shutdown(_) => "shutdown",
            Self::Resumed => "resumed",
            Self::Dying => "dying",
            Self::Destroyed => "destroyed",
            Self::Memory(_) => "memory",
            Self::Vcpus(_) => "vcpus",
        }
    }
}

/// A change as a line of JSON.
#[derive(Serialize)]
pub struct Record<'a> {
    time: &'a str,
    event: &'static str,
    domid: DomId,
    name: Option<&'a str>,
    uuid: String,
    #[serde(flatten)]
    detail: Value,
}

impl Change {
    /// As a record, at `time`.
    pub fn record<'a>(&'a self, time: &'a str) -> Record<'a> {
        let info = &self.domain.info;
        let detail = match &self.what {
            What::Present => json!({ "state": self.domain.state() }),
            What::Renamed(before) => json!({ "before": before }),
            What::Shutdown(reason) => json!({ "reason": reason_word(*reason) }),
            What::Memory(before) => json!({ "memory_mib": self.domain.mebibytes(), "before": before }),
            What::Vcpus(before) => json!({ "vcpus": info.online_vcpus, "before": before }),
            _ => json!({}),
        };
        Record {
            time,
            event: self.what.word(),
            domid: info.domid,
            name: self.domain.name.as_deref(),
            uuid: uuid_text(&info.uuid),
            detail,
        }
    }

    /// As a line for a person, without the time.
    pub fn line(&self) -> String {
        let (domain, word) = (&self.domain, self.what.word());
        let detail = match &self.what {
            What::Present => format!(" {}", domain.state().word()),
            What::Renamed(Some(before)) => format!(" from {before}"),
            What::Shutdown(reason) if *reason != ShutdownReason::Crash => format!(" {}", reason_word(*reason)),
            What::Memory(before) => format!(" {before} -> {} MiB", domain.mebibytes()),
            What::Vcpus(before) => format!(" {before} -> {}", domain.info.online_vcpus),
            _ => String::new(),
        };
        format!("{} ({}) {word}{detail}", domain.shown_name(), domain.info.domid)
    }
}

/// What happened between two looks, in the order in which it must have happened.
pub fn compare(before: &Look, after: &Look) -> Vec<Change> {
    let mut changes = Vec::new();
    for (domid, old) in before {
        // A number that is used again belongs to somebody else.
        if after
            .get(domid)
            .is_none_or(|new| new.info.uuid != old.info.uuid && *domid != 0)
        {
            changes.push(Change {
                what: What::Destroyed,
                domain: old.clone(),
            });
        }
    }
    for (domid, new) in after {
        match before
            .get(domid)
            .filter(|old| old.info.uuid == new.info.uuid || *domid == 0)
        {
            Some(old) => changes.extend(compare_domain(old, new)),
            None => {
                changes.push(Change {
                    what: What::Created,
                    domain: new.clone(),
                });
                // Only an end is more than its creation says.
                let mut fresh = new.clone();
                (fresh.info.shutdown, fresh.info.dying) = (None, false);
                changes.extend(compare_domain(&fresh, new));
            }
        }
    }
    changes
}

fn compare_domain(old: &Domain, new: &Domain) -> Vec<Change> {
    let (was, is) = (&old.info, &new.info);
    let mut what = Vec::new();
    // A name that goes is the end's beginning, which is told for itself.
    if old.name != new.name && new.name.is_some() {
        what.push(What::Renamed(old.name.clone()));
    }
    // While it is built or taken apart its size changes all the time: no news.
    let settled = old.name.is_some() && !is.dying && !is.paused && is.shutdown.is_none();
    if settled && old.mebibytes() != new.mebibytes() {
        what.push(What::Memory(old.mebibytes()));
    }
    if settled && was.online_vcpus != is.online_vcpus {
        what.push(What::Vcpus(was.online_vcpus));
    }
    match (was.paused, is.paused) {
        (false, true) => what.push(What::Paused),
        (true, false) => what.push(What::Unpaused),
        _ => {}
    }
    match (was.shutdown, is.shutdown) {
        (old, Some(reason)) if old != Some(reason) => what.push(What::Shutdown(reason)),
        (Some(_), None) => what.push(What::Resumed),
        _ => {}
    }
    if is.dying && !was.dying {
        what.push(What::Dying);
    }
    what.into_iter()
        .map(|what| Change {
            what,
            domain: new.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::domains::tests::plain;

    fn look(domains: &[&Domain]) -> Look {
        domains
            .iter()
            .map(|domain| (domain.info.domid, (*domain).clone()))
            .collect()
    }

    fn words(before: &[&Domain], after: &[&Domain]) -> Vec<&'static str> {
        compare(&look(before), &look(after))
            .iter()
            .map(|change| change.what.word())
            .collect()
    }

    #[test]
    fn a_life_is_told_from_end_to_end() {
        let mut built = plain(1, "g1");
        (built.info.paused, built.name, built.info.tot_pages) = (true, None, 0);
        assert_eq!(words(&[], &[&built]), ["created"]);
        let mut named = plain(1, "g1");
        named.info.paused = true;
        assert_eq!(words(&[&built], &[&named]), ["renamed"]);
        let running = plain(1, "g1");
        assert_eq!(words(&[&named], &[&running]), ["unpaused"]);
        let mut ballooned = running.clone();
        (ballooned.info.tot_pages, ballooned.info.online_vcpus) = (32_768, 2);
        assert_eq!(words(&[&running], &[&ballooned]), ["memory", "vcpus"]);
        let mut ended = running.clone();
        ended.info.shutdown = Some(ShutdownReason::Poweroff);
        assert_eq!(words(&[&running], &[&ended]), ["shutdown"]);
        let mut dying = ended.clone();
        (dying.info.dying, dying.name, dying.info.tot_pages) = (true, None, 3);
        assert_eq!(words(&[&ended], &[&dying]), ["dying"]);
        assert_eq!(words(&[&dying], &[]), ["destroyed"]);
    }

    #[test]
    fn what_happened_between_two_looks_is_told_all() {
        let mut crashed = plain(2, "g2");
        (crashed.info.shutdown, crashed.info.dying) = (Some(ShutdownReason::Crash), true);
        assert_eq!(words(&[], &[&crashed]), ["created", "crashed", "dying"]);
        let mut other = plain(2, "g3");
        other.info.uuid = [9; 16];
        assert_eq!(words(&[&plain(2, "g2")], &[&other]), ["destroyed", "created"]);
    }

    #[test]
    fn nothing_new_is_nothing() {
        let (mut busy, calm) = (plain(1, "g1"), plain(1, "g1"));
        (busy.info.running, busy.info.cpu_time) = (true, 99);
        assert!(words(&[&calm], &[&busy]).is_empty());
    }

    #[test]
    fn lines_and_records_say_the_same() {
        let mut ended = plain(1, "g1");
        ended.info.shutdown = Some(ShutdownReason::Reboot);
        let change = Change {
            what: What::Shutdown(ShutdownReason::Reboot),
            domain: ended,
        };
        assert_eq!(change.line(), "g1 (1) shutdown reboot");
        let record = serde_json::to_value(change.record("2026-11-23T07:00:00Z")).expect("serializes");
        assert_eq!(record["event"], "shutdown");
        assert_eq!(record["reason"], "reboot");
        assert_eq!(record["domid"], 1);
    }
}
