//! Saving and restoring, by domctl.

use alloc::vec;
use alloc::vec::Vec;
use core::mem::offset_of;

use xen_abi as abi;
use zerocopy::IntoBytes;

use super::{Answer, Named, domctl};
use crate::door::{Block, Door};
use crate::{CpuPolicy, DirtyLog, DomId, Migration, Result, TscInfo, VcpuPart};

/// Frames of one question about types.
const MOST_FRAMES: usize = 1024;
/// Bytes of the largest state of a vcpu that is believed.
const MOST_STATE: u64 = 64 << 10;
const LEAF: usize = size_of::<abi::xen_cpuid_leaf>();
const MSR: usize = size_of::<abi::xen_msr_entry>();
/// Bytes of `xen_domctl_ext_vcpucontext`, its vcpu and size among them.
const EXTENDED: usize = size_of::<abi::xen_domctl_ext_vcpucontext>();

fn extended<D: Door + ?Sized>(door: &D, domid: DomId, vcpu: u32) -> Answer<Vec<u8>> {
    let ask = abi::xen_domctl_ext_vcpucontext {
        vcpu,
        ..Default::default()
    };
    let raw = domctl(door, abi::XEN_DOMCTL_get_ext_vcpucontext, domid, &ask, vec![])?;
    let found: abi::xen_domctl_ext_vcpucontext = raw.payload();
    let size = (found.size as usize).min(EXTENDED);
    Ok(found.as_bytes()[..size].to_vec())
}

fn set_extended<D: Door + ?Sized>(door: &D, domid: DomId, vcpu: u32, bytes: &[u8]) -> Answer<()> {
    let mut ask = abi::xen_domctl_ext_vcpucontext::default();
    let size = bytes.len().min(EXTENDED);
    ask.as_mut_bytes()[..size].copy_from_slice(&bytes[..size]);
    (ask.vcpu, ask.size) = (vcpu, size as u32);
    domctl(door, abi::XEN_DOMCTL_set_ext_vcpucontext, domid, &ask, vec![])?;
    Ok(())
}

fn xsave<D: Door + ?Sized>(door: &D, domid: DomId, vcpu: u32) -> Answer<Vec<u8>> {
    let ask = abi::xen_domctl_vcpuextstate {
        vcpu,
        ..Default::default()
    };
    let raw = domctl(door, abi::XEN_DOMCTL_getvcpuextstate, domid, &ask, vec![])?;
    let mut ask: abi::xen_domctl_vcpuextstate = raw.payload();
    let mut bytes = vec![0; ask.size.min(MOST_STATE) as usize];
    if bytes.is_empty() {
        return Ok(bytes);
    }
    (ask.vcpu, ask.buffer) = (vcpu, 0);
    let handle = offset_of!(abi::xen_domctl_vcpuextstate, buffer);
    let block = Block::output(&mut bytes);
    let raw = domctl(
        door,
        abi::XEN_DOMCTL_getvcpuextstate,
        domid,
        &ask,
        vec![(handle, block)],
    )?;
    bytes.truncate(raw.payload::<abi::xen_domctl_vcpuextstate>().size as usize);
    Ok(bytes)
}

fn set_xsave<D: Door + ?Sized>(door: &D, domid: DomId, vcpu: u32, bytes: &[u8]) -> Answer<()> {
    let ask = abi::xen_domctl_vcpuextstate {
        vcpu,
        size: bytes.len() as u64,
        ..Default::default()
    };
    let handle = offset_of!(abi::xen_domctl_vcpuextstate, buffer);
    let block = Block::input(bytes);
    domctl(
        door,
        abi::XEN_DOMCTL_setvcpuextstate,
        domid,
        &ask,
        vec![(handle, block)],
    )?;
    Ok(())
}

fn msrs<D: Door + ?Sized>(door: &D, domid: DomId, vcpu: u32) -> Answer<Vec<u8>> {
    let ask = abi::xen_domctl_vcpu_msrs {
        vcpu,
        ..Default::default()
    };
    let raw = domctl(door, abi::XEN_DOMCTL_get_vcpu_msrs, domid, &ask, vec![])?;
    let mut ask: abi::xen_domctl_vcpu_msrs = raw.payload();
    let mut bytes = vec![0; (ask.msr_count as usize * MSR).min(MOST_STATE as usize)];
    if bytes.is_empty() {
        return Ok(bytes);
    }
    (ask.vcpu, ask.msrs) = (vcpu, 0);
    let handle = offset_of!(abi::xen_domctl_vcpu_msrs, msrs);
    let block = Block::output(&mut bytes);
    let raw = domctl(door, abi::XEN_DOMCTL_get_vcpu_msrs, domid, &ask, vec![(handle, block)])?;
    bytes.truncate(raw.payload::<abi::xen_domctl_vcpu_msrs>().msr_count as usize * MSR);
    Ok(bytes)
}

fn set_msrs<D: Door + ?Sized>(door: &D, domid: DomId, vcpu: u32, bytes: &[u8]) -> Answer<()> {
    let ask = abi::xen_domctl_vcpu_msrs {
        vcpu,
        msr_count: (bytes.len() / MSR) as u32,
        msrs: 0,
    };
    let handle = offset_of!(abi::xen_domctl_vcpu_msrs, msrs);
    let block = Block::input(bytes);
    domctl(door, abi::XEN_DOMCTL_set_vcpu_msrs, domid, &ask, vec![(handle, block)])?;
    Ok(())
}

fn policy<D: Door + ?Sized>(door: &D, domid: DomId) -> Answer<CpuPolicy> {
    let none = abi::xen_domctl_cpu_policy::default();
    let raw = domctl(door, abi::XEN_DOMCTL_get_cpu_policy, domid, &none, vec![])?;
    let room: abi::xen_domctl_cpu_policy = raw.payload();
    let most = |count: u32, size: usize| (count as usize * size).min(MOST_STATE as usize);
    let mut leaves = vec![0; most(room.nr_leaves, LEAF)];
    let mut msrs = vec![0; most(room.nr_msrs, MSR)];
    let ask = abi::xen_domctl_cpu_policy {
        nr_leaves: (leaves.len() / LEAF) as u32,
        nr_msrs: (msrs.len() / MSR) as u32,
        ..none
    };
    let mut handles = Vec::new();
    if !leaves.is_empty() {
        handles.push((
            offset_of!(abi::xen_domctl_cpu_policy, leaves),
            Block::output(&mut leaves),
        ));
    }
    if !msrs.is_empty() {
        handles.push((offset_of!(abi::xen_domctl_cpu_policy, msrs), Block::output(&mut msrs)));
    }
    let raw = domctl(door, abi::XEN_DOMCTL_get_cpu_policy, domid, &ask, handles)?;
    let found: abi::xen_domctl_cpu_policy = raw.payload();
    leaves.truncate(found.nr_leaves as usize * LEAF);
    msrs.truncate(found.nr_msrs as usize * MSR);
    Ok(CpuPolicy { leaves, msrs })
}

fn set_policy<D: Door + ?Sized>(door: &D, domid: DomId, policy: &CpuPolicy) -> Answer<()> {
    let ask = abi::xen_domctl_cpu_policy {
        nr_leaves: (policy.leaves.len() / LEAF) as u32,
        nr_msrs: (policy.msrs.len() / MSR) as u32,
        ..Default::default()
    };
    let mut handles = Vec::new();
    for (bytes, at) in [
        (&policy.leaves, offset_of!(abi::xen_domctl_cpu_policy, leaves)),
        (&policy.msrs, offset_of!(abi::xen_domctl_cpu_policy, msrs)),
    ] {
        if !bytes.is_empty() {
            handles.push((at, Block::input(bytes)));
        }
    }
    domctl(door, abi::XEN_DOMCTL_set_cpu_policy, domid, &ask, handles)?;
    Ok(())
}

fn shadow_op<D: Door + ?Sized>(
    door: &D,
    domid: DomId,
    op: u32,
    bitmap: Option<&mut [u64]>,
) -> Answer<abi::xen_domctl_shadow_op> {
    let pages = bitmap.as_ref().map_or(0, |bitmap| bitmap.len() as u64 * 64);
    let ask = abi::xen_domctl_shadow_op {
        op,
        pages,
        ..Default::default()
    };
    let handle = offset_of!(abi::xen_domctl_shadow_op, dirty_bitmap);
    let handles = bitmap.map_or_else(Vec::new, |bitmap| vec![(handle, Block::output(bitmap.as_mut_bytes()))]);
    Ok(domctl(door, abi::XEN_DOMCTL_shadow_op, domid, &ask, handles)?.payload())
}

impl<D: Door + ?Sized> Migration for D {
    fn page_types(&self, domid: DomId, mfns: &[u64]) -> Result<Vec<u32>> {
        let mut types = Vec::with_capacity(mfns.len());
        for some in mfns.chunks(MOST_FRAMES) {
            let mut list = some.to_vec();
            let ask = abi::xen_domctl_getpageframeinfo3 {
                num: list.len() as u64,
                array: 0,
            };
            let handle = offset_of!(abi::xen_domctl_getpageframeinfo3, array);
            let block = Block::both(list.as_mut_slice().as_mut_bytes());
            domctl(
                self,
                abi::XEN_DOMCTL_getpageframeinfo3,
                domid,
                &ask,
                vec![(handle, block)],
            )
            .named("get the types of pages", Some(domid))?;
            types.extend(list.iter().map(|word| *word as u32));
        }
        Ok(types)
    }

    fn vcpu_part(&self, domid: DomId, vcpu: u32, part: VcpuPart) -> Result<Vec<u8>> {
        match part {
            VcpuPart::Extended => extended(self, domid, vcpu),
            VcpuPart::Xsave => xsave(self, domid, vcpu),
            VcpuPart::Msrs => msrs(self, domid, vcpu),
        }
        .named("get more of a vcpu's state", Some(domid))
    }

    fn set_vcpu_part(&self, domid: DomId, vcpu: u32, part: VcpuPart, bytes: &[u8]) -> Result<()> {
        match part {
            VcpuPart::Extended => set_extended(self, domid, vcpu, bytes),
            VcpuPart::Xsave => set_xsave(self, domid, vcpu, bytes),
            VcpuPart::Msrs => set_msrs(self, domid, vcpu, bytes),
        }
        .named("set more of a vcpu's state", Some(domid))
    }

    fn tsc_info(&self, domid: DomId) -> Result<TscInfo> {
        let none = abi::xen_domctl_tsc_info::default();
        let raw = domctl(self, abi::XEN_DOMCTL_gettscinfo, domid, &none, vec![]);
        let raw: abi::xen_domctl_tsc_info = raw.named("get how the TSC behaves", Some(domid))?.payload();
        Ok(TscInfo {
            mode: raw.tsc_mode,
            khz: raw.gtsc_khz,
            incarnation: raw.incarnation,
            elapsed_ns: raw.elapsed_nsec,
        })
    }

    fn restore_tsc_info(&self, domid: DomId, info: &TscInfo) -> Result<()> {
        let payload = abi::xen_domctl_tsc_info {
            tsc_mode: info.mode,
            gtsc_khz: info.khz,
            incarnation: info.incarnation,
            elapsed_nsec: info.elapsed_ns,
            ..Default::default()
        };
        domctl(self, abi::XEN_DOMCTL_settscinfo, domid, &payload, vec![])
            .named("set how the TSC behaves", Some(domid))?;
        Ok(())
    }

    fn cpu_policy(&self, domid: DomId) -> Result<CpuPolicy> {
        policy(self, domid).named("get what CPUs a domain is shown", Some(domid))
    }

    fn set_cpu_policy(&self, domid: DomId, what: &CpuPolicy) -> Result<()> {
        set_policy(self, domid, what).named("set what CPUs a domain is shown", Some(domid))
    }

    fn log_dirty(&self, domid: DomId, on: bool) -> Result<()> {
        let op = if on {
            abi::XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY
        } else {
            abi::XEN_DOMCTL_SHADOW_OP_OFF
        };
        shadow_op(self, domid, op, None).named("log which pages are written", Some(domid))?;
        Ok(())
    }

    fn dirty_pages(&self, domid: DomId, what: DirtyLog, bitmap: &mut [u64]) -> Result<u64> {
        let op = match what {
            DirtyLog::Clean => abi::XEN_DOMCTL_SHADOW_OP_CLEAN,
            DirtyLog::Peek => abi::XEN_DOMCTL_SHADOW_OP_PEEK,
        };
        let done = shadow_op(self, domid, op, Some(bitmap)).named("see which pages were written", Some(domid))?;
        Ok(done.pages)
    }
}
