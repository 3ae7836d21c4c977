//! What becomes of a domain that has ended.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the actions of `on_poweroff` and its kin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Free it.
    Destroy,
    /// Free it, and make it anew from the same configuration.
    Restart,
    /// Keep it under another name, and make it anew.
    RenameRestart,
    /// Keep it for examination.
    Preserve,
}

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "destroy" => Ok(Self::Destroy),
            "restart" => Ok(Self::Restart),
            "rename-restart" | "rename_restart" => Ok(Self::RenameRestart),
            "preserve" => Ok(Self::Preserve),
            "coredump-destroy" | "coredump_destroy" | "coredump-restart" | "coredump_restart" => Err(format!(
                "{text} is refused: core dumps are not built; write destroy, restart or preserve"
            )),
            "soft-reset" | "soft_reset" => {
                Err("soft-reset exists for HVM guests only; write destroy or restart".into())
            }
            other => Err(format!(
                "{other:?} is no action; write destroy, restart, rename-restart or preserve"
            )),
        }
    }
}

/// An action for each way a domain can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actions {
    /// It powered itself off.
    pub poweroff: Action,
    /// It asked for a reboot.
    pub reboot: Action,
    /// It crashed.
    pub crash: Action,
    /// Its watchdog ran out.
    pub watchdog: Action,
}

impl Default for Actions {
    fn default() -> Self {
        Self {
            poweroff: Action::Destroy,
            reboot: Action::Restart,
            crash: Action::Destroy,
            watchdog: Action::Destroy,
        }
    }
}
