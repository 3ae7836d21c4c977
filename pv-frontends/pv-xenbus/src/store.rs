//! What drivers ask of a store, whichever way they reach it.
use crate::{Error, State};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;
use core::str::FromStr;
use pv_hal::Port;
use xenstore_proto::{Kind, PartList, Permission, fields, perm};

/// A watch, as its [`Store`] numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WatchId(pub u32);

/// Reads and changes nodes: a [`Store`] at once, a [`Transaction`] all together. Paths are absolute, or relative to this
/// domain's own directory.
pub trait Nodes {
    /// Makes one request, whose payload is these parts, each followed by a zero byte, and then `tail`; gives the
    /// reply's payload.
    ///
    /// # Errors
    /// The store refuses or cannot be reached.
    fn call(&self, kind: Kind, parts: &[&str], tail: &[u8]) -> Result<Vec<u8>, Error>;

    /// A node's value.
    ///
    /// # Errors
    /// As [`call`](Nodes::call), as with everything below.
    fn read_bytes(&self, path: &str) -> Result<Vec<u8>, Error> {
        self.call(Kind::READ, &[path], &[])
    }

    /// A node's value as text; bytes that are not UTF-8 are replaced.
    fn read(&self, path: &str) -> Result<String, Error> {
        self.read_bytes(path)
            .map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// A node's value as text, or none if there is no such node.
    fn read_optional(&self, path: &str) -> Result<Option<String>, Error> {
        missing_as_none(self.read(path))
    }

    /// A node's value as a number or the like; none if there is no such node.
    ///
    /// # Errors
    /// As [`call`](Nodes::call); [`Error::BadNode`] if the value is no such thing.
    fn read_parsed<T: FromStr>(&self, path: &str) -> Result<Option<T>, Error> {
        match self.read_optional(path)? {
            None => Ok(None),
            Some(text) => text.trim().parse().map(Some).map_err(|_| Error::BadNode(path.into())),
        }
    }

    /// Sets a node's value; makes the node and its parents if need be.
    fn write(&self, path: &str, value: impl Display) -> Result<(), Error>
    where
        Self: Sized,
    {
        self.write_bytes(path, value.to_string().as_bytes())
    }

    /// The same with any bytes.
    fn write_bytes(&self, path: &str, value: &[u8]) -> Result<(), Error> {
        self.call(Kind::WRITE, &[path], value).map(drop)
    }

    /// Makes a node and its parents, if they do not exist.
    fn make_directory(&self, path: &str) -> Result<(), Error> {
        self.call(Kind::MKDIR, &[path], &[]).map(drop)
    }

    /// Removes a node and all below it, if there is one.
    fn remove(&self, path: &str) -> Result<(), Error> {
        missing_as_none(self.call(Kind::RM, &[path], &[])).map(drop)
    }

    /// The names of a node's children; empty if there is no such node.
    fn directory(&self, path: &str) -> Result<Vec<String>, Error> {
        let list = match self.call(Kind::DIRECTORY, &[path], &[]) {
            Err(Error::Store(xenstore_proto::Error::E2BIG)) => read_parts(self, path)?,
            other => missing_as_none(other)?.unwrap_or_default(),
        };
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        Ok(fields(&list).map(text).collect())
    }

    /// A node's access list.
    fn permissions(&self, path: &str) -> Result<Vec<Permission>, Error> {
        let list = self.call(Kind::GET_PERMS, &[path], &[])?;
        perm::parse_list(&list).map_err(|_| Error::BadNode(path.into()))
    }

    /// Replaces a node's access list: the owner with what everybody may do, then what single domains may do.
    fn set_permissions(&self, path: &str, list: &[Permission]) -> Result<(), Error> {
        let mut text = Vec::new();
        perm::append_list(&mut text, list);
        self.call(Kind::SET_PERMS, &[path], &text).map(drop)
    }
}

/// A store: [`RingStore`](crate::RingStore) over the shared ring, a store within the same domain, or the fake one. A
/// handle; clones stand for the same connection.
pub trait Store: Nodes + Clone {
    /// As [`Nodes::call`], within a transaction; 0 for none.
    ///
    /// # Errors
    /// As [`Nodes::call`].
    fn call_within(&self, transaction: u32, kind: Kind, parts: &[&str], tail: &[u8]) -> Result<Vec<u8>, Error>;

    /// Asks to be told of changes at and below a path; the first event comes at once.
    ///
    /// # Errors
    /// As [`Nodes::call`].
    fn watch(&self, path: &str) -> Result<WatchId, Error>;

    /// Ends a watch and forgets its events.
    fn unwatch(&self, watch: WatchId);

    /// The path of the next change that a watch has seen; never blocks. Several changes of one path may be told as one,
    /// and many changes as one of the watched path itself.
    fn take_event(&self, watch: WatchId) -> Option<String>;

    /// The port whose event says that [`take_event`](Store::take_event) may find more; none if there is no telling.
    /// Nobody but the store calls [`Hal::take_event`](pv_hal::Hal::take_event) on it.
    fn port(&self) -> Option<Port>;

    /// Begins anew after [`Error::Disconnected`], where that is possible: requests under way fail, open transactions are
    /// gone, watches are made again. Nothing to do for a store that is no connection.
    ///
    /// # Errors
    /// [`Error::Disconnected`] where the daemon does not answer or cannot begin anew; the errors of making the watches.
    fn reconnect(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Does something with several nodes at once: begins a transaction, runs `body`, commits; all over again when
    /// another change came in between. What `body` fails with is given back, and nothing is changed.
    ///
    /// # Errors
    /// As [`Nodes::call`].
    fn transaction<R>(&self, mut body: impl FnMut(&Transaction<'_, Self>) -> Result<R, Error>) -> Result<R, Error> {
        loop {
            let answer = self.call(Kind::TRANSACTION_START, &[""], &[])?;
            let number = String::from_utf8_lossy(&answer);
            let number = number.trim_end_matches('\0').parse().map_err(|_| Error::Disconnected)?;
            let result = body(&Transaction { store: self, number });
            let verdict = if result.is_ok() { "T" } else { "F" };
            match self.call_within(number, Kind::TRANSACTION_END, &[verdict], &[]) {
                Err(Error::Store(xenstore_proto::Error::EAGAIN)) if result.is_ok() => {}
                Err(error) if result.is_ok() => return Err(error),
                _ => return result,
            }
        }
    }
}

/// What [`Store::transaction`] hands to its body.
#[derive(Debug)]
pub struct Transaction<'a, S> {
    store: &'a S,
    number: u32,
}

impl<S: Store> Nodes for Transaction<'_, S> {
    fn call(&self, kind: Kind, parts: &[&str], tail: &[u8]) -> Result<Vec<u8>, Error> {
        self.store.call_within(self.number, kind, parts, tail)
    }
}

/// Writes nodes below a device's directory and announces a state, all at once; does not bring back a directory that a
/// toolstack has removed meanwhile, with which its node `other_end` has gone.
pub(crate) fn announce_with<S: Store>(
    store: &S,
    path: &str,
    other_end: &str,
    keys: &[(&str, String)],
    state: State,
) -> Result<(), Error> {
    store.transaction(|transaction| {
        transaction.read_bytes(&format!("{path}/{other_end}"))?;
        for (key, value) in keys {
            transaction.write(&format!("{path}/{key}"), value)?;
        }
        transaction.write(&format!("{path}/state"), state)
    })
}

/// A value in the other end's directory; none where there is no such node, or where this domain may not know: once a
/// device is taken away, what is left above it is not ours to see.
pub(crate) fn read_other_end<S: Store>(store: &S, path: &str, key: &str) -> Result<Option<String>, Error> {
    match store.read_optional(&format!("{path}/{key}")) {
        Err(Error::Store(xenstore_proto::Error::EACCES)) => Ok(None),
        result => result,
    }
}

/// The same as a number or the like.
pub(crate) fn parse_other_end<S: Store, T: FromStr>(store: &S, path: &str, key: &str) -> Result<Option<T>, Error> {
    let Some(text) = read_other_end(store, path, key)? else {
        return Ok(None);
    };
    let value = text.trim().parse();
    value.map(Some).map_err(|_| Error::BadNode(format!("{path}/{key}")))
}

/// Takes all events of some watches; whether there were any.
pub(crate) fn drain<S: Store>(store: &S, watches: &[WatchId]) -> bool {
    let mut any = false;
    for &watch in watches {
        while store.take_event(watch).is_some() {
            any = true;
        }
    }
    any
}

/// Turns "no such node" into none.
fn missing_as_none<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a list of children by parts, from the start again whenever it changes meanwhile.
fn read_parts<N: Nodes + ?Sized>(nodes: &N, path: &str) -> Result<Vec<u8>, Error> {
    let mut parts = PartList::default();
    loop {
        let offset = parts.offset().to_string();
        let answer = nodes.call(Kind::DIRECTORY_PART, &[path, &offset], &[])?;
        if parts.take(&answer).ok_or_else(|| Error::BadNode(path.into()))? {
            return Ok(parts.into_list());
        }
    }
}
