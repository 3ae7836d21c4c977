//! Who a client is, and what a node lets it do.

use xenstore_proto::Access;

use crate::tree::{Node, Permissions};

/// A domain as access lists see it: its number, and since when this number is this domain's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The number.
    pub domain: u16,
    /// The generation at which the daemon first knew of it. Numbers are used again: entries older than this were made
    /// for somebody else.
    pub since: u64,
}

/// On whose behalf a request is carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The client's own domain.
    pub holder: Holder,
    /// A domain whose rights it has in addition.
    pub target: Option<Holder>,
    /// Whether no access list and no quota applies.
    pub privileged: bool,
}

/// What a client may do with a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rights {
    /// See value, children and access list.
    pub read: bool,
    /// Change value and children.
    pub write: bool,
    /// Change the access list.
    pub own: bool,
}

impl Rights {
    /// To see a node.
    pub const READ: Rights = Rights {
        read: true,
        write: false,
        own: false,
    };
    /// To change a node.
    pub const WRITE: Rights = Rights {
        read: false,
        write: true,
        own: false,
    };
    /// To change a node's access list.
    pub const OWN: Rights = Rights {
        read: false,
        write: true,
        own: true,
    };

    /// Whether all of `needed` are among these.
    pub fn cover(&self, needed: &Rights) -> bool {
        (self.read || !needed.read) && (self.write || !needed.write) && (self.own || !needed.own)
    }

    /// Whether one of `needed` is among these.
    pub fn touch(&self, needed: &Rights) -> bool {
        (self.read && needed.read) || (self.write && needed.write) || (self.own && needed.own)
    }
}

impl Identity {
    /// Domain 0, over its ring or a socket.
    pub fn privileged() -> Identity {
        Identity {
            holder: Holder { domain: 0, since: 0 },
            target: None,
            privileged: true,
        }
    }

    /// Whether `domain` in a list made at `set_at` means this client or its target.
    fn is(&self, domain: u16, set_at: u64) -> bool {
        let means = |holder: &Holder| holder.domain == domain && holder.since <= set_at;
        means(&self.holder) || self.target.as_ref().is_some_and(means)
    }

    /// What a list gives to this client.
    pub fn rights(&self, list: &Permissions) -> Rights {
        let all = Rights {
            read: true,
            write: true,
            own: true,
        };
        if self.privileged || self.is(list.owner(), list.owned_since()) {
            return all;
        }
        let entries = list.entries();
        let entry = entries[1..].iter().find(|entry| self.is(entry.domain, list.set_at()));
        from_access(entry.unwrap_or(&entries[0]).access)
    }

    /// Whether this client may be told of a change to a node: it may read the node or the node above.
    pub fn may_know(&self, node: Option<&Node>, parent: Option<&Node>, old: Option<&Permissions>) -> bool {
        self.privileged
            || old.is_some_and(|list| self.rights(list).read)
            || node.is_some_and(|node| {
                self.rights(&node.permissions).read
                    || parent.is_some_and(|parent| self.rights(&parent.permissions).read)
            })
    }
}

fn from_access(access: Access) -> Rights {
    Rights {
        read: access.reads(),
        write: access.writes(),
        own: false,
    }
}
