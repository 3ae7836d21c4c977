//! Network interface specifications of xl-network-configuration(5).

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::mac::MacAddress;
use crate::rate::Rate;

/// How an interface reaches the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VifMode {
    /// It is a port of a bridge.
    #[default]
    Bridge,
    /// Dom0 routes to it.
    Routed,
    /// Dom0 routes to it and translates its addresses.
    Nat,
}

/// One network interface of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vif {
    /// Address in the guest; none lets the toolstack choose.
    pub mac: Option<MacAddress>,
    /// How it is connected when no script is named.
    pub mode: VifMode,
    /// The bridge; none is `xenbr0` in bridge mode.
    pub bridge: Option<String>,
    /// The guest's addresses.
    pub ip: Vec<IpAddr>,
    /// Program that connects it.
    pub script: Option<String>,
    /// Name or id of the backend's domain; none for Domain-0.
    pub backend: Option<String>,
    /// Name of the interface in the backend's domain.
    pub vifname: Option<String>,
    /// The machine's interface that traffic goes out by, in routed and NAT mode.
    pub gatewaydev: Option<String>,
    /// Limit of what the guest sends.
    pub rate: Option<Rate>,
    /// Number of the interface; none is the lowest free one.
    pub devid: Option<u32>,
    /// Largest packet in bytes; none is the bridge's, or 1500.
    pub mtu: Option<u32>,
    /// Whether the guest should trust the backend.
    pub trusted: bool,
}

impl FromStr for Vif {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut vif = Self {
            trusted: true,
            ..Self::default()
        };
        let mut mode = None;
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                Some((key, value)) => vif.set(key.trim(), value.trim())?,
                None => match word {
                    "trusted" => vif.trusted = true,
                    "untrusted" => vif.trusted = false,
                    "routed" => mode = Some(VifMode::Routed),
                    "nat" => mode = Some(VifMode::Nat),
                    other => {
                        return Err(format!(
                            "{other:?} is no parameter of a network interface; write key=value"
                        ));
                    }
                },
            }
        }
        vif.settle_mode(mode)?;
        Ok(vif)
    }
}

impl Vif {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "mac" => self.mac = Some(value.parse()?),
            "bridge" => self.bridge = Some(interface(key, value)?),
            "ip" => self.ip = addresses(value)?,
            "script" => self.script = Some(value.to_owned()).filter(|name| !name.is_empty()),
            "backend" => self.backend = Some(value.to_owned()).filter(|name| !name.is_empty()),
            "vifname" => self.vifname = Some(interface(key, value)?),
            "gatewaydev" | "netdev" => self.gatewaydev = Some(interface(key, value)?),
            "rate" => self.rate = Some(value.parse()?),
            "devid" => self.devid = Some(bounded(key, value, 0, 0xff)?),
            "mtu" => self.mtu = Some(bounded(key, value, 68, 65_535)?),
            "type" if matches!(value, "vif" | "") => {}
            "type" => return Err(format!("type={value} is for HVM guests; leave it out")),
            // xl takes it from any guest's configuration and uses it for HVM guests.
            "model" | "accel" => {}
            "trusted" => self.trusted = !matches!(value, "0" | "false" | "False"),
            other => {
                return Err(format!(
                    "{other}= is no parameter of a network interface of a PV guest; leave it out"
                ));
            }
        }
        Ok(())
    }

    fn settle_mode(&mut self, mode: Option<VifMode>) -> Result<(), String> {
        let by_gateway = self.gatewaydev.is_some() && self.bridge.is_none() && self.script.is_none();
        self.mode = mode.unwrap_or(if by_gateway { VifMode::Routed } else { VifMode::Bridge });
        if self.mode == VifMode::Bridge || self.script.is_some() {
            return Ok(());
        }
        if self.bridge.is_some() {
            return Err("a routed interface has no bridge; leave bridge= or routed out".into());
        }
        if self.ip.is_empty() {
            return Err("a routed interface needs the guest's address; add ip=".into());
        }
        Ok(())
    }
}

/// A name that Linux takes for an interface.
fn interface(key: &str, value: &str) -> Result<String, String> {
    let fits = (1..16).contains(&value.len())
        && !matches!(value, "." | "..")
        && value.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
    if fits {
        Ok(value.to_owned())
    } else {
        Err(format!("{key}={value:?} is no name of a network interface"))
    }
}

fn addresses(value: &str) -> Result<Vec<IpAddr>, String> {
    let address = |word: &str| {
        let host = word.split('/').next().unwrap_or(word);
        host.parse()
            .map_err(|_| format!("ip={word:?} is no IP address; write it as 10.0.0.2"))
    };
    value.split_ascii_whitespace().map(address).collect()
}

fn bounded(key: &str, value: &str, least: u32, most: u32) -> Result<u32, String> {
    match value.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("{key}={value:?} is no number from {least} to {most}")),
    }
}
