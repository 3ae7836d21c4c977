//! What is to be done with a domain: a function of its record and its state, and of nothing else.

use xenctrl::{DomainInfo, ShutdownReason};
use xl_config::{Action, Actions};

use crate::life::record::{Record, Stage};

/// What the supervisor does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Leave,
    /// Only the record is left over, of another boot: remove it.
    Forget,
    /// Take the domain away, and all that was made for it.
    TakeAway,
    /// Take it away and make it again.
    Restart,
    /// Keep it under another name and make it again.
    RenameRestart,
    /// Keep it.
    Preserve,
}

/// Decides on the domain of `record`. `domain` is what the hypervisor says of it; its lock is free.
pub fn decide(record: &Record, domain: Option<&DomainInfo>, boot_id: &str) -> Decision {
    if record.boot_id != boot_id {
        return Decision::Forget;
    }
    match (record.stage, domain) {
        (Stage::Building, _) => Decision::TakeAway,
        (Stage::Restarting, _) => Decision::Restart,
        (_, None) => Decision::TakeAway,
        (_, Some(info)) if info.dying => Decision::TakeAway,
        (Stage::Preserved, Some(_)) => Decision::Leave,
        (Stage::Running, Some(info)) => info
            .shutdown
            .map_or(Decision::Leave, |reason| after(reason, &record.config.actions)),
    }
}

fn after(reason: ShutdownReason, actions: &Actions) -> Decision {
    let action = match reason {
        ShutdownReason::Poweroff => actions.poweroff,
        ShutdownReason::Reboot => actions.reboot,
        ShutdownReason::Watchdog => actions.watchdog,
        // Who suspends a domain saves it, and ends it.
        ShutdownReason::Suspend => return Decision::Leave,
        ShutdownReason::Crash | ShutdownReason::SoftReset | ShutdownReason::Other(_) => actions.crash,
    };
    match action {
        Action::Destroy => Decision::TakeAway,
        Action::Restart => Decision::Restart,
        Action::RenameRestart => Decision::RenameRestart,
        Action::Preserve => Decision::Preserve,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stage: Stage) -> Record {
        let text = "name='g'\nkernel='/k'\nmemory=64\nuuid='00112233-4455-6677-8899-aabbccddeeff'\n\
                    on_poweroff='preserve'\non_reboot='rename-restart'\non_crash='restart'\non_watchdog='destroy'\n";
        let config = xl_config::interpret(&xl_config::parse("t", text).0)
            .0
            .expect("a domain");
        Record {
            uuid: config.uuid.expect("set"),
            domid: Some(3),
            stage,
            boot_id: "now".into(),
            source: "t".into(),
            config,
            next_config: None,
        }
    }

    fn domain(shutdown: Option<ShutdownReason>, dying: bool) -> DomainInfo {
        let raw = xenctrl::fake::Fake::new(16, 1);
        let domid = xenctrl::Domains::create_domain(&raw, &xenctrl::CreateDomain::new([1; 16], 1)).expect("a domain");
        let mut info = xenctrl::Domains::domain_info(&raw, domid).expect("its state");
        (info.shutdown, info.dying) = (shutdown, dying);
        info
    }

    #[test]
    fn each_way_to_end_has_its_action() {
        let after = |reason| decide(&record(Stage::Running), Some(&domain(Some(reason), false)), "now");
        assert_eq!(after(ShutdownReason::Poweroff), Decision::Preserve);
        assert_eq!(after(ShutdownReason::Reboot), Decision::RenameRestart);
        assert_eq!(after(ShutdownReason::Crash), Decision::Restart);
        assert_eq!(after(ShutdownReason::Watchdog), Decision::TakeAway);
        assert_eq!(after(ShutdownReason::Suspend), Decision::Leave);
    }

    #[test]
    fn what_nobody_makes_any_more_is_taken_away() {
        let alive = domain(None, false);
        assert_eq!(
            decide(&record(Stage::Building), Some(&alive), "now"),
            Decision::TakeAway
        );
        assert_eq!(decide(&record(Stage::Building), None, "now"), Decision::TakeAway);
        assert_eq!(decide(&record(Stage::Running), Some(&alive), "now"), Decision::Leave);
        assert_eq!(decide(&record(Stage::Running), None, "now"), Decision::TakeAway);
        assert_eq!(
            decide(&record(Stage::Running), Some(&domain(None, true)), "now"),
            Decision::TakeAway
        );
        let ended = domain(Some(ShutdownReason::Poweroff), false);
        assert_eq!(decide(&record(Stage::Preserved), Some(&ended), "now"), Decision::Leave);
        assert_eq!(decide(&record(Stage::Restarting), None, "now"), Decision::Restart);
        assert_eq!(
            decide(&record(Stage::Running), Some(&alive), "another boot"),
            Decision::Forget
        );
    }
}
