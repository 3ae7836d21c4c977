//! What sender and receiver of a migration say to each other, as `xl migrate` and `xl migrate-receive` do.

use std::io::{Read, Write};

use crate::source::Source;
use crate::{Error, Result};

/// What one side says, word for word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// The receiver, before anything else.
    Banner,
    /// The receiver: it has everything.
    Ready,
    /// Who has the domain: the other may let it run.
    Go,
    /// The receiver: what came of it follows, a byte: 0 where the domain runs.
    Report,
}

impl Message {
    /// What it is on the wire.
    pub fn text(self) -> &'static [u8] {
        match self {
            Self::Banner => b"xl migration receiver ready, send binary domain data.\n",
            Self::Ready => b"domain received, ready to unpause",
            Self::Go => b"domain is yours, you are cleared to unpause",
            Self::Report => b"my copy unpause results are as follows",
        }
    }

    /// Says it.
    ///
    /// # Errors
    /// The stream's.
    pub fn send(self, to: &mut impl Write) -> Result<()> {
        to.write_all(self.text())?;
        Ok(to.flush()?)
    }

    /// Waits for it.
    ///
    /// # Errors
    /// The stream's; what was said instead.
    pub fn expect<R: Read>(self, from: &mut Source<R>) -> Result<()> {
        let at = from.position();
        let text = self.text();
        // Byte by byte: what speaks in its place may say less, and then end.
        let mut said = Vec::new();
        while said.len() < text.len() {
            match from.array::<1>() {
                Ok([byte]) => said.push(byte),
                Err(Error::Ended(_)) if !said.is_empty() => break,
                Err(error) => return Err(error),
            }
            if !text.starts_with(&said) && said.ends_with(b"\n") {
                break;
            }
        }
        if said == text {
            return Ok(());
        }
        let said: String = String::from_utf8_lossy(&said)
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        Err(Error::malformed(
            at,
            format!(
                "the other side says {said:?} in the place of {:?}",
                String::from_utf8_lossy(text)
            ),
        ))
    }
}
