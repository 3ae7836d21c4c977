//! The store, where there is one.
use guest_rt::{Machine, start_info};
use pv_xenbus::{Error, Nodes, RingStore};
use xen_abi::{SIF_INITDOMAIN, domid_t};
use xenstore_proto::{Access, Permission};

/// This domain's store; Dom0's place has none.
pub type Store = Option<RingStore<Machine>>;

/// Takes up the store's ring.
pub fn connect() -> Store {
    RingStore::new(&Machine).ok()
}

/// Which domain this is.
pub fn own_id(store: &Store) -> Option<domid_t> {
    if start_info().flags & SIF_INITDOMAIN != 0 {
        return Some(0);
    }
    store.as_ref()?.read_parsed("domid").ok()?
}

/// Lets another domain read a node of this one.
pub fn let_read(store: &RingStore<Machine>, path: &str, reader: domid_t) -> Result<(), Error> {
    let own = store.read_parsed("domid")?.unwrap_or_default();
    let owner = Permission {
        domain: own,
        access: Access::None,
    };
    let other = Permission {
        domain: reader,
        access: Access::Read,
    };
    store.set_permissions(path, &[owner, other])
}
