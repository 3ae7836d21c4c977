//! The fake's answers to tools that save and restore.

use std::collections::BTreeMap;

use privcmd::DomId;
use xen_abi::{self as abi, Errno};

use super::{Fake, refused, tables};
use crate::Result;
use crate::{CpuPolicy, DirtyLog, Migration, TscInfo, VcpuPart};

impl Fake {
    /// The guest writes to a frame.
    pub fn guest_writes(&self, domid: DomId, pfn: u64) {
        if let Some(domain) = self.lock().domains.get_mut(&domid) {
            domain.dirty.insert(pfn);
        }
    }

    /// Whether a domain's writes are logged.
    pub fn logs_dirty(&self, domid: DomId) -> bool {
        self.lock().domains.get(&domid).is_some_and(|domain| domain.logs_dirty)
    }
}

impl Migration for Fake {
    fn page_types(&self, domid: DomId, mfns: &[u64]) -> Result<Vec<u32>> {
        let memory = &self.memory;
        self.on_state("get the types of pages", Some(domid), |state| {
            let domain = state.domains.get(&domid).ok_or_else(|| refused(Errno::ESRCH))?;
            let is_own = |mfn| state.owner(mfn) == Some(domid);
            let roots: Vec<_> = domain.pinned.iter().map(|(mfn, level)| (*level, *mfn)).collect();
            let levels: BTreeMap<u64, u32> = tables::levels(memory, &is_own, &roots)?;
            let word = |mfn: &u64| {
                if !is_own(*mfn) {
                    return abi::XEN_DOMCTL_PFINFO_XTAB as u32;
                }
                let pin = domain
                    .pinned
                    .get(mfn)
                    .map_or(0, |_| abi::XEN_DOMCTL_PFINFO_LPINTAB as u32);
                levels.get(mfn).map_or(0, |level| level << 28) | pin
            };
            Ok(mfns.iter().map(word).collect())
        })
    }

    fn vcpu_part(&self, domid: DomId, vcpu: u32, part: VcpuPart) -> Result<Vec<u8>> {
        self.on_domain("get more of a vcpu's state", domid, |domain| {
            Ok(domain.parts.get(&(vcpu, part as u8)).cloned().unwrap_or_default())
        })
    }

    fn set_vcpu_part(&self, domid: DomId, vcpu: u32, part: VcpuPart, bytes: &[u8]) -> Result<()> {
        self.on_domain("set more of a vcpu's state", domid, |domain| {
            domain.parts.insert((vcpu, part as u8), bytes.to_vec());
            Ok(())
        })
    }

    fn tsc_info(&self, domid: DomId) -> Result<TscInfo> {
        self.on_domain("get how the TSC behaves", domid, |domain| Ok(domain.tsc))
    }

    fn restore_tsc_info(&self, domid: DomId, info: &TscInfo) -> Result<()> {
        self.on_domain("set how the TSC behaves", domid, |domain| {
            domain.tsc = *info;
            Ok(())
        })
    }

    fn cpu_policy(&self, domid: DomId) -> Result<CpuPolicy> {
        self.on_domain("get what CPUs a domain is shown", domid, |domain| {
            Ok(domain.policy.clone())
        })
    }

    fn set_cpu_policy(&self, domid: DomId, policy: &CpuPolicy) -> Result<()> {
        self.on_domain("set what CPUs a domain is shown", domid, |domain| {
            domain.policy = policy.clone();
            Ok(())
        })
    }

    fn log_dirty(&self, domid: DomId, on: bool) -> Result<()> {
        self.on_domain("log which pages are written", domid, |domain| {
            if on && domain.logs_dirty {
                return Err(refused(Errno::EINVAL));
            }
            domain.logs_dirty = on;
            domain.dirty.clear();
            Ok(())
        })
    }

    fn dirty_pages(&self, domid: DomId, what: DirtyLog, bitmap: &mut [u64]) -> Result<u64> {
        self.on_domain("see which pages were written", domid, |domain| {
            if !domain.logs_dirty {
                return Err(refused(Errno::EINVAL));
            }
            bitmap.fill(0);
            for pfn in &domain.dirty {
                if let Some(word) = bitmap.get_mut(*pfn as usize / 64) {
                    *word |= 1 << (pfn % 64);
                }
            }
            if what == DirtyLog::Clean {
                domain.dirty.clear();
            }
            Ok(bitmap.len() as u64 * 64)
        })
    }
}
