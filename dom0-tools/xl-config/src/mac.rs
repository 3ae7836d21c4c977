//! Ethernet addresses of network interfaces.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A unicast Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// An address in the range that belongs to Xen (00:16:3e), from three random bytes.
    pub fn from_random(bytes: [u8; 3]) -> Self {
        Self([0x00, 0x16, 0x3e, bytes[0] & 0x7f, bytes[1], bytes[2]])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refusal = || format!("{text:?} is no MAC address; write it as 00:16:3e:01:02:03");
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|part| matches!(part.len(), 1 | 2))
                .ok_or_else(refusal)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| refusal())?;
        }
        if parts.next().is_some() || text.contains('+') {
            return Err(refusal());
        }
        if bytes[0] & 1 != 0 {
            return Err(format!(
                "{text} is a multicast address; clear the lowest bit of the first byte"
            ));
        }
        Ok(Self(bytes))
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

impl TryFrom<String> for MacAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}
