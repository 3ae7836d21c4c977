//! Asking a guest for something by its `control` nodes.

use anyhow::{Result, bail};
use xenctrl::DomId;
use xenstore_client::{Client, Store};
use xl_config::Uuid;

use super::layout::domain_path;
use super::{supervise, watch_end};
use crate::context::Context;
use crate::{lookup, message};

/// Ways to end that a guest can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Power off.
    Poweroff,
    /// Reboot.
    Reboot,
}

impl Request {
    fn word(self) -> &'static str {
        match self {
            Self::Poweroff => "poweroff",
            Self::Reboot => "reboot",
        }
    }
}

/// Asks `domain`, or all guests, to end, and waits as often as `wait` says: once for the end, twice for the death.
pub fn ask_to_end(context: &mut Context, request: Request, domain: Option<&str>, wait: u8) -> Result<()> {
    let domids = match domain {
        Some(text) => vec![lookup::domain(context, text)?],
        None => lookup::guests(context.hypervisor()?)?,
    };
    // What becomes of the domain then is the supervisor's work.
    supervise::ensure()?;
    let (hypervisor, store) = context.both()?;
    let mut asked = Vec::new();
    for domid in domids {
        if domid == 0 {
            bail!("Domain-0 is asked with poweroff or reboot, not from here");
        }
        let uuid = Uuid(hypervisor.domain_info(domid)?.uuid);
        if request == Request::Poweroff {
            println!("Shutting down domain {domid}");
        } else {
            println!("Rebooting domain {domid}");
        }
        ask(store, domid, request)?;
        asked.push(uuid);
    }
    for uuid in asked {
        match (wait, request) {
            (0, _) => {}
            (1, _) | (_, Request::Reboot) => watch_end::wait_shutdown(hypervisor, store, uuid)?,
            _ => watch_end::wait_dead(hypervisor, store, uuid)?,
        }
    }
    Ok(())
}

fn ask(store: &mut Client, domid: DomId, request: Request) -> Result<()> {
    let path = format!("{}/control", domain_path(domid));
    if store
        .read_optional(&format!("{path}/feature-{}", request.word()))?
        .as_deref()
        != Some("1")
    {
        message::warn(format_args!(
            "domain {domid} does not say that it can {}; it is asked all the same",
            request.word()
        ));
    }
    Ok(store.write(&format!("{path}/shutdown"), request.word())?)
}
