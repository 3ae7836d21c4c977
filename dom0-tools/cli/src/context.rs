//! What every command may use: the global options, and connections that are opened when first asked for.

use anyhow::{Context as _, Result};
use clap::Args;
use xenctrl::{Hypervisor, Live};
use xenstore_client::Client;

/// Options that stand before any command, as xl has them.
#[derive(Args, Clone, Debug, Default)]
pub struct GlobalOptions {
    /// Tell more of what is done
    #[arg(short = 'v', action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Dry run: check and say what would be done, change nothing
    #[arg(short = 'N')]
    pub dry_run: bool,
    /// Accepted for scripts written for xl; there is no xend to be careful of
    #[arg(short = 'f', hide = true)]
    pub force: bool,
    /// Accepted for scripts written for xl
    #[arg(short = 't', hide = true)]
    pub carriage_return: bool,
    /// Begin each message on standard error with time and process id
    #[arg(short = 'T')]
    pub timestamps: bool,
}

/// The state of one run of `xlr`.
pub struct Context {
    /// Options given before the command.
    pub options: GlobalOptions,
    hypervisor: Option<Box<dyn Hypervisor>>,
    store: Option<Client>,
}

impl Context {
    /// A context that has opened nothing yet.
    pub fn new(options: GlobalOptions) -> Self {
        Self {
            options,
            hypervisor: None,
            store: None,
        }
    }

    /// The hypervisor.
    pub fn hypervisor(&mut self) -> Result<&dyn Hypervisor> {
        Ok(self.both_or(false)?.0)
    }

    /// The store.
    pub fn store(&mut self) -> Result<&mut Client> {
        if self.store.is_none() {
            self.store = Some(open_store()?);
        }
        self.store.as_mut().context("the store's connection is not open")
    }

    /// Hypervisor and store at once.
    pub fn both(&mut self) -> Result<(&dyn Hypervisor, &mut Client)> {
        let (hypervisor, store) = self.both_or(true)?;
        Ok((hypervisor, store.context("the store's connection is not open")?))
    }

    fn both_or(&mut self, with_store: bool) -> Result<(&dyn Hypervisor, Option<&mut Client>)> {
        if self.hypervisor.is_none() {
            self.hypervisor = Some(Box::new(
                Live::open().context("cannot reach the hypervisor; run as root in Dom0")?,
            ));
        }
        if with_store && self.store.is_none() {
            self.store = Some(open_store()?);
        }
        let hypervisor = self
            .hypervisor
            .as_deref()
            .context("the hypervisor's interface is not open")?;
        Ok((hypervisor, self.store.as_mut()))
    }
}

fn open_store() -> Result<Client> {
    Client::open().context("cannot reach xenstored; is it running?")
}
