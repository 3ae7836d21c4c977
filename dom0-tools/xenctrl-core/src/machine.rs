//! Questions about the machine and the hypervisor itself.

use alloc::string::String;
use alloc::vec::Vec;

use crate::DomId;
use crate::cpu_map::CpuMap;
use crate::error::Result;

/// CPUs and memory (`xen_sysctl_physinfo`).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PhysInfo {
    /// Threads of a core.
    pub threads_per_core: u32,
    /// Cores of a socket.
    pub cores_per_socket: u32,
    /// CPUs that are up.
    pub nr_cpus: u32,
    /// Highest CPU number.
    pub max_cpu_id: u32,
    /// Nodes.
    pub nr_nodes: u32,
    /// Highest node number.
    pub max_node_id: u32,
    /// Frequency of the CPUs.
    pub cpu_khz: u32,
    /// `XEN_SYSCTL_PHYSCAP_*`.
    pub capabilities: u32,
    /// Pages of 4 KiB in all.
    pub total_pages: u64,
    /// Free pages.
    pub free_pages: u64,
    /// Free pages that are not cleared yet.
    pub scrub_pages: u64,
    /// Pages claimed by domains and not populated.
    pub outstanding_pages: u64,
    /// Highest machine frame.
    pub max_mfn: u64,
    /// CPUID feature words.
    pub hw_cap: [u32; 8],
}

/// Where a CPU stands; all ones for a number without a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuTopology {
    /// Core of the socket.
    pub core: u32,
    /// Socket.
    pub socket: u32,
    /// Node.
    pub node: u32,
}

/// A node of memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NumaNode {
    /// Bytes.
    pub size: u64,
    /// Free bytes.
    pub free: u64,
    /// Distance to each node; 10 to itself.
    pub distances: Vec<u32>,
}

/// A CPU pool (`xen_sysctl_cpupool_op`, INFO).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuPool {
    /// Its number.
    pub id: u32,
    /// Its scheduler, `XEN_SCHEDULER_*`.
    pub sched_id: u32,
    /// Domains in it.
    pub domains: u32,
    /// Its CPUs.
    pub cpus: CpuMap,
}

/// What the hypervisor says about itself (`xen_version`).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct XenVersion {
    /// Major number, 4.
    pub major: u32,
    /// Minor number, 17.
    pub minor: u32,
    /// What follows, `.6-pre` for instance.
    pub extra: String,
    /// Compiler.
    pub compiler: String,
    /// Who compiled it.
    pub compile_by: String,
    /// Where.
    pub compile_domain: String,
    /// When.
    pub compile_date: String,
    /// Kinds of guests, `xen-3.0-x86_64` among them.
    pub capabilities: String,
    /// Where the source stood.
    pub changeset: String,
    /// First address of the hypervisor's hole.
    pub virt_start: u64,
    /// Bytes of a page.
    pub pagesize: u32,
    /// Its command line.
    pub commandline: String,
    /// The build id in hexadecimal; empty without one.
    pub build_id: String,
}

/// A piece of the hypervisor's console ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Console {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where to read on, with `incremental`.
    pub index: u32,
}

/// The machine. Every operation fails as the hypervisor says.
#[allow(clippy::missing_errors_doc)]
pub trait Machine {
    /// CPUs and memory.
    fn phys_info(&self) -> Result<PhysInfo>;
    /// Where each CPU stands.
    fn cpu_topology(&self) -> Result<Vec<CpuTopology>>;
    /// The nodes.
    fn numa_info(&self) -> Result<Vec<NumaNode>>;
    /// Nanoseconds that each CPU was idle.
    fn cpu_idle_times(&self) -> Result<Vec<u64>>;
    /// The scheduler, `XEN_SCHEDULER_*`.
    fn sched_id(&self) -> Result<u32>;
    /// The pool of that number or the next one; `ENOENT` past the last.
    fn cpupool(&self, from: u32) -> Result<CpuPool>;
    /// Moves a domain into a pool.
    fn move_to_cpupool(&self, pool: u32, domid: DomId) -> Result<()>;
    /// What the hypervisor is.
    fn version(&self) -> Result<XenVersion>;
    /// Up to `room` bytes of the console ring: from its start, or `incremental` from `index` on; `clear` drops them.
    fn read_console(&self, clear: bool, incremental: bool, index: u32, room: usize) -> Result<Console>;
    /// Presses debug keys.
    fn send_debug_keys(&self, keys: &str) -> Result<()>;
    /// Feature words of `XEN_SYSCTL_cpu_featureset_*`.
    fn cpu_featureset(&self, which: u32) -> Result<Vec<u32>>;
    /// Time slice and rate limit of scheduler credit, in ms and µs; credit2 has only the latter.
    fn sched_global(&self, sched_id: u32) -> Result<(u32, u32)>;
    /// Sets them.
    fn set_sched_global(&self, sched_id: u32, tslice_ms: u32, ratelimit_us: u32) -> Result<()>;
}
