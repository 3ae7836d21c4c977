//! Xen 4.17's public interface for x86_64 paravirtual guests, in Xen's own spelling.
//!
//! A file a header family. Names are those of Xen's headers, so that a search in either finds both; every item is
//! re-exported at the root. `layout.rs` holds each structure's size and offsets against the C headers.
#![no_std]
#![allow(non_camel_case_types, non_upper_case_globals)]

#[macro_use]
mod macros;
mod arch;
mod domctl;
mod errno;
mod event_channel;
mod grant_table;
mod hypercall;
mod io;
mod memory;
mod physdev;
mod platform;
mod sched;
mod sysctl;
mod version;
mod xen;

pub use arch::*;
pub use domctl::*;
pub use errno::Errno;
pub use event_channel::*;
pub use grant_table::*;
pub use hypercall::*;
pub use io::*;
pub use memory::*;
pub use physdev::*;
pub use platform::*;
pub use sched::*;
pub use sysctl::*;
pub use version::*;
pub use xen::*;

macro_rules! layouts {
    ($($kind:ident $name:ident($size:literal) { $($field:ident $($c:literal)? = $offset:literal),* $(,)? })*) => {
        $(const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(core::mem::offset_of!($name, $field) == $offset);)*
        };)*
    };
}
include!("layout.rs");
