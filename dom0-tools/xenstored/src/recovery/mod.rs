//! Coming back: from the journal after a sudden end, or from an earlier program that hands over.

pub mod handover;
pub mod journal;
pub mod restore;
pub use xenstore_core::state;
