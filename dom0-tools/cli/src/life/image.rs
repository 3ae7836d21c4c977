//! Loading a guest's kernel and placing it in a domain.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use domain_builder::{Channel, Params, build};
use kernel_cache::{Cache, Kernel};
use privcmd::Mapping;
use xenctrl::{DomId, Hypervisor};
use xl_config::{Boot, DomainConfig};

use super::layout::Rings;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// What a guest boots, ready to be placed.
pub struct Image {
    kernel: Kernel,
    ramdisk: Option<Mapping>,
}

impl Image {
    /// Reads kernel and initial RAM disk; unpacked kernels are kept in `kernels`.
    pub fn load(boot: &Boot, kernels: &Path) -> Result<Self> {
        let kernel = Cache::new(kernels).load(Path::new(&boot.kernel))?;
        let ramdisk = boot.ramdisk.as_deref().map(map_file).transpose()?;
        Ok(Self { kernel, ramdisk })
    }

    /// Fills the domain's memory and sets its first vcpu up.
    pub fn place(&self, hypervisor: &dyn Hypervisor, domid: DomId, config: &DomainConfig) -> Result<Rings> {
        let store_port = hypervisor.alloc_unbound(domid, 0)?;
        let console_port = hypervisor.alloc_unbound(domid, 0)?;
        let params = Params {
            pages: config.memory_kib * 1024 / PAGE,
            command_line: &config.boot.command_line,
            initrd: self.ramdisk.as_ref(),
            console: Channel {
                domid: 0,
                port: console_port,
            },
            store: Channel {
                domid: 0,
                port: store_port,
            },
            flags: 0,
        };
        let built = build(hypervisor, domid, &self.kernel, &params)?;
        Ok(Rings {
            console_frame: built.console_mfn,
            console_port,
            store_frame: built.store_mfn,
            store_port,
        })
    }
}

fn map_file(path: &str) -> Result<Mapping> {
    let open = || {
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        Mapping::of_file_to_read(&file, length)
    };
    open().with_context(|| format!("ramdisk: cannot read {path}"))
}
