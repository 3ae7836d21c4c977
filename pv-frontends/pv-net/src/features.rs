//! What an end of a device takes, as its directory in xenstore says.

use alloc::string::String;
use alloc::vec::Vec;

use pv_hal::PAGE_SIZE;

use crate::{Checksum, GsoKind, MAX_FRAME, Meta};

/// What an end of a device takes from the other one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Features {
    /// Packets of more than one page (`feature-sg`).
    pub scatter_gather: bool,
    /// Blank checksums over IPv4: unless `feature-no-csum-offload` is set.
    pub blank_v4: bool,
    /// Blank checksums over IPv6 (`feature-ipv6-csum-offload`).
    pub blank_v6: bool,
    /// Large TCP segments over IPv4 (`feature-gso-tcpv4`).
    pub gso_v4: bool,
    /// Large TCP segments over IPv6 (`feature-gso-tcpv6`).
    pub gso_v6: bool,
}

impl Features {
    /// Everything.
    pub const ALL: Self = Self {
        scatter_gather: true,
        blank_v4: true,
        blank_v6: true,
        gso_v4: true,
        gso_v6: true,
    };

    /// Nothing but whole frames of one page.
    pub const NONE: Self = Self {
        scatter_gather: false,
        blank_v4: false,
        blank_v6: false,
        gso_v4: false,
        gso_v6: false,
    };

    /// Asks `flag` for each key of a directory. Large segments without several pages make no sense and are left out.
    pub(crate) fn read<E>(mut flag: impl FnMut(&str) -> Result<bool, E>) -> Result<Self, E> {
        let scatter_gather = flag("feature-sg")?;
        Ok(Self {
            scatter_gather,
            blank_v4: !flag("feature-no-csum-offload")?,
            blank_v6: flag("feature-ipv6-csum-offload")?,
            gso_v4: flag("feature-gso-tcpv4")? && scatter_gather,
            gso_v6: flag("feature-gso-tcpv6")? && scatter_gather,
        })
    }

    /// The keys that tell the other end. Each is written, also where it says no: the directory may hold older ones.
    pub(crate) fn keys(self) -> Vec<(&'static str, String)> {
        let flag = |value: bool| String::from(if value { "1" } else { "0" });
        alloc::vec![
            ("feature-sg", flag(self.scatter_gather)),
            ("feature-no-csum-offload", flag(!self.blank_v4)),
            ("feature-ipv6-csum-offload", flag(self.blank_v6)),
            ("feature-gso-tcpv4", flag(self.gso_v4)),
            ("feature-gso-tcpv6", flag(self.gso_v6)),
        ]
    }

    /// Whether large segments of this kind are taken.
    pub fn takes_gso(&self, kind: GsoKind) -> bool {
        match kind {
            GsoKind::TcpV4 => self.gso_v4,
            GsoKind::TcpV6 => self.gso_v6,
        }
    }

    /// Most bytes of one frame.
    pub fn longest(&self) -> usize {
        if self.scatter_gather { MAX_FRAME } else { PAGE_SIZE }
    }

    /// Whether a frame with this checksum must be completed first. `is_v6` is asked only where it matters.
    pub(crate) fn must_complete(&self, meta: Meta, is_v6: impl FnOnce() -> bool) -> bool {
        meta.checksum == Checksum::Blank
            && match (self.blank_v4, self.blank_v6) {
                (true, true) => false,
                (false, false) => true,
                (_, v6) => is_v6() != v6,
            }
    }
}
