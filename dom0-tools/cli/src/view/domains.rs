//! Domains as the hypervisor knows them, with their names from the store.

use anyhow::Result;
use serde::Serialize;
use xenctrl::{DomId, DomainInfo, ShutdownReason};

use super::colour::Tone;
use crate::context::Context;
use crate::failure::Failure;
use crate::lookup;

/// Frames in a MiB.
const PAGES_PER_MIB: u64 = 256;

/// A domain to be shown.
#[derive(Clone, Debug)]
pub struct Domain {
    /// The hypervisor's part.
    pub info: DomainInfo,
    /// The store's part; a domain that is being made or ended may have none.
    pub name: Option<String>,
}

/// The domains that `words` name, or all.
///
/// # Errors
/// One does not exist: text and code are xl's.
pub fn gather(context: &mut Context, words: &[String]) -> Result<Vec<Domain>> {
    let mut infos = Vec::new();
    for word in words {
        let domid = lookup::domain(context, word)?;
        match context.hypervisor()?.domain_info(domid) {
            Ok(info) => infos.push(info),
            Err(error) if error.is_no_domain() => {
                return Err(Failure::new(1, format!("Domain '{word}' does not exist: see xlr list")));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if words.is_empty() {
        infos = context.hypervisor()?.list_domains(0)?;
    }
    let domids: Vec<DomId> = infos.iter().map(|info| info.domid).collect();
    let names = lookup::names_of(context.store()?, &domids)?;
    let domains = infos.into_iter().zip(names);
    Ok(domains.map(|(info, name)| Domain { info, name }).collect())
}

/// What a domain does, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// On a CPU now.
    Running,
    /// Waiting for events.
    Blocked,
    /// Ready for a CPU.
    Runnable,
    /// Paused by somebody.
    Paused,
    /// Ended by itself, and kept.
    Shutdown,
    /// Ended by a crash, and kept.
    Crashed,
    /// Being taken apart.
    Dying,
}

impl State {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Blocked => "blocked",
            Self::Runnable => "runnable",
            Self::Paused => "paused",
            Self::Shutdown => "shutdown",
            Self::Crashed => "crashed",
            Self::Dying => "dying",
        }
    }

    /// How it is painted.
    pub fn tone(self) -> Tone {
        match self {
            Self::Running | Self::Runnable => Tone::Good,
            Self::Blocked => Tone::Calm,
            Self::Paused | Self::Shutdown | Self::Dying => Tone::Notice,
            Self::Crashed => Tone::Bad,
        }
    }
}

impl Domain {
    /// What it does; of several, what a person has to know first.
    pub fn state(&self) -> State {
        let info = &self.info;
        match () {
            () if info.dying => State::Dying,
            () if info.shutdown == Some(ShutdownReason::Crash) => State::Crashed,
            () if info.shutdown.is_some() => State::Shutdown,
            () if info.paused => State::Paused,
            () if info.running => State::Running,
            () if info.blocked => State::Blocked,
            () => State::Runnable,
        }
    }

    /// xl's six letters: `r-----`.
    pub fn flags(&self) -> String {
        let info = &self.info;
        let crashed = info.shutdown == Some(ShutdownReason::Crash);
        let letters = [
            (info.running, 'r'),
            (info.blocked, 'b'),
            (info.paused, 'p'),
            (info.shutdown.is_some(), 's'),
            (crashed, 'c'),
            (info.dying, 'd'),
        ];
        letters
            .iter()
            .map(|(set, letter)| if *set { *letter } else { '-' })
            .collect()
    }

    /// The name, or what xl prints for none.
    pub fn shown_name(&self) -> &str {
        self.name.as_deref().unwrap_or("(null)")
    }

    /// MiB that it has or has been promised.
    pub fn mebibytes(&self) -> u64 {
        (self.info.tot_pages + self.info.outstanding_pages) / PAGES_PER_MIB
    }

    /// Seconds of CPU time that it has used.
    pub fn cpu_seconds(&self) -> f64 {
        self.info.cpu_time as f64 / 1e9
    }

    /// Everything, for JSON.
    pub fn record(&self) -> Record<'_> {
        let info = &self.info;
        Record {
            domid: info.domid,
            name: self.name.as_deref(),
            uuid: uuid_text(&info.uuid),
            kind: if info.is_hvm { "hvm" } else { "pv" },
            state: self.state(),
            flags: self.flags(),
            memory_mib: self.mebibytes(),
            max_memory_mib: info.max_pages / PAGES_PER_MIB,
            vcpus: info.online_vcpus,
            max_vcpus: info.max_vcpu_id.wrapping_add(1),
            cpu_time_s: (self.cpu_seconds() * 1000.0).round() / 1000.0,
            shutdown_reason: info.shutdown.map(reason_word),
            cpupool: info.cpupool,
        }
    }
}

/// A domain in JSON.
#[derive(Serialize, Debug)]
pub struct Record<'a> {
    domid: u16,
    name: Option<&'a str>,
    uuid: String,
    #[serde(rename = "type")]
    kind: &'static str,
    state: State,
    flags: String,
    memory_mib: u64,
    max_memory_mib: u64,
    vcpus: u32,
    max_vcpus: u32,
    cpu_time_s: f64,
    shutdown_reason: Option<String>,
    cpupool: u32,
}

/// Why a domain has ended, in a word.
pub fn reason_word(reason: ShutdownReason) -> String {
    match reason {
        ShutdownReason::Poweroff => "poweroff".to_owned(),
        ShutdownReason::Reboot => "reboot".to_owned(),
        ShutdownReason::Suspend => "suspend".to_owned(),
        ShutdownReason::Crash => "crash".to_owned(),
        ShutdownReason::Watchdog => "watchdog".to_owned(),
        ShutdownReason::SoftReset => "soft_reset".to_owned(),
        ShutdownReason::Other(code) => format!("code {code}"),
    }
}

/// `85b0c0da-2995-44f6-82f5-66a287169965`.
pub fn uuid_text(uuid: &[u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A domain with nothing special.
    pub fn plain(domid: u16, name: &str) -> Domain {
        let info = DomainInfo {
            domid,
            uuid: [domid as u8; 16],
            dying: false,
            shutdown: None,
            paused: false,
            blocked: false,
            running: false,
            debugged: false,
            is_hvm: false,
            is_xenstore_domain: false,
            flags: 0,
            tot_pages: 65_536,
            max_pages: 65_792,
            outstanding_pages: 0,
            shr_pages: 0,
            paged_pages: 0,
            shared_info_frame: 0,
            cpu_time: 7_900_000_000,
            online_vcpus: 1,
            max_vcpu_id: 0,
            ssidref: 0,
            cpupool: 0,
        };
        Domain {
            info,
            name: Some(name.to_owned()),
        }
    }

    #[test]
    fn a_state_is_what_one_has_to_know_first() {
        let mut domain = plain(1, "g1");
        assert_eq!((domain.state(), domain.flags().as_str()), (State::Runnable, "------"));
        domain.info.blocked = true;
        assert_eq!((domain.state(), domain.flags().as_str()), (State::Blocked, "-b----"));
        domain.info.paused = true;
        assert_eq!((domain.state(), domain.flags().as_str()), (State::Paused, "-bp---"));
        domain.info.shutdown = Some(ShutdownReason::Reboot);
        assert_eq!((domain.state(), domain.flags().as_str()), (State::Shutdown, "-bps--"));
        domain.info.shutdown = Some(ShutdownReason::Crash);
        assert_eq!((domain.state(), domain.flags().as_str()), (State::Crashed, "-bpsc-"));
        domain.info.dying = true;
        assert_eq!((domain.state(), domain.flags().as_str()), (State::Dying, "-bpscd"));
    }

    #[test]
    fn a_record_says_everything_in_plain_units() {
        let json = serde_json::to_value(plain(1, "g1").record()).expect("serializes");
        assert_eq!(json["uuid"], "01010101-0101-0101-0101-010101010101");
        assert_eq!(json["type"], "pv");
        assert_eq!(json["state"], "runnable");
        assert_eq!(json["memory_mib"], 256);
        assert_eq!(json["max_vcpus"], 1);
        assert_eq!(json["cpu_time_s"], 7.9);
        assert!(json["shutdown_reason"].is_null());
    }
}
