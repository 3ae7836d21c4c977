//! The fake machine's pages.
use super::Machine;
use crate::{Memory, PAGE_WORDS};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering};

/// One page; counted as in use by its domain as long as anything refers to it.
pub(super) struct FakePage {
    words: Box<[AtomicU32; PAGE_WORDS]>,
    in_use: Rc<Cell<usize>>,
}

impl FakePage {
    pub(super) fn new(in_use: &Rc<Cell<usize>>) -> Rc<FakePage> {
        in_use.set(in_use.get() + 1);
        Rc::new(FakePage {
            words: Box::new([const { AtomicU32::new(0) }; PAGE_WORDS]),
            in_use: in_use.clone(),
        })
    }

    pub(super) fn words(&self) -> &[AtomicU32; PAGE_WORDS] {
        &self.words
    }
}

impl Drop for FakePage {
    fn drop(&mut self) {
        self.in_use.set(self.in_use.get() - 1);
    }
}

/// Pages of a [`Domain`](super::Domain).
#[derive(Clone)]
pub struct Pages(pub(super) Rc<[Rc<FakePage>]>);

impl Memory for Pages {
    fn page_count(&self) -> usize {
        self.0.len()
    }

    fn page(&self, index: usize) -> &[AtomicU32; PAGE_WORDS] {
        &self.0[index].words
    }
}

/// Pages of another domain. Writing to a read-only mapping panics, as it would be a page fault.
pub struct Mapping {
    pub(super) machine: Machine,
    pub(super) id: u64,
    pub(super) pages: Vec<Rc<FakePage>>,
    pub(super) is_read_only: bool,
}

impl Mapping {
    fn check_writable(&self) {
        assert!(!self.is_read_only, "page fault: a write to a read-only mapping");
    }
}

impl Memory for Mapping {
    fn page_count(&self) -> usize {
        self.pages.len()
    }

    fn page(&self, index: usize) -> &[AtomicU32; PAGE_WORDS] {
        &self.pages[index].words
    }

    fn store_u32(&self, offset: usize, value: u32, order: Ordering) {
        self.check_writable();
        self.word(offset).store(value, order)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.machine.0.state.borrow_mut().unmap(self.id);
    }
}
