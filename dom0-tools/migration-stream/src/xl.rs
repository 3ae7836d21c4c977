//! What `xl save` and `xl migrate` put before libxl's stream: a header and the domain's configuration.

use std::io::{Read, Write};

use crate::source::{Source, le32};
use crate::{Error, Result};

const MAGIC: &[u8; 32] = b"Xen saved domain, xl format\n \0 \r";
const BYTE_ORDER: u32 = 0x0102_0304;
/// The configuration is JSON, not the text of a file.
const JSON: u32 = 1 << 0;
/// libxl's stream has version 2.
const STREAM_V2: u32 = 1 << 1;
/// Longest configuration that is believed.
const MOST_CONFIG: u32 = 4 << 20;

/// What was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// `libxl_domain_config` as JSON, without the zero byte that `xl` puts behind it.
    pub config: Vec<u8>,
    /// Mandatory and optional flags and the length of all optional data, as `xl` prints them.
    pub info: (u32, u32, u32),
}

/// Reads header and configuration.
///
/// # Errors
/// The stream's; what it is instead of a domain that `xl` saved.
pub fn read<R: Read>(from: &mut Source<R>) -> Result<Header> {
    let at = from.position();
    let magic: [u8; 32] = from.array()?;
    let wrong = |what: String| Err(Error::malformed(at, what));
    if &magic != MAGIC {
        return wrong("this is no domain that xl or xlr has saved".into());
    }
    let words: [u8; 16] = from.array()?;
    if le32(&words, 0) != BYTE_ORDER {
        return wrong("the domain was saved on a machine of other byte order".into());
    }
    let (mandatory, optional, len) = (le32(&words, 4), le32(&words, 8), le32(&words, 12));
    if mandatory != JSON | STREAM_V2 {
        return wrong(format!(
            "it has mandatory flags {mandatory:#x}; only {:#x} can be read (Xen 4.6 and later)",
            JSON | STREAM_V2
        ));
    }
    if !(4..=MOST_CONFIG).contains(&len) {
        return wrong(format!(
            "its configuration has {len} bytes; 4 to {MOST_CONFIG} are possible"
        ));
    }
    let data = from.bytes(len as usize)?;
    let inner = le32(&data, 0) as usize;
    let Some(config) = data[4..].get(..inner) else {
        return wrong(format!(
            "its configuration is said to have {inner} of {} bytes",
            len - 4
        ));
    };
    let config = config.strip_suffix(&[0]).unwrap_or(config);
    Ok(Header {
        config: config.to_vec(),
        info: (mandatory, optional, len),
    })
}

/// Writes header and configuration, which is JSON; the flags and the length, as `xl` prints them.
///
/// # Errors
/// The stream's.
pub fn write(to: &mut impl Write, config: &[u8]) -> Result<(u32, u32, u32)> {
    let inner = config.len() + 1;
    let Some(len) = u32::try_from(inner + 4).ok().filter(|len| *len <= MOST_CONFIG) else {
        return Err(Error::malformed(0, "the domain's configuration is too long"));
    };
    to.write_all(MAGIC)?;
    for word in [BYTE_ORDER, JSON | STREAM_V2, 0, len, len - 4] {
        to.write_all(&word.to_le_bytes())?;
    }
    to.write_all(config)?;
    to.write_all(&[0])?;
    Ok((JSON | STREAM_V2, 0, len))
}
