//! Beginning and ending transactions, and keeping them from failing for ever.

use alloc::format;

use xenstore_proto::{Error, Header, path};

use super::{Flow, Outcome, only_field, transaction_index};
use crate::daemon::{Daemon, PATIENCE, RESERVED_TIME, Reservation};
use crate::platform::Platform;
use crate::transaction::Transaction;

impl<P: Platform> Daemon<P> {
    pub(super) fn start_transaction(&mut self, slot: usize, header: &Header) -> Outcome {
        let limit = self.quotas.transactions;
        let connection = self
            .connections
            .get_mut(slot)
            .and_then(Option::as_mut)
            .ok_or(Error::EIO)?;
        if header.transaction != 0 {
            transaction_index(connection, header.transaction, &self.live)?;
            return Err(Error::EBUSY);
        }
        if !connection.identity.privileged && connection.transactions.len() as u64 > limit {
            return Err(Error::ENOSPC);
        }
        let mut id = connection.next_transaction.max(1);
        while connection.transactions.iter().any(|other| other.id == id) {
            id = id.wrapping_add(1).max(1);
        }
        connection.next_transaction = id.wrapping_add(1);
        connection.transactions.push(Transaction::new(id, &self.live.tree));
        if connection.conflicts >= PATIENCE && self.reservation.is_none() {
            let now = self.host.now();
            if self.next_reservation.is_none_or(|time| time <= now) {
                self.reservation = Some(Reservation {
                    slot,
                    transaction: id,
                    until: now + RESERVED_TIME,
                });
            }
        }
        self.answer(slot, header, format!("{id}\0").as_bytes())
    }

    pub(super) fn end_transaction(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let commit = match only_field(payload)? {
            b"T" => true,
            b"F" => false,
            _ => return Err(Error::EINVAL),
        };
        let connection = self
            .connections
            .get_mut(slot)
            .and_then(Option::as_mut)
            .ok_or(Error::EIO)?;
        let at = transaction_index(connection, header.transaction, &self.live)?;
        if commit && self.reservation.is_some() && self.would_disturb(slot, at) {
            return Ok(Flow::Stall);
        }
        let connection = self
            .connections
            .get_mut(slot)
            .and_then(Option::as_mut)
            .ok_or(Error::EIO)?;
        let transaction = connection.transactions.swap_remove(at);
        let reserved = self.reservation.as_ref();
        let ends = reserved.is_some_and(|held| held.slot == slot && held.transaction == header.transaction);
        let result = if commit { self.commit(slot, transaction) } else { Ok(()) };
        if ends {
            self.end_reservation();
        }
        result?;
        self.acknowledge(slot, header)
    }

    fn commit(&mut self, slot: usize, mut transaction: Transaction) -> Result<(), Error> {
        self.check_quota(slot, &transaction)?;
        let before = self.live.tree.clone();
        let generation = self.next_generation();
        let result = transaction.commit(&mut self.live, generation);
        if let Some(connection) = self.client(slot) {
            connection.conflicts = if result.is_ok() { 0 } else { connection.conflicts + 1 };
        }
        result?;
        // From here on the transaction's copy is not needed; nodes that only it shares can be changed in place again.
        let changes = core::mem::take(&mut transaction.changes);
        drop(transaction);
        for change in &changes {
            let tree = change.removed.then_some(&before);
            self.fire(&change.path, change.exact, change.old.as_ref(), tree);
        }
        Ok(())
    }

    /// Whether the owners of new nodes may have so many.
    fn check_quota(&self, slot: usize, transaction: &Transaction) -> Result<(), Error> {
        let client = self.connections.get(slot).and_then(Option::as_ref);
        if client.is_none_or(|connection| connection.identity.privileged) {
            return Ok(());
        }
        let exceeds = |(domain, change): (&u16, &i64)| {
            let owned = self.live.counts.get(domain).copied().unwrap_or(0) + change;
            *change > 0 && *domain != 0 && owned > self.quotas.nodes as i64
        };
        if transaction.space.counts.iter().any(exceeds) {
            Err(Error::ENOSPC)
        } else {
            Ok(())
        }
    }

    /// Whether a change of `path` by this client must wait for the reserved transaction.
    pub(super) fn is_reserved(&self, slot: usize, path: &[u8]) -> bool {
        let Some(held) = self.reservation.as_ref().filter(|held| held.slot != slot) else {
            return false;
        };
        let client = self.connections.get(held.slot).and_then(Option::as_ref);
        let transaction = client.and_then(|client| client.transactions.iter().find(|t| t.id == held.transaction));
        transaction.is_some_and(|transaction| {
            transaction.depends_on(path) || path::parent(path).is_some_and(|above| transaction.depends_on(above))
        })
    }

    /// Whether committing a client's transaction would make the reserved one fail.
    fn would_disturb(&self, slot: usize, at: usize) -> bool {
        let client = self.connections.get(slot).and_then(Option::as_ref);
        let transaction = client.and_then(|client| client.transactions.get(at));
        transaction.is_some_and(|own| own.changes.iter().any(|change| self.is_reserved(slot, &change.path)))
    }
}
