//! One look at all domains, and what changed since the look before.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use xenctrl::{DomId, PhysInfo};

use crate::context::Context;
use crate::view::domains::{self, Domain};

/// Network and disk use of a domain, since its devices were made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Traffic {
    /// Interfaces.
    pub nets: u32,
    /// Bytes that the guest has sent.
    pub sent: u64,
    /// Bytes that the guest has received.
    pub received: u64,
    /// Disks.
    pub disks: u32,
    /// Requests that waited because the backend had no room.
    pub delayed: u64,
    /// Read requests.
    pub reads: u64,
    /// Write requests.
    pub writes: u64,
    /// Sectors of 512 bytes read.
    pub read_sectors: u64,
    /// Sectors of 512 bytes written.
    pub written_sectors: u64,
}

/// A vcpu's use.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Vcpu {
    /// Its number.
    pub number: u32,
    /// It is up.
    pub online: bool,
    /// Nanoseconds that it has run.
    pub time: u64,
    /// Percent of one CPU since the last look.
    pub percent: f64,
    /// The CPU it ran on last.
    pub cpu: u32,
}

/// A domain's use.
#[derive(Clone, Debug)]
pub struct Row {
    /// The domain.
    pub domain: Domain,
    /// Percent of one CPU since the last look.
    pub percent: f64,
    /// Devices.
    pub traffic: Traffic,
    /// Vcpus, if asked for.
    pub vcpus: Vec<Vcpu>,
}

/// One look.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// The machine.
    pub machine: PhysInfo,
    /// The domains.
    pub rows: Vec<Row>,
}

impl Row {
    /// Everything as JSON, in the units of `list --json`, bytes and sectors.
    pub fn record(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self.domain.record()).unwrap_or_default();
        value["cpu_percent"] = ((self.percent * 10.0).round() / 10.0).into();
        value["traffic"] = serde_json::to_value(self.traffic).unwrap_or_default();
        if !self.vcpus.is_empty() {
            value["vcpu_use"] = serde_json::to_value(&self.vcpus).unwrap_or_default();
        }
        value
    }
}

/// Looks, and computes shares since `before`.
///
/// # Errors
/// Hypervisor or store cannot be asked.
pub fn take(context: &mut Context, before: Option<&Sample>, with_vcpus: bool) -> Result<Sample> {
    let at = Instant::now();
    let list = domains::gather(context, &[])?;
    let control = context.hypervisor()?;
    let machine = control.phys_info()?;
    let mut traffic = gather_traffic(Path::new("/sys"));
    let passed = before.map_or(0.0, |before| (at - before.at).as_secs_f64());
    let mut rows = Vec::new();
    for domain in list {
        let domid = domain.info.domid;
        let old = before.and_then(|before| before.rows.iter().find(|row| row.domain.info.domid == domid));
        let old_time = old.map(|row| row.domain.info.cpu_time);
        let mut vcpus = Vec::new();
        if with_vcpus {
            for number in 0..domain.info.max_vcpu_id.wrapping_add(1) {
                // It may have ended by now.
                let Ok(info) = control.vcpu_info(domid, number) else {
                    break;
                };
                let old = old.and_then(|row| row.vcpus.iter().find(|vcpu| vcpu.number == number));
                let percent = share(old.map(|vcpu| vcpu.time), info.cpu_time, passed);
                vcpus.push(Vcpu {
                    number,
                    online: info.online,
                    time: info.cpu_time,
                    percent,
                    cpu: info.cpu,
                });
            }
        }
        rows.push(Row {
            percent: share(old_time, domain.info.cpu_time, passed),
            traffic: traffic.remove(&domid).unwrap_or_default(),
            vcpus,
            domain,
        });
    }
    Ok(Sample { at, machine, rows })
}

/// Percent of one CPU: nanoseconds run over seconds passed. A domain seen for the first time has none yet.
fn share(before: Option<u64>, now: u64, seconds: f64) -> f64 {
    match before {
        Some(before) if seconds > 0.0 => now.saturating_sub(before) as f64 / 1e7 / seconds,
        _ => 0.0,
    }
}

/// What Linux's backends count, by domain. A backend that counts nothing (or elsewhere) leaves zeros.
fn gather_traffic(sys: &Path) -> HashMap<DomId, Traffic> {
    let mut all: HashMap<DomId, Traffic> = HashMap::new();
    for (name, path) in entries(&sys.join("class/net")) {
        if let Some(domid) = name.strip_prefix("vif").and_then(|rest| owner(rest, '.')) {
            let traffic = all.entry(domid).or_default();
            traffic.nets += 1;
            // The backend receives what the guest sends.
            traffic.sent += count(&path, "rx_bytes");
            traffic.received += count(&path, "tx_bytes");
        }
    }
    for (name, path) in entries(&sys.join("bus/xen-backend/devices")) {
        if let Some(domid) = name.strip_prefix("vbd-").and_then(|rest| owner(rest, '-')) {
            let traffic = all.entry(domid).or_default();
            traffic.disks += 1;
            traffic.delayed += count(&path, "oo_req");
            traffic.reads += count(&path, "rd_req");
            traffic.writes += count(&path, "wr_req");
            traffic.read_sectors += count(&path, "rd_sect");
            traffic.written_sectors += count(&path, "wr_sect");
        }
    }
    all
}

fn entries(dir: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let list = fs::read_dir(dir).into_iter().flatten().flatten();
    list.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
}

/// The domain in `3.0` or `3-51712`.
fn owner(rest: &str, separator: char) -> Option<DomId> {
    rest.split_once(separator)?.0.parse().ok()
}

fn count(device: &Path, what: &str) -> u64 {
    let text = fs::read_to_string(device.join("statistics").join(what)).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_one_cpu() {
        assert_eq!(share(Some(1_000_000_000), 3_000_000_000, 1.0), 200.0);
        assert_eq!(share(None, 3_000_000_000, 1.0), 0.0);
        assert_eq!(share(Some(5), 3, 1.0), 0.0, "a domain number that was used again");
        assert_eq!(share(Some(0), 5, 0.0), 0.0);
    }

    #[test]
    fn backends_counters_are_found_by_domain() {
        let sys = tempfile::tempdir().expect("temporary directory");
        let put = |path: &str, text: &str| {
            let path = sys.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("makes directories");
            fs::write(path, text).expect("writes");
        };
        put("class/net/vif3.0/statistics/rx_bytes", "10\n");
        put("class/net/vif3.1/statistics/rx_bytes", "5\n");
        put("class/net/vif3.0/statistics/tx_bytes", "7\n");
        put("class/net/eth0/statistics/tx_bytes", "99\n");
        put("bus/xen-backend/devices/vbd-3-51712/statistics/rd_req", "4\n");
        put("bus/xen-backend/devices/vbd-12-51712/statistics/wr_sect", "8\n");
        put("bus/xen-backend/devices/vif-3-0/state", "4\n");
        let all = gather_traffic(sys.path());
        assert_eq!(all.len(), 2);
        let three = all[&3];
        assert_eq!(
            (three.nets, three.sent, three.received, three.disks, three.reads),
            (2, 15, 7, 1, 4)
        );
        assert_eq!(all[&12].written_sectors, 8);
    }
}
