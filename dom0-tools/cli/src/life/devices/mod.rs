//! Devices in the store: where they stand, and how they come and go.

pub mod announce;
pub mod backend;
pub mod blkd;
pub mod disk;
pub mod hotplug;
pub mod listing;
pub mod netlink;
pub mod network;
pub mod presence;
pub mod remove;
pub mod route;
pub mod vif;

use std::fmt;

use xenctrl::DomId;

use super::layout::{domain_path, toolstack_path};
use super::nodes::{Nodes, Owner};

/// Kinds of devices, by what their backends are called in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A disk served by the kernel.
    Vbd,
    /// A disk served by a process.
    Qdisk,
    /// A network interface.
    Vif,
}

impl Class {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Vbd, Self::Qdisk, Self::Vif];

    /// Name of the backends' directory.
    pub fn backend_name(self) -> &'static str {
        match self {
            Self::Vbd => "vbd",
            Self::Qdisk => "qdisk",
            Self::Vif => "vif",
        }
    }

    /// Name of the frontends' directory; the guest does not see who serves a disk.
    pub fn frontend_name(self) -> &'static str {
        match self {
            Self::Vbd | Self::Qdisk => "vbd",
            Self::Vif => "vif",
        }
    }
}

/// One device of one domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// Its kind.
    pub class: Class,
    /// The domain that uses it.
    pub domid: DomId,
    /// Its number in that domain.
    pub devid: u32,
    /// The domain that serves it.
    pub backend_domid: DomId,
}

impl Device {
    /// Directory of the backend.
    pub fn backend(&self) -> String {
        let root = domain_path(self.backend_domid);
        format!(
            "{root}/backend/{}/{}/{}",
            self.class.backend_name(),
            self.domid,
            self.devid
        )
    }

    /// Directory of the frontend.
    pub fn frontend(&self) -> String {
        format!(
            "{}/device/{}/{}",
            domain_path(self.domid),
            self.class.frontend_name(),
            self.devid
        )
    }

    /// The toolstack's own directory.
    pub fn toolstack(&self) -> String {
        format!(
            "{}/device/{}/{}",
            toolstack_path(self.domid),
            self.class.frontend_name(),
            self.devid
        )
    }

    /// Where Linux's backends report what went wrong.
    pub fn error(&self) -> String {
        let root = domain_path(self.backend_domid);
        format!(
            "{root}/error/backend/{}/{}/{}",
            self.class.backend_name(),
            self.domid,
            self.devid
        )
    }

    /// Name of the device in the kernel's list of backends.
    pub fn sysfs_name(&self) -> String {
        format!("{}-{}-{}", self.class.backend_name(), self.domid, self.devid)
    }

    /// The nodes that make it appear on both sides. `backend` and `frontend` hold what is the device's own.
    pub fn nodes(&self, backend: &[(&str, String)], frontend: &[(&str, String)]) -> Nodes {
        let mut nodes = Nodes::default();
        let common = [
            ("frontend", self.frontend()),
            ("frontend-id", self.domid.to_string()),
            ("online", "1".into()),
            ("state", "1".into()),
        ];
        let toolstack = self.toolstack();
        nodes.directory(&*toolstack, Owner::Inherited);
        nodes.put(format!("{toolstack}/backend"), self.backend());
        nodes.below(&toolstack, &common);
        nodes.below(&toolstack, backend);
        let path = self.frontend();
        nodes.directory(&*path, Owner::OfReadBy(self.domid, self.backend_domid));
        nodes.below(
            &path,
            &[
                ("backend", self.backend()),
                ("backend-id", self.backend_domid.to_string()),
                ("state", "1".into()),
            ],
        );
        nodes.below(&path, frontend);
        let path = self.backend();
        nodes.directory(&*path, Owner::OfReadBy(self.backend_domid, self.domid));
        nodes.below(&path, &common);
        nodes.below(&path, backend);
        nodes
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} of domain {}",
            self.class.frontend_name(),
            self.devid,
            self.domid
        )
    }
}
