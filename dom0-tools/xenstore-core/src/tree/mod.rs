//! The tree of nodes. A copy of it costs nothing: copies share all nodes until one of them changes a node, which then
//! copies the nodes on the way there. A tree that is not shared changes in place.

mod children;
mod trie;
mod walk;

use alloc::rc::Rc;
use alloc::vec::Vec;

use xenstore_proto::{Permission, path};

pub use children::{Child, Children};
pub use trie::set_hash_key;

/// A node's access list; nodes that inherit it share it.
#[derive(Clone)]
pub struct Permissions(Rc<List>);

struct List {
    owned_since: u64,
    set_at: u64,
    entries: Vec<Permission>,
}

impl Permissions {
    /// An access list made at generation `set_at`; it must name an owner.
    pub fn new(set_at: u64, entries: Vec<Permission>) -> Permissions {
        assert!(!entries.is_empty(), "an access list names an owner");
        Permissions(Rc::new(List {
            owned_since: set_at,
            set_at,
            entries,
        }))
    }

    /// The same list with an owner as of generation `owned_since`.
    pub fn with_owner(&self, owner: u16, owned_since: u64) -> Permissions {
        let mut entries = self.0.entries.clone();
        entries[0].domain = owner;
        Permissions(Rc::new(List {
            owned_since,
            set_at: self.0.set_at,
            entries,
        }))
    }

    /// When the owner was entered.
    pub fn owned_since(&self) -> u64 {
        self.0.owned_since
    }

    /// When it was made: a domain that is younger than this list does not inherit what it gives to a domain of the same
    /// number.
    pub fn set_at(&self) -> u64 {
        self.0.set_at
    }

    /// The owner's entry, then those of single domains.
    pub fn entries(&self) -> &[Permission] {
        &self.0.entries
    }

    /// The domain that owns what has this list.
    pub fn owner(&self) -> u16 {
        self.0.entries[0].domain
    }
}

/// One node.
#[derive(Clone)]
pub struct Node {
    /// Its value.
    pub value: Vec<u8>,
    /// Who may do what; never empty, the first entry names the owner.
    pub permissions: Permissions,
    /// When value, access list or list of children changed last; no two changes have the same number.
    pub generation: u64,
    /// What is below it.
    pub children: Children,
}

impl Node {
    /// An empty node.
    pub fn new(permissions: Permissions, generation: u64) -> Node {
        Node {
            value: Vec::new(),
            permissions,
            generation,
            children: Children::default(),
        }
    }

    /// The domain that owns it.
    pub fn owner(&self) -> u16 {
        self.permissions.owner()
    }
}

/// A tree; cloning makes a snapshot.
#[derive(Clone)]
pub struct Tree {
    root: Rc<Node>,
}

impl Tree {
    /// A tree of nothing but a root.
    pub fn new(permissions: Permissions, generation: u64) -> Tree {
        Tree {
            root: Rc::new(Node::new(permissions, generation)),
        }
    }

    /// The root.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Whether two trees are one and the same, unchanged since one was cloned from the other.
    pub fn is_same(&self, other: &Tree) -> bool {
        Rc::ptr_eq(&self.root, &other.root)
    }

    /// The node at an absolute path.
    pub fn get(&self, path: &[u8]) -> Option<&Node> {
        let mut node = &*self.root;
        for name in path::components(path) {
            node = node.children.get(name)?;
        }
        Some(node)
    }

    /// The node at an absolute path, to be changed.
    pub fn get_mut(&mut self, path: &[u8]) -> Option<&mut Node> {
        let mut node = Rc::make_mut(&mut self.root);
        for name in path::components(path) {
            node = Rc::make_mut(node.children.get_mut(name)?);
        }
        Some(node)
    }

    /// Takes a node and all below it out; its parent's generation becomes `generation`.
    pub fn remove(&mut self, path: &[u8], generation: u64) -> Option<Rc<Node>> {
        let parent = self.get_mut(path::parent(path)?)?;
        let node = parent.children.remove(path::leaf(path))?;
        parent.generation = generation;
        Some(node)
    }
}
