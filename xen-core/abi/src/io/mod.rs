//! Devices' protocols (`public/io/`).
mod blkif;
mod console;
mod netif;
mod xenbus;

pub use blkif::*;
pub use console::*;
pub use netif::*;
pub use xenbus::*;
