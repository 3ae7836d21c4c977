//! The daemon's program; see the library for what it does.
#![forbid(unsafe_code)]

mod options;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::process::ExitCode;

use clap::Parser;
use options::Options;
use xenstored::daemon::{Daemon, Domain, Introduced};
use xenstored::host::{Files, Host, Inherited, Live, Nothing};
use xenstored::recovery::handover::{self, LAYOUT, Received};
use xenstored::recovery::journal::Journal;
use xenstored::recovery::restore::Restored;
use xenstored::server::{Server, listen};

fn main() -> ExitCode {
    let options = Options::parse();
    let random = |number: u64| RandomState::new().hash_one(number);
    xenstored::tree::set_hash_key([random(0), random(1)]);
    if options.show_handover {
        println!("{LAYOUT}");
        return ExitCode::SUCCESS;
    }
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xenstored: {error}");
            ExitCode::FAILURE
        }
    }
}

fn context(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> String {
    move |error| format!("{what}: {error}")
}

fn serve(options: &Options) -> Result<(), String> {
    let mut received = None;
    if options.take_over {
        received = Some(handover::receive().map_err(context("taking over from the earlier program"))?);
    }
    let socket = options.socket();
    std::fs::create_dir_all(options.state()).map_err(context(options.state().display()))?;
    let (daemon, listener) = match received {
        Some(received) => take_over(options, received)?,
        None => {
            let daemon = begin(options)?;
            (daemon, listen(&socket).map_err(context(socket.display()))?)
        }
    };
    if let Some(file) = &options.pid_file {
        std::fs::write(file, format!("{}\n", std::process::id())).map_err(context(file.display()))?;
    }
    let journal = (!options.no_journal).then(|| Journal::new(&options.state()));
    let mut server = Server::new(daemon, listener, journal).map_err(context("epoll"))?;
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != handover::TAKE_OVER)
        .collect();
    loop {
        server.run().map_err(context("waiting for clients"))?;
        server.update(&arguments);
    }
}

fn host(options: &Options, inherited: Option<Inherited>) -> Result<Box<dyn Host>, String> {
    if options.no_domain_init {
        return Ok(Box::new(Nothing::default()));
    }
    if let Some(directory) = &options.files {
        return Ok(Box::new(Files::open(directory).map_err(context(directory.display()))?));
    }
    let live = Live::open(inherited);
    Ok(Box::new(live.map_err(context(
        "the hypervisor (is this Dom0? --no-domain-init serves sockets only)",
    ))?))
}

fn new_daemon(options: &Options, inherited: Option<Inherited>) -> Result<Daemon, String> {
    let mut daemon = Daemon::new(host(options, inherited)?, options.quotas()?);
    daemon.logging = options.verbose;
    daemon.keep_orphans = options.keep_orphans;
    Ok(daemon)
}

/// From the journal of a daemon that ended without warning, or anew.
fn begin(options: &Options) -> Result<Daemon, String> {
    let mut daemon = new_daemon(options, None)?;
    let journal = Journal::new(&options.state());
    let earlier = if options.fresh || options.no_journal {
        Ok(None)
    } else {
        journal.read()
    };
    match earlier {
        Ok(Some(batches)) => {
            let mut restored = Restored::default();
            for (number, batch) in batches.iter().enumerate() {
                if let Err(error) = restored.read(&mut daemon, batch) {
                    eprintln!("xenstored: journal, batch {number}: {error}: what comes behind is lost");
                    break;
                }
            }
            restored.connect(&mut daemon, Vec::new(), false);
            eprintln!("xenstored: {} batches of the journal read", batches.len());
        }
        Ok(None) => daemon.make_first_nodes(),
        Err(error) => {
            eprintln!("xenstored: the journal cannot be read: {error}: beginning with an empty store");
            daemon.make_first_nodes();
        }
    }
    connect_own_ring(&mut daemon)?;
    Ok(daemon)
}

/// Serves the kernel of this domain, unless it is served already.
fn connect_own_ring(daemon: &mut Daemon) -> Result<(), String> {
    if daemon.domains.get(&0).is_some_and(|own| own.ring.is_some()) {
        return Ok(());
    }
    let Some((page, remote_port)) = daemon.host.own_ring().map_err(context("the kernel's own ring"))? else {
        return Ok(());
    };
    let port = daemon
        .host
        .bind(0, remote_port)
        .map_err(context("the kernel's own event channel"))?;
    let slot = daemon.add_ring(0, page, port);
    let ring = Some(Introduced {
        slot,
        frame: 0,
        remote_port,
    });
    daemon.domains.insert(
        0,
        Domain {
            since: 0,
            shutdown: false,
            ring,
            target: None,
        },
    );
    daemon.touch(slot);
    // The kernel waits for a first event to know that there is a daemon.
    daemon.host.notify(port);
    Ok(())
}

fn take_over(options: &Options, received: Received) -> Result<(Daemon, std::os::fd::OwnedFd), String> {
    let inherited = received
        .events
        .map(|(events, exit_port)| Inherited { events, exit_port });
    let mut daemon = new_daemon(options, inherited)?;
    let mut restored = Restored::default();
    if let Err(error) = restored.read(&mut daemon, &received.state) {
        return Err(format!(
            "{error}: start xenstored again, it comes back from its journal"
        ));
    }
    restored.connect(&mut daemon, received.sockets, true);
    Ok((daemon, received.listener))
}
