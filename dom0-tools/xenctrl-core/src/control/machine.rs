//! The machine by sysctl, the hypervisor's version by xen_version.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write;
use core::mem::offset_of;

use xen_abi as abi;
use zerocopy::IntoBytes;

use super::{Answer, Named, sysctl};
use crate::door::{Arg, Block, Door};
use crate::{Console, CpuPool, CpuTopology, Machine, NumaNode, PhysInfo, XenVersion};
use crate::{CpuMap, DomId, Result};

/// The zero-terminated text at the start of `bytes`.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn xen_version<D: Door + ?Sized>(door: &D, cmd: u32, bytes: &mut [u8]) -> Answer<i64> {
    // Questions without a structure must have a null handle.
    let arg = if bytes.is_empty() {
        Arg::Word(0)
    } else {
        Arg::Memory(Block::both(bytes))
    };
    let mut args = [Arg::Word(cmd.into()), arg];
    door.call(abi::__HYPERVISOR_xen_version, &mut args)
}

fn version_text<D: Door + ?Sized>(door: &D, cmd: u32, room: usize) -> Answer<String> {
    let mut bytes = vec![0; room];
    xen_version(door, cmd, &mut bytes)?;
    Ok(text(&bytes))
}

fn query_version<D: Door + ?Sized>(door: &D) -> Answer<XenVersion> {
    let number = xen_version(door, abi::XENVER_version, &mut [])?;
    let mut info = abi::xen_compile_info::default();
    xen_version(door, abi::XENVER_compile_info, info.as_mut_bytes())?;
    let mut platform = abi::xen_platform_parameters::default();
    xen_version(door, abi::XENVER_platform_parameters, platform.as_mut_bytes())?;
    Ok(XenVersion {
        major: (number >> 16) as u32,
        minor: number as u32 & 0xffff,
        extra: version_text(door, abi::XENVER_extraversion, abi::XEN_EXTRAVERSION_LEN)?,
        compiler: text(&info.compiler),
        compile_by: text(&info.compile_by),
        compile_domain: text(&info.compile_domain),
        compile_date: text(&info.compile_date),
        capabilities: version_text(door, abi::XENVER_capabilities, abi::XEN_CAPABILITIES_INFO_LEN)?,
        changeset: version_text(door, abi::XENVER_changeset, abi::XEN_CHANGESET_INFO_LEN)?,
        virt_start: platform.virt_start,
        pagesize: xen_version(door, abi::XENVER_pagesize, &mut [])? as u32,
        commandline: version_text(door, abi::XENVER_commandline, abi::XEN_COMMANDLINE_LEN)?,
        build_id: build_id(door),
    })
}

/// The build id in hexadecimal; empty where the image has none.
fn build_id<D: Door + ?Sized>(door: &D) -> String {
    const ROOM: usize = 64;
    let mut bytes = [0; 4 + ROOM];
    bytes[..4].copy_from_slice(&(ROOM as u32).to_le_bytes());
    let Ok(len) = xen_version(door, abi::XENVER_build_id, &mut bytes) else {
        return String::new();
    };
    let len = usize::try_from(len).unwrap_or(0).min(ROOM);
    bytes[4..4 + len].iter().fold(String::new(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

fn topology<D: Door + ?Sized>(door: &D) -> Answer<Vec<CpuTopology>> {
    let handle = offset_of!(abi::xen_sysctl_cputopoinfo, cputopo);
    let none = abi::xen_sysctl_cputopoinfo::default();
    let count = sysctl(door, abi::XEN_SYSCTL_cputopoinfo, &none, vec![])?;
    let mut payload: abi::xen_sysctl_cputopoinfo = count.payload();
    let mut list = vec![abi::xen_sysctl_cputopo::default(); payload.num_cpus as usize];
    payload.cputopo = 0;
    let block = Block::output(list.as_mut_slice().as_mut_bytes());
    let raw = sysctl(door, abi::XEN_SYSCTL_cputopoinfo, &payload, vec![(handle, block)])?;
    list.truncate(raw.payload::<abi::xen_sysctl_cputopoinfo>().num_cpus as usize);
    let topology = |raw: &abi::xen_sysctl_cputopo| CpuTopology {
        core: raw.core,
        socket: raw.socket,
        node: raw.node,
    };
    Ok(list.iter().map(topology).collect())
}

fn nodes<D: Door + ?Sized>(door: &D) -> Answer<Vec<NumaNode>> {
    let none = abi::xen_sysctl_numainfo::default();
    let count: abi::xen_sysctl_numainfo = sysctl(door, abi::XEN_SYSCTL_numainfo, &none, vec![])?.payload();
    let count = count.num_nodes as usize;
    let mut sizes = vec![abi::xen_sysctl_meminfo::default(); count];
    let mut distances = vec![0u32; count * count];
    let payload = abi::xen_sysctl_numainfo {
        num_nodes: count as u32,
        ..Default::default()
    };
    let handles = vec![
        (
            offset_of!(abi::xen_sysctl_numainfo, meminfo),
            Block::output(sizes.as_mut_slice().as_mut_bytes()),
        ),
        (
            offset_of!(abi::xen_sysctl_numainfo, distance),
            Block::output(distances.as_mut_slice().as_mut_bytes()),
        ),
    ];
    sysctl(door, abi::XEN_SYSCTL_numainfo, &payload, handles)?;
    let node = |(size, distances): (&abi::xen_sysctl_meminfo, &[u32])| NumaNode {
        size: size.memsize,
        free: size.memfree,
        distances: distances.to_vec(),
    };
    Ok(sizes.iter().zip(distances.chunks(count.max(1))).map(node).collect())
}

fn pool<D: Door + ?Sized>(door: &D, from: u32, room: usize) -> Answer<CpuPool> {
    let mut cpus = CpuMap::empty(room);
    let mut payload = abi::xen_sysctl_cpupool_op {
        op: abi::XEN_SYSCTL_CPUPOOL_OP_INFO,
        cpupool_id: from,
        ..Default::default()
    };
    payload.cpumap.nr_bits = cpus.room() as u32;
    let handle = offset_of!(abi::xen_sysctl_cpupool_op, cpumap);
    let block = Block::output(cpus.bytes_mut());
    let raw = sysctl(door, abi::XEN_SYSCTL_cpupool_op, &payload, vec![(handle, block)])?;
    let raw: abi::xen_sysctl_cpupool_op = raw.payload();
    Ok(CpuPool {
        id: raw.cpupool_id,
        sched_id: raw.sched_id,
        domains: raw.n_dom,
        cpus,
    })
}

/// `xen_sysctl_scheduler_op`: pool, scheduler, command, padding, then the scheduler's own words.
fn scheduler_global<D: Door + ?Sized>(door: &D, sched_id: u32, cmd: u32, words: [u32; 2]) -> Answer<[u32; 2]> {
    let payload = [0, sched_id, cmd, 0, words[0], words[1], 0, 0];
    let raw: [u32; 8] = sysctl(door, abi::XEN_SYSCTL_scheduler_op, &payload, vec![])?.payload();
    Ok([raw[4], raw[5]])
}

impl<D: Door + ?Sized> Machine for D {
    fn phys_info(&self) -> Result<PhysInfo> {
        let raw = sysctl(self, abi::XEN_SYSCTL_physinfo, &[0u64; 0], vec![]);
        let raw: abi::xen_sysctl_physinfo = raw.named("get information about the machine", None)?.payload();
        Ok(PhysInfo {
            threads_per_core: raw.threads_per_core,
            cores_per_socket: raw.cores_per_socket,
            nr_cpus: raw.nr_cpus,
            max_cpu_id: raw.max_cpu_id,
            nr_nodes: raw.nr_nodes,
            max_node_id: raw.max_node_id,
            cpu_khz: raw.cpu_khz,
            capabilities: raw.capabilities,
            total_pages: raw.total_pages,
            free_pages: raw.free_pages,
            scrub_pages: raw.scrub_pages,
            outstanding_pages: raw.outstanding_pages,
            max_mfn: raw.max_mfn,
            hw_cap: raw.hw_cap,
        })
    }

    fn cpu_topology(&self) -> Result<Vec<CpuTopology>> {
        topology(self).named("get the CPUs' topology", None)
    }

    fn numa_info(&self) -> Result<Vec<NumaNode>> {
        nodes(self).named("get the nodes", None)
    }

    fn cpu_idle_times(&self) -> Result<Vec<u64>> {
        let room = self.phys_info()?.max_cpu_id as usize + 1;
        let mut list = vec![0u64; room];
        let payload = abi::xen_sysctl_getcpuinfo {
            max_cpus: room as u32,
            ..Default::default()
        };
        let handle = offset_of!(abi::xen_sysctl_getcpuinfo, info);
        let block = Block::output(list.as_mut_slice().as_mut_bytes());
        let raw = sysctl(self, abi::XEN_SYSCTL_getcpuinfo, &payload, vec![(handle, block)])
            .named("get the CPUs' idle times", None)?;
        list.truncate(raw.payload::<abi::xen_sysctl_getcpuinfo>().nr_cpus as usize);
        Ok(list)
    }

    fn sched_id(&self) -> Result<u32> {
        let raw = sysctl(self, abi::XEN_SYSCTL_sched_id, &[0u64; 0], vec![]);
        let raw: abi::xen_sysctl_sched_id = raw.named("get the scheduler", None)?.payload();
        Ok(raw.sched_id)
    }

    fn cpupool(&self, from: u32) -> Result<CpuPool> {
        let room = self.phys_info()?.max_cpu_id as usize + 1;
        pool(self, from, room).named("get a CPU pool", None)
    }

    fn move_to_cpupool(&self, pool: u32, domid: DomId) -> Result<()> {
        let payload = abi::xen_sysctl_cpupool_op {
            op: abi::XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN,
            cpupool_id: pool,
            domid: domid.into(),
            ..Default::default()
        };
        sysctl(self, abi::XEN_SYSCTL_cpupool_op, &payload, vec![]).named("move to a CPU pool", Some(domid))?;
        Ok(())
    }

    fn version(&self) -> Result<XenVersion> {
        query_version(self).named("get the hypervisor's version", None)
    }

    fn read_console(&self, clear: bool, incremental: bool, index: u32, room: usize) -> Result<Console> {
        let mut bytes = vec![0; room];
        let payload = abi::xen_sysctl_readconsole {
            clear: clear.into(),
            incremental: incremental.into(),
            index,
            count: room as u32,
            ..Default::default()
        };
        let handle = offset_of!(abi::xen_sysctl_readconsole, buffer);
        let block = Block::output(&mut bytes);
        let raw = sysctl(self, abi::XEN_SYSCTL_readconsole, &payload, vec![(handle, block)])
            .named("read the hypervisor's console", None)?;
        let raw: abi::xen_sysctl_readconsole = raw.payload();
        bytes.truncate(raw.count as usize);
        Ok(Console {
            bytes,
            index: raw.index,
        })
    }

    fn send_debug_keys(&self, keys: &str) -> Result<()> {
        let payload = abi::xen_sysctl_debug_keys {
            nr_keys: keys.len() as u32,
            ..Default::default()
        };
        let handle = offset_of!(abi::xen_sysctl_debug_keys, keys);
        let handles = vec![(handle, Block::input(keys.as_bytes()))];
        sysctl(self, abi::XEN_SYSCTL_debug_keys, &payload, handles).named("press debug keys", None)?;
        Ok(())
    }

    fn cpu_featureset(&self, which: u32) -> Result<Vec<u32>> {
        const ROOM: usize = 64;
        let mut words = vec![0u32; ROOM];
        let payload = abi::xen_sysctl_cpu_featureset {
            index: which,
            nr_features: ROOM as u32,
            features: 0,
        };
        let handle = offset_of!(abi::xen_sysctl_cpu_featureset, features);
        let block = Block::output(words.as_mut_slice().as_mut_bytes());
        let raw = sysctl(
            self,
            abi::XEN_SYSCTL_get_cpu_featureset,
            &payload,
            vec![(handle, block)],
        )
        .named("get CPU features", None)?;
        words.truncate(raw.payload::<abi::xen_sysctl_cpu_featureset>().nr_features as usize);
        Ok(words)
    }

    fn sched_global(&self, sched_id: u32) -> Result<(u32, u32)> {
        let words = scheduler_global(self, sched_id, abi::XEN_SYSCTL_SCHEDOP_getinfo, [0; 2])
            .named("get the scheduler's parameters", None)?;
        Ok(if sched_id == abi::XEN_SCHEDULER_CREDIT2 {
            (0, words[0])
        } else {
            (words[0], words[1])
        })
    }

    fn set_sched_global(&self, sched_id: u32, tslice_ms: u32, ratelimit_us: u32) -> Result<()> {
        let words = if sched_id == abi::XEN_SCHEDULER_CREDIT2 {
            [ratelimit_us, 0]
        } else {
            [tslice_ms, ratelimit_us]
        };
        scheduler_global(self, sched_id, abi::XEN_SYSCTL_SCHEDOP_putinfo, words)
            .named("set the scheduler's parameters", None)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_end_at_the_zero_or_with_the_room() {
        assert_eq!(text(b"ab\0cd"), "ab");
        assert_eq!(text(b"abcd"), "abcd");
    }
}
