//! The fake's machine.

use privcmd::DomId;
use xen_abi::{self as abi, Errno};

use super::{Fake, refused};
use crate::CpuMap;
use crate::Result;
use crate::{Console, CpuPool, CpuTopology, Machine, NumaNode, PhysInfo, XenVersion};

impl Machine for Fake {
    fn phys_info(&self) -> Result<PhysInfo> {
        let free_pages = self.free_pages() as u64;
        self.on_state("get information about the machine", None, |state| {
            let total_pages = state.owners.len() as u64;
            Ok(PhysInfo {
                threads_per_core: 1,
                cores_per_socket: self.cpus as u32,
                nr_cpus: self.cpus as u32,
                max_cpu_id: self.cpus as u32 - 1,
                nr_nodes: 1,
                max_node_id: 0,
                cpu_khz: 1_000_000,
                capabilities: abi::XEN_SYSCTL_PHYSCAP_pv,
                total_pages,
                free_pages,
                max_mfn: total_pages - 1,
                ..PhysInfo::default()
            })
        })
    }

    fn cpu_topology(&self) -> Result<Vec<CpuTopology>> {
        let cpu = |core| CpuTopology {
            core,
            socket: 0,
            node: 0,
        };
        Ok((0..self.cpus as u32).map(cpu).collect())
    }

    fn numa_info(&self) -> Result<Vec<NumaNode>> {
        let info = self.phys_info()?;
        Ok(vec![NumaNode {
            size: info.total_pages * 4096,
            free: info.free_pages * 4096,
            distances: vec![10],
        }])
    }

    fn cpu_idle_times(&self) -> Result<Vec<u64>> {
        Ok(vec![0; self.cpus])
    }

    fn sched_id(&self) -> Result<u32> {
        Ok(abi::XEN_SCHEDULER_CREDIT2)
    }

    fn cpupool(&self, from: u32) -> Result<CpuPool> {
        self.on_state("get a CPU pool", None, |state| {
            if from > 0 {
                return Err(refused(Errno::ENOENT));
            }
            Ok(CpuPool {
                id: 0,
                sched_id: abi::XEN_SCHEDULER_CREDIT2,
                domains: state.domains.len() as u32,
                cpus: CpuMap::all(self.cpus),
            })
        })
    }

    fn move_to_cpupool(&self, pool: u32, domid: DomId) -> Result<()> {
        self.on_domain("move to a CPU pool", domid, |_| {
            if pool == 0 { Ok(()) } else { Err(refused(Errno::ENOENT)) }
        })
    }

    fn version(&self) -> Result<XenVersion> {
        Ok(XenVersion {
            major: 4,
            minor: 17,
            extra: ".0-fake".to_owned(),
            capabilities: "xen-3.0-x86_64".to_owned(),
            virt_start: abi::HYPERVISOR_VIRT_START,
            pagesize: 4096,
            ..XenVersion::default()
        })
    }

    fn read_console(&self, clear: bool, incremental: bool, index: u32, room: usize) -> Result<Console> {
        self.on_state("read the hypervisor's console", None, |state| {
            let start = if incremental { index as usize } else { 0 };
            let rest = state.console.get(start..).unwrap_or_default();
            let bytes = rest[..rest.len().min(room)].to_vec();
            let index = (start + bytes.len()) as u32;
            if clear {
                state.console.clear();
            }
            Ok(Console { bytes, index })
        })
    }

    fn send_debug_keys(&self, keys: &str) -> Result<()> {
        self.on_state("press debug keys", None, |state| {
            state.debug_keys.push_str(keys);
            Ok(())
        })
    }

    fn cpu_featureset(&self, _which: u32) -> Result<Vec<u32>> {
        Ok(vec![0; 22])
    }

    fn sched_global(&self, _sched_id: u32) -> Result<(u32, u32)> {
        self.on_state("get the scheduler's parameters", None, |state| Ok(state.sched_global))
    }

    fn set_sched_global(&self, _sched_id: u32, tslice_ms: u32, ratelimit_us: u32) -> Result<()> {
        self.on_state("set the scheduler's parameters", None, |state| {
            state.sched_global = (tslice_ms, ratelimit_us);
            Ok(())
        })
    }
}
