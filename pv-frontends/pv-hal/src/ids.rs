//! Numbers that name things of the machine, each a type of its own: all of them are small integers that travel through
//! xenstore as decimal text.
use core::fmt;
use core::num::ParseIntError;
use core::str::FromStr;

/// A domain (`domid_t` of `public/xen.h`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DomId(pub xen_sys::domid_t);

/// A port of an event channel (`evtchn_port_t` of `public/event_channel.h`), valid in the domain that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Port(pub xen_sys::evtchn_port_t);

/// An entry of the granting domain's grant table (`grant_ref_t` of `public/grant_table.h`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GrantRef(pub xen_abi::grant_ref_t);

macro_rules! decimal {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                text.trim_ascii().parse().map($name)
            }
        }
    )*};
}

decimal!(DomId, Port, GrantRef);
