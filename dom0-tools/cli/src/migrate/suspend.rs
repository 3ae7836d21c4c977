//! Asking a guest to stand still, and letting it go on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xenctrl::{DomId, Hypervisor, ShutdownReason};
use xenstore_client::{Client, Store};

use crate::life::layout::domain_path;
use crate::message;

/// How long a guest may take to hear the request, and then to stand still, as in xl.
const TIME: Duration = Duration::from_secs(60);
const TOKEN: &str = "xlr-suspend";

/// Asks the guest to suspend, by the store, and waits until it has.
pub fn suspend(hypervisor: &dyn Hypervisor, store: &mut Client, domid: DomId) -> Result<()> {
    match state(hypervisor, domid)? {
        Some(ShutdownReason::Suspend) => return Ok(()),
        Some(reason) => bail!("the guest has shut down ({reason:?})"),
        None => {}
    }
    let node = format!("{}/control/shutdown", domain_path(domid));
    store.write(&node, "suspend")?;
    store.watch("@releaseDomain", TOKEN)?;
    let result = wait(hypervisor, store, domid, &node);
    store.unwatch("@releaseDomain", TOKEN)?;
    result
}

fn state(hypervisor: &dyn Hypervisor, domid: DomId) -> Result<Option<ShutdownReason>> {
    Ok(hypervisor.domain_info(domid)?.shutdown)
}

fn wait(hypervisor: &dyn Hypervisor, store: &mut Client, domid: DomId, node: &str) -> Result<()> {
    let end = Instant::now() + TIME;
    loop {
        match state(hypervisor, domid)? {
            Some(ShutdownReason::Suspend) => return Ok(()),
            Some(reason) => bail!("the guest has shut down in the place of suspending ({reason:?})"),
            None => {}
        }
        if Instant::now() >= end {
            // The request is taken back, unless the guest has just heard it.
            let heard = store.transaction(|store| {
                let waiting = store.read_optional(node)?.is_some_and(|word| !word.is_empty());
                if waiting {
                    store.write(node, "")?;
                }
                Ok(!waiting)
            })?;
            let seconds = TIME.as_secs();
            if heard {
                bail!("the guest has heard the request to suspend, and does not stand still after {seconds} s");
            }
            bail!("the guest does not answer the request to suspend within {seconds} s; does its kernel know it?");
        }
        // The end of a domain's run is announced; a short look helps where that comes late.
        store.wait_event(Some(Duration::from_millis(100)))?;
    }
}

/// Lets a suspended guest go on where it stands, as if it had never been saved.
pub fn resume(hypervisor: &dyn Hypervisor, store: &mut Client, domid: DomId) -> Result<()> {
    let mut context = hypervisor.vcpu_context(domid, 0)?;
    // What the hypercall returns: that the guest was not moved.
    context.user_regs.rax = 1;
    hypervisor.set_vcpu_context(domid, 0, &context)?;
    hypervisor.resume_domain(domid).context("the guest cannot go on")?;
    // Only old daemons want to be told.
    if let Err(error) = store.resume(domid) {
        message::detail(format_args!("xenstored: {error}"));
    }
    Ok(())
}
