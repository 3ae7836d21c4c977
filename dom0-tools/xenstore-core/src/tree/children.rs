//! A node's children: a short list, or a trie once there are many.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::OnceCell;

use super::Node;
use super::trie::Trie;

/// Children that still stand in a plain list.
const FEW: usize = 24;

/// A named child.
#[derive(Clone)]
pub struct Child {
    /// Its name, one component of a path.
    pub name: Rc<[u8]>,
    /// The node.
    pub node: Rc<Node>,
}

#[derive(Clone)]
struct Many {
    trie: Trie,
    /// The names, each ended by a zero byte, once somebody has asked for them.
    list: OnceCell<Rc<[u8]>>,
}

#[derive(Clone)]
enum Form {
    Few(Vec<Child>),
    Many(Box<Many>),
}

/// The children of a node, in the order in which they came.
#[derive(Clone)]
pub struct Children {
    form: Form,
    /// Bytes of all names with a zero byte each.
    list_length: usize,
}

impl Default for Children {
    fn default() -> Self {
        Children {
            form: Form::Few(Vec::new()),
            list_length: 0,
        }
    }
}

impl Children {
    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.form {
            Form::Few(list) => list.len(),
            Form::Many(many) => many.trie.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the list of names on the wire.
    pub fn list_length(&self) -> usize {
        self.list_length
    }

    /// The child of this name.
    pub fn get(&self, name: &[u8]) -> Option<&Rc<Node>> {
        match &self.form {
            Form::Few(list) => list.iter().find(|child| *child.name == *name).map(|child| &child.node),
            Form::Many(many) => many.trie.get(name).map(|child| &child.node),
        }
    }

    /// The child of this name, to be changed.
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Rc<Node>> {
        match &mut self.form {
            Form::Few(list) => list
                .iter_mut()
                .find(|child| *child.name == *name)
                .map(|child| &mut child.node),
            Form::Many(many) => many.trie.get_mut(name).map(|child| &mut child.node),
        }
    }

    /// Adds a child whose name is not there yet.
    pub fn insert(&mut self, name: &[u8], node: Node) {
        self.list_length += name.len() + 1;
        let child = Child {
            name: name.into(),
            node: Rc::new(node),
        };
        match &mut self.form {
            Form::Few(list) if list.len() < FEW => list.push(child),
            Form::Few(list) => {
                let mut trie = Trie::new();
                list.drain(..).chain([child]).for_each(|child| trie.insert(child));
                self.form = Form::Many(Box::new(Many {
                    trie,
                    list: OnceCell::new(),
                }));
            }
            Form::Many(many) => {
                many.list.take();
                many.trie.insert(child);
            }
        }
    }

    /// Takes a child out.
    pub fn remove(&mut self, name: &[u8]) -> Option<Rc<Node>> {
        let child = match &mut self.form {
            Form::Few(list) => list
                .iter()
                .position(|child| *child.name == *name)
                .map(|at| list.remove(at)),
            Form::Many(many) => {
                many.list.take();
                many.trie.remove(name)
            }
        }?;
        self.list_length -= name.len() + 1;
        Some(child.node)
    }

    /// Calls `visit` for each child in order.
    pub fn for_each<'a>(&'a self, mut visit: impl FnMut(&'a Child)) {
        match &self.form {
            Form::Few(list) => list.iter().for_each(visit),
            Form::Many(many) => many.trie.in_order().into_iter().for_each(&mut visit),
        }
    }

    /// The children in order.
    pub fn in_order(&self) -> Vec<&Child> {
        match &self.form {
            Form::Few(list) => list.iter().collect(),
            Form::Many(many) => many.trie.in_order(),
        }
    }

    /// Takes all children out; those that a copy shares stay there, and do not come along.
    pub(super) fn take_into(&mut self, into: &mut Vec<Child>) {
        self.list_length = 0;
        match core::mem::replace(&mut self.form, Form::Few(Vec::new())) {
            Form::Few(list) => into.extend(list),
            Form::Many(many) => many.trie.take_into(into),
        }
    }

    /// Appends the names as they stand on the wire.
    pub fn append_list(&self, out: &mut Vec<u8>) {
        match &self.form {
            Form::Few(list) => append_names(list.iter(), out),
            Form::Many(_) => out.extend_from_slice(&self.list()),
        }
    }

    /// The names as they stand on the wire; kept for the next part of a long list.
    pub fn list(&self) -> Rc<[u8]> {
        let build = || {
            let mut names = Vec::with_capacity(self.list_length);
            match &self.form {
                Form::Few(list) => append_names(list.iter(), &mut names),
                Form::Many(many) => append_names(many.trie.in_order().into_iter(), &mut names),
            }
            names.into()
        };
        match &self.form {
            Form::Few(_) => build(),
            Form::Many(many) => many.list.get_or_init(build).clone(),
        }
    }
}

fn append_names<'a>(children: impl Iterator<Item = &'a Child>, out: &mut Vec<u8>) {
    for child in children {
        out.extend_from_slice(&child.name);
        out.push(0);
    }
}
