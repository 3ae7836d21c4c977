//! Reading and changing nodes under access lists and quotas: of the one live tree, or of a transaction's copy.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use xenstore_proto::{Error, Permission, path};

use crate::access::{Identity, Rights};
use crate::quota::Quotas;
use crate::record::{self, Tag};
use crate::transaction::Accessed;
use crate::tree::{Node, Permissions, Tree};

/// Bytes that a node counts for itself, and for each entry of its access list.
const NODE_OVERHEAD: usize = 24;
const ENTRY_SIZE: usize = 8;

/// Nodes by owner: all of them for the live tree, the difference for a transaction.
pub type Counts = BTreeMap<u16, i64>;

/// A tree with what is kept beside it.
pub struct Space {
    /// The nodes.
    pub tree: Tree,
    /// How many each domain owns.
    pub counts: Counts,
    /// Changes since this was last taken away, as records.
    pub log: Vec<u8>,
    /// What was looked at, in a transaction.
    pub accessed: Option<Accessed>,
}

/// What applies to one change.
pub struct Terms<'a> {
    /// Who asks.
    pub identity: &'a Identity,
    /// The limits.
    pub quotas: &'a Quotas,
    /// Nodes that the client's domain owns in the live tree, while this is a transaction's space; else 0.
    pub owned_elsewhere: i64,
    /// The number of this change.
    pub generation: u64,
}

impl Space {
    /// A space around a tree.
    pub fn new(tree: Tree) -> Space {
        Space {
            tree,
            counts: Counts::new(),
            log: Vec::new(),
            accessed: None,
        }
    }

    /// Notes that a path was looked at.
    fn note(&mut self, path: &[u8]) {
        if let Some(accessed) = &mut self.accessed {
            accessed.note(path, self.tree.get(path).map(|node| node.generation));
        }
    }

    /// The node at `path`, if the client has the rights `needed`.
    ///
    /// Whether a node exists is only told to those who may see it: without any of the rights to the node above, the answer is
    /// [`Error::EACCES`] in either case.
    pub fn find(&mut self, identity: &Identity, path: &[u8], needed: Rights) -> Result<&Node, Error> {
        if self.accessed.is_some() {
            self.note(path);
        }
        if identity.privileged {
            return self.tree.get(path).ok_or(Error::ENOENT);
        }
        // Looked up twice, since the borrow checker does not see that the first one ends where it is returned.
        match self.tree.get(path) {
            Some(node) if identity.rights(&node.permissions).cover(&needed) => {}
            Some(_) => return Err(Error::EACCES),
            None => return Err(self.missing(identity, path, needed)),
        }
        self.tree.get(path).ok_or(Error::ENOENT)
    }

    /// Why there is no node, as far as this client may know.
    fn missing(&mut self, identity: &Identity, path: &[u8], needed: Rights) -> Error {
        if identity.privileged {
            return Error::ENOENT;
        }
        let mut at = path;
        while let Some(above) = path::parent(at) {
            self.note(above);
            if let Some(node) = self.tree.get(above) {
                return if identity.rights(&node.permissions).touch(&needed) {
                    Error::ENOENT
                } else {
                    Error::EACCES
                };
            }
            at = above;
        }
        Error::EACCES
    }

    /// Sets a value; makes the node and its parents if need be.
    pub fn write(&mut self, terms: &Terms<'_>, path: &[u8], value: &[u8]) -> Result<(), Error> {
        if terms.identity.privileged {
            if self.accessed.is_some() {
                self.note(path);
            }
        } else {
            match self.find(terms.identity, path, Rights::WRITE) {
                Ok(node) => check_size(
                    terms,
                    value.len(),
                    node.permissions.entries().len(),
                    node.children.list_length(),
                )?,
                Err(Error::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        let Some(node) = self.tree.get_mut(path) else {
            return self.create(terms, path, value);
        };
        node.value.clear();
        node.value.extend_from_slice(value);
        node.generation = terms.generation;
        record::begin(&mut self.log, Tag::Value);
        record::put_bytes(&mut self.log, path);
        record::put_bytes(&mut self.log, value);
        Ok(())
    }

    /// Makes a node and its parents; false if it exists.
    pub fn make(&mut self, terms: &Terms<'_>, path: &[u8]) -> Result<bool, Error> {
        match self.find(terms.identity, path, Rights::WRITE) {
            Ok(_) => Ok(false),
            Err(Error::ENOENT) => self.create(terms, path, &[]).map(|()| true),
            Err(error) => Err(error),
        }
    }

    /// Makes a node that does not exist, and what is missing above it.
    fn create(&mut self, terms: &Terms<'_>, path: &[u8], value: &[u8]) -> Result<(), Error> {
        let mut above = path::parent(path).ok_or(Error::EINVAL)?;
        let mut missing = 1;
        self.note(above);
        while self.tree.get(above).is_none() {
            above = path::parent(above).ok_or(Error::EIO)?;
            self.note(above);
            missing += 1;
        }
        let identity = terms.identity;
        let parent = self.tree.get(above).ok_or(Error::EIO)?;
        let inherited = parent.permissions.clone();
        if !identity.privileged {
            let owned = self.counts.get(&identity.holder.domain).copied().unwrap_or(0) + terms.owned_elsewhere;
            if owned + missing > terms.quotas.nodes as i64 {
                return Err(Error::ENOSPC);
            }
            let first = path::components(&path[above.len()..]).next().unwrap_or_default();
            let entries = inherited.entries().len();
            check_size(
                terms,
                parent.value.len(),
                entries,
                parent.children.list_length() + first.len() + 1,
            )?;
            check_size(terms, value.len(), entries, 0)?;
        }
        self.insert_chain(terms, path, above.len(), value, &inherited)
    }

    /// Makes the nodes of `path` below its first `above` bytes, which exist.
    fn insert_chain(
        &mut self,
        terms: &Terms<'_>,
        path: &[u8],
        above: usize,
        value: &[u8],
        inherited: &Permissions,
    ) -> Result<(), Error> {
        let list = if terms.identity.privileged {
            inherited.clone()
        } else {
            inherited.with_owner(terms.identity.holder.domain, terms.generation)
        };
        let mut tag = if terms.identity.privileged {
            Tag::MakeInherited
        } else {
            Tag::Make
        };
        let mut node = self.tree.get_mut(&path[..above]).ok_or(Error::EIO)?;
        let mut end = if above == 1 { 0 } else { above };
        while end < path.len() {
            let start = end + 1;
            end = path[start..]
                .iter()
                .position(|&byte| byte == b'/')
                .map_or(path.len(), |at| start + at);
            let name = &path[start..end];
            let mut child = Node::new(list.clone(), terms.generation);
            let value = if end == path.len() { value } else { &[] };
            child.value = value.to_vec();
            record::begin(&mut self.log, tag);
            record::put_bytes(&mut self.log, &path[..end]);
            if tag == Tag::Make {
                record::put_permissions(&mut self.log, &list);
                tag = Tag::MakeInherited;
            }
            record::put_bytes(&mut self.log, value);
            *self.counts.entry(list.owner()).or_default() += 1;
            node.generation = terms.generation;
            node.children.insert(name, child);
            node = node
                .children
                .get_mut(name)
                .map(alloc::rc::Rc::make_mut)
                .ok_or(Error::EIO)?;
        }
        Ok(())
    }

    /// Whether a node can be removed: checks rights, and notes everything below as looked at. False if there is nothing to
    /// remove.
    pub fn check_remove(&mut self, identity: &Identity, path: &[u8]) -> Result<bool, Error> {
        match self.find(identity, path, Rights::WRITE) {
            Ok(_) => {}
            Err(Error::ENOENT) => {
                let above = path::parent(path).ok_or(Error::EINVAL)?;
                self.note(above);
                return if self.tree.get(above).is_some() {
                    Ok(false)
                } else {
                    Err(Error::ENOENT)
                };
            }
            Err(error) => return Err(error),
        }
        if path.len() == 1 {
            return Err(Error::EINVAL);
        }
        if let (Some(accessed), Some(node)) = (&mut self.accessed, self.tree.get(path)) {
            node.for_each_below(&mut path.to_vec(), &mut |path, node| {
                accessed.note(path, Some(node.generation))
            });
        }
        self.note(path::parent(path).ok_or(Error::EINVAL)?);
        Ok(true)
    }

    /// Removes a node that [`Space::check_remove`] has found.
    pub fn remove(&mut self, path: &[u8], generation: u64) {
        let Some(node) = self.tree.remove(path, generation) else {
            return;
        };
        let counts = &mut self.counts;
        count_down(&node, counts);
        record::begin(&mut self.log, Tag::Remove);
        record::put_bytes(&mut self.log, path);
    }

    /// Replaces an access list; gives the old one.
    pub fn set_permissions(
        &mut self,
        terms: &Terms<'_>,
        path: &[u8],
        entries: Vec<Permission>,
    ) -> Result<Permissions, Error> {
        let node = self.find(terms.identity, path, Rights::OWN)?;
        let owner = entries.first().ok_or(Error::EINVAL)?.domain;
        let old = node.permissions.clone();
        if !terms.identity.privileged {
            if owner != old.owner() {
                return Err(Error::EPERM);
            }
            check_size(terms, node.value.len(), entries.len(), node.children.list_length())?;
        }
        let list = Permissions::new(terms.generation, entries);
        *self.counts.entry(old.owner()).or_default() -= 1;
        *self.counts.entry(owner).or_default() += 1;
        record::begin(&mut self.log, Tag::Permissions);
        record::put_bytes(&mut self.log, path);
        record::put_permissions(&mut self.log, &list);
        let node = self.tree.get_mut(path).ok_or(Error::EIO)?;
        node.permissions = list;
        node.generation = terms.generation;
        Ok(old)
    }
}

/// Whether a node of this size is within the limit.
fn check_size(terms: &Terms<'_>, value: usize, entries: usize, list: usize) -> Result<(), Error> {
    let size = NODE_OVERHEAD + entries * ENTRY_SIZE + value + list;
    if size as u64 >= terms.quotas.node_size {
        Err(Error::ENOSPC)
    } else {
        Ok(())
    }
}

/// Takes a node and all below it off its owners' counts.
fn count_down(node: &Node, counts: &mut Counts) {
    node.for_each(|node| *counts.entry(node.owner()).or_default() -= 1);
}

/// Counts a tree's nodes by owner.
pub fn count_all(node: &Node, counts: &mut Counts) {
    node.for_each(|node| *counts.entry(node.owner()).or_default() += 1);
}
