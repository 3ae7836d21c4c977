//! The frames of one domain, as a list through the frames' own entries.
//!
//! A frame is on the list from the moment the domain gets it until its last reference is gone, whoever holds that.
//! Taking a domain apart goes through the list once: each frame that has been looked at moves to a second list, where
//! it stays if others still hold references to it.

/// Frame numbers that no frame has: the end of a list.
pub const NIL: u32 = u32::MAX;

/// Where the neighbours of a frame are kept.
pub trait Links {
    /// Previous and next.
    fn links(&self, frame: u32) -> (u32, u32);
    /// Sets them.
    fn set_links(&mut self, frame: u32, links: (u32, u32));
}

/// List heads; the caller serialises access.
#[derive(Debug)]
pub struct PageList {
    /// Frames that have not been taken up.
    fresh: u32,
    /// Frames that have.
    taken: u32,
    closed: bool,
}

impl Default for PageList {
    fn default() -> Self {
        Self::new()
    }
}

impl PageList {
    /// A domain without frames.
    pub const fn new() -> Self {
        Self {
            fresh: NIL,
            taken: NIL,
            closed: false,
        }
    }

    /// From now on nothing is added.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// May nothing be added any more?
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Adds a frame that is on no list; `false` if the list is closed.
    #[must_use]
    pub fn add(&mut self, links: &mut impl Links, frame: u32) -> bool {
        if self.closed {
            return false;
        }
        push(&mut self.fresh, links, frame);
        true
    }

    /// Takes a frame off.
    pub fn remove(&mut self, links: &mut impl Links, frame: u32) {
        let (prev, next) = links.links(frame);
        if prev != NIL {
            let (before, _) = links.links(prev);
            links.set_links(prev, (before, next));
        } else if self.fresh == frame {
            self.fresh = next;
        } else {
            self.taken = next;
        }
        if next != NIL {
            let (_, after) = links.links(next);
            links.set_links(next, (prev, after));
        }
    }

    /// Takes up the next frame: each frame once.
    pub fn take_up(&mut self, links: &mut impl Links) -> Option<u32> {
        if self.fresh == NIL {
            return None;
        }
        let frame = self.fresh;
        self.remove(links, frame);
        push(&mut self.taken, links, frame);
        Some(frame)
    }
}

fn push(head: &mut u32, links: &mut impl Links, frame: u32) {
    links.set_links(frame, (NIL, *head));
    if *head != NIL {
        let (_, next) = links.links(*head);
        links.set_links(*head, (frame, next));
    }
    *head = frame;
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec;
    use std::vec::Vec;

    const FRAMES: u32 = 12;

    struct Table(Vec<(u32, u32)>);

    impl Links for Table {
        fn links(&self, frame: u32) -> (u32, u32) {
            self.0[frame as usize]
        }
        fn set_links(&mut self, frame: u32, links: (u32, u32)) {
            self.0[frame as usize] = links;
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Add(u32),
        Remove(u32),
        TakeUp,
        Close,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            8 => (0..FRAMES).prop_map(Op::Add),
            4 => (0..FRAMES).prop_map(Op::Remove),
            4 => Just(Op::TakeUp),
            1 => Just(Op::Close),
        ]
    }

    fn walk(head: u32, table: &Table) -> Vec<u32> {
        let mut found = Vec::new();
        let mut at = head;
        while at != NIL {
            found.push(at);
            at = table.links(at).1;
            assert!(found.len() <= FRAMES as usize, "a circle");
        }
        found
    }

    proptest! {
        /// Each frame is on exactly the list that it should be on, is taken up once, and never added after the end.
        #[test]
        fn frames_are_on_one_list(ops in proptest::collection::vec(op(), 0..80)) {
            let mut table = Table(vec![(0xdead, 0xdead); FRAMES as usize]);
            let mut list = PageList::new();
            let (mut fresh, mut taken, mut closed) = (BTreeSet::new(), BTreeSet::new(), false);
            for op in ops {
                match op {
                    Op::Add(frame) if !fresh.contains(&frame) && !taken.contains(&frame) => {
                        prop_assert_eq!(list.add(&mut table, frame), !closed);
                        if !closed {
                            fresh.insert(frame);
                        }
                    }
                    Op::Remove(frame) if fresh.remove(&frame) || taken.remove(&frame) => list.remove(&mut table, frame),
                    Op::TakeUp => match list.take_up(&mut table) {
                        Some(frame) => {
                            prop_assert!(fresh.remove(&frame));
                            taken.insert(frame);
                        }
                        None => prop_assert!(fresh.is_empty()),
                    },
                    Op::Close => {
                        closed = true;
                        list.close();
                    }
                    _ => {}
                }
                let walked: BTreeSet<u32> = walk(list.fresh, &table).into_iter().collect();
                prop_assert_eq!(&walked, &fresh);
                let walked: BTreeSet<u32> = walk(list.taken, &table).into_iter().collect();
                prop_assert_eq!(&walked, &taken);
            }
        }
    }
}
