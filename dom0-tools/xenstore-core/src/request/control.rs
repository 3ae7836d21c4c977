//! Commands for the daemon itself.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use xenstore_proto::{Error, Header, fields};

use super::Outcome;
use crate::daemon::Daemon;
use crate::platform::Platform;

/// An update in place that is being prepared.
#[derive(Default)]
pub struct Update {
    /// The program to go on as.
    pub program: Option<String>,
    /// Its arguments, if they are to be others than now.
    pub arguments: Option<String>,
    /// It is to happen at the end of this round.
    pub requested: bool,
}

/// What `help` says.
const HELP: &str = "check\n\
    log\ton|off\n\
    live-update\t[-f <file>] [-c <cmdline>] [-s [-t <timeout>] [-F]] [-a]\n\
    logfile\t<file>\n\
    memreport\t[<file>]\n\
    print\t<string>\n\
    quota\t[set <name> <val>|<domid>]\n\
    quota-soft\t[set <name> <val>]\n\
    help\t\n";

impl<P: Platform> Daemon<P> {
    pub(super) fn control(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let words: Vec<String> = fields(payload)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (&command, arguments) = words.split_first().ok_or(Error::EINVAL)?;
        let text = match (command, arguments) {
            ("help", _) => HELP.to_owned(),
            ("check", []) => self.check()?,
            ("log", ["on"]) => self.set_logging(true),
            ("log", ["off"]) => self.set_logging(false),
            ("logfile", [_]) => return Err(Error::EINVAL),
            ("print", [text]) => {
                self.host.log(format_args!("{text}"));
                "OK".to_owned()
            }
            ("memreport", _) => self.report(),
            ("quota", []) => self.list_quotas(),
            ("quota", ["set", name, value]) => self.set_quota(name, value)?,
            ("quota", [domain]) => self.show_domain(domain)?,
            // There is one level of memory quota here, the hard one.
            ("quota-soft", _) => "Quota settings:\n".to_owned(),
            ("live-update", arguments) => self.prepare_update(arguments)?,
            _ => return Err(Error::EINVAL),
        };
        if text.len() >= xenstore_proto::PAYLOAD_MAX {
            return Err(Error::E2BIG);
        }
        self.answer(slot, header, format!("{text}\0").as_bytes())
    }

    fn set_logging(&mut self, on: bool) -> String {
        self.logging = on;
        "OK".to_owned()
    }

    /// Compares what is counted with what is there.
    fn check(&mut self) -> Result<String, Error> {
        let mut counts = crate::space::Counts::new();
        crate::space::count_all(self.live.tree.root(), &mut counts);
        let same = |domain: &u16| counts.get(domain).unwrap_or(&0) == self.live.counts.get(domain).unwrap_or(&0);
        let sound = counts.keys().chain(self.live.counts.keys()).all(same);
        let watches: usize = self
            .connections
            .iter()
            .flatten()
            .map(|connection| connection.watches.len())
            .sum();
        if sound && watches == self.watches.len() {
            Ok("OK".to_owned())
        } else {
            Err(Error::EIO)
        }
    }

    fn report(&self) -> String {
        let nodes: i64 = self.live.counts.values().sum();
        let connections = self.connections.iter().flatten();
        let waiting: usize = connections.clone().map(|connection| connection.output.len()).sum();
        let transactions: usize = connections
            .clone()
            .map(|connection| connection.transactions.len())
            .sum();
        format!(
            "nodes: {nodes}\nwatches: {}\nclients: {}\ntransactions: {transactions}\nbytes to be read by clients: {waiting}\n",
            self.watches.len(),
            connections.count(),
        )
    }

    fn list_quotas(&self) -> String {
        let line = |(name, value, text): &(&str, u64, &str)| format!("{name:<17}: {value:8} {text}\n");
        self.quotas
            .list()
            .iter()
            .fold("Quota settings:\n".to_owned(), |all, entry| all + &line(entry))
    }

    fn set_quota(&mut self, name: &str, value: &str) -> Result<String, Error> {
        let value = value.parse().map_err(|_| Error::EINVAL)?;
        if !self.quotas.set(name, value) {
            return Err(Error::EINVAL);
        }
        crate::state::put_quota(&mut self.live.log, name, value);
        Ok("OK".to_owned())
    }

    fn show_domain(&self, domain: &str) -> Result<String, Error> {
        let domain: u16 = domain.parse().map_err(|_| Error::EINVAL)?;
        let known = self.domains.get(&domain).ok_or(Error::ENOENT)?;
        let client = known
            .ring
            .as_ref()
            .and_then(|ring| self.connections.get(ring.slot)?.as_ref());
        let nodes = self.live.counts.get(&domain).copied().unwrap_or(0);
        let rows = [
            ("nodes", nodes as usize),
            ("watches", client.map_or(0, |client| client.watches.len())),
            ("transactions", client.map_or(0, |client| client.transactions.len())),
            ("outstanding", client.map_or(0, |client| client.output.unread_answers())),
            (
                "memory",
                client.map_or(0, |client| client.output.len() + client.input.len()),
            ),
        ];
        let head = format!("Domain {domain}:\n");
        Ok(rows
            .iter()
            .fold(head, |all, (name, value)| all + &format!("{name:<16}: {value:8}\n")))
    }

    fn prepare_update(&mut self, arguments: &[&str]) -> Result<String, Error> {
        match arguments {
            ["-f", file] => self.update.program = Some((*file).to_owned()),
            ["-c", line] => self.update.arguments = Some((*line).to_owned()),
            ["-a"] => self.update = Update::default(),
            ["-s", ..] => {
                let program = self.update.program.clone().ok_or(Error::EINVAL)?;
                if let Err(reason) = self.host.check_update(&program) {
                    return Ok(format!("ERROR: {program}: {reason}"));
                }
                self.update.requested = true;
            }
            _ => return Err(Error::EINVAL),
        }
        Ok("OK".to_owned())
    }
}
