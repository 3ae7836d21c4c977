//! A guest's side of the console, for tests.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;

use privcmd::{DomId, Port};

use crate::backlog::Overflow;
use crate::guest::{Place, Policy};
use crate::log::Style;
use crate::ring::SharedPage;
use crate::wire::Wire;

const IN_CONS: usize = 3072;
const IN_PROD: usize = 3076;
pub const OUT_AT: usize = 1024;
pub const OUT_CONS: usize = 3080;
pub const OUT_PROD: usize = 3084;

/// A page that outlives its mappings, as a guest's does when the daemon dies.
#[derive(Clone)]
pub struct Page(Rc<RefCell<Vec<u8>>>);

impl SharedPage for Page {
    fn load(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.0.borrow()[offset..offset + 4].try_into().expect("four bytes"))
    }
    fn store(&self, offset: usize, value: u32) {
        self.0.borrow_mut()[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }
    fn read(&self, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self.0.borrow()[offset..offset + into.len()]);
    }
    fn write(&self, offset: usize, from: &[u8]) {
        self.0.borrow_mut()[offset..offset + from.len()].copy_from_slice(from);
    }
}

impl Page {
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new(vec![0; 4096])))
    }

    /// Prints as a guest does, as far as there is room.
    pub fn print(&self, text: &[u8]) -> usize {
        let (consumed, mut produced) = (self.load(OUT_CONS), self.load(OUT_PROD));
        let count = text.len().min(2048 - produced.wrapping_sub(consumed) as usize);
        for byte in &text[..count] {
            self.write(OUT_AT + produced as usize % 2048, &[*byte]);
            produced = produced.wrapping_add(1);
        }
        self.store(OUT_PROD, produced);
        count
    }

    /// Takes all that was typed.
    pub fn take_input(&self) {
        self.store(IN_CONS, self.load(IN_PROD));
    }
}

/// Counts what is done to the guest.
pub struct Doors {
    page: Page,
    pub mapped: RefCell<Vec<u64>>,
    pub bound: RefCell<Vec<Port>>,
    pub notified: RefCell<usize>,
    pub unmasked: RefCell<usize>,
}

impl Doors {
    pub fn new(page: &Page) -> Self {
        let (mapped, bound) = (RefCell::default(), RefCell::default());
        Self {
            page: page.clone(),
            mapped,
            bound,
            notified: RefCell::new(0),
            unmasked: RefCell::new(0),
        }
    }
}

impl Wire for Doors {
    type Page = Page;

    fn map(&self, _domid: DomId, frame: u64) -> io::Result<Page> {
        self.mapped.borrow_mut().push(frame);
        Ok(self.page.clone())
    }
    fn bind(&self, _domid: DomId, remote: Port) -> io::Result<Port> {
        self.bound.borrow_mut().push(remote + 100);
        Ok(remote + 100)
    }
    fn unbind(&self, port: Port) {
        self.bound.borrow_mut().retain(|bound| *bound != port);
    }
    fn notify(&self, _port: Port) {
        *self.notified.borrow_mut() += 1;
    }
    fn unmask(&self, _port: Port) {
        *self.unmasked.borrow_mut() += 1;
    }
}

pub const PLACE: Place = Place {
    frame: 7,
    port: 2,
    limit: 1 << 20,
};

/// Logs go to `dir`; a few turns' output is allowed at once.
pub fn policy_with(dir: &Path, overflow: Overflow) -> Policy {
    Policy {
        log_dir: Some(dir.to_owned()),
        style: Style {
            stamps: false,
            replace_escape: false,
            max_size: 0,
        },
        overflow,
        rate: 10_000,
        burst: 10_000,
    }
}
