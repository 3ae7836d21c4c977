//! Saved domains as Xen 4.17's tools write them: three formats, one inside the other.
//!
//! [`xl`] is what `xl save` puts around all: a header and the domain's configuration. [`libxl`] is a short list of
//! records, one of which announces the third: [`libxc`], the domain's memory and registers. [`handshake`] is what two
//! `xl` say to each other around a migration. Facts are from Xen's `docs/specs/libxc-migration-stream.pandoc` and
//! `libxl-migration-stream.pandoc`, and from images that stock Xen wrote.
//!
//! Nothing here speaks to a hypervisor. What is read is hostile: every length is bounded before memory is taken for it,
//! every kind and count is checked, and an error says at which byte of the stream what was wrong.

mod error;
pub mod handshake;
pub mod libxc;
pub mod libxl;
mod page_data;
mod record;
mod source;
pub mod xl;

#[cfg(test)]
mod tests;

pub use error::{Error, Result};
pub use page_data::{PageData, PageKind};
pub use record::MOST_BODY;
pub use source::Source;

/// Bytes of a guest's page.
pub const PAGE_SIZE: usize = 4096;
