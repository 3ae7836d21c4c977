//! What a domain is made with.

/// The properties that a domain keeps for its life, and its limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// May it use the operations reserved for Dom0?
    pub privileged: bool,
    /// How many vcpus it may have.
    pub max_vcpus: u32,
    /// How many frames it may own at first.
    pub max_pages: u64,
    /// The highest event channel port it may use.
    pub max_evtchn_port: u32,
    /// How many frames its grant table may have.
    pub max_grant_frames: u32,
    /// How many frames of 256 mappings of others' grants it may have.
    pub max_maptrack_frames: u32,
    /// The highest version of the grant table it may choose: 1 or 2.
    pub max_grant_version: u32,
    /// The toolstack's name for it.
    pub handle: [u8; 16],
    /// `XEN_DOMCTL_CDF_*`.
    pub flags: u32,
}

/// Frames of a grant table where nobody says otherwise; as Xen's default.
pub const DEFAULT_GRANT_FRAMES: u32 = 64;
/// Frames of mappings where nobody says otherwise; as Xen's default.
pub const DEFAULT_MAPTRACK_FRAMES: u32 = 1024;

impl Config {
    /// Dom0: all there is.
    pub fn hardware(max_vcpus: u32, max_pages: u64) -> Self {
        Self {
            privileged: true,
            max_vcpus,
            max_pages,
            max_evtchn_port: u32::MAX,
            max_grant_frames: DEFAULT_GRANT_FRAMES,
            max_maptrack_frames: DEFAULT_MAPTRACK_FRAMES,
            max_grant_version: 2,
            handle: [0; 16],
            flags: 0,
        }
    }

    /// The domain of the idle vcpus: nothing but those.
    pub(super) fn idle(cpus: u32) -> Self {
        Self {
            privileged: false,
            max_evtchn_port: 0,
            max_grant_frames: 0,
            max_maptrack_frames: 0,
            ..Self::hardware(cpus, 0)
        }
    }
}
