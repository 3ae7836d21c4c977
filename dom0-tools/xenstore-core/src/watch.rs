//! Who wants to be told of what: watches, kept by the components of their paths.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

use xenstore_proto::{Error, path};

/// A watch.
#[derive(Clone)]
pub struct Watch {
    /// The connection's slot.
    pub client: usize,
    /// Watches are told in the order in which they were set.
    pub sequence: u64,
    /// What the client wants to hear with each event.
    pub token: Rc<[u8]>,
    /// Bytes to leave off the front of each event's path: the client gave a relative path.
    pub skip: usize,
    /// Levels below the path that count; all where there is no limit.
    pub depth: Option<u32>,
}

#[derive(Default)]
struct Branch {
    name: Box<[u8]>,
    /// Sorted by name.
    below: Vec<Branch>,
    watches: Vec<Watch>,
}

impl Branch {
    fn find(&self, name: &[u8]) -> Result<usize, usize> {
        self.below.binary_search_by(|branch| (*branch.name).cmp(name))
    }

    fn get(&self, name: &[u8]) -> Option<&Branch> {
        self.find(name).ok().map(|at| &self.below[at])
    }

    /// Takes a watch out, and the branch if it is empty then.
    fn remove(&mut self, names: &mut dyn Iterator<Item = &[u8]>, client: usize, token: &[u8]) -> bool {
        let Some(name) = names.next() else {
            let count = self.watches.len();
            self.watches
                .retain(|watch| watch.client != client || *watch.token != *token);
            return self.watches.len() != count;
        };
        let Ok(at) = self.find(name) else { return false };
        let removed = self.below[at].remove(names, client, token);
        if self.below[at].watches.is_empty() && self.below[at].below.is_empty() {
            self.below.remove(at);
        }
        removed
    }
}

/// All watches of all clients.
#[derive(Default)]
pub struct Watches {
    nodes: Branch,
    special: Branch,
    next_sequence: u64,
    count: usize,
}

impl Watches {
    fn tree(&mut self, path: &[u8]) -> &mut Branch {
        if path::is_special(path) {
            &mut self.special
        } else {
            &mut self.nodes
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a watch on an absolute path; its sequence number is set here.
    ///
    /// # Errors
    /// `EEXIST` if this client has one with the same path and token.
    pub fn add(&mut self, path: &[u8], mut watch: Watch) -> Result<(), Error> {
        watch.sequence = self.next_sequence;
        let mut branch = self.tree(path);
        for name in path::components(path) {
            let at = branch.find(name).unwrap_or_else(|at| {
                branch.below.insert(
                    at,
                    Branch {
                        name: name.into(),
                        ..Branch::default()
                    },
                );
                at
            });
            branch = &mut branch.below[at];
        }
        if branch
            .watches
            .iter()
            .any(|other| other.client == watch.client && other.token == watch.token)
        {
            return Err(Error::EEXIST);
        }
        branch.watches.push(watch);
        self.next_sequence += 1;
        self.count += 1;
        Ok(())
    }

    /// Takes a watch out; false if there is none like this.
    pub fn remove(&mut self, path: &[u8], client: usize, token: &[u8]) -> bool {
        let removed = self.tree(path).remove(&mut path::components(path), client, token);
        self.count -= usize::from(removed);
        removed
    }

    /// Whether any watch is at or below this path.
    pub fn any_below(&self, path: &[u8]) -> bool {
        let mut branch = &self.nodes;
        path::components(path).all(|name| match branch.get(name) {
            Some(below) => {
                branch = below;
                true
            }
            None => false,
        })
    }

    /// Appends all watches that a change at `path` concerns, in the order in which they were set. With `exact`, only
    /// those on this very path.
    pub fn collect<'a>(&'a self, path: &[u8], exact: bool, into: &mut Vec<&'a Watch>) {
        let special = path::is_special(path);
        let mut branch = if special { &self.special } else { &self.nodes };
        let length = if self.count == 0 {
            return;
        } else {
            path::components(path).count()
        };
        let reaches = |watch: &&Watch, level: usize| watch.depth.is_none_or(|depth| length - level <= depth as usize);
        if special {
            // The root contains everything, names that are no paths included.
            into.extend(self.nodes.watches.iter().filter(|watch| reaches(watch, 0)));
        }
        let mut level = 0;
        let mut names = path::components(path);
        loop {
            if !exact || level == length {
                into.extend(branch.watches.iter().filter(|watch| reaches(watch, level)));
            }
            let Some(below) = names.next().and_then(|name| branch.get(name)) else {
                break;
            };
            branch = below;
            level += 1;
        }
        if into.len() > 1 {
            into.sort_unstable_by_key(|watch| watch.sequence);
        }
    }
}
