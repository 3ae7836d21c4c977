//! The source's side of a migration. Until the other host has the domain whole and was told to let it run, the domain
//! is here, and whatever goes wrong, it goes on here.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use migration_stream::handshake::Message;
use migration_stream::{Source, xl};
use xenctrl::{DomId, Hypervisor, ShutdownReason};
use xenstore_client::{Client, Store};
use xl_config::Uuid;

use super::progress::Progress;
use super::transport::{Transport, buffered};
use super::{image, suspend};
use crate::life::Tools;
use crate::life::layout::domain_path;
use crate::life::teardown::tear_down;
use crate::{failure, message};

/// What a migration took.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// From the request to suspend here to the word that it runs there, by `xlr` with its devices connected.
    pub down: Duration,
    /// All of it.
    pub total: Duration,
    /// Rounds over the memory.
    pub rounds: u32,
    /// Pages that went over.
    pub pages: u64,
}

/// Moves a domain whose lock the caller holds. On an error it runs here, unless the error says otherwise.
pub fn migrate(
    tools: Tools<'_>,
    store: &mut Client,
    domid: DomId,
    transport: &mut Transport,
    config: Option<Vec<u8>>,
    progress: &mut Progress,
) -> Result<Moved> {
    let hypervisor = tools.hypervisor;
    let name = store
        .read_optional(&format!("{}/name", domain_path(domid)))?
        .filter(|name| !name.is_empty())
        .context("the domain has no name")?;
    let mut suspended = false;
    let handed = hand_over(tools, store, domid, transport, config, progress, &mut suspended)
        .and_then(|took| set_name(store, domid, &format!("{name}--migratedaway")).map(|()| took));
    let took = match handed {
        Ok(took) => took,
        Err(error) => return Err(go_on(hypervisor, store, domid, suspended, error)),
    };
    // From here on the other host may let it run.
    let result = report(transport);
    match result {
        Ok(true) => {}
        Ok(false) => {
            set_name(store, domid, &name)?;
            let error = anyhow!("the domain cannot run on the other host");
            return Err(go_on(hypervisor, store, domid, true, error));
        }
        Err(error) => {
            return Err(error.context(format!(
                "the connection broke in the last words: domain {name} may run on the other host. Look there; if it does \
                 not, rename this one and let it go on with xlr resume, else xlr destroy {domid}"
            )));
        }
    }
    message::detail("the domain runs on the other host");
    let (down, total) = (took.down(), progress.elapsed());
    let uuid = Uuid(hypervisor.domain_info(domid)?.uuid);
    tear_down(tools, store, uuid, Some(domid))?;
    tools.records.remove(uuid)?;
    Ok(Moved {
        down,
        total,
        rounds: took.rounds,
        pages: took.pages,
    })
}

/// Sends everything, until the other host says that it has it.
fn hand_over(
    tools: Tools<'_>,
    store: &mut Client,
    domid: DomId,
    transport: &mut Transport,
    config: Option<Vec<u8>>,
    progress: &mut Progress,
    suspended: &mut bool,
) -> Result<super::send::Took> {
    let hypervisor = tools.hypervisor;
    let mut from = Source::new(&transport.from);
    Message::Banner
        .expect(&mut from)
        .context("no receiver answers on the other host")?;
    let config = match config {
        Some(config) => config,
        None => image::configuration(hypervisor, store, tools.records, domid)?,
    };
    let mut to = buffered(&transport.to);
    xl::write(&mut to, &config)?;
    let took = image::write(hypervisor, domid, &mut to, progress, true, &mut || {
        *suspended = true;
        message::detail("the guest is asked to suspend");
        suspend::suspend(hypervisor, store, domid)
    })
    .context("the domain cannot be sent")?;
    to.flush().context("the domain cannot be sent")?;
    drop(to);
    Message::Ready
        .expect(&mut from)
        .context("the other host has not made the domain")?;
    Ok(took)
}

/// Tells the other host to let the domain run; whether it does.
fn report(transport: &mut Transport) -> Result<bool> {
    let mut from = Source::new(&transport.from);
    Message::Go.send(&mut &transport.to)?;
    Message::Report.expect(&mut from)?;
    let [result] = from.array::<1>()?;
    if result == 0 {
        return Ok(true);
    }
    // It gives the domain back.
    Message::Go.expect(&mut from)?;
    Ok(false)
}

/// Lets the domain run here again; `error` with what came of it.
fn go_on(
    hypervisor: &dyn Hypervisor,
    store: &mut Client,
    domid: DomId,
    suspended: bool,
    error: anyhow::Error,
) -> anyhow::Error {
    match hypervisor.domain_info(domid).map(|info| info.shutdown) {
        Ok(Some(ShutdownReason::Suspend)) if suspended => {}
        Ok(Some(ShutdownReason::Suspend) | None) => return error.context("the domain was not moved, and runs here"),
        Ok(Some(_)) | Err(_) => return error.context("the domain was not moved: it has ended meanwhile"),
    }
    message::say("Migration failed, resuming at sender.");
    match suspend::resume(hypervisor, store, domid) {
        Ok(()) => error.context("the domain was not moved, and goes on here"),
        Err(second) => error.context(format!(
            "the domain was not moved, and cannot go on here ({})",
            failure::text(&second)
        )),
    }
}

fn set_name(store: &mut Client, domid: DomId, name: &str) -> Result<()> {
    Ok(store.write(&format!("{}/name", domain_path(domid)), name)?)
}
