//! Scripts on the bench's Debian root disk, with a toolstack and what guests need in Dom0.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use super::guests::{MODULES, TOOLSTACK};
use crate::dom0::initramfs::Additions;
use crate::machine::guest::{Guest, Seen};
use crate::run::{self, RunArgs};
use crate::setup::{Overrides, rootdisk};
use crate::workspace::{self, Scratch};

/// A script, and where it runs.
#[derive(Debug)]
pub struct OnDisk<'a> {
    /// A multiboot hypervisor.
    pub hv: &'a Path,
    /// `xl` for Debian's tools, `xlr` for ours.
    pub tool: &'a str,
    /// What stands before the daemons' start, and behind it.
    pub script: [&'a str; 2],
    /// The script's last line.
    pub end: &'a str,
    /// What is put into /run.
    pub files: Vec<(String, Vec<u8>)>,
    /// MiB of the machine.
    pub mem: u32,
    /// Instructions are counted in the place of time.
    pub icount: bool,
    /// How long it may take.
    pub limit: Duration,
    /// Name of the log.
    pub log: String,
}

impl OnDisk<'_> {
    /// Where the console's log is.
    pub fn log_file(&self) -> PathBuf {
        workspace::image_dir().join("logs").join(format!("{}.log", self.log))
    }

    /// Boots, and gives the console's text at the script's end.
    pub fn run(self, over: &Overrides) -> Result<String> {
        let scratch = Scratch::new()?;
        let log = self.log_file();
        let [before, behind] = self.script;
        let script = format!("{before}TOOL={}\n{TOOLSTACK}{behind}", self.tool);
        let mut files = self.files;
        files.push(("script".to_owned(), script.into_bytes()));
        files.push(("modules".to_owned(), MODULES.as_bytes().to_vec()));
        let additions = Additions {
            files,
            tools: true,
            cold: true,
            ..Additions::default()
        };
        let args = RunArgs {
            hv: Some(self.hv.to_path_buf()),
            mem: self.mem,
            icount: self.icount,
            ..RunArgs::plain()
        };
        let mut machine = run::machine(&args, over, &additions, scratch.path())?;
        machine.disk(&rootdisk::find()?, true);
        machine.log = Some(log.clone());
        let guest = Guest::start(&machine)?;
        let end = format!("\n{}", self.end);
        let seen = guest.wait_for(self.limit, |text| text.contains(&end).then_some(()));
        match seen {
            Seen::Found(()) => Ok(guest.text()),
            Seen::Ended => bail!("the machine ended before the script did, see {}", log.display()),
            Seen::TimedOut => bail!(
                "the script did not end within {} s, see {}",
                self.limit.as_secs(),
                log.display()
            ),
        }
    }
}
