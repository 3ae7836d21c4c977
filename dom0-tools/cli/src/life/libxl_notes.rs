//! What libxl, the library below xl and libvirt, keeps of a domain in /var/lib/xen. Without its copy of the
//! configuration it refuses to change a domain's memory or devices; so ours have one, too.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xenctrl::DomId;
use xl_config::{DomainConfig, Uuid};

use crate::migrate::libxl_config;

/// The folder of libxl's notes. Where there is none, nobody uses libxl, and nothing is written.
#[derive(Clone, Debug)]
pub struct LibxlNotes(PathBuf);

impl Default for LibxlNotes {
    fn default() -> Self {
        Self::at(Path::new("/var/lib/xen"))
    }
}

impl LibxlNotes {
    /// Notes in `folder`.
    pub fn at(folder: &Path) -> Self {
        Self(folder.to_path_buf())
    }

    /// Notes a domain's configuration. A reader sees all of it or nothing.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, domid: DomId, uuid: Uuid, config: &DomainConfig) -> Result<()> {
        if !self.0.is_dir() {
            return Ok(());
        }
        let path = self.0.join(format!("userdata-d.{domid}.{uuid}.libxl-json"));
        let mut text = libxl_config::write(config)?.to_string().into_bytes();
        // libxl reads it as a C string, and finds its end by this.
        text.push(0);
        let temporary = path.with_extension(format!("new{}", std::process::id()));
        let put = || {
            let mut options = OpenOptions::new();
            let mut file = options
                .create(true)
                .write(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&text)?;
            fs::rename(&temporary, &path)
        };
        put().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes all notes on a domain that has ended, whoever made them; `domid` where that is known.
    ///
    /// # Errors
    /// The folder cannot be read, a file not removed.
    pub fn remove(&self, domid: Option<DomId>, uuid: Uuid) -> Result<()> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.with_context(|| format!("cannot read {}", self.0.display()))?,
        };
        for entry in entries {
            let entry = entry.context("cannot read libxl's folder")?;
            let is_his = entry
                .file_name()
                .to_str()
                .is_some_and(|name| is_note(name, domid, uuid));
            if is_his {
                match fs::remove_file(entry.path()) {
                    // libxl removes them, too.
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(error).with_context(|| format!("cannot remove {}", entry.path().display()));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Whether a file is libxl's note on a domain: `userdata-KIND.DOMID.UUID.WHAT`.
fn is_note(name: &str, domid: Option<DomId>, uuid: Uuid) -> bool {
    let mut parts = name.splitn(4, '.');
    let mut next = || parts.next().unwrap_or_default();
    next().starts_with("userdata-")
        && next()
            .parse::<DomId>()
            .is_ok_and(|number| domid.is_none_or(|domid| domid == number))
        && next() == uuid.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_domains_own_notes_are_removed() {
        let uuid: Uuid = "6c4a3a5e-4c1c-4f0e-8f0e-1d5f1c1c1c11".parse().expect("a UUID");
        let own = "userdata-d.7.6c4a3a5e-4c1c-4f0e-8f0e-1d5f1c1c1c11.libxl-json";
        assert!(is_note(own, Some(7), uuid) && is_note(own, None, uuid));
        assert!(is_note(
            &own.replace("-d.", "-l.").replace("libxl-json", "domain-userdata-lock"),
            Some(7),
            uuid
        ));
        for other in [
            own.replace(".7.", ".8."),
            own.replace("6c4a", "6c4b"),
            own.replace("userdata", "data"),
            "userdata-d.7".to_owned(),
            String::new(),
        ] {
            assert!(!is_note(&other, Some(7), uuid), "{other}");
        }
    }
}
