//! Grants of the fake machine.
use super::memory::{FakePage, Pages};
use super::plan::{Call, Kind};
use super::state::{Grant, MappingState, RESERVED_GRANTS, State};
use crate::{Access, CopyPiece, Direction, DomId, Error, GrantRef, Memory, PAGE_SIZE, PAGE_WORDS};
use alloc::rc::Rc;
use alloc::vec::Vec;

/// One page as [`Memory`].
struct OnePage(Rc<FakePage>);

impl Memory for OnePage {
    fn page_count(&self) -> usize {
        1
    }

    fn page(&self, index: usize) -> &[core::sync::atomic::AtomicU32; PAGE_WORDS] {
        assert_eq!(index, 0);
        self.0.words()
    }
}

impl State {
    pub(super) fn grant(
        &mut self,
        id: DomId,
        pages: &Pages,
        index: usize,
        peer: DomId,
        access: Access,
    ) -> Result<GrantRef, Error> {
        self.plan.check(id, Kind::Grant)?;
        let page = pages.0.get(index).ok_or(Error::BadRange)?.clone();
        let entry = Grant {
            page,
            peer,
            access,
            mapped: 0,
            is_ended: false,
        };
        let domain = self.domain_mut(id).ok_or(Error::NoDomain)?;
        let free = domain.grants.iter().skip(RESERVED_GRANTS).position(Option::is_none);
        let place = match free {
            Some(place) => place + RESERVED_GRANTS,
            None => {
                domain.grants.push(None);
                domain.grants.len() - 1
            }
        };
        domain.grants[place] = Some(entry);
        let grant = GrantRef(place as u32);
        self.note(id, Call::Grant { grant, peer, access });
        Ok(grant)
    }

    pub(super) fn end_access(&mut self, id: DomId, grant: GrantRef) -> bool {
        let Some(entry) = self
            .domain_mut(id)
            .and_then(|domain| domain.grants.get_mut(grant.0 as usize))
        else {
            return true;
        };
        let is_over = match entry {
            Some(held) if held.mapped > 0 => {
                held.is_ended = true;
                false
            }
            _ => {
                *entry = None;
                true
            }
        };
        self.note(id, Call::EndAccess { grant, is_over });
        is_over
    }

    /// The grant of `granter` that `id` may use for `access`.
    fn usable(&mut self, id: DomId, granter: DomId, grant: GrantRef, access: Access) -> Result<&mut Grant, Error> {
        let domain = self.domain_mut(granter).ok_or(Error::NoDomain)?;
        let entry = domain.grants.get_mut(grant.0 as usize).ok_or(Error::BadGrant)?;
        let entry = entry.as_mut().ok_or(Error::BadGrant)?;
        let permits = entry.access == Access::ReadWrite || access == Access::ReadOnly;
        if entry.is_ended || entry.peer != id || !permits {
            return Err(Error::BadGrant);
        }
        Ok(entry)
    }

    /// Maps all or none; the mapping's number and pages.
    pub(super) fn map(
        &mut self,
        id: DomId,
        granter: DomId,
        grants: &[GrantRef],
        access: Access,
    ) -> Result<(u64, Vec<Rc<FakePage>>), Error> {
        self.plan.check(id, Kind::Map)?;
        if grants.is_empty() {
            return Err(Error::BadRange);
        }
        for &grant in grants {
            self.usable(id, granter, grant, access)?;
        }
        let mut pages = Vec::with_capacity(grants.len());
        for &grant in grants {
            let entry = self.usable(id, granter, grant, access)?;
            entry.mapped += 1;
            pages.push(entry.page.clone());
        }
        let number = self.next_mapping;
        self.next_mapping += 1;
        let grants = grants.to_vec();
        let state = MappingState {
            mapper: id,
            granter,
            grants: grants.clone(),
        };
        self.mappings.insert(number, state);
        let call = Call::Map {
            peer: granter,
            grants,
            access,
        };
        self.note(id, call);
        Ok((number, pages))
    }

    pub(super) fn unmap(&mut self, number: u64) {
        // The mapper's death may have unmapped it before.
        let Some(mapping) = self.mappings.remove(&number) else {
            return;
        };
        let MappingState {
            mapper,
            granter,
            grants,
        } = mapping;
        if let Some(domain) = self.domain_mut(granter) {
            for grant in &grants {
                let Some(place) = domain.grants.get_mut(grant.0 as usize) else {
                    continue;
                };
                let Some(entry) = place else { continue };
                entry.mapped -= 1;
                if entry.is_ended && entry.mapped == 0 {
                    *place = None;
                }
            }
        }
        self.note(mapper, Call::Unmap { peer: granter, grants });
    }

    pub(super) fn grants_mapped(&self, id: DomId) -> usize {
        let own = self.mappings.values().filter(|mapping| mapping.mapper == id);
        own.map(|mapping| mapping.grants.len()).sum()
    }

    pub(super) fn copy(
        &mut self,
        id: DomId,
        direction: Direction,
        peer: DomId,
        own: &Pages,
        piece: &CopyPiece,
    ) -> Result<(), Error> {
        self.plan.check(id, Kind::Copy)?;
        let length = usize::from(piece.length);
        let (theirs, ours) = (usize::from(piece.grant_offset), piece.own_offset as usize);
        let fits = |offset: usize| offset % PAGE_SIZE + length <= PAGE_SIZE;
        if theirs >= PAGE_SIZE || !fits(theirs) || !fits(ours) || ours + length > own.byte_count() {
            return Err(Error::BadRange);
        }
        let access = match direction {
            Direction::FromPeer => Access::ReadOnly,
            Direction::ToPeer => Access::ReadWrite,
        };
        let page = OnePage(self.usable(id, peer, piece.grant, access)?.page.clone());
        let mut buffer = [0; PAGE_SIZE];
        let bytes = &mut buffer[..length];
        match direction {
            Direction::FromPeer => {
                page.read(theirs, bytes);
                own.write(ours, bytes);
            }
            Direction::ToPeer => {
                own.read(ours, bytes);
                page.write(theirs, bytes);
            }
        }
        let (grant, length) = (piece.grant, piece.length);
        self.note(
            id,
            Call::Copy {
                direction,
                peer,
                grant,
                length,
            },
        );
        Ok(())
    }
}
