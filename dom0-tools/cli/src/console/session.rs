//! The loop between terminal and console.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use xenctrl::{DomId, Hypervisor};
use xenstore_client::{Client, Store};

use super::Options;
use super::terminal::RawMode;
use super::tty::{Read1, Tty};
use crate::context::Context;
use crate::failure::Failure;

/// How long a dead domain's last words are waited for, counted from the last of them.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Typed bytes that wait for a guest that does not read; beyond, the keyboard has to wait.
const UNSENT_MAX: usize = 4096;

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The person left.
    Detached,
    /// The domain is gone.
    DomainGone,
    /// Standard input has ended, and the console was quiet.
    InputEnded,
    /// A signal asked this process to end.
    Signal,
}

/// Attaches standard input and output to the console of `domid` until one of [`End`] happens.
///
/// # Errors
/// The domain has no console, or not any more, or it cannot be opened.
pub fn attach(context: &mut Context, domid: DomId, options: &Options) -> Result<End> {
    let (control, store) = context.both()?;
    let node = match options.number {
        0 => format!("/local/domain/{domid}/console/tty"),
        number => format!("/local/domain/{domid}/device/console/{number}/tty"),
    };
    store.watch(&node, "tty")?;
    store.watch("@releaseDomain", "release")?;
    let mut session = Session {
        control,
        store,
        domid,
        node,
        options,
    };
    let result = session.run();
    session.unwatch();
    result
}

struct Session<'a> {
    control: &'a dyn Hypervisor,
    store: &'a mut Client,
    domid: DomId,
    node: String,
    options: &'a Options,
}

/// What changes while a session runs.
struct Flow {
    tty: Tty,
    input_open: bool,
    /// When to end, if nothing more comes.
    quiet_until: Option<(Instant, End)>,
}

impl Session<'_> {
    fn unwatch(&mut self) {
        // The store may be gone; then the watches are, too.
        let _ = self.store.unwatch(&self.node, "tty");
        let _ = self.store.unwatch("@releaseDomain", "release");
    }

    fn run(&mut self) -> Result<End> {
        let signals = end_signals()?;
        let Some(tty) = self.find_tty(None)? else {
            return Ok(End::DomainGone);
        };
        let mode = RawMode::enter().context("cannot put the terminal into raw mode")?;
        let mut flow = Flow {
            tty,
            input_open: true,
            quiet_until: None,
        };
        if self.options.unpause {
            self.control.unpause_domain(self.domid)?;
        }
        loop {
            if let Some((until, end)) = flow.quiet_until
                && until <= Instant::now()
            {
                return Ok(end);
            }
            let ready = self.wait(&flow, &signals)?;
            if ready.signal {
                return Ok(End::Signal);
            }
            if ready.store {
                self.follow_store(&mut flow)?;
            }
            if flow.tty.has_unsent() {
                flow.tty.flush()?;
            }
            if ready.tty && self.show(&mut flow)? {
                return Ok(End::DomainGone);
            }
            if ready.input && self.send(&mut flow, mode.is_terminal())? {
                return Ok(End::Detached);
            }
        }
    }

    fn wait(&self, flow: &Flow, signals: &SignalFd) -> Result<Ready> {
        let stdin = io::stdin();
        let mut tty_flags = PollFlags::POLLIN;
        tty_flags.set(PollFlags::POLLOUT, flow.tty.has_unsent());
        let reads_input = flow.input_open && !flow.tty.is_congested(UNSENT_MAX);
        let input_flags = if reads_input {
            PollFlags::POLLIN
        } else {
            PollFlags::empty()
        };
        let mut fds = vec![
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.store.as_fd(), PollFlags::POLLIN),
            PollFd::new(flow.tty.as_fd(), tty_flags),
        ];
        // A hung-up input would be reported for ever, asked for or not.
        if reads_input {
            fds.push(PollFd::new(stdin.as_fd(), input_flags));
        }
        let timeout = flow.quiet_until.map_or(PollTimeout::NONE, |(until, _)| {
            let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |index: usize| fds.get(index).is_some_and(|fd| fd.any().unwrap_or(false));
        let closing = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
        let tty = fds[2].revents().is_some_and(|events| events.intersects(closing));
        Ok(Ready {
            signal: ready(0),
            store: ready(1),
            tty,
            input: ready(3),
        })
    }

    /// A domain that is gone has only last words left.
    fn follow_store(&mut self, flow: &mut Flow) -> Result<()> {
        let mut released = false;
        while let Some(event) = self.store.next_event()? {
            released |= event.token == "release";
        }
        if released && !self.is_alive()? && flow.quiet_until.is_none_or(|(_, end)| end != End::DomainGone) {
            flow.quiet_until = Some((Instant::now() + LAST_WORDS, End::DomainGone));
        }
        Ok(())
    }

    /// Shows what the guest has printed. True when the console is gone with its domain.
    fn show(&mut self, flow: &mut Flow) -> Result<bool> {
        let mut bytes = [0; 4096];
        match flow.tty.read(&mut bytes)? {
            Read1::Nothing => {}
            Read1::Bytes(count) => {
                let mut out = io::stdout().lock();
                out.write_all(&bytes[..count]).and_then(|()| out.flush())?;
                if let Some((until, end)) = &mut flow.quiet_until {
                    *until = Instant::now()
                        + if *end == End::DomainGone {
                            LAST_WORDS
                        } else {
                            self.options.linger
                        };
                }
            }
            Read1::Closed => {
                if flow.quiet_until.is_some_and(|(_, end)| end == End::DomainGone) {
                    return Ok(true);
                }
                // The daemon was started again, or the domain is ending.
                let old = flow.tty.name().to_owned();
                match self.find_tty(Some(&old))? {
                    Some(tty) => flow.tty = tty,
                    None => return Ok(true),
                }
            }
        }
        Ok(false)
    }

    /// Sends what was typed. True when it held the escape byte.
    fn send(&mut self, flow: &mut Flow, is_terminal: bool) -> Result<bool> {
        let mut bytes = [0; 1024];
        let count = match io::stdin().lock().read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
            other => other?,
        };
        if count == 0 {
            flow.input_open = false;
            flow.quiet_until
                .get_or_insert((Instant::now() + self.options.linger, End::InputEnded));
            return Ok(false);
        }
        // In a pipe every byte is meant for the guest.
        let escape = if is_terminal {
            bytes[..count].iter().position(|byte| *byte == self.options.escape)
        } else {
            None
        };
        flow.tty.send(&bytes[..escape.unwrap_or(count)])?;
        Ok(escape.is_some())
    }

    fn is_alive(&self) -> Result<bool> {
        match self.control.domain_info(self.domid) {
            Ok(info) => Ok(!info.dying),
            Err(error) if error.is_no_domain() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the store names a console that opens; `old` is one that has just been closed. `None` when the domain
    /// has gone meanwhile.
    fn find_tty(&mut self, old: Option<&str>) -> Result<Option<Tty>> {
        let end = Instant::now() + self.options.wait;
        let mut last_error = None;
        loop {
            if !self.is_alive()? {
                return if old.is_some() {
                    Ok(None)
                } else {
                    Err(no_domain(self.domid))
                };
            }
            let name = self.store.read_optional(&self.node)?.filter(|name| !name.is_empty());
            if let Some(name) = name {
                match Tty::open(&name) {
                    Ok(tty) if old.is_none() || !is_closed(&tty) => return Ok(Some(tty)),
                    Ok(_) => {}
                    Err(error) => last_error = Some(error),
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // The store's word comes by a watch; a device node that is made a moment later does not.
            self.store.wait_event(Some(left.min(Duration::from_millis(300))))?;
        }
        match last_error {
            Some(error) => Err(error),
            None => bail!(
                "domain {} has no console (no {} in the store): is xenconsoled running?",
                self.domid,
                self.node
            ),
        }
    }
}

/// A pty whose other end is closed tells so at once.
fn is_closed(tty: &Tty) -> bool {
    let mut fds = [PollFd::new(tty.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok()
        && fds[0]
            .revents()
            .is_some_and(|events| events.contains(PollFlags::POLLHUP))
}

fn no_domain(domid: DomId) -> anyhow::Error {
    Failure::new(1, format!("domain {domid} does not exist: see xlr list"))
}

struct Ready {
    signal: bool,
    store: bool,
    tty: bool,
    input: bool,
}

/// Signals that end a session come by a descriptor, so that the terminal is put right before.
fn end_signals() -> Result<SignalFd> {
    let mut mask = SigSet::empty();
    [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT]
        .into_iter()
        .for_each(|signal| mask.add(signal));
    mask.thread_block()?;
    Ok(SignalFd::with_flags(
        &mask,
        SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
    )?)
}
