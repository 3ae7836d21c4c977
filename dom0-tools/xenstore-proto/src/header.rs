//! A message's header and its place in a stream of bytes.

use alloc::vec::Vec;

use crate::{Kind, PAYLOAD_MAX};

/// `struct xsd_sockmsg`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What is asked or answered.
    pub kind: Kind,
    /// The request's number, chosen by the client, repeated in the reply.
    pub request: u32,
    /// The transaction it belongs to, or 0.
    pub transaction: u32,
    /// Bytes of payload that follow.
    pub length: u32,
}

/// A payload longer than [`PAYLOAD_MAX`] was announced: the stream cannot be followed any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Oversized(pub u32);

impl Header {
    /// Bytes of a header on the wire.
    pub const SIZE: usize = 16;

    /// The header of a message with this payload.
    pub fn new(kind: Kind, request: u32, transaction: u32, payload: &[u8]) -> Header {
        Header {
            kind,
            request,
            transaction,
            length: payload.len() as u32,
        }
    }

    /// As on the wire: four little-endian words.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let words = [self.kind.0, self.request, self.transaction, self.length];
        for (slot, word) in bytes.chunks_exact_mut(4).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads a header.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Header {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Header {
            kind: Kind(word(0)),
            request: word(4),
            transaction: word(8),
            length: word(12),
        }
    }
}

/// Takes the first message off a stream: its header and payload, or none while it is incomplete. The message occupies
/// [`Header::SIZE`] + payload bytes.
pub fn split_message(stream: &[u8]) -> Result<Option<(Header, &[u8])>, Oversized> {
    let Some((head, rest)) = stream.split_first_chunk::<{ Header::SIZE }>() else {
        return Ok(None);
    };
    let header = Header::decode(head);
    if header.length as usize > PAYLOAD_MAX {
        return Err(Oversized(header.length));
    }
    Ok(rest.get(..header.length as usize).map(|payload| (header, payload)))
}

/// Appends a whole message.
pub fn append_message(out: &mut Vec<u8>, kind: Kind, request: u32, transaction: u32, payload: &[u8]) {
    out.extend_from_slice(&Header::new(kind, request, transaction, payload).encode());
    out.extend_from_slice(payload);
}
