//! What a driver domain decides that builds and serves guests, apart from the machine below it: which guests there are,
//! how they are built, what the store says of them. The image `iodom` adds the devices and the machine; here all runs on
//! the fakes of `pv-hal` and `xenctrl`, too.
#![no_std]
extern crate alloc;

pub mod archive;
pub mod bridge;
pub mod build;
pub mod config;
pub mod console;
pub mod guest;
pub mod nodes;
pub mod request;
pub mod restart;
pub mod server;
pub mod share;
pub mod store;
