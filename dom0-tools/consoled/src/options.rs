//! The command line: Xen's own options under the same names, and a few more.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::backlog::Overflow;

/// Which consoles.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Neither
    None,
    /// Guests
    Guest,
    /// The hypervisor
    Hv,
    /// Both
    All,
}

impl Which {
    /// Guests are among them.
    pub fn has_guests(self) -> bool {
        matches!(self, Self::Guest | Self::All)
    }

    /// The hypervisor is among them.
    pub fn has_hypervisor(self) -> bool {
        matches!(self, Self::Hv | Self::All)
    }
}

/// What to do with output that nobody reads.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverflowOption {
    /// Drop the oldest: the guest never waits
    Discard,
    /// Keep it: the guest waits for a reader
    Keep,
}

/// Console daemon of Dom0: gives each guest's console a pty (its name stands in the store) and a log.
#[derive(Parser, Debug, Clone)]
#[command(name = "xenconsoled", version, about, after_help = EXAMPLES)]
pub struct Options {
    /// Which consoles to log
    #[arg(long, value_enum, default_value_t = Which::Guest)]
    pub log: Which,
    /// Where logs go: guest-NAME.log, hypervisor.log
    #[arg(long, value_name = "DIR", default_value = "/var/log/xen/console")]
    pub log_dir: PathBuf,
    /// Which logs have the time before each line
    #[arg(short, long, value_enum, default_value_t = Which::None)]
    pub timestamp: Which,
    /// What becomes of output that nobody reads, beyond the limit in the store
    #[arg(short, long, value_enum, default_value_t = OverflowOption::Discard)]
    pub overflow_data: OverflowOption,
    /// Write escape bytes to logs as dots, so that reading a log cannot confuse a terminal
    #[arg(long)]
    pub replace_escape: bool,
    /// Put a log aside as NAME.log.1 once it has grown beyond this; 0 for never
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    pub log_size: u64,
    /// Bytes a second that one guest may print for long; it waits beyond
    #[arg(long, value_name = "BYTES", default_value_t = 512 << 10)]
    pub rate: u64,
    /// Bytes that one guest may print at once
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 10)]
    pub burst: u64,
    /// Stay in the foreground and speak on standard error
    #[arg(short, long)]
    pub interactive: bool,
    /// Accepted for scripts written for Xen's daemon
    #[arg(short, long, hide = true)]
    pub verbose: bool,
    /// Where the process id goes; also holds a second daemon off
    #[arg(long, value_name = "FILE", default_value = "/run/xen/xenconsoled.pid")]
    pub pid_file: PathBuf,
    /// Where the daemon's own messages go when it is not in the foreground
    #[arg(long, value_name = "FILE", default_value = "/var/log/paravane/xenconsoled.log")]
    pub message_file: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  xenconsoled --log=all --timestamp=guest
  xenconsoled -i --log-dir=/tmp/consoles     in the foreground

Signals: SIGHUP opens all logs anew (after rotation), SIGTERM ends it. Guests do not notice either; what they print
while no daemon runs stays in their rings.";

impl Options {
    /// The policy for output that nobody reads.
    pub fn overflow(&self) -> Overflow {
        match self.overflow_data {
            OverflowOption::Discard => Overflow::Discard,
            OverflowOption::Keep => Overflow::Keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xen_s_own_command_lines_are_understood() {
        let line = "xenconsoled --log=all --log-dir=/l --timestamp=guest --overflow-data=keep --pid-file=/p -i -v";
        let options = Options::try_parse_from(line.split(' ')).expect("parses");
        assert!(options.log.has_guests() && options.log.has_hypervisor() && options.interactive);
        assert!(options.timestamp.has_guests() && !options.timestamp.has_hypervisor());
        assert_eq!((options.overflow(), options.pid_file), (Overflow::Keep, "/p".into()));
        let short = Options::try_parse_from(["xenconsoled", "-t", "all", "-o", "discard"]).expect("parses");
        assert_eq!((short.timestamp, short.overflow()), (Which::All, Overflow::Discard));
        assert!(Options::try_parse_from(["xenconsoled", "--log=some"]).is_err());
    }
}
