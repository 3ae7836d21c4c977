//! What the hypervisor remembers of an entry in use.

use super::Ask;
use xen_abi::{GNTST_general_error, GTF_reading, GTF_writing};

/// How often an entry's page is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pins {
    /// Uses that only read.
    pub readers: u16,
    /// Uses that may write.
    pub writers: u16,
}

impl Pins {
    /// One use more.
    pub const fn add(self, write: bool) -> Option<Self> {
        let Pins { readers, writers } = self;
        let (more_readers, more_writers) = if write { (0, 1) } else { (1, 0) };
        match (readers.checked_add(more_readers), writers.checked_add(more_writers)) {
            (Some(readers), Some(writers)) => Some(Self { readers, writers }),
            _ => None,
        }
    }

    /// One use less.
    pub const fn remove(self, write: bool) -> Self {
        match write {
            true => Self {
                readers: self.readers,
                writers: self.writers.saturating_sub(1),
            },
            false => Self {
                readers: self.readers.saturating_sub(1),
                writers: self.writers,
            },
        }
    }

    /// No use at all.
    pub const fn is_none(self) -> bool {
        self.readers == 0 && self.writers == 0
    }

    /// The marks that the granter must see.
    pub const fn marks(self) -> u16 {
        let reading = if self.is_none() { 0 } else { GTF_reading };
        let writing = if self.writers == 0 { 0 } else { GTF_writing };
        reading | writing
    }
}

/// What an entry lends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A page of the granter's.
    Page {
        /// Its frame.
        frame: u32,
    },
    /// A part of such a page, to copy from or to.
    Part {
        /// The page's frame.
        frame: u32,
        /// The first byte.
        offset: u16,
        /// How many bytes.
        length: u16,
    },
    /// What another domain lends to the granter, to copy from or to.
    Other {
        /// The other domain.
        domain: u16,
        /// Its entry.
        gref: u32,
    },
}

impl What {
    /// A frame number as entries of version 2 hold it: one that no machine has becomes one that is never RAM.
    pub const fn frame_of(wide: u64) -> u32 {
        if wide > u32::MAX as u64 { u32::MAX } else { wide as u32 }
    }

    /// A whole page, which can be mapped?
    pub const fn is_page(self) -> bool {
        matches!(self, What::Page { .. })
    }
}

/// An entry's uses. As long as there is one, `grantee` and `what` stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Active {
    pins: Pins,
    grantee: u16,
    what: What,
}

impl Default for Active {
    fn default() -> Self {
        Self::IDLE
    }
}

/// What a further use of an entry needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// The entry is not in use: its contents decide.
    Entry,
    /// It is in use, and must be asked for more: marks are to be set.
    Marks(Pins),
    /// It is in use so already: just one more.
    Nothing(Pins),
}

impl Active {
    /// Not in use.
    pub const IDLE: Active = Active {
        pins: Pins { readers: 0, writers: 0 },
        grantee: 0,
        what: What::Page { frame: u32::MAX },
    };

    /// Is there no use?
    pub const fn is_idle(&self) -> bool {
        self.pins.is_none()
    }

    /// Its uses.
    pub const fn pins(&self) -> Pins {
        self.pins
    }

    /// Who uses it, if anybody does.
    pub const fn grantee(&self) -> u16 {
        self.grantee
    }

    /// What is used, if anything is.
    pub const fn what(&self) -> What {
        self.what
    }

    /// What one more use needs.
    ///
    /// # Errors
    /// `GNTST_general_error` where it is in use by another domain, or as something that cannot be used so, or too often.
    pub(super) fn need(&self, ask: Ask) -> Result<Need, i16> {
        if self.is_idle() {
            return Ok(Need::Entry);
        }
        if self.grantee != ask.grantee || !(ask.copy || self.what.is_page()) {
            return Err(GNTST_general_error);
        }
        let pins = self.pins.add(ask.write).ok_or(GNTST_general_error)?;
        if ask.write && self.pins.writers == 0 {
            Ok(Need::Marks(pins))
        } else {
            Ok(Need::Nothing(pins))
        }
    }

    /// The first use begins.
    pub(super) fn begin(&mut self, ask: Ask, what: What) {
        *self = Active {
            pins: Pins::default().add(ask.write).unwrap_or_default(),
            grantee: ask.grantee,
            what,
        };
    }

    /// A further use begins.
    pub(super) fn go_on(&mut self, pins: Pins) -> What {
        self.pins = pins;
        self.what
    }

    /// A use ends; answers the marks that are to be taken off the entry.
    pub fn end(&mut self, write: bool) -> u16 {
        let before = self.pins.marks();
        self.pins = self.pins.remove(write);
        before & !self.pins.marks()
    }
}
