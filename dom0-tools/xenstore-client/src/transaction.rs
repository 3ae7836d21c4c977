//! Changes that come into force all together or not at all.

use xenstore_proto::{Kind, first_field, parse_number};

use crate::{Client, Error, Result, Store};

/// How often a transaction is tried before its conflict is given to the caller.
const ATTEMPTS: usize = 1000;

/// A running transaction.
pub struct Transaction<'a> {
    client: &'a mut Client,
    id: u32,
}

impl Store for Transaction<'_> {
    fn request(&mut self, kind: Kind, parts: &[&[u8]], tail: &[u8]) -> Result<Vec<u8>> {
        self.client.exchange(kind, self.id, parts, tail)
    }

    fn read_each(&mut self, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        self.client.read_many(self.id, paths)
    }
}

impl Client {
    /// Runs `body` in a transaction and commits it; runs it again when another change came between or the connection
    /// was lost. An error of `body` drops the transaction.
    pub fn transaction<T>(&mut self, mut body: impl FnMut(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        for _ in 1..ATTEMPTS {
            match self.try_transaction(&mut body) {
                Err(error) if error.is_conflict() => {}
                other => return other,
            }
        }
        self.try_transaction(&mut body)
    }

    fn try_transaction<T>(&mut self, body: &mut impl FnMut(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        let answer = self.exchange(Kind::TRANSACTION_START, 0, &[b""], &[])?;
        let id = first_field(&answer)
            .and_then(|text| u32::try_from(parse_number(text)).ok())
            .filter(|&id| id != 0)
            .ok_or_else(|| Error::Malformed("number of a transaction".into()))?;
        match body(&mut Transaction { client: self, id }) {
            Ok(value) => self.exchange(Kind::TRANSACTION_END, id, &[b"T"], &[]).map(|_| value),
            Err(Error::TransactionLost) => Err(Error::TransactionLost),
            Err(error) => {
                // The caller wants to know why its work failed, not whether dropping it did.
                let _ = self.exchange(Kind::TRANSACTION_END, id, &[b"F"], &[]);
                Err(error)
            }
        }
    }
}
