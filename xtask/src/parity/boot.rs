//! One boot: areas run by Debian's own tools on Debian's root disk; what they recorded is read from a second disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use super::record;
use crate::bench::guests::{MODULES, TOOLSTACK};
use crate::dom0::initramfs::Additions;
use crate::dom0::payload;
use crate::machine::guest::{Guest, Seen};
use crate::run::{self, RunArgs};
use crate::setup::{Overrides, kernel};
use crate::workspace::{self, Scratch};
use crate::{guest_program, setup};

/// The areas' shared functions.
const LIB: &str = "lib.sh";
/// The disk that Dom0 records on.
const RECORD_BYTES: u64 = 8 << 20;
/// Seconds after which an area is broken off.
const AREA_LIMIT: u32 = 3600;

/// Where the areas' scripts lie.
pub fn folder() -> PathBuf {
    workspace::root().join("tests/parity")
}

/// The areas there are, in the order of their names.
pub fn areas() -> Result<Vec<String>> {
    let mut areas = Vec::new();
    for entry in std::fs::read_dir(folder())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(area) = name.strip_suffix(".sh").filter(|_| name != LIB) {
            areas.push(area.to_owned());
        }
    }
    areas.sort();
    Ok(areas)
}

/// What an area's outcome depends on: the hypervisor, the scripts, the root disk, the guest's kernel.
fn key(hv: &Path, area: &str, disk: &Path, over: &Overrides) -> Result<String> {
    let mut key = workspace::read(hv)?;
    for file in [LIB, &format!("{area}.sh")] {
        key.extend(workspace::read(&folder().join(file))?);
    }
    key.extend(TOOLSTACK.as_bytes());
    key.extend(disk.metadata()?.len().to_le_bytes());
    key.extend(kernel::find(over)?.version.as_bytes());
    Ok(payload::content_hash(&key))
}

/// The recorded text of these areas under a hypervisor, one behind the other. With `reuse` what an earlier run recorded
/// of the same hypervisor and scripts is not run again.
pub fn outcomes(
    name: &str,
    hv: &Path,
    areas: &[String],
    reuse: bool,
    limit: Duration,
    over: &Overrides,
) -> Result<String> {
    let disk = setup::rootdisk::find()?;
    let cache = workspace::cache("parity")?;
    let file = |area: &str| Ok::<_, anyhow::Error>(cache.join(key(hv, area, &disk, over)?));
    let mut missing = Vec::new();
    for area in areas {
        if !reuse || !file(area)?.is_file() {
            missing.push(area.clone());
        }
    }
    let mut fresh = String::new();
    if !missing.is_empty() {
        fresh = boot(name, hv, &missing, &disk, limit, over)?;
        for area in &missing {
            if let Some(text) = record::whole(&fresh, area) {
                workspace::write(&file(area)?, text.as_bytes())?;
            }
        }
    }
    let kept = areas.iter().filter(|area| !missing.contains(area));
    for area in kept {
        fresh += &String::from_utf8_lossy(&workspace::read(&file(area)?)?);
    }
    Ok(fresh)
}

/// Boots the root disk and runs the areas.
fn boot(name: &str, hv: &Path, areas: &[String], disk: &Path, limit: Duration, over: &Overrides) -> Result<String> {
    let scratch = Scratch::new()?;
    let kernel = kernel::find(over)?;
    let mut files = vec![
        ("script".to_owned(), script(areas).into_bytes()),
        ("modules".to_owned(), MODULES.as_bytes().to_vec()),
        ("parity-lib.sh".to_owned(), workspace::read(&folder().join(LIB))?),
        ("domu".to_owned(), workspace::read(&guest_program::kernel("domu")?)?),
        (
            "vmlinux".to_owned(),
            workspace::read(&payload::vmlinux(&kernel.image)?)?,
        ),
    ];
    for area in areas {
        let text = workspace::read(&folder().join(format!("{area}.sh")))?;
        files.push((format!("parity-{area}.sh"), text));
    }
    let additions = Additions {
        files,
        tools: true,
        cold: true,
        ..Additions::default()
    };
    let mut args = RunArgs::plain();
    args.smp = 2;
    args.mem = 3072;
    // Time is instructions: on a machine however busy, no limit of the tools' own (40 s for a hot-plug script) is exceeded.
    args.icount = true;
    args.hv = Some(hv.to_path_buf());
    let mut machine = run::machine(&args, over, &additions, scratch.path())?;
    machine.disk(disk, true);
    let recorded = scratch.path().join("recorded");
    std::fs::File::create(&recorded)?.set_len(RECORD_BYTES)?;
    machine.disk(&recorded, false);
    let logs = workspace::image_dir().join("logs");
    std::fs::create_dir_all(&logs)?;
    let log = logs.join(format!("parity-{name}.log"));
    machine.log = Some(log.clone());
    let guest = Guest::start(&machine)?;
    let seen = guest.wait_for(limit, |text| text.contains("\nPARITY-END").then_some(()));
    let bytes = workspace::read(&recorded)?;
    let length = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    std::fs::write(logs.join(format!("parity-{name}.txt")), &text)?;
    match seen {
        Seen::Found(()) => Ok(text),
        _ if text.is_empty() => bail!("{name} did not come to its first area, see {}", log.display()),
        _ => {
            eprintln!("{name} did not come to its end, see {}", log.display());
            Ok(text)
        }
    }
}

/// What runs as the root disk's first process.
fn script(areas: &[String]) -> String {
    let areas = areas.join(" ");
    format!(
        "TOOL=xl\n{TOOLSTACK}
echo 1 > /proc/sys/kernel/printk
. /run/parity-lib.sh
for area in {areas}; do
    # What an area may have left otherwise than it found it.
    xl cpupool-rename Pool-node0 Pool-0 > /dev/null 2>&1
    echo \"@@AREA $area\" >> $out
    clean
    timeout -k 5 {AREA_LIMIT} bash /run/parity-$area.sh
    echo \"@@END $area\" >> $out
    dd if=$out of=/dev/vdb bs=64k conv=fsync 2> /dev/null
done
echo; echo PARITY-END
sync
/run/busybox poweroff -f
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_area_has_a_script_that_names_it() {
        let areas = areas().unwrap();
        assert!(areas.len() >= 8, "{areas:?}");
        for area in areas {
            let text = std::fs::read_to_string(folder().join(format!("{area}.sh"))).unwrap();
            assert!(text.contains(&format!(". /run/parity-lib.sh {area}\n")), "{area}");
        }
    }
}
