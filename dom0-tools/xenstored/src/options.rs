//! The command line; options of Xen's C xenstored keep their names.

use std::path::PathBuf;

use clap::Parser;
use xenstored::quota::Quotas;

/// Keeps the store for this domain's processes and for other domains.
#[derive(Parser, Debug)]
#[command(name = "xenstored", disable_help_flag = true)]
pub(crate) struct Options {
    /// Stay in the foreground; it always does.
    #[arg(long, visible_alias = "no-fork", short = 'N')]
    foreground: bool,
    /// Do not talk to a hypervisor: serve sockets only.
    #[arg(long, short = 'D')]
    pub(crate) no_domain_init: bool,
    /// Write the process id to FILE.
    #[arg(long, short = 'F', value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// The socket; default $XENSTORED_PATH, $XENSTORED_RUNDIR/socket, or /run/xenstored/socket.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Directory of the journal; default that of the socket.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Keep no journal: a sudden end loses the store.
    #[arg(long)]
    pub(crate) no_journal: bool,
    /// Begin with an empty store, whatever the journal holds.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Use a directory of files as hypervisor, for tests.
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) files: Option<PathBuf>,
    /// Most nodes of a domain.
    #[arg(long, short = 'E', value_name = "NUMBER")]
    entry_nb: Option<u64>,
    /// Most bytes of a node.
    #[arg(long, short = 'S', value_name = "BYTES")]
    entry_size: Option<u64>,
    /// Most watches of a domain.
    #[arg(long, short = 'W', value_name = "NUMBER")]
    watch_nb: Option<u64>,
    /// Most transactions of a domain at a time.
    #[arg(long, short = 't', value_name = "NUMBER")]
    transaction: Option<u64>,
    /// Most entries of an access list.
    #[arg(long, short = 'A', value_name = "NUMBER")]
    perm_nb: Option<u64>,
    /// Longest path.
    #[arg(long, short = 'M', value_name = "BYTES")]
    path_max: Option<u64>,
    /// Any limit by name: nodes, watches, transactions, outstanding, transaction-nodes, memory, node-size, path-max,
    /// permissions.
    #[arg(long, short = 'Q', value_name = "NAME=NUMBER")]
    quota: Vec<String>,
    /// Keep nodes of domains that ended.
    #[arg(long, short = 'K')]
    pub(crate) keep_orphans: bool,
    /// Log each request to standard error.
    #[arg(long, short = 'V')]
    pub(crate) verbose: bool,
    /// Take over from the program that was here before; see CONTROL live-update.
    #[arg(long, hide = true)]
    pub(crate) take_over: bool,
    /// Print which releases this one can take over from.
    #[arg(long, hide = true)]
    pub(crate) show_handover: bool,
    /// Print help.
    #[arg(long, short = 'H', action = clap::ArgAction::Help)]
    help: Option<bool>,
}

impl Options {
    /// Where clients connect.
    pub(crate) fn socket(&self) -> PathBuf {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        self.socket
            .clone()
            .or_else(|| variable("XENSTORED_PATH"))
            .or_else(|| variable("XENSTORED_RUNDIR").map(|directory| directory.join("socket")))
            .unwrap_or_else(|| xenstore_proto::SOCKET.into())
    }

    /// Where the journal is.
    pub(crate) fn state(&self) -> PathBuf {
        let beside = || self.socket().parent().map_or_else(|| ".".into(), PathBuf::from);
        self.state.clone().unwrap_or_else(beside)
    }

    /// The limits.
    pub(crate) fn quotas(&self) -> Result<Quotas, String> {
        let mut quotas = Quotas::default();
        let given = [
            ("nodes", self.entry_nb),
            ("node-size", self.entry_size),
            ("watches", self.watch_nb),
            ("transactions", self.transaction),
            ("permissions", self.perm_nb),
            ("path-max", self.path_max),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                quotas.set(name, value);
            }
        }
        for text in &self.quota {
            let known = text
                .split_once('=')
                .and_then(|(name, value)| Some(quotas.set(name, value.parse().ok()?)));
            if known != Some(true) {
                return Err(format!(
                    "--quota {text}: give NAME=NUMBER, with a name that --help lists"
                ));
            }
        }
        Ok(quotas)
    }
}
