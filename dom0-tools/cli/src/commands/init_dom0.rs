//! `xlr init-dom0`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use xenstore_client::Store;

use crate::context::Context;

/// What stands behind `xlr init-dom0`.
#[derive(Args, Debug)]
pub struct InitDom0Args {}

/// What the store has of Domain-0 before any guest is made, as Xen's own start-up writes it.
const NODES: [(&str, &str); 3] = [
    ("/local/domain/0/domid", "0"),
    ("/local/domain/0/name", "Domain-0"),
    ("/local/pool/0/name", "Pool-0"),
];

/// Runs the command. Doing it again changes nothing.
pub fn run(_args: &InitDom0Args, context: &mut Context) -> Result<ExitCode> {
    let store = context.store()?;
    store.transaction(|store| {
        for (path, value) in NODES {
            if store.read_optional(path)?.as_deref() != Some(value) {
                store.write(path, value)?;
            }
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}
