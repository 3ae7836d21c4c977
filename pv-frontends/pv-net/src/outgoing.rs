//! Making a frame into what the peer takes.

use alloc::vec::Vec;

use crate::checksum::{self, Transport};
use crate::{Checksum, Features, Meta, SendError, segment};

/// Buffers for frames that have to be changed. They grow once.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    scratch: Vec<u8>,
}

impl Outgoing {
    /// Gives `frame` to `put`, changed as far as `peer` needs it: blank checksums completed, large segments cut.
    ///
    /// # Errors
    /// Those of `put` for the first piece. A large segment of which only the first pieces found room counts as sent: to
    /// TCP the rest is lost on the way, as on any link that is full.
    pub(crate) fn send(
        &mut self,
        peer: &Features,
        frame: &[u8],
        meta: Meta,
        mut put: impl FnMut(&[u8], Meta) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let valid = Meta {
            checksum: Checksum::Valid,
            gso: None,
        };
        if let Some(gso) = meta.gso.filter(|gso| !peer.takes_gso(gso.kind)) {
            let mut result = None;
            segment::cut(frame, gso, &mut self.scratch, |piece| {
                let put = put(piece, valid);
                let is_put = put.is_ok();
                result.get_or_insert(put);
                is_put
            })
            .map_err(|_| SendError::BadLength)?;
            return result.unwrap_or(Err(SendError::BadLength));
        }
        if frame.is_empty() || frame.len() > peer.longest() {
            return Err(SendError::BadLength);
        }
        let is_v6 = || Transport::find(frame).is_some_and(|found| found.is_v6);
        if peer.must_complete(meta, is_v6) {
            self.scratch.clear();
            self.scratch.extend_from_slice(frame);
            let meta = if checksum::complete(&mut self.scratch) {
                valid
            } else {
                Meta::default()
            };
            return put(&self.scratch, meta);
        }
        put(frame, meta)
    }
}
