//! The three systems that are compared, and one boot of each.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::loads::{self, Factors, Outcome};
use crate::dom0::initramfs::Additions;
use crate::machine::guest::{Guest, Seen};
use crate::run::{self, RunArgs};
use crate::setup::Overrides;
use crate::workspace::{self, Scratch};
use crate::{guest_program, machine};

/// Linux alone, on stock Xen, on ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Linux alone.
    Bare,
    /// Dom0 on stock Xen.
    Xen,
    /// Dom0 on Paravane.
    Paravane,
}

/// In the order of the tables' columns.
pub const SYSTEMS: [System; 3] = [System::Bare, System::Xen, System::Paravane];

/// What all boots share.
#[derive(Debug)]
pub struct Bench {
    /// Given kernel and QEMU.
    pub over: Overrides,
    /// Stock Xen's image.
    pub xen: PathBuf,
    /// Our image.
    pub paravane: PathBuf,
    /// Root disk with the loads.
    pub disk: PathBuf,
    /// A boot that takes longer hangs.
    pub limit: Duration,
}

const DOM0_MIB: u32 = 1024;

impl Bench {
    fn args(&self, system: System) -> RunArgs {
        let mut args = RunArgs::plain();
        args.mem = 3072;
        args.hv = Some(match system {
            System::Bare => "none".into(),
            System::Xen => self.xen.clone(),
            System::Paravane => self.paravane.clone(),
        });
        if system == System::Bare {
            args.append = format!("mem={DOM0_MIB}M");
        }
        args
    }

    /// A machine of a system, with things added to Dom0's RAM disk.
    pub fn machine(&self, system: System, additions: &Additions, scratch: &Path) -> Result<machine::Machine> {
        run::machine(&self.args(system), &self.over, additions, scratch)
    }

    /// Boots a system and runs the loads, each `samples` times after once to warm up.
    pub fn measure(&self, system: System, factors: &Factors, samples: u32) -> Result<Outcome> {
        let scratch = Scratch::new()?;
        let script = loads::script(factors, samples, system == System::Paravane);
        let program = workspace::read(&guest_program::dom0_load()?)?;
        let files = vec![
            ("script".to_owned(), script.into_bytes()),
            ("dom0-load".to_owned(), program),
        ];
        let additions = Additions {
            files,
            ..Additions::default()
        };
        let mut machine = self.machine(system, &additions, scratch.path())?;
        machine.icount = true;
        machine.disk(&self.disk, true);
        let log = workspace::image_dir()
            .join("logs")
            .join(format!("bench-{system:?}.log").to_lowercase());
        machine.log = Some(log.clone());
        let guest = Guest::start(&machine)?;
        let seen = guest.wait_for(self.limit, |text| text.contains("\nBENCH-END").then_some(()));
        let console = guest.text();
        match seen {
            Seen::Found(()) => loads::parse(&console).with_context(|| format!("{system:?}, see {}", log.display())),
            _ => bail!("{system:?} did not end its loads, see {}", log.display()),
        }
    }
}
