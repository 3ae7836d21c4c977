//! A paravirtual guest as its configuration describes it.

use serde::{Deserialize, Serialize};

use crate::action::Actions;
use crate::cpus::Affinity;
use crate::disk::Disk;
use crate::uuid::Uuid;
use crate::vif::Vif;

/// What is loaded into the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// Path of the kernel.
    pub kernel: String,
    /// Path of the initial RAM disk.
    pub ramdisk: Option<String>,
    /// The kernel's command line.
    pub command_line: String,
}

/// Limits of what the hypervisor keeps for the domain; none is the toolstack's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Pages of the grant table.
    pub grant_frames: Option<u32>,
    /// Pages that track mapped grants.
    pub maptrack_frames: Option<u32>,
    /// Highest version of the grant table, 1 or 2.
    pub grant_version: Option<u32>,
    /// Highest event channel.
    pub event_channels: Option<u32>,
}

/// How the guest sees the time-stamp counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TscMode {
    /// Native where that is safe.
    #[default]
    Default,
    /// Always emulated.
    AlwaysEmulate,
    /// Never emulated.
    Native,
}

/// A domain to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainConfig {
    /// Its name, unique on the machine.
    pub name: String,
    /// Its UUID; none lets the toolstack choose.
    pub uuid: Option<Uuid>,
    /// Vcpus that are online at the start.
    pub vcpus: u32,
    /// Vcpus that can be online.
    pub max_vcpus: u32,
    /// Memory at the start, in KiB.
    pub memory_kib: u64,
    /// Most memory it may have, in KiB.
    pub max_memory_kib: u64,
    /// CPUs its vcpus may run on.
    pub hard_affinity: Affinity,
    /// CPUs its vcpus should run on.
    pub soft_affinity: Affinity,
    /// Share of the CPUs; none is the scheduler's default.
    pub weight: Option<u16>,
    /// Most CPU time in percent of one CPU, 0 for no limit; none is the scheduler's default.
    pub cap: Option<u16>,
    /// What it boots.
    pub boot: Boot,
    /// What becomes of it when it ends.
    pub actions: Actions,
    /// Limits of hypervisor resources.
    pub limits: Limits,
    /// Time-stamp counter.
    pub tsc_mode: TscMode,
    /// Whether unknown MSRs read as zero instead of faulting.
    pub msr_relaxed: bool,
    /// Seconds between the machine's clock and the guest's.
    pub rtc_offset_s: i32,
    /// Whether it may serve devices of other domains.
    pub driver_domain: bool,
    /// Disks.
    pub disks: Vec<Disk>,
    /// Network interfaces.
    pub vifs: Vec<Vif>,
}
