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

    fn new(name: &[u8]) -> Branch {
        Branch {
            name: name.into(),
            below: Vec::new(),
            watches: Vec::new(),
        }
    }

    /// Takes a watch out, and the branches that nothing else hangs from. It does not call itself, nor does dropping what
    /// is taken out: whoever sets a watch chooses how deep it is.
    fn remove(&mut self, path: &[u8], client: usize, token: &[u8]) -> bool {
        // How many names lead to the last branch on the way that is needed without this watch.
        let mut kept = 0;
        let mut branch = &mut *self;
        for (depth, name) in path::components(path).enumerate() {
            let Ok(at) = branch.find(name) else { return false };
            if !branch.watches.is_empty() || branch.below.len() > 1 {
                kept = depth;
            }
            branch = &mut branch.below[at];
        }
        let count = branch.watches.len();
        branch
            .watches
            .retain(|watch| watch.client != client || *watch.token != *token);
        let is_removed = branch.watches.len() != count;
        if is_removed && branch.watches.is_empty() && branch.below.is_empty() {
            self.cut(path, kept);
        }
        is_removed
    }

    /// Cuts off what lies behind the first `kept` names of a path.
    fn cut(&mut self, path: &[u8], kept: usize) {
        let mut branch = self;
        for (depth, name) in path::components(path).enumerate() {
            let Ok(at) = branch.find(name) else { return };
            if depth == kept {
                branch.below.remove(at);
                return;
            }
            branch = &mut branch.below[at];
        }
    }
}

impl Drop for Branch {
    fn drop(&mut self) {
        let mut rest = core::mem::take(&mut self.below);
        while let Some(mut branch) = rest.pop() {
            rest.append(&mut branch.below);
        }
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
                branch.below.insert(at, Branch::new(name));
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
        let removed = self.tree(path).remove(path, client, token);
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
