//! Waiting for a domain's end, woken by the store.

use std::time::Duration;

use anyhow::Result;
use xenctrl::{DomainInfo, Hypervisor};
use xenstore_client::Client;
use xl_config::Uuid;

use super::teardown::find;

/// How long a wait goes without a look: an end may come without a word to us, but not for long without being seen.
const PATIENCE: Duration = Duration::from_secs(2);

/// Waits until the domain has ended; it may still be there, dead.
pub fn wait_shutdown(hypervisor: &dyn Hypervisor, store: &mut Client, uuid: Uuid) -> Result<()> {
    wait_until(hypervisor, store, uuid, |info| {
        info.is_none_or(|info| info.dying || info.shutdown.is_some())
    })
}

/// Waits until the domain is gone.
pub fn wait_dead(hypervisor: &dyn Hypervisor, store: &mut Client, uuid: Uuid) -> Result<()> {
    wait_until(hypervisor, store, uuid, |info| info.is_none_or(|info| info.dying))
}

fn wait_until(
    hypervisor: &dyn Hypervisor,
    store: &mut Client,
    uuid: Uuid,
    done: impl Fn(Option<&DomainInfo>) -> bool,
) -> Result<()> {
    const TOKEN: &str = "xlr-end";
    store.watch("@releaseDomain", TOKEN)?;
    loop {
        if done(find(hypervisor, uuid)?.as_ref()) {
            break;
        }
        store.wait_event(Some(PATIENCE))?;
    }
    Ok(store.unwatch("@releaseDomain", TOKEN)?)
}
