//! Setting watches and taking them back.

use alloc::format;
use alloc::vec::Vec;

use xenstore_proto::{Error, Header, fields, parse_number, path};

use super::{Flow, Outcome, absolute_path};
use crate::connection::OwnWatch;
use crate::daemon::Daemon;
use crate::platform::Platform;

impl<P: Platform> Daemon<P> {
    pub(super) fn watch(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let words: Vec<&[u8]> = fields(payload).take(4).collect();
        let (raw, token, depth) = match words[..] {
            [path, token] => (path, token, None),
            [path, token, depth] => (path, token, Some(parse_depth(depth)?)),
            _ => return Err(Error::EINVAL),
        };
        let quota = self.quotas.watches;
        let connection = self.client(slot).ok_or(Error::EIO)?;
        let identity = connection.identity;
        let count = connection.watches.len() as u64;
        let mut room = Vec::new();
        let skip = if path::is_relative(raw) {
            format!("/local/domain/{}/", identity.holder.domain).len()
        } else {
            0
        };
        let full = if path::is_special(raw) {
            raw
        } else {
            absolute_path(raw, identity.holder.domain, self.quotas.path_max, false, &mut room)?
        };
        if full.len() > xenstore_proto::ABSOLUTE_PATH_MAX {
            return Err(Error::EINVAL);
        }
        if !identity.privileged && count > quota {
            return Err(Error::E2BIG);
        }
        self.add_watch(
            slot,
            OwnWatch {
                path: full.into(),
                token: token.into(),
                skip,
                depth,
            },
        )?;
        self.acknowledge(slot, header)?;
        if let Some(connection) = self.client(slot) {
            connection.output.event(&full[skip..], token);
        }
        Ok(Flow::Done)
    }

    pub(super) fn unwatch(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let words: Vec<&[u8]> = fields(payload).take(3).collect();
        let [raw, token] = words[..] else {
            return Err(Error::EINVAL);
        };
        let connection = self.client(slot).ok_or(Error::EIO)?;
        let domain = connection.identity.holder.domain;
        let mut full = Vec::new();
        if path::is_relative(raw) {
            full = format!("/local/domain/{domain}/").into_bytes();
        }
        full.extend_from_slice(raw);
        let found = connection
            .watches
            .iter()
            .position(|own| *own.path == *full && *own.token == *token);
        let at = found.ok_or(Error::ENOENT)?;
        let own = connection.watches.remove(at);
        if connection.ring().is_some() {
            crate::state::put_unwatch(&mut self.live.log, domain, &own);
        }
        self.watches.remove(&own.path, slot, &own.token);
        self.acknowledge(slot, header)
    }

    pub(super) fn reset_watches(&mut self, slot: usize, header: &Header) -> Outcome {
        self.drop_watches(slot);
        self.drop_transactions(slot);
        self.acknowledge(slot, header)
    }
}

/// Levels below a watch's path that count.
fn parse_depth(text: &[u8]) -> Result<u32, Error> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(Error::EINVAL);
    }
    u32::try_from(parse_number(text)).map_err(|_| Error::EINVAL)
}
