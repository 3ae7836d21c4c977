//! Domains and vcpus by domctl, their events by event_channel_op.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::offset_of;

use xen_abi::{self as abi, Errno, vcpu_guest_context, xenctl_bitmap};
use zerocopy::{FromZeros, IntoBytes};

use super::{Answer, Named, domctl, operation, sysctl};
use crate::door::{Arg, Block, Door};
use crate::{CpuMap, DomId, Error, Port, Result};
use crate::{CreateDomain, DomainInfo, Domains, EventStatus, SchedParams, ShutdownReason, VcpuInfo};

/// Domains asked for in one call of a listing.
const LIST_STEP: usize = 64;

fn bitmap(map: &CpuMap) -> xenctl_bitmap {
    xenctl_bitmap {
        nr_bits: map.room() as u32,
        ..xenctl_bitmap::default()
    }
}

fn simple<D: Door + ?Sized>(door: &D, action: &'static str, cmd: u32, domid: DomId) -> Result<()> {
    domctl(door, cmd, domid, &[0u64; 0], vec![]).named(action, Some(domid))?;
    Ok(())
}

fn scheduler_op<D: Door + ?Sized>(door: &D, domid: DomId, sched_id: u32, cmd: u32, word: u64) -> Answer<u64> {
    let payload = abi::xen_domctl_scheduler_op {
        sched_id,
        cmd,
        u: [word, 0],
    };
    let raw = domctl(door, abi::XEN_DOMCTL_scheduler_op, domid, &payload, vec![])?;
    Ok(raw.payload::<abi::xen_domctl_scheduler_op>().u[0])
}

impl<D: Door + ?Sized> Domains for D {
    fn create_domain(&self, with: &CreateDomain) -> Result<DomId> {
        let flags = if with.is_xenstore_domain {
            abi::XEN_DOMCTL_CDF_xs_domain
        } else {
            0
        };
        let payload = abi::xen_domctl_createdomain {
            handle: with.uuid,
            flags,
            max_vcpus: with.max_vcpus,
            max_evtchn_port: with.max_evtchn_port,
            max_grant_frames: with.max_grant_frames,
            max_maptrack_frames: with.max_maptrack_frames,
            grant_opts: with.max_grant_version & abi::XEN_DOMCTL_GRANT_version_mask,
            cpupool_id: with.cpupool,
            ..Default::default()
        };
        let raw = domctl(self, abi::XEN_DOMCTL_createdomain, with.domid, &payload, vec![]);
        Ok(raw.named("create a domain", None)?.domain)
    }

    fn destroy_domain(&self, domid: DomId) -> Result<()> {
        loop {
            match domctl(self, abi::XEN_DOMCTL_destroydomain, domid, &[0u64; 0], vec![]) {
                Err(error) if error.errno == Some(Errno::EAGAIN) => {}
                result => return result.map(|_| ()).named("destroy", Some(domid)),
            }
        }
    }

    fn pause_domain(&self, domid: DomId) -> Result<()> {
        simple(self, "pause", abi::XEN_DOMCTL_pausedomain, domid)
    }

    fn unpause_domain(&self, domid: DomId) -> Result<()> {
        simple(self, "unpause", abi::XEN_DOMCTL_unpausedomain, domid)
    }

    fn shutdown_domain(&self, domid: DomId, reason: ShutdownReason) -> Result<()> {
        let mut arg = abi::sched_remote_shutdown {
            domain_id: domid,
            reason: reason.code().into(),
            ..Default::default()
        };
        operation(
            self,
            abi::__HYPERVISOR_sched_op,
            abi::SCHEDOP_remote_shutdown,
            &mut arg,
            vec![],
        )
        .named("shut down", Some(domid))?;
        Ok(())
    }

    fn resume_domain(&self, domid: DomId) -> Result<()> {
        simple(self, "resume", abi::XEN_DOMCTL_resumedomain, domid)
    }

    fn domain_info(&self, domid: DomId) -> Result<DomainInfo> {
        let action = "get information about a domain";
        let raw = domctl(self, abi::XEN_DOMCTL_getdomaininfo, domid, &[0u64; 0], vec![]);
        let info = DomainInfo::from(
            &raw.named(action, Some(domid))?
                .payload::<abi::xen_domctl_getdomaininfo>(),
        );
        if info.domid != domid {
            return Err(Error::new(action, Some(domid), Errno::ESRCH));
        }
        Ok(info)
    }

    fn list_domains(&self, first: DomId) -> Result<Vec<DomainInfo>> {
        let mut all: Vec<DomainInfo> = Vec::new();
        let mut next = first;
        loop {
            let mut list = vec![abi::xen_domctl_getdomaininfo::default(); LIST_STEP];
            let payload = abi::xen_sysctl_getdomaininfolist {
                first_domain: next,
                max_domains: LIST_STEP as u32,
                ..Default::default()
            };
            let handle = offset_of!(abi::xen_sysctl_getdomaininfolist, buffer);
            let block = Block::output(list.as_mut_slice().as_mut_bytes());
            let raw = sysctl(self, abi::XEN_SYSCTL_getdomaininfolist, &payload, vec![(handle, block)])
                .named("list domains", None)?;
            let count = raw.payload::<abi::xen_sysctl_getdomaininfolist>().num_domains as usize;
            all.extend(list.iter().take(count).map(DomainInfo::from));
            match all.last() {
                Some(last) if count >= LIST_STEP => next = last.domid + 1,
                _ => return Ok(all),
            }
        }
    }

    fn set_uuid(&self, domid: DomId, uuid: [u8; 16]) -> Result<()> {
        domctl(self, abi::XEN_DOMCTL_setdomainhandle, domid, &uuid, vec![]).named("set the UUID", Some(domid))?;
        Ok(())
    }

    fn set_max_mem(&self, domid: DomId, kib: u64) -> Result<()> {
        domctl(self, abi::XEN_DOMCTL_max_mem, domid, &kib, vec![]).named("set the largest memory", Some(domid))?;
        Ok(())
    }

    fn set_max_vcpus(&self, domid: DomId, count: u32) -> Result<()> {
        domctl(self, abi::XEN_DOMCTL_max_vcpus, domid, &count, vec![]).named("make vcpus", Some(domid))?;
        Ok(())
    }

    fn set_vcpu_context(&self, domid: DomId, vcpu: u32, context: &vcpu_guest_context) -> Result<()> {
        let payload = abi::xen_domctl_vcpucontext {
            vcpu,
            ..Default::default()
        };
        let handle = offset_of!(abi::xen_domctl_vcpucontext, ctxt);
        let block = Block::input(context.as_bytes());
        domctl(
            self,
            abi::XEN_DOMCTL_setvcpucontext,
            domid,
            &payload,
            vec![(handle, block)],
        )
        .named("set a vcpu's registers", Some(domid))?;
        Ok(())
    }

    fn vcpu_context(&self, domid: DomId, vcpu: u32) -> Result<Box<vcpu_guest_context>> {
        let payload = abi::xen_domctl_vcpucontext {
            vcpu,
            ..Default::default()
        };
        let mut context = Box::<vcpu_guest_context>::default();
        let handle = offset_of!(abi::xen_domctl_vcpucontext, ctxt);
        let block = Block::output(context.as_mut_bytes());
        domctl(
            self,
            abi::XEN_DOMCTL_getvcpucontext,
            domid,
            &payload,
            vec![(handle, block)],
        )
        .named("get a vcpu's registers", Some(domid))?;
        Ok(context)
    }

    fn vcpu_info(&self, domid: DomId, vcpu: u32) -> Result<VcpuInfo> {
        let payload = abi::xen_domctl_getvcpuinfo {
            vcpu,
            ..Default::default()
        };
        let raw = domctl(self, abi::XEN_DOMCTL_getvcpuinfo, domid, &payload, vec![]);
        let raw: abi::xen_domctl_getvcpuinfo = raw.named("get information about a vcpu", Some(domid))?.payload();
        Ok(VcpuInfo {
            online: raw.online != 0,
            blocked: raw.blocked != 0,
            running: raw.running != 0,
            cpu_time: raw.cpu_time,
            cpu: raw.cpu,
        })
    }

    fn vcpu_affinity(&self, domid: DomId, vcpu: u32, cpus: usize) -> Result<(CpuMap, CpuMap)> {
        let (mut hard, mut soft) = (CpuMap::empty(cpus), CpuMap::empty(cpus));
        let payload = abi::xen_domctl_vcpuaffinity {
            vcpu,
            flags: abi::XEN_VCPUAFFINITY_HARD | abi::XEN_VCPUAFFINITY_SOFT,
            cpumap_hard: bitmap(&hard),
            cpumap_soft: bitmap(&soft),
        };
        let handles = vec![
            (
                offset_of!(abi::xen_domctl_vcpuaffinity, cpumap_hard),
                Block::output(hard.bytes_mut()),
            ),
            (
                offset_of!(abi::xen_domctl_vcpuaffinity, cpumap_soft),
                Block::output(soft.bytes_mut()),
            ),
        ];
        domctl(self, abi::XEN_DOMCTL_getvcpuaffinity, domid, &payload, handles)
            .named("get a vcpu's affinity", Some(domid))?;
        Ok((hard, soft))
    }

    fn set_vcpu_affinity(&self, domid: DomId, vcpu: u32, hard: Option<&CpuMap>, soft: Option<&CpuMap>) -> Result<()> {
        let flag = |map: Option<&CpuMap>, bit: u32| map.map_or(0, |_| bit);
        let payload = abi::xen_domctl_vcpuaffinity {
            vcpu,
            flags: flag(hard, abi::XEN_VCPUAFFINITY_HARD) | flag(soft, abi::XEN_VCPUAFFINITY_SOFT),
            cpumap_hard: hard.map(bitmap).unwrap_or_default(),
            cpumap_soft: soft.map(bitmap).unwrap_or_default(),
        };
        // The hypervisor writes the effective affinity back into the bitmaps.
        let (mut hard, mut soft) = (hard.cloned(), soft.cloned());
        let mut handles = Vec::new();
        if let Some(map) = &mut hard {
            let handle = offset_of!(abi::xen_domctl_vcpuaffinity, cpumap_hard);
            handles.push((handle, Block::both(map.bytes_mut())));
        }
        if let Some(map) = &mut soft {
            let handle = offset_of!(abi::xen_domctl_vcpuaffinity, cpumap_soft);
            handles.push((handle, Block::both(map.bytes_mut())));
        }
        domctl(self, abi::XEN_DOMCTL_setvcpuaffinity, domid, &payload, handles)
            .named("set a vcpu's affinity", Some(domid))?;
        Ok(())
    }

    fn set_node_affinity(&self, domid: DomId, nodes: &CpuMap) -> Result<()> {
        let payload = bitmap(nodes);
        domctl(
            self,
            abi::XEN_DOMCTL_setnodeaffinity,
            domid,
            &payload,
            vec![(0, Block::input(nodes.bytes()))],
        )
        .named("set the node affinity", Some(domid))?;
        Ok(())
    }

    fn sched_params(&self, domid: DomId, sched_id: u32) -> Result<SchedParams> {
        let word = scheduler_op(self, domid, sched_id, abi::XEN_DOMCTL_SCHEDOP_getinfo, 0)
            .named("get weight and cap", Some(domid))?;
        Ok(SchedParams {
            weight: word as u16,
            cap: (word >> 16) as u16,
        })
    }

    fn set_sched_params(&self, domid: DomId, sched_id: u32, params: SchedParams) -> Result<()> {
        let word = u64::from(params.weight) | u64::from(params.cap) << 16;
        scheduler_op(self, domid, sched_id, abi::XEN_DOMCTL_SCHEDOP_putinfo, word)
            .named("set weight and cap", Some(domid))?;
        Ok(())
    }

    fn init_hypercall_page(&self, domid: DomId, gmfn: u64) -> Result<()> {
        domctl(self, abi::XEN_DOMCTL_hypercall_init, domid, &gmfn, vec![])
            .named("fill the hypercall page", Some(domid))?;
        Ok(())
    }

    fn send_trigger(&self, domid: DomId, trigger: u32, vcpu: u32) -> Result<()> {
        let payload = abi::xen_domctl_sendtrigger { trigger, vcpu };
        domctl(self, abi::XEN_DOMCTL_sendtrigger, domid, &payload, vec![]).named("send a trigger", Some(domid))?;
        Ok(())
    }

    fn set_time_offset(&self, domid: DomId, seconds: i64) -> Result<()> {
        domctl(self, abi::XEN_DOMCTL_settimeoffset, domid, &seconds, vec![])
            .named("set the time offset", Some(domid))?;
        Ok(())
    }

    fn set_tsc_info(&self, domid: DomId, mode: u32, khz: u32, elapsed_ns: u64) -> Result<()> {
        let payload = abi::xen_domctl_tsc_info {
            tsc_mode: mode,
            gtsc_khz: khz,
            elapsed_nsec: elapsed_ns,
            ..Default::default()
        };
        domctl(self, abi::XEN_DOMCTL_settscinfo, domid, &payload, vec![])
            .named("set how the TSC behaves", Some(domid))?;
        Ok(())
    }

    fn set_target(&self, domid: DomId, target: DomId) -> Result<()> {
        let payload = abi::xen_domctl_set_target { target };
        domctl(self, abi::XEN_DOMCTL_set_target, domid, &payload, vec![])
            .named("set the target domain", Some(domid))?;
        Ok(())
    }

    fn set_virq_handler(&self, domid: DomId, virq: u32) -> Result<()> {
        let payload = abi::xen_domctl_set_virq_handler { virq };
        domctl(self, abi::XEN_DOMCTL_set_virq_handler, domid, &payload, vec![])
            .named("give a virtual interrupt away", Some(domid))?;
        Ok(())
    }

    fn alloc_unbound(&self, domid: DomId, remote: DomId) -> Result<Port> {
        let mut arg = abi::evtchn_alloc_unbound {
            dom: domid,
            remote_dom: remote,
            port: 0,
        };
        operation(
            self,
            abi::__HYPERVISOR_event_channel_op,
            abi::EVTCHNOP_alloc_unbound,
            &mut arg,
            vec![],
        )
        .named("make an event channel", Some(domid))?;
        Ok(arg.port)
    }

    fn event_status(&self, domid: DomId, port: Port) -> Result<EventStatus> {
        let mut arg = abi::evtchn_status {
            dom: domid,
            port,
            ..Default::default()
        };
        operation(
            self,
            abi::__HYPERVISOR_event_channel_op,
            abi::EVTCHNOP_status,
            &mut arg,
            vec![],
        )
        .named("get an event channel's status", Some(domid))?;
        let is_domain = [abi::EVTCHNSTAT_unbound, abi::EVTCHNSTAT_interdomain].contains(&arg.status);
        Ok(EventStatus {
            status: arg.status,
            vcpu: arg.vcpu,
            peer: if is_domain { arg.u0 & 0xffff } else { arg.u0 },
            peer_port: arg.u1,
        })
    }

    fn reset_events(&self, domid: DomId) -> Result<()> {
        let mut arg = abi::evtchn_reset { dom: domid };
        operation(
            self,
            abi::__HYPERVISOR_event_channel_op,
            abi::EVTCHNOP_reset,
            &mut arg,
            vec![],
        )
        .named("close the event channels", Some(domid))?;
        Ok(())
    }

    fn grant_table_size(&self, domid: DomId) -> Result<(u32, u32)> {
        let action = "get the size of the grant table";
        let mut arg = abi::gnttab_query_size {
            dom: domid,
            ..abi::gnttab_query_size::new_zeroed()
        };
        let block = Block::structure(&mut arg);
        let mut args = [
            Arg::Word(abi::GNTTABOP_query_size.into()),
            Arg::Memory(block),
            Arg::Word(1),
        ];
        let result = self.call(abi::__HYPERVISOR_grant_table_op, &mut args);
        result.named(action, Some(domid))?;
        if arg.status != abi::GNTST_okay {
            let number = if arg.status == abi::GNTST_bad_domain {
                Errno::ESRCH
            } else {
                Errno::EINVAL
            };
            return Err(Error::new(action, Some(domid), number));
        }
        Ok((arg.nr_frames, arg.max_nr_frames))
    }
}
