//! Requests about domains: their rings, their ends, and who acts for whom.

use alloc::format;
use alloc::vec::Vec;

use xenstore_proto::{Error, Header, INTRODUCE_DOMAIN, RELEASE_DOMAIN, fields, parse_number};

use super::{Outcome, only_field};
use crate::daemon::Daemon;
use crate::platform::Platform;

/// "The caller's own domain" (`DOMID_SELF`).
const SELF: i64 = 0x7ff0;

impl<P: Platform> Daemon<P> {
    pub(super) fn introduce(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let numbers: Vec<i64> = fields(payload).take(3).map(parse_number).collect();
        let [domain, frame, port] = numbers[..] else {
            return Err(Error::EINVAL);
        };
        let port = u32::try_from(port)
            .ok()
            .filter(|&port| port != 0)
            .ok_or(Error::EINVAL)?;
        let domain = u16::try_from(domain).map_err(|_| Error::ENOENT)?;
        let new = self.domains.get(&domain).is_none_or(|known| known.ring.is_none());
        self.connect_ring(domain, frame as u64, port)?;
        if new && domain != 0 {
            self.fire(INTRODUCE_DOMAIN.as_bytes(), false, None, None);
        }
        self.acknowledge(slot, header)
    }

    /// The domain that a payload names, which has a ring.
    fn introduced(&self, text: &[u8]) -> Result<u16, Error> {
        let domain = parse_number(text);
        let domain = u16::try_from(domain).map_err(|_| Error::ENOENT)?;
        match self.domains.get(&domain) {
            Some(known) if known.ring.is_some() => Ok(domain),
            _ => Err(Error::ENOENT),
        }
    }

    /// Like [`Daemon::introduced`], of a payload that has nothing else; not for domain 0.
    fn only_introduced(&self, payload: &[u8]) -> Result<u16, Error> {
        let text = only_field(payload)?;
        if parse_number(text) == 0 {
            return Err(Error::EINVAL);
        }
        self.introduced(text)
    }

    pub(super) fn release(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let domain = self.only_introduced(payload)?;
        self.forget_domain(domain);
        self.fire(RELEASE_DOMAIN.as_bytes(), false, None, None);
        self.acknowledge(slot, header)
    }

    pub(super) fn resume(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let domain = self.only_introduced(payload)?;
        if let Some(known) = self.domains.get_mut(&domain) {
            known.shutdown = false;
        }
        self.log_domain(domain);
        self.acknowledge(slot, header)
    }

    pub(super) fn set_target(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let words: Vec<&[u8]> = fields(payload).take(2).collect();
        let [domain, target] = words[..] else {
            return Err(Error::EINVAL);
        };
        let (domain, target) = (self.introduced(domain)?, self.introduced(target)?);
        let mut client = None;
        if let Some(known) = self.domains.get_mut(&domain) {
            known.target = Some(target);
            client = known.ring.as_ref().map(|ring| ring.slot);
        }
        let identity = self.identity_of(domain);
        if let Some(connection) = client.and_then(|slot| self.client(slot)) {
            connection.identity = identity;
        }
        self.log_domain(domain);
        self.acknowledge(slot, header)
    }

    pub(super) fn domain_path(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let domain = parse_number(only_field(payload)?) as u32;
        self.answer(slot, header, format!("/local/domain/{domain}\0").as_bytes())
    }

    pub(super) fn is_introduced(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let text = only_field(payload)?;
        let yes = parse_number(text) == SELF || self.introduced(text).is_ok();
        self.answer(slot, header, if yes { b"T\0" } else { b"F\0" })
    }
}
