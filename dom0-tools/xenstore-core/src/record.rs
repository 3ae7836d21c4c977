//! Changes to the tree as bytes: what the journal keeps and what a transaction does when it is committed.

use alloc::vec::Vec;

use xenstore_proto::{Access, Permission, path};

use crate::tree::{Node, Permissions, Tree};

/// One record's kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Tag {
    /// A node's new value: path, value.
    Value = 1,
    /// A new node: path, access list, value. Its parent exists.
    Make = 2,
    /// A node and all below it go: path.
    Remove = 3,
    /// A node's new access list: path, access list.
    Permissions = 4,
    /// A new node that shares its parent's access list: path, value.
    MakeInherited = 5,
    /// A domain that the daemon knows; see `recovery::state`.
    Domain = 16,
    /// A domain is forgotten: number.
    Forget = 17,
    /// A ring's place in its streams and what is under way in them.
    Ring = 18,
    /// A watch of a ring's client: domain, sequence number, depth, relative, path, token.
    Watch = 19,
    /// A watch of a ring's client goes: domain, path, token.
    Unwatch = 20,
    /// All watches of a ring's client go: domain.
    ResetWatches = 21,
    /// Access list of a special name: name, access list.
    Special = 22,
    /// The generation reached.
    Generation = 23,
    /// A socket's connection, in a handover only.
    Socket = 24,
    /// A watch of a socket's client, in a handover only.
    SocketWatch = 25,
    /// A quota's value: name, number.
    Quota = 26,
    /// Logging is on.
    Logging = 27,
}

/// All tags, to find one by its number.
const TAGS: [Tag; 17] = [
    Tag::Value,
    Tag::Make,
    Tag::Remove,
    Tag::Permissions,
    Tag::MakeInherited,
    Tag::Domain,
    Tag::Forget,
    Tag::Ring,
    Tag::Watch,
    Tag::Unwatch,
    Tag::ResetWatches,
    Tag::Special,
    Tag::Generation,
    Tag::Socket,
    Tag::SocketWatch,
    Tag::Quota,
    Tag::Logging,
];

impl Tag {
    fn from_number(number: u8) -> Option<Tag> {
        TAGS.iter().copied().find(|tag| *tag as u8 == number)
    }
}

/// Begins a record.
pub fn begin(out: &mut Vec<u8>, tag: Tag) {
    out.push(tag as u8);
}

/// Appends a string of bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a number.
pub fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends an access list.
pub fn put_permissions(out: &mut Vec<u8>, list: &Permissions) {
    put_number(out, list.owned_since());
    put_number(out, list.set_at());
    out.push(list.entries().len().min(255) as u8);
    for entry in list.entries().iter().take(255) {
        out.extend_from_slice(&entry.domain.to_le_bytes());
        out.push(entry.access.letter());
    }
}

/// Bytes that are not what was written: a file of another release, or a defect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damaged;

impl core::fmt::Display for Damaged {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a record is damaged or of another release")
    }
}

/// Reads records one behind the other.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Damaged)?;
        self.rest = rest;
        Ok(head)
    }

    /// Begins the next record; none at the end.
    pub fn tag(&mut self) -> Result<Option<Tag>, Damaged> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        Tag::from_number(self.byte()?).map(Some).ok_or(Damaged)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Damaged> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// A number.
    pub fn number(&mut self) -> Result<u64, Damaged> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| Damaged)?))
    }

    /// A number that must be small enough.
    pub fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Damaged> {
        T::try_from(self.number()?).map_err(|_| Damaged)
    }

    /// A string of bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = self.take(4)?;
        self.take(u32::from_le_bytes(length.try_into().map_err(|_| Damaged)?) as usize)
    }

    /// An access list.
    pub fn permissions(&mut self) -> Result<Permissions, Damaged> {
        let owned_since = self.number()?;
        let set_at = self.number()?;
        let mut entries = Vec::new();
        for _ in 0..self.byte()? {
            let bytes = self.take(3)?;
            let access = Access::from_letter(bytes[2]).ok_or(Damaged)?;
            entries.push(Permission::new(u16::from_le_bytes([bytes[0], bytes[1]]), access));
        }
        let owner = entries.first().ok_or(Damaged)?.domain;
        Ok(Permissions::new(set_at, entries).with_owner(owner, owned_since))
    }
}

/// Carries out one record that changes the tree; nodes that change get `generation`.
pub fn apply(tree: &mut Tree, tag: Tag, reader: &mut Reader<'_>, generation: u64) -> Result<(), Damaged> {
    let path = reader.bytes()?;
    match tag {
        Tag::Value => {
            let node = tree.get_mut(path).ok_or(Damaged)?;
            node.value.clear();
            node.value.extend_from_slice(reader.bytes()?);
            node.generation = generation;
        }
        Tag::Make | Tag::MakeInherited => {
            let list = if tag == Tag::Make {
                Some(reader.permissions()?)
            } else {
                None
            };
            let value = reader.bytes()?;
            let parent = tree.get_mut(path::parent(path).ok_or(Damaged)?).ok_or(Damaged)?;
            let mut node = Node::new(list.unwrap_or_else(|| parent.permissions.clone()), generation);
            node.value = value.to_vec();
            if parent.children.get(path::leaf(path)).is_some() {
                return Err(Damaged);
            }
            parent.children.insert(path::leaf(path), node);
            parent.generation = generation;
        }
        Tag::Remove => {
            tree.remove(path, generation).ok_or(Damaged)?;
        }
        Tag::Permissions => {
            let list = reader.permissions()?;
            let node = tree.get_mut(path).ok_or(Damaged)?;
            node.permissions = list;
            node.generation = generation;
        }
        _ => return Err(Damaged),
    }
    Ok(())
}
