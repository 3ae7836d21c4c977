//! Nodes of the store that belong together, gathered before they are written in one transaction.

use xenctrl::DomId;
use xenstore_client::{Access, Permission, Result, Store};

/// Who may do what with a node; its children inherit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// What the parent has.
    Inherited,
    /// The toolstack writes, this domain reads.
    ReadBy(DomId),
    /// This domain writes; nobody else reads but Dom0, which may do everything.
    Of(DomId),
    /// The first domain writes, the second reads.
    OfReadBy(DomId, DomId),
}

/// One node to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its absolute path.
    pub path: String,
    /// Its value.
    pub value: String,
    /// Its access list.
    pub owner: Owner,
}

/// Nodes in the order they are written: parents first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    list: Vec<Node>,
}

impl Nodes {
    /// Adds a node with the access list of its parent.
    pub fn put(&mut self, path: impl Into<String>, value: impl ToString) {
        self.put_owned(path, value, Owner::Inherited);
    }

    /// Adds a node with its own access list.
    pub fn put_owned(&mut self, path: impl Into<String>, value: impl ToString, owner: Owner) {
        self.list.push(Node {
            path: path.into(),
            value: value.to_string(),
            owner,
        });
    }

    /// Adds a directory with its own access list.
    pub fn directory(&mut self, path: impl Into<String>, owner: Owner) {
        self.put_owned(path, "", owner);
    }

    /// Adds `pairs` below `path`.
    pub fn below(&mut self, path: &str, pairs: &[(&str, String)]) {
        for (name, value) in pairs {
            self.put(format!("{path}/{name}"), value);
        }
    }

    /// The value that is to stand at `path`.
    #[cfg(test)]
    pub fn value(&self, path: &str) -> Option<&str> {
        self.list
            .iter()
            .rev()
            .find(|node| node.path == path)
            .map(|node| &*node.value)
    }

    /// Writes them all.
    pub fn write(&self, store: &mut impl Store) -> Result<()> {
        for node in &self.list {
            store.write(&node.path, &node.value)?;
            if let Some(list) = permissions(node.owner) {
                store.set_permissions(&node.path, &list)?;
            }
        }
        Ok(())
    }
}

fn permissions(owner: Owner) -> Option<Vec<Permission>> {
    let none = |domain| Permission {
        domain,
        access: Access::None,
    };
    let read = |domain| Permission {
        domain,
        access: Access::Read,
    };
    match owner {
        Owner::Inherited => None,
        Owner::ReadBy(reader) => Some(vec![none(0), read(reader)]),
        Owner::Of(owner) => Some(vec![none(owner)]),
        Owner::OfReadBy(owner, reader) => Some(vec![none(owner), read(reader)]),
    }
}
