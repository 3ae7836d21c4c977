//! The frames of one domain, as a list through the frames' own entries.
//!
//! A frame is on the list from the moment the domain gets it until its last reference is gone, whoever holds that.
//! Taking a domain apart goes through the list in passes: what has been looked at moves to a second list, from which
//! the next pass starts again, and stays there if others still hold references to it.

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
        let head = if self.fresh == frame {
            &mut self.fresh
        } else {
            &mut self.taken
        };
        unlink(head, links, frame);
    }

    /// Takes up the frames at the head, at most `most`, for as long as `plain` holds of them; how many. As
    /// [`Self::take_up`], but the frames keep their order, and it costs a look at each.
    pub fn pass_over<L: Links>(&mut self, links: &mut L, most: u32, mut plain: impl FnMut(u32) -> bool) -> u32 {
        let (first, mut last, mut passed) = (self.fresh, NIL, 0);
        while passed < most && self.fresh != NIL && plain(self.fresh) {
            last = self.fresh;
            (_, self.fresh) = links.links(last);
            passed += 1;
        }
        if last != NIL {
            set_prev(links, self.fresh, NIL);
            set_next(links, last, self.taken);
            set_prev(links, self.taken, last);
            self.taken = first;
        }
        passed
    }

    /// Takes the frames at the head, at most `most`, off for good, for as long as `gone` says that they are no longer
    /// the domain's; how many. What `gone` does to a frame must leave its links alone.
    pub fn strip<L: Links>(&mut self, links: &mut L, most: u32, mut gone: impl FnMut(u32) -> bool) -> u32 {
        let mut stripped = 0;
        while stripped < most && self.fresh != NIL && gone(self.fresh) {
            (_, self.fresh) = links.links(self.fresh);
            stripped += 1;
        }
        set_prev(links, self.fresh, NIL);
        stripped
    }

    /// Starts the next pass, when all frames have been taken up.
    pub fn rewind(&mut self) {
        debug_assert!(self.fresh == NIL, "a pass is not over");
        self.fresh = core::mem::replace(&mut self.taken, NIL);
    }

    /// Takes up the next frame: each frame once in a pass.
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

/// Puts a frame before the first of a list.
pub(crate) fn push(head: &mut u32, links: &mut impl Links, frame: u32) {
    links.set_links(frame, (NIL, *head));
    set_prev(links, *head, frame);
    *head = frame;
}

/// Takes a frame off its list, whose `head` matters only if the frame is the first.
pub(crate) fn unlink(head: &mut u32, links: &mut impl Links, frame: u32) {
    let (prev, next) = links.links(frame);
    if prev != NIL {
        set_next(links, prev, next);
    } else {
        *head = next;
    }
    set_prev(links, next, prev);
}

/// Tells a frame, if there is one, who comes before it.
fn set_prev(links: &mut impl Links, frame: u32, prev: u32) {
    if frame != NIL {
        let (_, next) = links.links(frame);
        links.set_links(frame, (prev, next));
    }
}

/// Tells a frame who comes after it.
fn set_next(links: &mut impl Links, frame: u32, next: u32) {
    let (prev, _) = links.links(frame);
    links.set_links(frame, (prev, next));
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
        /// At most so many, up to this frame.
        PassOver(u32, u32),
        Strip(u32, u32),
        Rewind,
        Close,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            8 => (0..FRAMES).prop_map(Op::Add),
            4 => (0..FRAMES).prop_map(Op::Remove),
            4 => Just(Op::TakeUp),
            3 => (0..6u32, 0..FRAMES).prop_map(|(most, stop)| Op::PassOver(most, stop)),
            2 => (0..6u32, 0..FRAMES).prop_map(|(most, stop)| Op::Strip(most, stop)),
            3 => Just(Op::Rewind),
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
                    Op::PassOver(most, stop) => {
                        let before = walk(list.fresh, &table);
                        let passed = list.pass_over(&mut table, most, |frame| frame != stop) as usize;
                        let expected = before.iter().take(most as usize).take_while(|frame| **frame != stop).count();
                        prop_assert_eq!(passed, expected);
                        for frame in &before[..passed] {
                            fresh.remove(frame);
                            taken.insert(*frame);
                        }
                    }
                    Op::Strip(most, stop) => {
                        let before = walk(list.fresh, &table);
                        let stripped = list.strip(&mut table, most, |frame| frame != stop) as usize;
                        let expected = before.iter().take(most as usize).take_while(|frame| **frame != stop).count();
                        prop_assert_eq!(stripped, expected);
                        for frame in &before[..stripped] {
                            fresh.remove(frame);
                        }
                    }
                    Op::Rewind if fresh.is_empty() => {
                        list.rewind();
                        core::mem::swap(&mut fresh, &mut taken);
                    }
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
