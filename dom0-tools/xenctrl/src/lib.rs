//! What the toolstack asks of the hypervisor, typed.
//!
//! [`Hypervisor`] is a trait, so that tools can be tested without one: [`Live`] makes hypercalls through `privcmd`,
//! [`fake::Fake`] (feature `fake`) keeps domains and machine memory in this process. The operations and what they
//! speak of are those of `xenctrl-core`, numbers and structures those of `xen-abi`.

#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod live;

pub use live::Live;
pub use privcmd::Mapping;
pub use xenctrl_core::*;

/// All that the tools ask.
pub trait Hypervisor: Domains + Memory<Mapping = Mapping> + Machine + Migration + Send + Sync {}

impl<T: Domains + Memory<Mapping = Mapping> + Machine + Migration + Send + Sync> Hypervisor for T {}

/// An operation that failed at Linux's door or behind it.
pub(crate) fn refusal(action: &'static str, domid: Option<DomId>, error: std::io::Error) -> Error {
    let errno = error.raw_os_error().and_then(|number| u16::try_from(number).ok());
    Error::because(action, domid, errno.map(xen_abi::Errno), error)
}
