//! Operations on domains and their vcpus, and what they speak of.

use alloc::boxed::Box;
use alloc::vec::Vec;

use xen_abi::{self as abi, vcpu_guest_context};

use crate::cpu_map::CpuMap;
use crate::error::Result;
use crate::{DomId, Port};

/// With what a domain is created (`xen_domctl_createdomain`).
#[derive(Clone, Debug)]
pub struct CreateDomain {
    /// The number it shall have; 0 for any.
    pub domid: DomId,
    /// Its UUID.
    pub uuid: [u8; 16],
    /// Most vcpus.
    pub max_vcpus: u32,
    /// Highest event channel port.
    pub max_evtchn_port: u32,
    /// Most frames of its grant table; -1 for the hypervisor's default.
    pub max_grant_frames: i32,
    /// Most frames for its mappings of others' grants; -1 for the hypervisor's default.
    pub max_maptrack_frames: i32,
    /// Highest version of the grant table: 1 or 2.
    pub max_grant_version: u32,
    /// The CPU pool.
    pub cpupool: u32,
    /// It may run xenstored.
    pub is_xenstore_domain: bool,
}

impl CreateDomain {
    /// An ordinary guest with the limits that `xl` gives.
    pub fn new(uuid: [u8; 16], max_vcpus: u32) -> Self {
        Self {
            domid: 0,
            uuid,
            max_vcpus,
            max_evtchn_port: 1023,
            max_grant_frames: 64,
            max_maptrack_frames: 1024,
            max_grant_version: 2,
            cpupool: 0,
            is_xenstore_domain: false,
        }
    }
}

/// Why a domain has shut down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShutdownReason {
    /// It powered off.
    Poweroff,
    /// It wants to start again.
    Reboot,
    /// It is suspended, to be saved.
    Suspend,
    /// It crashed.
    Crash,
    /// Its watchdog expired.
    Watchdog,
    /// It wants a reset that keeps its memory.
    SoftReset,
    /// A reason that these tools do not know.
    Other(u8),
}

impl ShutdownReason {
    /// From `SHUTDOWN_*`.
    pub fn from_code(code: u8) -> Self {
        match u32::from(code) {
            abi::SHUTDOWN_poweroff => Self::Poweroff,
            abi::SHUTDOWN_reboot => Self::Reboot,
            abi::SHUTDOWN_suspend => Self::Suspend,
            abi::SHUTDOWN_crash => Self::Crash,
            abi::SHUTDOWN_watchdog => Self::Watchdog,
            abi::SHUTDOWN_soft_reset => Self::SoftReset,
            _ => Self::Other(code),
        }
    }

    /// As `SHUTDOWN_*`.
    pub fn code(self) -> u8 {
        let code = match self {
            Self::Poweroff => abi::SHUTDOWN_poweroff,
            Self::Reboot => abi::SHUTDOWN_reboot,
            Self::Suspend => abi::SHUTDOWN_suspend,
            Self::Crash => abi::SHUTDOWN_crash,
            Self::Watchdog => abi::SHUTDOWN_watchdog,
            Self::SoftReset => abi::SHUTDOWN_soft_reset,
            Self::Other(code) => return code,
        };
        code as u8
    }
}

/// A domain as the hypervisor sees it (`xen_domctl_getdomaininfo`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DomainInfo {
    /// Its number.
    pub domid: DomId,
    /// Its UUID.
    pub uuid: [u8; 16],
    /// It is being taken apart.
    pub dying: bool,
    /// It has shut down, and why.
    pub shutdown: Option<ShutdownReason>,
    /// The toolstack has paused it.
    pub paused: bool,
    /// All its vcpus wait for events.
    pub blocked: bool,
    /// One of its vcpus runs.
    pub running: bool,
    /// A debugger is attached.
    pub debugged: bool,
    /// It is a hardware guest, not paravirtual.
    pub is_hvm: bool,
    /// It may run xenstored.
    pub is_xenstore_domain: bool,
    /// `XEN_DOMINF_*` as they came.
    pub flags: u32,
    /// Its pages of 4 KiB.
    pub tot_pages: u64,
    /// The most it may have.
    pub max_pages: u64,
    /// Pages claimed and not yet populated.
    pub outstanding_pages: u64,
    /// Pages shared with other domains by page sharing.
    pub shr_pages: u64,
    /// Pages that are paged out.
    pub paged_pages: u64,
    /// Machine frame of its shared page.
    pub shared_info_frame: u64,
    /// Time that its vcpus have run, in nanoseconds.
    pub cpu_time: u64,
    /// Vcpus that are up.
    pub online_vcpus: u32,
    /// Highest vcpu number; all ones before `max_vcpus`.
    pub max_vcpu_id: u32,
    /// Security label.
    pub ssidref: u32,
    /// Its CPU pool.
    pub cpupool: u32,
}

impl From<&abi::xen_domctl_getdomaininfo> for DomainInfo {
    fn from(raw: &abi::xen_domctl_getdomaininfo) -> Self {
        let has = |flag: u32| raw.flags & flag != 0;
        let code = (raw.flags >> abi::XEN_DOMINF_shutdownshift & abi::XEN_DOMINF_shutdownmask) as u8;
        Self {
            domid: raw.domain,
            uuid: raw.handle,
            dying: has(abi::XEN_DOMINF_dying),
            shutdown: has(abi::XEN_DOMINF_shutdown).then(|| ShutdownReason::from_code(code)),
            paused: has(abi::XEN_DOMINF_paused),
            blocked: has(abi::XEN_DOMINF_blocked),
            running: has(abi::XEN_DOMINF_running),
            debugged: has(abi::XEN_DOMINF_debugged),
            is_hvm: has(abi::XEN_DOMINF_hvm_guest),
            is_xenstore_domain: has(abi::XEN_DOMINF_xs_domain),
            flags: raw.flags,
            tot_pages: raw.tot_pages,
            max_pages: raw.max_pages,
            outstanding_pages: raw.outstanding_pages,
            shr_pages: raw.shr_pages,
            paged_pages: raw.paged_pages,
            shared_info_frame: raw.shared_info_frame,
            cpu_time: raw.cpu_time,
            online_vcpus: raw.nr_online_vcpus,
            max_vcpu_id: raw.max_vcpu_id,
            ssidref: raw.ssidref,
            cpupool: raw.cpupool,
        }
    }
}

/// A vcpu's state (`xen_domctl_getvcpuinfo`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct VcpuInfo {
    /// It is up.
    pub online: bool,
    /// It waits for an event.
    pub blocked: bool,
    /// It runs now.
    pub running: bool,
    /// Time that it has run, in nanoseconds.
    pub cpu_time: u64,
    /// The CPU that it runs on or ran on last.
    pub cpu: u32,
}

/// A domain's share of the CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SchedParams {
    /// Relative weight; 256 is usual.
    pub weight: u16,
    /// Most it may use, in percent of one CPU; 0 for no limit.
    pub cap: u16,
}

/// What a port of a domain is bound to (`evtchn_status`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventStatus {
    /// `EVTCHNSTAT_*`.
    pub status: u32,
    /// The vcpu that is notified.
    pub vcpu: u32,
    /// For unbound and interdomain ports the other domain, else the pirq or virq.
    pub peer: u32,
    /// For interdomain ports the other domain's port.
    pub peer_port: Port,
}

/// Domains and their vcpus. Every operation fails with `ESRCH` for a domain or vcpu that does not exist, and as the
/// hypervisor says else.
#[allow(clippy::missing_errors_doc)]
pub trait Domains {
    /// Makes an empty domain, paused, and returns its number.
    fn create_domain(&self, with: &CreateDomain) -> Result<DomId>;
    /// Takes a domain apart. It is gone when its last frame is back, which others' mappings can delay.
    fn destroy_domain(&self, domid: DomId) -> Result<()>;
    /// Raises the domain's pause count.
    fn pause_domain(&self, domid: DomId) -> Result<()>;
    /// Undoes one pause.
    fn unpause_domain(&self, domid: DomId) -> Result<()>;
    /// Ends the domain's run as if it had asked for that itself.
    fn shutdown_domain(&self, domid: DomId, reason: ShutdownReason) -> Result<()>;
    /// Lets a suspended domain go on.
    fn resume_domain(&self, domid: DomId) -> Result<()>;
    /// One domain; exactly this one, other than the raw operation.
    fn domain_info(&self, domid: DomId) -> Result<DomainInfo>;
    /// All domains from number `first` on, ascending, the dying among them.
    fn list_domains(&self, first: DomId) -> Result<Vec<DomainInfo>>;
    /// Changes the UUID.
    fn set_uuid(&self, domid: DomId, uuid: [u8; 16]) -> Result<()>;
    /// Sets the most memory that the domain may have, in KiB.
    fn set_max_mem(&self, domid: DomId, kib: u64) -> Result<()>;
    /// Makes the domain's vcpus; once, before they are used.
    fn set_max_vcpus(&self, domid: DomId, count: u32) -> Result<()>;
    /// Sets a vcpu's registers.
    fn set_vcpu_context(&self, domid: DomId, vcpu: u32, context: &vcpu_guest_context) -> Result<()>;
    /// A vcpu's registers.
    fn vcpu_context(&self, domid: DomId, vcpu: u32) -> Result<Box<vcpu_guest_context>>;
    /// A vcpu's state.
    fn vcpu_info(&self, domid: DomId, vcpu: u32) -> Result<VcpuInfo>;
    /// The CPUs that a vcpu may run on (hard) and should run on (soft); `cpus` is the machine's number of CPUs.
    fn vcpu_affinity(&self, domid: DomId, vcpu: u32, cpus: usize) -> Result<(CpuMap, CpuMap)>;
    /// Sets one or both; what is `None` stays.
    fn set_vcpu_affinity(&self, domid: DomId, vcpu: u32, hard: Option<&CpuMap>, soft: Option<&CpuMap>) -> Result<()>;
    /// Sets the nodes that the domain's memory should come from.
    fn set_node_affinity(&self, domid: DomId, nodes: &CpuMap) -> Result<()>;
    /// Weight and cap, under scheduler `sched_id` (credit or credit2).
    fn sched_params(&self, domid: DomId, sched_id: u32) -> Result<SchedParams>;
    /// Sets weight and cap.
    fn set_sched_params(&self, domid: DomId, sched_id: u32, params: SchedParams) -> Result<()>;
    /// Fills a frame of the domain with hypercall stubs.
    fn init_hypercall_page(&self, domid: DomId, gmfn: u64) -> Result<()>;
    /// Sends a trigger (`XEN_DOMCTL_SENDTRIGGER_*`) to a vcpu.
    fn send_trigger(&self, domid: DomId, trigger: u32, vcpu: u32) -> Result<()>;
    /// Sets the offset of the domain's wall clock, in seconds.
    fn set_time_offset(&self, domid: DomId, seconds: i64) -> Result<()>;
    /// Sets how the domain's TSC behaves: mode, frequency in kHz, nanoseconds elapsed.
    fn set_tsc_info(&self, domid: DomId, mode: u32, khz: u32, elapsed_ns: u64) -> Result<()>;
    /// Lets a domain control another (stub domains).
    fn set_target(&self, domid: DomId, target: DomId) -> Result<()>;
    /// Gives a global virtual interrupt to a domain.
    fn set_virq_handler(&self, domid: DomId, virq: u32) -> Result<()>;

    /// Makes a port of `domid` for `remote` to bind to.
    fn alloc_unbound(&self, domid: DomId, remote: DomId) -> Result<Port>;
    /// What a port of `domid` is bound to; `EINVAL` past its last port.
    fn event_status(&self, domid: DomId, port: Port) -> Result<EventStatus>;
    /// Closes all of a domain's ports.
    fn reset_events(&self, domid: DomId) -> Result<()>;
    /// Frames of the domain's grant table now, and the most it may have.
    fn grant_table_size(&self, domid: DomId) -> Result<(u32, u32)>;
}
