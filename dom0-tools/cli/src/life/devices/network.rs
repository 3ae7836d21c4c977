//! Connecting an interface to the world without scripts: as a port of a bridge, routed, or behind NAT.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use privcmd::NetDevices;
use xl_config::{Vif, VifMode};

use super::{Device, route, vif};

/// Address of interfaces on Dom0's side: they must never be chosen as a bridge's own.
const BACKEND_MAC: [u8; 6] = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff];
/// What is added to the last byte of a guest's address to make its gateway's, as vif-nat does.
const NAT_GATEWAY_STEP: u8 = 127;

/// Whether `vif` can be connected, as far as that shows before it exists.
pub fn check(vif: &Vif) -> Result<()> {
    match vif.mode {
        VifMode::Bridge => {
            let bridge = vif::bridge_of(vif).unwrap_or(vif::DEFAULT_BRIDGE);
            if !Path::new("/sys/class/net").join(bridge).join("bridge").exists() {
                let what = if exists(bridge) {
                    "is no bridge"
                } else {
                    "does not exist"
                };
                bail!("{bridge} {what}; make it with: ip link add {bridge} type bridge, or name another with bridge=");
            }
        }
        VifMode::Routed | VifMode::Nat => {
            if let Some(name) = vif.gatewaydev.as_deref().filter(|name| !exists(name)) {
                bail!("gatewaydev={name} does not exist");
            }
            if vif.mode == VifMode::Nat {
                translator()?;
                guest_address(vif)?;
            }
        }
    }
    Ok(())
}

fn exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// Largest packet of an interface of Dom0, in bytes.
pub fn mtu_of(name: &str) -> Option<u32> {
    fs::read_to_string(Path::new("/sys/class/net").join(name).join("mtu"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Connects the interface `name` of Dom0, which the backend has made for `device`.
pub fn connect(device: &Device, name: &str, vif: &Vif, mtu: u32) -> Result<()> {
    let devices = NetDevices::open().context("cannot change network interfaces; run as root")?;
    let made = format!("vif{}.{}", device.domid, device.devid);
    if made != name {
        devices
            .rename(&made, name)
            .with_context(|| format!("{made} cannot be called {name}"))?;
    }
    let failed = |what: &str| format!("{name}: {what}");
    if mtu_of(name) != Some(mtu) {
        devices
            .set_mtu(name, mtu)
            .with_context(|| failed("its MTU cannot be set"))?;
    }
    devices
        .set_mac(name, BACKEND_MAC)
        .with_context(|| failed("its address cannot be set"))?;
    if vif.mode == VifMode::Bridge {
        let bridge = vif::bridge_of(vif).unwrap_or(vif::DEFAULT_BRIDGE);
        devices
            .add_to_bridge(bridge, name)
            .with_context(|| format!("{name} cannot be added to {bridge}"))?;
        return devices
            .set_up(name, true)
            .with_context(|| failed("it cannot be brought up"));
    }
    devices
        .set_up(name, true)
        .with_context(|| failed("it cannot be brought up"))?;
    connect_routed(&devices, name, vif)
}

/// Undoes what [`connect`] did beyond the interface itself, which goes with its backend.
pub fn disconnect(name: &str, mode: VifMode) {
    if mode == VifMode::Nat {
        remove_translation(name);
    }
}

fn connect_routed(devices: &NetDevices, name: &str, vif: &Vif) -> Result<()> {
    let gateway = match vif.mode {
        VifMode::Nat => gateway_of(guest_address(vif)?)?,
        _ => route::own_address(vif.gatewaydev.as_deref())?,
    };
    devices
        .set_address(name, gateway.octets(), 32)
        .with_context(|| format!("{name} cannot get {gateway}"))?;
    set_kernel_flag(&format!("/proc/sys/net/ipv4/conf/{name}/proxy_arp"))?;
    for &address in &vif.ip {
        route::add_host(address, devices.index(name)?, gateway)
            .with_context(|| format!("no route to {address} by {name}"))?;
        set_kernel_flag(match address {
            IpAddr::V4(_) => "/proc/sys/net/ipv4/ip_forward",
            IpAddr::V6(_) => "/proc/sys/net/ipv6/conf/all/forwarding",
        })?;
    }
    if vif.mode == VifMode::Nat {
        add_translation(name, guest_address(vif)?, vif.gatewaydev.as_deref())?;
    }
    Ok(())
}

fn set_kernel_flag(path: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|value| value.trim() == "1") {
        return Ok(());
    }
    fs::write(path, "1").with_context(|| format!("{path} cannot be set"))
}

fn guest_address(vif: &Vif) -> Result<Ipv4Addr> {
    let address = vif.ip.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    address.context("nat needs the guest's IPv4 address; add ip=")
}

/// The address that a guest behind NAT has as its gateway.
fn gateway_of(guest: Ipv4Addr) -> Result<Ipv4Addr> {
    let [a, b, c, d] = guest.octets();
    match d.checked_add(NAT_GATEWAY_STEP).filter(|&last| last < 255) {
        Some(last) => Ok(Ipv4Addr::new(a, b, c, last)),
        None => bail!("{guest} has no gateway: nat takes guests' addresses that end in .1 to .127"),
    }
}

/// The program that translates addresses.
fn translator() -> Result<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let found = |name: &&str| std::env::split_paths(&path).any(|directory| directory.join(name).is_file());
    let Some(name) = ["nft", "iptables"].into_iter().find(|name| found(name)) else {
        bail!("nat needs nft or iptables in Dom0; install one, or use routed or bridge=");
    };
    Ok(name)
}

fn table_of(name: &str) -> String {
    format!("paravane-{name}")
}

fn iptables_rule(action: &str, name: &str, guest: Option<Ipv4Addr>, out: Option<&str>) -> Vec<String> {
    let mut words: Vec<String> = ["-t", "nat", action, "POSTROUTING"].map(str::to_owned).into();
    words.extend(guest.into_iter().flat_map(|guest| ["-s".to_owned(), guest.to_string()]));
    words.extend(out.into_iter().flat_map(|out| ["-o".to_owned(), out.to_owned()]));
    words.extend(["-m", "comment", "--comment", &table_of(name), "-j", "MASQUERADE"].map(str::to_owned));
    words
}

fn add_translation(name: &str, guest: Ipv4Addr, out: Option<&str>) -> Result<()> {
    if translator()? == "iptables" {
        return run("iptables", &iptables_rule("-A", name, Some(guest), out));
    }
    run("nft", &[nft_rules(name, guest, out)])
}

/// A table of one rule. In one line a block, too, is followed by a semicolon.
fn nft_rules(name: &str, guest: Ipv4Addr, out: Option<&str>) -> String {
    let table = table_of(name);
    let out = out.map_or_else(|| format!("oifname != \"{name}\""), |out| format!("oifname \"{out}\""));
    format!(
        "table ip {table} {{ chain postrouting {{ type nat hook postrouting priority 100; \
         ip saddr {guest} {out} masquerade; }}; }}"
    )
}

fn remove_translation(name: &str) {
    // The rules may never have been made; what cannot be removed is in nobody's way.
    match translator() {
        Ok("iptables") => {
            let Ok(list) = Command::new("iptables")
                .args(["-t", "nat", "-S", "POSTROUTING"])
                .output()
            else {
                return;
            };
            let comment = table_of(name);
            for line in String::from_utf8_lossy(&list.stdout)
                .lines()
                .filter(|line| line.contains(&comment))
            {
                let words = line
                    .split_whitespace()
                    .skip(1)
                    .map(|word| word.trim_matches('"').to_owned());
                let rule: Vec<String> = ["-t", "nat", "-D"]
                    .map(str::to_owned)
                    .into_iter()
                    .chain(words)
                    .collect();
                let _ = run("iptables", &rule);
            }
        }
        Ok(_) => drop(run(
            "nft",
            &["delete".into(), "table".into(), "ip".into(), table_of(name)],
        )),
        Err(_) => {}
    }
}

fn run(program: &str, words: &[String]) -> Result<()> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_of_nat_is_vif_nats() {
        assert_eq!(
            gateway_of(Ipv4Addr::new(10, 0, 0, 1)).expect("a gateway"),
            Ipv4Addr::new(10, 0, 0, 128)
        );
        assert!(gateway_of(Ipv4Addr::new(10, 0, 0, 200)).is_err());
    }

    #[test]
    fn rules_end_each_block_as_nft_wants_it() {
        let rules = nft_rules("vif1.0", Ipv4Addr::new(10, 0, 0, 5), Some("eth0"));
        assert!(rules.starts_with("table ip paravane-vif1.0 {"));
        assert!(
            rules.contains("ip saddr 10.0.0.5 oifname \"eth0\" masquerade; }; }"),
            "{rules}"
        );
    }
}
