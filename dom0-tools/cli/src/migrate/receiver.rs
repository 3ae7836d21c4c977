//! The destination's side of a migration: the domain is made under another name, and gets its own, and runs, when the
//! source has let go of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use migration_stream::Source;
use migration_stream::handshake::Message;
use xenctrl::DomId;
use xenstore_client::Client;

use super::image;
use super::progress::Progress;
use super::transport::Transport;
use crate::life::create::{Created, Request};
use crate::life::devices::remove::devices_of;
use crate::life::devices::{announce, backend};
use crate::life::teardown::tear_down;
use crate::life::{Tools, name};
use crate::{failure, message};

/// How long a guest may take to connect its devices before the source is told that it runs.
const CONNECT_TIME: Duration = Duration::from_secs(30);
/// What the new domain is called until it is ours.
const SUFFIX: &str = "--incoming";

/// Receives one domain; its name.
pub fn receive(
    tools: Tools<'_>,
    store: &mut Client,
    transport: &mut Transport,
    paused: bool,
    progress: &mut Progress,
) -> Result<String> {
    Message::Banner.send(&mut &transport.to)?;
    let mut from = Source::new(std::io::BufReader::with_capacity(1 << 20, &transport.from));
    let (mut config, _) = image::read_configuration(&mut from)?;
    let name = config.name.clone();
    // Before gigabytes come, not behind them; it is looked at again when the name is given.
    if let Some(owner) = name::owner(store, &name)? {
        bail!("the name {name:?} is taken by domain {owner} here; rename one of the two");
    }
    config.name = format!("{name}{SUFFIX}");
    let request = Request {
        config,
        source: "incoming migration stream".into(),
        paused: true,
    };
    let created = image::restore(tools, store, request, &mut from, progress)?;
    let handed = Message::Ready
        .send(&mut &transport.to)
        .and_then(|()| Message::Go.expect(&mut from));
    if let Err(error) = handed {
        take_away(tools, store, &created);
        return Err(error).context("the other host has not let go of the domain; it is not kept here");
    }
    let started = start(tools, store, &created, &name, paused);
    if started.is_err() {
        // Before a word of it: the connection may be broken, too.
        take_away(tools, store, &created);
    } else if !paused {
        // The guest stands still for others until its network is back; the source counts that, too.
        wait_for_devices(store, created.domid);
    }
    Message::Report.send(&mut &transport.to)?;
    let byte = [u8::from(started.is_err())];
    std::io::Write::write_all(&mut &transport.to, &byte)?;
    if let Err(error) = started {
        // The source may have it again.
        Message::Go.send(&mut &transport.to)?;
        return Err(error.context("the domain cannot be started"));
    }
    Ok(name)
}

fn start(tools: Tools<'_>, store: &mut Client, created: &Created, name: &str, paused: bool) -> Result<()> {
    name::give(tools, store, created.domid, created.uuid, name)?;
    if !paused {
        tools.hypervisor.unpause_domain(created.domid)?;
    }
    Ok(())
}

/// Waits until the guest uses its devices again, and leads its packets here. It runs, whatever comes of that.
fn wait_for_devices(store: &mut Client, domid: DomId) {
    let end = Instant::now() + CONNECT_TIME;
    let left = devices_of(store, domid).and_then(|devices| {
        let left = backend::wait_connected(store, &devices, end)?;
        for device in devices.iter().filter(|device| !left.contains(device)) {
            if let Err(error) = announce::lead_to(store, device) {
                message::warn(failure::text(&error));
            }
        }
        Ok(left)
    });
    match left.as_deref() {
        Ok([]) => message::detail("the guest has connected its devices"),
        Ok([device, ..]) => message::warn(format_args!(
            "{device} is not connected after {} s; does the guest use it?",
            CONNECT_TIME.as_secs()
        )),
        Err(error) => message::warn(failure::text(error)),
    }
}

fn take_away(tools: Tools<'_>, store: &mut Client, created: &Created) {
    let gone =
        tear_down(tools, store, created.uuid, Some(created.domid)).and_then(|()| tools.records.remove(created.uuid));
    if let Err(error) = gone {
        message::warn(failure::text(&error));
    }
}
