//! The main loop: one thread that waits for events, ptys, the store's news and signals, and serves each a little.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use privcmd::{DomId, Port};
use xenctrl::Domains;

use crate::guest::{Guest, Place, Policy};
use crate::hypervisor_log::HypervisorLog;
use crate::log::Style;
use crate::options::Options;
use crate::readiness::{Interest, Readiness};
use crate::report::report;
use crate::store::{News, StoreThread, Tty};
use crate::table::{Seat, Table};
use crate::wire::{ConsolePage, Live};

/// Most events taken at once, so that none waits behind a thousand others.
const EVENTS_AT_ONCE: usize = 64;

/// What the loop is woken by beside ptys, which are named by their seats.
const EVENTS: u64 = 0;
const NEWS: u64 = 1;
const SIGNALS: u64 = 2;
const FIRST_SEAT: Seat = 3;

/// How often in a row the events' device may fail before the daemon gives up, to be started again.
const LOST_EVENTS_MAX: u32 = 10;

/// The daemon's state.
pub struct Daemon {
    wire: Live,
    control: xenctrl::Live,
    policy: Policy,
    table: Table<ConsolePage>,
    ready: Readiness,
    hypervisor: Option<HypervisorLog>,
    signals: SignalFd,
    news: Receiver<News>,
    ttys: Sender<Tty>,
    bell: UnixStream,
    lost_events: u32,
}

impl Daemon {
    /// Opens the devices and starts the store's thread.
    pub fn start(options: &Options) -> io::Result<Self> {
        let mut mask = SigSet::empty();
        [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT]
            .into_iter()
            .for_each(|signal| mask.add(signal));
        raise_file_limit();
        // Before any thread is started, so that all of them have it.
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let wire = Live::open()?;
        let control = xenctrl::Live::open().map_err(io::Error::other)?;
        let style = |stamps| Style {
            stamps,
            replace_escape: options.replace_escape,
            max_size: options.log_size,
        };
        let hypervisor = if options.log.has_hypervisor() {
            let style = style(options.timestamp.has_hypervisor());
            Some(HypervisorLog::open(&options.log_dir, style, wire.events(), &control)?)
        } else {
            None
        };
        let policy = Policy {
            log_dir: options.log.has_guests().then(|| options.log_dir.clone()),
            style: style(options.timestamp.has_guests()),
            overflow: options.overflow(),
            rate: options.rate,
            burst: options.burst,
        };
        let (bell, ttys, news) = start_store_thread()?;
        let ready = Readiness::new()?;
        ready.set(wire.events(), EVENTS, Interest::default(), Interest::READ)?;
        ready.set(&bell, NEWS, Interest::default(), Interest::READ)?;
        ready.set(&signals, SIGNALS, Interest::default(), Interest::READ)?;
        Ok(Self {
            wire,
            control,
            policy,
            table: Table::new(FIRST_SEAT),
            ready,
            hypervisor,
            signals,
            news,
            ttys,
            bell,
            lost_events: 0,
        })
    }

    /// Serves until a signal ends it.
    pub fn run(&mut self) -> io::Result<()> {
        loop {
            let woken = self.ready.wait(self.next_look())?;
            let now = Instant::now();
            let is_woken_by = |what| woken.iter().any(|(token, _)| *token == what);
            if is_woken_by(SIGNALS) && self.handle_signals()? {
                return Ok(());
            }
            if is_woken_by(EVENTS) {
                self.take_events(now)?;
            }
            if is_woken_by(NEWS) {
                self.take_news(now)?;
            }
            for (seat, interest) in woken {
                self.serve_pty(seat, interest, now);
            }
            self.tick(now);
        }
    }

    /// How long until the next deadline.
    fn next_look(&self) -> Option<Duration> {
        let hypervisor = self.hypervisor.as_ref().and_then(HypervisorLog::deadline);
        let next = self.table.deadline().into_iter().chain(hypervisor).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Does something to a guest.
    fn work(&mut self, seat: Seat, now: Instant, what: impl FnOnce(&mut Guest<ConsolePage>, &Live)) {
        let wire = &self.wire;
        self.table.work(seat, &self.ready, wire, now, |guest| what(guest, wire));
    }

    fn take_events(&mut self, now: Instant) -> io::Result<()> {
        let mut ports = [0; EVENTS_AT_ONCE];
        match self.wire.events().pending_ports(&mut ports) {
            Ok(count) => {
                self.lost_events = 0;
                ports[..count].iter().for_each(|port| self.take_event(*port, now));
                Ok(())
            }
            Err(error) if self.lost_events < LOST_EVENTS_MAX => {
                report(&format!("events were lost: {error}; looking at every guest"));
                self.lost_events += 1;
                for seat in self.table.living() {
                    self.work(seat, now, |guest, wire| guest.serve(wire, now));
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn take_event(&mut self, port: Port, now: Instant) {
        if let Some(log) = &mut self.hypervisor
            && log.port() == Some(port)
        {
            log.follow(self.wire.events(), &self.control);
            return;
        }
        if let Some(seat) = self.table.of_port(port) {
            self.work(seat, now, |guest, wire| guest.serve(wire, now));
        }
    }

    fn take_news(&mut self, now: Instant) -> io::Result<()> {
        let mut bytes = [0; 64];
        if (&self.bell).read(&mut bytes)? == 0 {
            return Err(io::Error::other("the store's thread has ended"));
        }
        // Only the last word on each console counts, so one that changes all the time costs no more than any other.
        let mut told = BTreeSet::new();
        let news: Vec<News> = self.news.try_iter().collect();
        for piece in news.into_iter().rev() {
            if told.insert(piece.domid()) {
                self.handle(piece, now);
            }
        }
        Ok(())
    }

    fn handle(&mut self, news: News, now: Instant) {
        match news {
            News::Console { domid, name, place } => self.connect(domid, name, place, now),
            News::Gone(domid) => {
                if let Some(seat) = self.table.bury(domid) {
                    self.work(seat, now, |guest, wire| guest.bury(wire, now));
                }
            }
        }
    }

    fn connect(&mut self, domid: DomId, name: String, place: Place, now: Instant) {
        let seat = match self.table.of_domain(domid) {
            Some(seat) => seat,
            None => self
                .table
                .add(Guest::new(domid, name.clone(), self.policy.clone(), now)),
        };
        let mut tty = None;
        self.work(seat, now, |guest, wire| {
            guest.rename(name);
            if let Err(error) = guest.connect(wire, place, now) {
                report(&format!("domain {domid}: cannot connect its console: {error}"));
            }
            tty = guest.tty().map(str::to_owned);
        });
        if let Some(name) = tty {
            // If the thread were gone, the bell would have said so.
            let _ = self.ttys.send(Tty { domid, name });
            let _ = (&self.bell).write_all(b"t");
        }
    }

    fn serve_pty(&mut self, seat: Seat, interest: Interest, now: Instant) {
        self.work(seat, now, |guest, wire| {
            if interest.read {
                guest.read_pty(wire);
            }
            if interest.write {
                guest.write_pty(now);
            }
        });
    }

    /// Guests whose time has come go on.
    fn tick(&mut self, now: Instant) {
        for seat in self.table.due(now) {
            self.work(seat, now, |_, _| {});
        }
        if let Some(log) = &mut self.hypervisor
            && log.deadline().is_some_and(|next| next <= now)
        {
            log.follow(self.wire.events(), &self.control);
        }
    }

    /// Log files are opened anew for SIGHUP; true for a signal that ends the daemon.
    fn handle_signals(&mut self) -> io::Result<bool> {
        while let Some(signal) = self.signals.read_signal()? {
            if signal.ssi_signo != Signal::SIGHUP as u32 {
                return Ok(true);
            }
            let now = Instant::now();
            for seat in self.table.living() {
                self.work(seat, now, |guest, _| guest.reopen_log());
            }
            if let Some(log) = &mut self.hypervisor
                && let Err(error) = log.reopen()
            {
                report(&format!("hypervisor log: {error}"));
            }
        }
        Ok(false)
    }
}

/// Two descriptors a guest: the usual limit is soon reached. What the administrator allows at most is taken.
fn raise_file_limit() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, most, most)
    {
        report(&format!("cannot raise the limit of open files: {error}"));
    }
}

type StoreEnds = (UnixStream, Sender<Tty>, Receiver<News>);

fn start_store_thread() -> io::Result<StoreEnds> {
    let (ours, theirs) = UnixStream::pair()?;
    let (news_in, news_out) = channel();
    let (ttys_in, ttys_out) = channel();
    let control = xenctrl::Live::open().map_err(io::Error::other)?;
    let thread = StoreThread {
        census: Box::new(move || living(&control)),
        news: news_in,
        ttys: ttys_out,
        bell: theirs,
        known: BTreeSet::new(),
    };
    std::thread::Builder::new()
        .name("store".into())
        .spawn(move || thread.run())?;
    Ok((ours, ttys_in, news_out))
}

/// All domains but this one that are not dying.
fn living(control: &xenctrl::Live) -> io::Result<Vec<DomId>> {
    let all = control.list_domains(1).map_err(io::Error::other)?;
    Ok(all.iter().filter(|info| !info.dying).map(|info| info.domid).collect())
}
