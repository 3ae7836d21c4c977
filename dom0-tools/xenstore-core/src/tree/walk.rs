//! Going through nodes without calling oneself: a guest chooses how deep its paths are, and the stack of a driver domain
//! that serves the store is small.

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::{IntoIter, Vec};

use super::{Child, Node};

/// A node on the way down, and which of its children come next.
struct Step<'a> {
    node: &'a Node,
    children: IntoIter<&'a Child>,
    /// Where the path of the node above ends.
    end: usize,
}

impl Node {
    /// Goes through this node and all below it, children in their order: `enter` sees each before what is below it and
    /// says whether to go there, `leave` sees it afterwards (also where `enter` said no). `path` is this node's, and is
    /// as it was at the end.
    pub fn walk(
        &self,
        path: &mut Vec<u8>,
        enter: &mut dyn FnMut(&[u8], &Node) -> bool,
        leave: &mut dyn FnMut(&[u8], &Node),
    ) {
        let mut step = |node, path: &[u8], end| {
            let children = if enter(path, node) {
                node.children.in_order()
            } else {
                Vec::new()
            };
            Step {
                node,
                children: children.into_iter(),
                end,
            }
        };
        let mut way = vec![step(self, path, path.len())];
        while let Some(last) = way.last_mut() {
            if let Some(child) = last.children.next() {
                let end = path.len();
                if path.last() != Some(&b'/') {
                    path.push(b'/');
                }
                path.extend_from_slice(&child.name);
                let next = step(&child.node, path, end);
                way.push(next);
                continue;
            }
            leave(path, last.node);
            path.truncate(last.end);
            way.pop();
        }
    }

    /// Calls `visit` for this node and all below it, with their paths, children before their parents.
    pub fn for_each_below(&self, path: &mut Vec<u8>, visit: &mut dyn FnMut(&[u8], &Node)) {
        self.walk(path, &mut |_, _| true, visit);
    }

    /// Calls `visit` for this node and all below it, in any order.
    pub fn for_each(&self, mut visit: impl FnMut(&Node)) {
        let mut rest = vec![self];
        while let Some(node) = rest.pop() {
            visit(node);
            node.children.for_each(|child| rest.push(&child.node));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut rest = Vec::new();
        self.children.take_into(&mut rest);
        while let Some(child) = rest.pop() {
            // A node that another tree shares stays, with all below it.
            if let Some(mut node) = Rc::into_inner(child.node) {
                node.children.take_into(&mut rest);
            }
        }
    }
}
