//! Requests that read and change nodes.

use alloc::string::ToString;
use alloc::vec::Vec;

use xenstore_proto::{Error, Header, PAYLOAD_MAX, fields, parse_number, path, perm, split_value};

use super::{Flow, Outcome, absolute_path, only_field, size_of_others, transaction_index};
use crate::access::Rights;
use crate::daemon::Daemon;
use crate::platform::Platform;
use crate::space::Terms;
use crate::transaction::Change;
use crate::tree::{Node, Permissions};

impl<P: Platform> Daemon<P> {
    /// Finds a node that may be read and lets `fill` append the answer's payload, whose length it is told first.
    fn answer_from_node(
        &mut self,
        slot: usize,
        header: &Header,
        raw: &[u8],
        length: impl FnOnce(&Node) -> usize,
        fill: impl FnOnce(&Node, &mut Vec<u8>),
    ) -> Outcome {
        let limit = self.quotas.path_max;
        let scene = self.scene(slot, header.transaction)?;
        let mut room = Vec::new();
        let path = absolute_path(raw, scene.identity.holder.domain, limit, false, &mut room)?;
        let node = scene.space.find(&scene.identity, path, Rights::READ)?;
        if length(node) > PAYLOAD_MAX {
            return Err(Error::E2BIG);
        }
        scene
            .output
            .answer_with(header.kind, header.request, header.transaction, |out| fill(node, out));
        Ok(Flow::Done)
    }

    pub(super) fn read(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let raw = only_field(payload)?;
        let length = |node: &Node| node.value.len();
        self.answer_from_node(slot, header, raw, length, |node, out| {
            out.extend_from_slice(&node.value)
        })
    }

    pub(super) fn directory(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let raw = only_field(payload)?;
        let length = |node: &Node| node.children.list_length();
        self.answer_from_node(slot, header, raw, length, |node, out| node.children.append_list(out))
    }

    pub(super) fn directory_part(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        if fields(payload).count() != 2 {
            return Err(Error::EINVAL);
        }
        let mut words = fields(payload);
        let (raw, offset) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let offset = usize::try_from(parse_number(offset)).unwrap_or(usize::MAX);
        self.answer_from_node(
            slot,
            header,
            raw,
            |_| 0,
            |node, out| append_list_part(node, offset, out),
        )
    }

    pub(super) fn permissions(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let raw = only_field(payload)?;
        let fill = |node: &Node, out: &mut Vec<u8>| perm::append_list(out, node.permissions.entries());
        self.answer_from_node(slot, header, raw, |_| 0, fill)
    }

    pub(super) fn write(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let (raw, value) = split_value(payload).ok_or(Error::EINVAL)?;
        self.change(slot, header, raw, |space, terms, path| {
            space.write(terms, path, value).map(|()| Told::Change(None))
        })
    }

    pub(super) fn make(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let raw = only_field(payload)?;
        self.change(slot, header, raw, |space, terms, path| {
            let made = space.make(terms, path)?;
            Ok(if made { Told::Change(None) } else { Told::Nothing })
        })
    }

    pub(super) fn remove(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let raw = only_field(payload)?;
        self.change(slot, header, raw, |space, terms, path| {
            let found = space.check_remove(terms.identity, path)?;
            Ok(if found { Told::Removal } else { Told::Nothing })
        })
    }

    pub(super) fn set_permissions(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let (raw, list) = split_value(payload).ok_or(Error::EINVAL)?;
        let identity = self.client(slot).ok_or(Error::EIO)?.identity;
        let count = fields(list).count();
        if count == 0 {
            return Err(Error::EINVAL);
        }
        if !identity.privileged && count as u64 > self.quotas.permissions {
            return Err(Error::ENOSPC);
        }
        let entries = perm::parse_list(list)?;
        if entries.len() > 255 {
            return Err(Error::E2BIG);
        }
        for (number, entry) in entries.iter().enumerate() {
            // An entry for a domain that does not exist is kept, and will not mean a later one of the same number.
            if !self.learn(entry.domain) && number == 0 {
                return Err(Error::ENOENT);
            }
        }
        if path::is_special(raw) {
            let old = self.special.get(raw).ok_or(Error::EINVAL)?;
            let rights = identity.rights(old);
            if !rights.own || !rights.write {
                return Err(Error::EACCES);
            }
            let list = Permissions::new(self.next_generation(), entries);
            crate::state::put_special(&mut self.live.log, raw, &list);
            self.special.insert(raw.to_vec(), list);
            return self.acknowledge(slot, header);
        }
        self.change(slot, header, raw, |space, terms, path| {
            space
                .set_permissions(terms, path, entries)
                .map(|old| Told::Change(Some(old)))
        })
    }

    /// Carries out a change of one path, in the live tree or a transaction, and tells watches.
    fn change(
        &mut self,
        slot: usize,
        header: &Header,
        raw: &[u8],
        work: impl FnOnce(&mut crate::space::Space, &Terms<'_>, &[u8]) -> Result<Told, Error>,
    ) -> Outcome {
        let generation = self.next_generation();
        let connection = self
            .connections
            .get_mut(slot)
            .and_then(Option::as_mut)
            .ok_or(Error::EIO)?;
        let identity = connection.identity;
        let mut room = Vec::new();
        let path = absolute_path(raw, identity.holder.domain, self.quotas.path_max, false, &mut room)?;
        let mut terms = Terms {
            identity: &identity,
            quotas: &self.quotas,
            owned_elsewhere: 0,
            generation,
        };
        if header.transaction == 0 {
            if self.reservation.is_some() && self.is_reserved(slot, path) {
                return Ok(Flow::Stall);
            }
            match work(&mut self.live, &terms, path)? {
                Told::Nothing => {}
                Told::Change(old) => self.fire(path, false, old.as_ref(), None),
                Told::Removal => self.remove_and_fire(path),
            }
        } else {
            let at = transaction_index(connection, header.transaction, &self.live)?;
            terms.owned_elsewhere = self.live.counts.get(&identity.holder.domain).copied().unwrap_or(0);
            let watched = self.watches.any_below(path);
            let others = size_of_others(connection, at);
            let transaction = &mut connection.transactions[at];
            let told = work(&mut transaction.space, &terms, path)?;
            transaction.check_size(&identity, &self.quotas, others)?;
            match told {
                Told::Nothing => {}
                Told::Change(old) => {
                    transaction.changes.push(Change {
                        path: path.into(),
                        exact: false,
                        old,
                        removed: false,
                    });
                }
                Told::Removal => transaction.remove(path, generation, watched),
            }
        }
        self.acknowledge(slot, header)
    }
}

/// What watches are told of a change.
enum Told {
    Nothing,
    /// The node changed; its access list was this one.
    Change(Option<Permissions>),
    /// The node goes; the removal itself is still to be done.
    Removal,
}

/// Appends a node's generation and the names of its children from byte `offset` of their list on, as many as fit; an
/// empty name behind the last one.
fn append_list_part(node: &Node, offset: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(node.generation.to_string().as_bytes());
    out.push(0);
    if offset >= node.children.list_length() {
        out.push(0);
        return;
    }
    let room = PAYLOAD_MAX - (out.len() - start) - 1;
    let list = node.children.list();
    let rest = &list[offset..];
    if rest.len() <= room {
        out.extend_from_slice(rest);
        out.push(0);
    } else {
        let end = rest[..room].iter().rposition(|&byte| byte == 0).map_or(0, |at| at + 1);
        out.extend_from_slice(&rest[..end]);
    }
}
