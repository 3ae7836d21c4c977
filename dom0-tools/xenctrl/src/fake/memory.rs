//! The fake's memory.

use privcmd::{DomId, Mapping, Resource};
use xen_abi::{Errno, e820entry};

use super::{Fake, refused, tables};
use crate::{Memory, PinLevel};
use crate::{Result, refusal};

impl Memory for Fake {
    type Mapping = Mapping;

    fn populate(&self, domid: DomId, order: u32, extents: &mut [u64]) -> Result<usize> {
        self.on_state("give memory to a domain", Some(domid), |state| {
            let count = 1u64 << order;
            let mut done = 0;
            for extent in extents {
                let domain = state.domains.get(&domid).ok_or_else(|| refused(Errno::ESRCH))?;
                if order > state.largest_order || domain.info.tot_pages + count > domain.info.max_pages {
                    break;
                }
                let Some(mfn) = state.allocate(domid, count as usize) else {
                    break;
                };
                let Some(domain) = state.domains.get_mut(&domid) else {
                    break;
                };
                domain.p2m.extend((0..count).map(|page| (*extent + page, mfn + page)));
                domain.info.tot_pages += count;
                *extent = mfn;
                done += 1;
            }
            Ok(done)
        })
    }

    fn decrease_reservation(&self, domid: DomId, mfns: &[u64]) -> Result<usize> {
        self.on_state("take memory from a domain", Some(domid), |state| {
            let mut done = 0;
            for mfn in mfns {
                if state.owner(*mfn) != Some(domid) {
                    break;
                }
                state.owners[*mfn as usize] = None;
                let domain = state.domains.get_mut(&domid).ok_or_else(|| refused(Errno::ESRCH))?;
                domain.p2m.retain(|_, of| of != mfn);
                domain.info.tot_pages -= 1;
                done += 1;
            }
            Ok(done)
        })
    }

    fn claim_pages(&self, domid: DomId, pages: u64) -> Result<()> {
        self.on_state("claim memory for a domain", Some(domid), |state| {
            let free = state.owners.iter().filter(|owner| owner.is_none()).count() as u64;
            let domain = state.domains.get_mut(&domid).ok_or_else(|| refused(Errno::ESRCH))?;
            if pages > free + domain.info.tot_pages {
                return Err(refused(Errno::ENOMEM));
            }
            domain.info.outstanding_pages = pages.saturating_sub(domain.info.tot_pages);
            Ok(())
        })
    }

    fn set_memory_map(&self, domid: DomId, _map: &[e820entry]) -> Result<()> {
        self.on_domain("set the memory map", domid, |_| Ok(()))
    }

    fn machine_memory_map(&self) -> Result<Vec<e820entry>> {
        let pages = self.lock().owners.len() as u64;
        Ok(vec![e820entry::new(0, pages * 4096, xen_abi::E820_RAM)])
    }

    fn maximum_gpfn(&self, domid: DomId) -> Result<u64> {
        self.on_domain("get the highest frame", domid, |domain| {
            Ok(domain.p2m.keys().next_back().copied().unwrap_or(0))
        })
    }

    fn pin_tables(&self, domid: DomId, roots: &[(PinLevel, u64)]) -> Result<()> {
        let memory = &self.memory;
        self.on_state("pin page tables", Some(domid), |state| {
            let is_own = |mfn| state.owner(mfn) == Some(domid);
            tables::check(memory, &is_own, roots)?;
            let domain = state.domains.get_mut(&domid).ok_or_else(|| refused(Errno::ESRCH))?;
            domain.pinned.extend(roots.iter().map(|(level, mfn)| (*mfn, *level)));
            Ok(())
        })
    }

    fn unpin_tables(&self, domid: DomId, mfns: &[u64]) -> Result<()> {
        self.on_domain("unpin page tables", domid, |domain| {
            if mfns.iter().all(|mfn| domain.pinned.remove(mfn).is_some()) {
                Ok(())
            } else {
                Err(refused(Errno::EINVAL))
            }
        })
    }

    fn map_foreign(&self, domid: DomId, mfns: &[u64], writable: bool) -> Result<Mapping> {
        let action = "map memory";
        self.on_state(action, Some(domid), |state| {
            if !mfns.iter().all(|mfn| state.owner(*mfn) == Some(domid)) {
                return Err(refused(Errno::EINVAL));
            }
            Ok(())
        })?;
        Mapping::of_pages(&self.memory, mfns, writable).map_err(|error| refusal(action, Some(domid), error))
    }

    fn map_resource(&self, domid: DomId, what: Resource, index: u32, count: usize) -> Result<Mapping> {
        let action = "map a resource";
        let frames = self.on_state(action, Some(domid), |state| {
            let last = index as usize + count;
            loop {
                let domain = state.domains.get(&domid).ok_or_else(|| refused(Errno::ESRCH))?;
                if what == Resource::GrantStatus || last > domain.max_grant_frames as usize {
                    return Err(refused(Errno::EINVAL));
                }
                if let Some(frames) = domain.grant_frames.get(index as usize..last) {
                    return Ok(frames.to_vec());
                }
                let mfn = state.allocate(domid, 1).ok_or_else(|| refused(Errno::ENOMEM))?;
                if let Some(domain) = state.domains.get_mut(&domid) {
                    domain.grant_frames.push(mfn);
                }
            }
        })?;
        Mapping::of_pages(&self.memory, &frames, true).map_err(|error| refusal(action, Some(domid), error))
    }
}
