//! Devices' protocols (`public/io/`).
mod blkif;
mod console;
mod netif;

pub use blkif::*;
pub use console::*;
pub use netif::*;
