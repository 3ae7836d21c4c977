//! What stands in the store for a guest and its devices, laid out as libxl does.
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use pv_xenbus::{Access, Error, Nodes, Permission, Store};

/// Who may do what with a directory; what is below inherits it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// The driver domain writes, this guest reads.
    ReadBy(u16),
    /// This guest writes.
    Of(u16),
    /// The guest writes, the driver domain reads; or the other way round.
    OfReadBy(u16, u16),
}

impl Owner {
    fn permissions(self) -> Vec<Permission> {
        match self {
            Self::ReadBy(reader) => [Permission::new(0, Access::None), Permission::new(reader, Access::Read)].into(),
            Self::Of(owner) => [Permission::new(owner, Access::None)].into(),
            Self::OfReadBy(owner, reader) => [
                Permission::new(owner, Access::None),
                Permission::new(reader, Access::Read),
            ]
            .into(),
        }
    }
}

/// The directory of a domain.
pub fn domain_path(domid: u16) -> String {
    format!("/local/domain/{domid}")
}

fn directory(nodes: &impl Nodes, path: &str, owner: Owner) -> Result<(), Error> {
    nodes.write_bytes(path, b"")?;
    nodes.set_permissions(path, &owner.permissions())
}

fn below(nodes: &impl Nodes, path: &str, pairs: &[(&str, String)]) -> Result<(), Error> {
    pairs
        .iter()
        .try_for_each(|(key, value)| nodes.write(&format!("{path}/{key}"), value))
}

/// What is said of a guest.
#[derive(Clone, Copy, Debug)]
pub struct Domain<'a> {
    /// Its number.
    pub domid: u16,
    /// Its name.
    pub name: &'a str,
    /// Its memory in KiB.
    pub memory_kib: u64,
    /// Its vcpus.
    pub vcpus: u32,
    /// Frame and port of the store's ring.
    pub store: (u64, u32),
    /// Frame and port of the console's ring.
    pub console: (u64, u32),
}

/// Writes the nodes of a guest, all at once.
///
/// # Errors
/// The store's.
pub fn write_domain(store: &impl Store, domain: &Domain<'_>) -> Result<(), Error> {
    store.transaction(|nodes| {
        let domid = domain.domid;
        let path = domain_path(domid);
        directory(nodes, &path, Owner::ReadBy(domid))?;
        let own = [
            ("name", domain.name.to_string()),
            ("domid", domid.to_string()),
            ("memory/static-max", domain.memory_kib.to_string()),
            ("memory/target", domain.memory_kib.to_string()),
            ("device", String::new()),
            ("control/platform-feature-xs_reset_watches", "1".into()),
            ("store/ring-ref", domain.store.0.to_string()),
            ("store/port", domain.store.1.to_string()),
            ("console/ring-ref", domain.console.0.to_string()),
            ("console/port", domain.console.1.to_string()),
            ("console/type", "iodom".into()),
        ];
        below(nodes, &path, &own)?;
        for vcpu in 0..domain.vcpus {
            nodes.write(&format!("{path}/cpu/{vcpu}/availability"), "online")?;
        }
        let free = [
            "data",
            "drivers",
            "feature",
            "attr",
            "error",
            "control/shutdown",
            "control/feature-poweroff",
            "control/feature-reboot",
            "control/feature-suspend",
            "control/sysrq",
            "device/suspend/event-channel",
        ];
        free.iter()
            .try_for_each(|key| directory(nodes, &format!("{path}/{key}"), Owner::Of(domid)))
    })
}

/// A device of a guest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Device {
    /// `vbd` or `vif`.
    pub kind: &'static str,
    /// Whose.
    pub domid: u16,
    /// Its number there.
    pub number: u32,
}

impl Device {
    /// The directory of this end.
    pub fn backend(&self) -> String {
        format!("/local/domain/0/backend/{}/{}/{}", self.kind, self.domid, self.number)
    }

    /// The same, from the driver domain's own directory.
    pub fn own_path(&self) -> String {
        format!("backend/{}/{}/{}", self.kind, self.domid, self.number)
    }

    /// The directory of the guest's end.
    pub fn frontend(&self) -> String {
        format!("/local/domain/{}/device/{}/{}", self.domid, self.kind, self.number)
    }

    /// Makes it appear on both sides, all at once; the pairs are what is this device's own.
    ///
    /// # Errors
    /// The store's.
    pub fn announce(&self, store: &impl Store, own: &[(&str, String)], guest: &[(&str, String)]) -> Result<(), Error> {
        store.transaction(|nodes| {
            let (backend, frontend) = (self.backend(), self.frontend());
            directory(nodes, &frontend, Owner::OfReadBy(self.domid, 0))?;
            let pairs = [
                ("backend", backend.clone()),
                ("backend-id", "0".into()),
                ("state", "1".into()),
            ];
            below(nodes, &frontend, &pairs)?;
            below(nodes, &frontend, guest)?;
            // Else the guest could not tell a removed device from one that it must not see.
            let above = format!("/local/domain/0/backend/{}/{}", self.kind, self.domid);
            directory(nodes, &above, Owner::OfReadBy(0, self.domid))?;
            directory(nodes, &backend, Owner::OfReadBy(0, self.domid))?;
            let pairs = [
                ("frontend", frontend),
                ("frontend-id", self.domid.to_string()),
                ("online", "1".into()),
                ("state", "1".into()),
            ];
            below(nodes, &backend, &pairs)?;
            below(nodes, &backend, own)
        })
    }

    /// Asks both ends to close: the device is wanted no more.
    ///
    /// # Errors
    /// The store's.
    pub fn withdraw(&self, store: &impl Store) -> Result<(), Error> {
        store.transaction(|nodes| {
            let backend = self.backend();
            nodes.write(&format!("{backend}/online"), "0")?;
            nodes.write(&format!("{backend}/state"), "5")
        })
    }

    /// Removes both sides.
    ///
    /// # Errors
    /// The store's.
    pub fn remove(&self, store: &impl Store) -> Result<(), Error> {
        store.transaction(|nodes| {
            nodes.remove(&self.backend())?;
            nodes.remove(&self.frontend())?;
            Ok(())
        })
    }
}

/// Removes all that is said of a guest.
///
/// # Errors
/// The store's.
pub fn remove_domain(store: &impl Store, domid: u16) -> Result<(), Error> {
    store.remove(&domain_path(domid)).map(drop)
}
