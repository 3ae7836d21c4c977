//! The fake's domains and vcpus.

use privcmd::{DomId, Port};
use xen_abi::{self as abi, Errno, vcpu_guest_context};

use super::{Fake, FakeDomain, refused};
use crate::CpuMap;
use crate::Result;
use crate::{CreateDomain, DomainInfo, Domains, EventStatus, SchedParams, ShutdownReason, VcpuInfo};

/// Numbers from here on have special meanings.
const FIRST_RESERVED: DomId = abi::DOMID_FIRST_RESERVED;

impl Fake {
    fn on_vcpu<T>(
        &self,
        action: &'static str,
        domid: DomId,
        vcpu: u32,
        run: impl FnOnce(&mut FakeDomain) -> T,
    ) -> Result<T> {
        self.on_domain(action, domid, |domain| {
            let last = domain.info.max_vcpu_id;
            if last == u32::MAX || vcpu > last {
                return Err(refused(Errno::ENOENT));
            }
            Ok(run(domain))
        })
    }
}

impl Domains for Fake {
    fn create_domain(&self, with: &CreateDomain) -> Result<DomId> {
        self.on_state("create a domain", None, |state| {
            let domid = match with.domid {
                0 => (state.next_domid..FIRST_RESERVED)
                    .find(|domid| !state.domains.contains_key(domid))
                    .ok_or_else(|| refused(Errno::ENOMEM))?,
                domid if domid >= FIRST_RESERVED => return Err(refused(Errno::EINVAL)),
                domid if state.domains.contains_key(&domid) => return Err(refused(Errno::EEXIST)),
                domid => domid,
            };
            state.next_domid = domid + 1;
            let mut domain = FakeDomain::new(domid, with.uuid);
            domain.max_evtchn_port = with.max_evtchn_port;
            domain.max_grant_frames = u32::try_from(with.max_grant_frames).unwrap_or(64);
            domain.info.cpupool = with.cpupool;
            domain.info.is_xenstore_domain = with.is_xenstore_domain;
            // The shared page and the first frame of the grant table belong to the domain, outside of its memory.
            domain.info.shared_info_frame = state.allocate(domid, 1).ok_or_else(|| refused(Errno::ENOMEM))?;
            let table = state.allocate(domid, 1).ok_or_else(|| refused(Errno::ENOMEM))?;
            domain.grant_frames.push(table);
            state.domains.insert(domid, domain);
            Ok(domid)
        })
    }

    fn destroy_domain(&self, domid: DomId) -> Result<()> {
        self.on_state("destroy", Some(domid), |state| {
            if domid == 0 {
                return Err(refused(Errno::EINVAL));
            }
            state.domains.remove(&domid).ok_or_else(|| refused(Errno::ESRCH))?;
            for owner in state.owners.iter_mut().filter(|owner| **owner == Some(domid)) {
                *owner = None;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn pause_domain(&self, domid: DomId) -> Result<()> {
        self.on_domain("pause", domid, |domain| {
            domain.pauses += 1;
            domain.info.paused = true;
            Ok(())
        })
    }

    fn unpause_domain(&self, domid: DomId) -> Result<()> {
        self.on_domain("unpause", domid, |domain| {
            domain.pauses = domain.pauses.checked_sub(1).ok_or_else(|| refused(Errno::EINVAL))?;
            domain.info.paused = domain.pauses != 0;
            Ok(())
        })
    }

    fn shutdown_domain(&self, domid: DomId, reason: ShutdownReason) -> Result<()> {
        self.on_domain("shut down", domid, |domain| {
            domain.info.shutdown.get_or_insert(reason);
            Ok(())
        })
    }

    fn resume_domain(&self, domid: DomId) -> Result<()> {
        self.on_domain("resume", domid, |domain| {
            domain.info.shutdown = None;
            Ok(())
        })
    }

    fn domain_info(&self, domid: DomId) -> Result<DomainInfo> {
        self.on_domain("get information about a domain", domid, |domain| {
            Ok(domain.info.clone())
        })
    }

    fn list_domains(&self, first: DomId) -> Result<Vec<DomainInfo>> {
        self.on_state("list domains", None, |state| {
            Ok(state
                .domains
                .range(first..)
                .map(|(_, domain)| domain.info.clone())
                .collect())
        })
    }

    fn set_uuid(&self, domid: DomId, uuid: [u8; 16]) -> Result<()> {
        self.on_domain("set the UUID", domid, |domain| {
            domain.info.uuid = uuid;
            Ok(())
        })
    }

    fn set_max_mem(&self, domid: DomId, kib: u64) -> Result<()> {
        self.on_domain("set the largest memory", domid, |domain| {
            domain.info.max_pages = kib / 4;
            Ok(())
        })
    }

    fn set_max_vcpus(&self, domid: DomId, count: u32) -> Result<()> {
        self.on_domain("make vcpus", domid, |domain| {
            domain.info.max_vcpu_id = count.checked_sub(1).ok_or_else(|| refused(Errno::EINVAL))?;
            Ok(())
        })
    }

    fn set_vcpu_context(&self, domid: DomId, vcpu: u32, context: &vcpu_guest_context) -> Result<()> {
        self.on_vcpu("set a vcpu's registers", domid, vcpu, |domain| {
            if domain.contexts.insert(vcpu, Box::new(*context)).is_none() {
                domain.info.online_vcpus += 1;
            }
        })
    }

    fn vcpu_context(&self, domid: DomId, vcpu: u32) -> Result<Box<vcpu_guest_context>> {
        self.on_vcpu("get a vcpu's registers", domid, vcpu, |domain| {
            domain.contexts.get(&vcpu).cloned().unwrap_or_default()
        })
    }

    fn vcpu_info(&self, domid: DomId, vcpu: u32) -> Result<VcpuInfo> {
        self.on_vcpu("get information about a vcpu", domid, vcpu, |domain| VcpuInfo {
            online: domain.contexts.contains_key(&vcpu),
            blocked: domain.info.blocked,
            running: domain.info.running,
            cpu_time: domain.info.cpu_time,
            cpu: 0,
        })
    }

    fn vcpu_affinity(&self, domid: DomId, vcpu: u32, cpus: usize) -> Result<(CpuMap, CpuMap)> {
        let all = || (CpuMap::all(cpus), CpuMap::all(cpus));
        self.on_vcpu("get a vcpu's affinity", domid, vcpu, |domain| {
            domain.affinity.get(&vcpu).cloned().unwrap_or_else(all)
        })
    }

    fn set_vcpu_affinity(&self, domid: DomId, vcpu: u32, hard: Option<&CpuMap>, soft: Option<&CpuMap>) -> Result<()> {
        let all = CpuMap::all(self.cpus);
        self.on_vcpu("set a vcpu's affinity", domid, vcpu, |domain| {
            let entry = domain.affinity.entry(vcpu).or_insert((all.clone(), all));
            if let Some(hard) = hard {
                entry.0 = hard.clone();
            }
            if let Some(soft) = soft {
                entry.1 = soft.clone();
            }
        })
    }

    fn set_node_affinity(&self, domid: DomId, _nodes: &CpuMap) -> Result<()> {
        self.on_domain("set the node affinity", domid, |_| Ok(()))
    }

    fn sched_params(&self, domid: DomId, _sched_id: u32) -> Result<SchedParams> {
        self.on_domain("get weight and cap", domid, |domain| Ok(domain.sched))
    }

    fn set_sched_params(&self, domid: DomId, _sched_id: u32, params: SchedParams) -> Result<()> {
        self.on_domain("set weight and cap", domid, |domain| {
            domain.sched = params;
            Ok(())
        })
    }

    fn init_hypercall_page(&self, domid: DomId, gmfn: u64) -> Result<()> {
        self.on_state("fill the hypercall page", Some(domid), |state| {
            if state.owner(gmfn) == Some(domid) {
                Ok(())
            } else {
                Err(refused(Errno::EACCES))
            }
        })
    }

    fn send_trigger(&self, domid: DomId, _trigger: u32, vcpu: u32) -> Result<()> {
        self.on_vcpu("send a trigger", domid, vcpu, |_| ())
    }

    fn set_time_offset(&self, domid: DomId, _seconds: i64) -> Result<()> {
        self.on_domain("set the time offset", domid, |_| Ok(()))
    }

    fn set_tsc_info(&self, domid: DomId, _mode: u32, _khz: u32, _elapsed_ns: u64) -> Result<()> {
        self.on_domain("set how the TSC behaves", domid, |_| Ok(()))
    }

    fn set_target(&self, domid: DomId, _target: DomId) -> Result<()> {
        self.on_domain("set the target domain", domid, |_| Ok(()))
    }

    fn set_virq_handler(&self, domid: DomId, _virq: u32) -> Result<()> {
        self.on_domain("give a virtual interrupt away", domid, |_| Ok(()))
    }

    fn alloc_unbound(&self, domid: DomId, remote: DomId) -> Result<Port> {
        self.on_domain("make an event channel", domid, |domain| {
            let port = domain.ports.len() as Port + 1;
            if port > domain.max_evtchn_port {
                return Err(refused(Errno::ENOSPC));
            }
            domain.ports.push(EventStatus {
                status: abi::EVTCHNSTAT_unbound,
                vcpu: 0,
                peer: remote.into(),
                peer_port: 0,
            });
            Ok(port)
        })
    }

    fn event_status(&self, domid: DomId, port: Port) -> Result<EventStatus> {
        self.on_domain("get an event channel's status", domid, |domain| {
            let index = (port as usize).checked_sub(1);
            let status = index.and_then(|index| domain.ports.get(index)).copied();
            status.ok_or_else(|| refused(Errno::EINVAL))
        })
    }

    fn reset_events(&self, domid: DomId) -> Result<()> {
        self.on_domain("close the event channels", domid, |domain| {
            domain.ports.clear();
            Ok(())
        })
    }

    fn grant_table_size(&self, domid: DomId) -> Result<(u32, u32)> {
        self.on_domain("get the size of the grant table", domid, |domain| {
            Ok((domain.grant_frames.len() as u32, domain.max_grant_frames))
        })
    }
}
