//! A client's transaction: a copy of the tree, what it looked at, and what it will do.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;

use xenstore_proto::Error;

use crate::access::Identity;
use crate::quota::Quotas;
use crate::record::{self, Reader};
use crate::space::Space;
use crate::tree::{Permissions, Tree};

/// What a transaction has looked at, with the generation it saw; none where there was no node.
#[derive(Default)]
pub struct Accessed {
    nodes: BTreeMap<Rc<[u8]>, Option<u64>>,
    bytes: usize,
}

impl Accessed {
    /// Notes a path, unless it was noted before.
    pub fn note(&mut self, path: &[u8], generation: Option<u64>) {
        if !self.nodes.contains_key(path) {
            self.nodes.insert(path.into(), generation);
            self.bytes += path.len();
        }
    }

    /// How many paths.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes of the paths.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing was looked at.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether a path was looked at.
    pub fn contains(&self, path: &[u8]) -> bool {
        self.nodes.contains_key(path)
    }

    /// Every path with what was seen.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<u64>)> {
        self.nodes.iter().map(|(path, generation)| (&**path, *generation))
    }

    /// Whether everything is still as it was seen.
    pub fn holds(&self, tree: &Tree) -> bool {
        self.nodes
            .iter()
            .all(|(path, generation)| tree.get(path).map(|node| node.generation) == *generation)
    }
}

/// A change that watches will be told of.
pub struct Change {
    /// The path.
    pub path: Rc<[u8]>,
    /// Whether only watches on this very path are concerned: its parent's removal has told the others.
    pub exact: bool,
    /// The access list it had before, if that changed.
    pub old: Option<Permissions>,
    /// Whether the node goes: rights are then those before.
    pub removed: bool,
}

/// A running transaction.
pub struct Transaction {
    /// Its number among those of its client.
    pub id: u32,
    /// The tree as the transaction sees it.
    pub space: Space,
    /// The tree at its start.
    base: Tree,
    /// What it will tell watches.
    pub changes: Vec<Change>,
    /// It can no longer succeed: it went on from before a restart, or something in it failed half way.
    pub doomed: bool,
}

impl Transaction {
    /// Begins with the live tree as it is now.
    pub fn new(id: u32, live: &Tree) -> Transaction {
        let mut space = Space::new(live.clone());
        space.accessed = Some(Accessed::default());
        Transaction {
            id,
            space,
            base: live.clone(),
            changes: Vec::new(),
            doomed: false,
        }
    }

    /// Whether the live tree has changed since the start.
    pub fn is_overtaken(&self, live: &Tree) -> bool {
        !self.base.is_same(live)
    }

    /// Whether a change of `path` now would make this transaction fail.
    pub fn depends_on(&self, path: &[u8]) -> bool {
        self.space
            .accessed
            .as_ref()
            .is_some_and(|accessed| accessed.contains(path))
    }

    /// Brings the changes into the live tree; its generation is `generation`.
    ///
    /// Where nothing else has changed meanwhile, the copy simply becomes the live tree. Otherwise everything that was
    /// looked at must be unchanged, and the changes are carried out again.
    pub fn commit(&mut self, live: &mut Space, generation: u64) -> Result<(), Error> {
        if self.doomed {
            return Err(Error::EAGAIN);
        }
        if self.is_overtaken(&live.tree) {
            if !self
                .space
                .accessed
                .as_ref()
                .is_some_and(|accessed| accessed.holds(&live.tree))
            {
                return Err(Error::EAGAIN);
            }
            let mut merged = live.tree.clone();
            let mut reader = Reader::new(&self.space.log);
            while let Some(tag) = reader.tag().map_err(|_| Error::EIO)? {
                record::apply(&mut merged, tag, &mut reader, generation).map_err(|_| Error::EIO)?;
            }
            live.tree = merged;
        } else if !self.space.log.is_empty() {
            live.tree = self.space.tree.clone();
        }
        for (domain, change) in &self.space.counts {
            *live.counts.entry(*domain).or_default() += change;
        }
        live.log.extend_from_slice(&self.space.log);
        Ok(())
    }
}

impl Transaction {
    /// Bytes that it makes the daemon keep.
    pub fn size(&self) -> u64 {
        let seen = self.space.accessed.as_ref().map_or(0, Accessed::bytes);
        // What is to be done takes room, too, and once more as what watches will be told.
        (seen + 2 * self.space.log.len()) as u64
    }

    /// Whether it looks at no more and keeps no more than a client may, whose other transactions keep `others` bytes.
    pub fn check_size(&mut self, identity: &Identity, quotas: &Quotas, others: u64) -> Result<(), Error> {
        let nodes = self.space.accessed.as_ref().map_or(0, Accessed::len) as u64;
        let is_small = nodes <= quotas.transaction_nodes && self.size() + others <= quotas.memory;
        if identity.privileged || is_small {
            return Ok(());
        }
        self.doomed = true;
        Err(Error::ENOSPC)
    }

    /// Removes a node that was found to be removable; notes what watches on nodes below it will be told, if there are
    /// any.
    pub fn remove(&mut self, path: &[u8], generation: u64, watched: bool) {
        let changes = &mut self.changes;
        let mut note = |path: &[u8], exact| {
            changes.push(Change {
                path: path.into(),
                exact,
                old: None,
                removed: true,
            })
        };
        if watched && let Some(node) = self.space.tree.get(path) {
            let top = path.len();
            node.for_each_below(&mut path.to_vec(), &mut |path, _| {
                if path.len() > top {
                    note(path, true);
                }
            });
        }
        note(path, false);
        self.space.remove(path, generation);
    }
}
