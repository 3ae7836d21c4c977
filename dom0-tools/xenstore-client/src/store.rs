//! The requests that read and change nodes, the same inside and outside a transaction.

use xenstore_proto::{Error as StoreError, Kind, PartList, Permission, fields, perm};

use crate::{Error, Result};

/// Reads and changes nodes: a [`crate::Client`] at once, a [`crate::Transaction`] all together.
///
/// Paths are absolute, or relative to this domain's own directory.
pub trait Store {
    /// Sends one request whose payload is these parts, each followed by a zero byte, and then `tail`; gives the reply's
    /// payload.
    fn request(&mut self, kind: Kind, parts: &[&[u8]], tail: &[u8]) -> Result<Vec<u8>>;

    /// A node's value.
    fn read(&mut self, path: &str) -> Result<Vec<u8>> {
        self.request(Kind::READ, &[path.as_bytes()], &[])
    }

    /// A node's value as text; bytes that are not UTF-8 are replaced.
    fn read_text(&mut self, path: &str) -> Result<String> {
        self.read(path)
            .map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// A node's value as text, or none if there is no such node.
    fn read_optional(&mut self, path: &str) -> Result<Option<String>> {
        missing_as_none(self.read_text(path))
    }

    /// The values of many nodes, none for those that do not exist.
    fn read_each(&mut self, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        paths.iter().map(|path| missing_as_none(self.read(path))).collect()
    }

    /// Sets a node's value; makes the node and its parents if need be.
    fn write(&mut self, path: &str, value: impl AsRef<[u8]>) -> Result<()>
    where
        Self: Sized,
    {
        self.request(Kind::WRITE, &[path.as_bytes()], value.as_ref()).map(drop)
    }

    /// Makes a node and its parents, if they do not exist.
    fn make_directory(&mut self, path: &str) -> Result<()> {
        self.request(Kind::MKDIR, &[path.as_bytes()], &[]).map(drop)
    }

    /// Removes a node and all below it; false if there was none.
    fn remove(&mut self, path: &str) -> Result<bool> {
        missing_as_none(self.request(Kind::RM, &[path.as_bytes()], &[])).map(|answer| answer.is_some())
    }

    /// The names of a node's children.
    fn directory(&mut self, path: &str) -> Result<Vec<String>> {
        let list = match self.request(Kind::DIRECTORY, &[path.as_bytes()], &[]) {
            Err(error) if error.refusal() == Some(StoreError::E2BIG) => read_parts(self, path)?,
            other => other?,
        };
        Ok(fields(&list)
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect())
    }

    /// The names of a node's children; none if there is no such node.
    fn directory_or_empty(&mut self, path: &str) -> Result<Vec<String>> {
        missing_as_none(self.directory(path)).map(Option::unwrap_or_default)
    }

    /// Whether a node exists.
    fn exists(&mut self, path: &str) -> Result<bool> {
        missing_as_none(self.request(Kind::READ, &[path.as_bytes()], &[])).map(|answer| answer.is_some())
    }

    /// A node's access list.
    fn permissions(&mut self, path: &str) -> Result<Vec<Permission>> {
        let list = self.request(Kind::GET_PERMS, &[path.as_bytes()], &[])?;
        perm::parse_list(&list).map_err(|_| Error::Malformed(format!("access list of {path}")))
    }

    /// Replaces a node's access list: the owner with what everybody may do, then what single domains may do.
    fn set_permissions(&mut self, path: &str, list: &[Permission]) -> Result<()> {
        let mut text = Vec::new();
        perm::append_list(&mut text, list);
        self.request(Kind::SET_PERMS, &[path.as_bytes()], &text).map(drop)
    }
}

/// Turns "no such node" into none.
fn missing_as_none<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a list of children by parts, from the start again whenever it changes meanwhile.
fn read_parts<S: Store + ?Sized>(store: &mut S, path: &str) -> Result<Vec<u8>> {
    let mut parts = PartList::default();
    loop {
        let offset = parts.offset().to_string();
        let answer = store.request(Kind::DIRECTORY_PART, &[path.as_bytes(), offset.as_bytes()], &[])?;
        let malformed = || Error::Malformed(format!("part of the list of children of {path}"));
        if parts.take(&answer).ok_or_else(malformed)? {
            return Ok(parts.into_list());
        }
    }
}
