//! The main loop: one thread that waits for events, ptys, the store's news and signals, and serves each a little.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use privcmd::{DomId, Port};
use xenctrl::Domains;

use crate::guest::{Guest, Policy};
use crate::hypervisor_log::HypervisorLog;
use crate::log::Style;
use crate::options::Options;
use crate::report::report;
use crate::store::{News, StoreThread, Tty};
use crate::wire::{ConsolePage, Live};

/// Most events taken at once, so that none waits behind a thousand others.
const EVENTS_AT_ONCE: usize = 64;

/// What woke the loop. Ready ptys are named by domain.
#[derive(Default)]
struct Woken {
    events: bool,
    news: bool,
    signal: bool,
    ptys: Vec<(DomId, bool, bool)>,
}

/// How often in a row the events' device may fail before the daemon gives up, to be started again.
const LOST_EVENTS_MAX: u32 = 10;

/// The daemon's state.
pub struct Daemon {
    wire: Live,
    control: xenctrl::Live,
    policy: Policy,
    guests: BTreeMap<DomId, Guest<ConsolePage>>,
    /// The dead, whose ptys are still being read.
    leaving: Vec<Guest<ConsolePage>>,
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
        let (guests, leaving) = (BTreeMap::new(), Vec::new());
        Ok(Self {
            wire,
            control,
            policy,
            guests,
            leaving,
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
            let woken = self.wait()?;
            let now = Instant::now();
            if woken.signal && self.handle_signals()? {
                return Ok(());
            }
            if woken.events {
                self.take_events(now)?;
            }
            if woken.news {
                self.take_news(now)?;
            }
            for (domid, read, write) in woken.ptys {
                self.serve_pty(domid, read, write, now);
            }
            self.tick(now);
        }
    }

    fn wait(&self) -> io::Result<Woken> {
        let mut fds = vec![
            PollFd::new(self.wire.events().as_fd(), PollFlags::POLLIN),
            PollFd::new(self.bell.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        let fixed = fds.len();
        let mut owners = Vec::new();
        for guest in self.guests.values().chain(&self.leaving) {
            if let Some((fd, read, write)) = guest.interest() {
                fds.push(pty_interest(fd, read, write));
                owners.push(guest.domid());
            }
        }
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |index: usize| fds[index].any().unwrap_or(false);
        let ptys = owners.iter().zip(&fds[fixed..]).filter_map(|(domid, fd)| {
            let events = fd.revents().unwrap_or(PollFlags::empty());
            let (read, write) = (events.contains(PollFlags::POLLIN), events.contains(PollFlags::POLLOUT));
            (!events.is_empty()).then_some((*domid, read, write))
        });
        Ok(Woken {
            events: ready(0),
            news: ready(1),
            signal: ready(2),
            ptys: ptys.collect(),
        })
    }

    /// Until the next deadline, rounded up, so that nothing is looked at too early and again at once.
    fn timeout(&self) -> PollTimeout {
        let now = Instant::now();
        let guests = self
            .guests
            .values()
            .chain(&self.leaving)
            .filter_map(|guest| guest.deadline(now));
        let next = guests
            .chain(self.hypervisor.as_ref().and_then(HypervisorLog::deadline))
            .min();
        let Some(next) = next else { return PollTimeout::NONE };
        let wait = next.saturating_duration_since(now) + Duration::from_millis(1);
        PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
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
                self.guests.values_mut().for_each(|guest| guest.serve(&self.wire, now));
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
        if let Some(guest) = self.guests.values_mut().find(|guest| guest.port() == Some(port)) {
            guest.serve(&self.wire, now);
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
            News::Console { domid, name, place } => {
                let policy = &self.policy;
                let new = || Guest::new(domid, name.clone(), policy.clone(), now);
                let guest = self.guests.entry(domid).or_insert_with(new);
                guest.rename(name);
                if let Err(error) = guest.connect(&self.wire, place, now) {
                    report(&format!("domain {domid}: cannot connect its console: {error}"));
                }
                if let Some(tty) = guest.tty() {
                    let tty = Tty {
                        domid,
                        name: tty.to_owned(),
                    };
                    // If the thread were gone, the bell would have said so.
                    let _ = self.ttys.send(tty);
                    let _ = (&self.bell).write_all(b"t");
                }
            }
            News::Gone(domid) => {
                if let Some(mut guest) = self.guests.remove(&domid) {
                    guest.bury(&self.wire, now);
                    self.leaving.push(guest);
                }
            }
        }
    }

    fn serve_pty(&mut self, domid: DomId, read: bool, write: bool, now: Instant) {
        let dead = self.leaving.iter_mut().filter(|guest| guest.domid() == domid);
        for guest in self.guests.get_mut(&domid).into_iter().chain(dead) {
            if read {
                guest.read_pty(&self.wire);
            }
            if write {
                guest.write_pty(now);
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        for guest in self.guests.values_mut() {
            guest.tick(&self.wire, now);
        }
        self.leaving.retain(|guest| !guest.is_over(now));
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
            self.guests.values_mut().for_each(Guest::reopen_log);
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

fn pty_interest(fd: BorrowedFd<'_>, read: bool, write: bool) -> PollFd<'_> {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, read);
    flags.set(PollFlags::POLLOUT, write);
    PollFd::new(fd, flags)
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
