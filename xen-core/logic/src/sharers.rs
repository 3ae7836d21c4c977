//! The guests that hear of one interrupt line, and when the line must be quiet.
//!
//! A level comes again for as long as its device holds it. So it is masked when it has interrupted, and stays so until
//! each guest that was told has said that it is done.

use xen_abi::Errno;

/// Most guests that share one line.
pub const MAX_SHARERS: usize = 8;

/// A guest that is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sharer {
    /// The domain.
    pub domid: u16,
    /// What the domain calls the line.
    pub pirq: u32,
}

/// What is to be done at the line's source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Source {
    /// Nothing.
    Keep,
    /// Keep it from interrupting.
    Mask,
    /// Let it interrupt.
    Unmask,
}

/// The guests of one line.
#[derive(Clone, Copy, Debug)]
pub struct Sharers {
    /// Who, and who has been told of a level and has not said yet that it is done.
    list: [Option<(Sharer, bool)>; MAX_SHARERS],
    /// May there be more than one?
    shareable: bool,
}

impl Sharers {
    /// Nobody.
    pub const fn new() -> Self {
        Self {
            list: [None; MAX_SHARERS],
            shareable: false,
        }
    }

    /// The guests.
    pub fn iter(&self) -> impl Iterator<Item = Sharer> + '_ {
        self.list.iter().flatten().map(|(sharer, _)| *sharer)
    }

    /// Nobody is told.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Tells a guest from now on, which bears with others on the line if `share`.
    ///
    /// # Errors
    /// `EBUSY` if the guest is told already, or the others and it do not all share, or there are too many.
    pub fn bind(&mut self, new: Sharer, share: bool) -> Result<Source, Errno> {
        let first = self.is_empty();
        let may_join = first || share && self.shareable;
        if !may_join || self.iter().any(|s| s.domid == new.domid) {
            return Err(Errno::EBUSY);
        }
        let slot = self.list.iter_mut().find(|s| s.is_none()).ok_or(Errno::EBUSY)?;
        *slot = Some((new, false));
        self.shareable = share;
        Ok(if first { Source::Unmask } else { Source::Keep })
    }

    /// Tells a guest no more.
    pub fn unbind(&mut self, gone: Sharer) -> Source {
        let Some(slot) = self
            .list
            .iter_mut()
            .find(|s| s.is_some_and(|(sharer, _)| sharer == gone))
        else {
            return Source::Keep;
        };
        let in_service = matches!(slot.take(), Some((_, true)));
        match in_service {
            _ if self.is_empty() => Source::Mask,
            true => self.reopen(),
            false => Source::Keep,
        }
    }

    /// A level has interrupted: everybody is told.
    pub fn begin_service(&mut self) -> Source {
        self.list
            .iter_mut()
            .flatten()
            .for_each(|(_, in_service)| *in_service = true);
        Source::Mask
    }

    /// A guest says that it has served the device. It may say so unasked.
    pub fn end_service(&mut self, done: Sharer) -> Source {
        let told = self
            .list
            .iter_mut()
            .flatten()
            .find(|(sharer, in_service)| *sharer == done && *in_service);
        match told {
            Some((_, in_service)) => *in_service = false,
            None => return Source::Keep,
        }
        self.reopen()
    }

    /// Opens the line again once nobody serves it.
    fn reopen(&self) -> Source {
        if self.list.iter().flatten().any(|(_, in_service)| *in_service) {
            Source::Keep
        } else {
            Source::Unmask
        }
    }
}

impl Default for Sharers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn guest(domid: u16) -> Sharer {
        Sharer {
            domid,
            pirq: 16 + domid as u32,
        }
    }

    #[test]
    fn sharing_needs_both_sides() {
        let mut line = Sharers::new();
        assert_eq!(line.bind(guest(0), false), Ok(Source::Unmask));
        assert_eq!(line.bind(guest(1), true), Err(Errno::EBUSY));
        assert_eq!(line.unbind(guest(0)), Source::Mask);
        assert_eq!(line.bind(guest(0), true), Ok(Source::Unmask));
        assert_eq!(line.bind(guest(0), true), Err(Errno::EBUSY));
        assert_eq!(line.bind(guest(1), false), Err(Errno::EBUSY));
        for domid in 1..MAX_SHARERS as u16 {
            assert_eq!(line.bind(guest(domid), true), Ok(Source::Keep));
        }
        assert_eq!(line.bind(guest(100), true), Err(Errno::EBUSY));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Bind(u16),
        Unbind(u16),
        Interrupt,
        Done(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u16..4).prop_map(Step::Bind),
            (0u16..4).prop_map(Step::Unbind),
            Just(Step::Interrupt),
            (0u16..4).prop_map(Step::Done),
        ]
    }

    proptest! {
        /// The line is open exactly while somebody is bound and nobody serves it.
        #[test]
        fn a_level_is_open_unless_served(steps in proptest::collection::vec(step(), 0..60)) {
            let mut line = Sharers::new();
            let mut model: BTreeMap<u16, bool> = BTreeMap::new();
            let mut open = false;
            for step in steps {
                let effect = match step {
                    Step::Bind(d) => {
                        let effect = line.bind(guest(d), true);
                        prop_assert_eq!(effect.is_err(), model.contains_key(&d));
                        model.entry(d).or_insert(false);
                        effect.unwrap_or(Source::Keep)
                    }
                    Step::Unbind(d) => {
                        model.remove(&d);
                        line.unbind(guest(d))
                    }
                    // The hardware interrupts only while open.
                    Step::Interrupt if open => {
                        model.values_mut().for_each(|served| *served = true);
                        line.begin_service()
                    }
                    Step::Interrupt => Source::Keep,
                    Step::Done(d) => {
                        model.entry(d).and_modify(|served| *served = false);
                        line.end_service(guest(d))
                    }
                };
                match effect {
                    Source::Keep => {}
                    Source::Mask => open = false,
                    Source::Unmask => open = true,
                }
                prop_assert_eq!(open, !model.is_empty() && model.values().all(|served| !served));
                prop_assert!(line.iter().map(|s| s.domid).collect::<std::collections::BTreeSet<_>>()
                    == model.keys().copied().collect());
            }
        }
    }
}
