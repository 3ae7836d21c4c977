//! What a request costs over the frontends in Rust and over Linux's own, on the same backends: one boot of Dom0 on
//! Paravane, in which Debian's kernel and our guests use the same RAM disk and the same bridge, one after the other.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::guest_paths::Costs;
use crate::dom0::initramfs::Additions;
use crate::dom0::sample;
use crate::guest_program;
use crate::run::{self, RunArgs};
use crate::setup::{Overrides, kernel};
use crate::workspace::{self, Scratch};

const SCRIPT: &[u8] = include_bytes!("drivers.sh");
const GUEST: &[u8] = include_bytes!("drivers_guest.sh");
const LIMIT: Duration = Duration::from_secs(900);
/// What stands before the lines of each guest, and how many guests there are.
const LINUX: (&str, usize) = ("linux: ", 1);
const OURS: (&str, usize) = ("ours: ", 2);

/// One kind of request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Device, bytes, how many are under way.
    pub name: String,
    /// Instructions of the whole machine for a request of Linux's.
    pub linux: u64,
    /// And for one of ours.
    pub ours: u64,
}

/// The `BENCH name value` lines behind a prefix, of guests that have all come to a good end.
fn costs(output: &str, (prefix, guests): (&str, usize)) -> Result<Costs> {
    let lines: Vec<&str> = output
        .lines()
        .filter_map(|line| Some(line.strip_prefix(prefix)?.trim()))
        .collect();
    let ended = lines.iter().filter(|line| **line == "guest: exit 0").count();
    ensure!(
        ended == guests,
        "{ended} of {guests} guests {prefix}came to a good end:\n{output}"
    );
    let cost = |line: &str| {
        let (name, value) = line.strip_prefix("BENCH ")?.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(lines.into_iter().filter_map(cost).collect())
}

fn rows(output: &str) -> Result<Vec<Row>> {
    let (linux, ours) = (costs(output, LINUX)?, costs(output, OURS)?);
    ensure!(!linux.is_empty(), "the Linux guest measured nothing:\n{output}");
    let row = |(name, linux): (String, u64)| {
        let found = ours.iter().find(|(other, _)| *other == name);
        let (_, ours) = found.with_context(|| format!("our guests did not measure {name}:\n{output}"))?;
        Ok(Row {
            name,
            linux,
            ours: *ours,
        })
    };
    linux.into_iter().map(row).collect()
}

/// Boots and measures.
pub fn measure(hv: &Path, over: &Overrides) -> Result<Vec<Row>> {
    let scratch = Scratch::new()?;
    let mark = run::fresh_mark();
    let mut disk = sample::busybox_disk(&kernel::find(over)?, GUEST, &[])?;
    disk.file("bin/dom0-load", 0o755, &workspace::read(&guest_program::dom0_load()?)?);
    let guest = |name| workspace::read(&guest_program::guest(name)?);
    let additions = Additions {
        command: Some(("sh /paravane/drivers.sh".to_owned(), mark.clone())),
        files: vec![
            ("drivers.sh".to_owned(), SCRIPT.to_vec()),
            ("linux.initrd".to_owned(), disk.finish()),
            ("blk".to_owned(), guest("blk")?),
            ("net".to_owned(), guest("net")?),
        ],
        tools: true,
        cold: false,
    };
    let args = RunArgs {
        hv: Some(hv.to_path_buf()),
        icount: true,
        tools: true,
        ..RunArgs::plain()
    };
    let mut machine = run::machine(&args, over, &additions, scratch.path())?;
    let log = workspace::image_dir().join("logs").join("bench-drivers.log");
    machine.log = Some(log.clone());
    match run::command_in_dom0(&machine, &mark, LIMIT, |_, _| {}) {
        Ok(finished) => rows(&finished.output).with_context(|| format!("see {}", log.display())),
        Err(failed) => Err(failed.error.context(failed.console)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: &str = "linux: guest: exit 0\r\nours: guest: exit 0\nours: guest: exit 0\n";

    #[test]
    fn each_kind_of_request_is_compared_with_its_like() {
        let text = format!("linux: BENCH disk_1 30\r\nlinux: words\nours: BENCH x 1\nours: BENCH disk_1 20\n{ENDS}");
        let expected = Row {
            name: "disk_1".to_owned(),
            linux: 30,
            ours: 20,
        };
        assert_eq!(rows(&text).unwrap(), [expected]);
    }

    #[test]
    fn what_was_not_measured_is_an_error() {
        assert!(rows(&format!("ours: BENCH a 1\n{ENDS}")).is_err());
        assert!(rows(&format!("linux: BENCH a 1\nours: BENCH b 1\n{ENDS}")).is_err());
        let both = "linux: BENCH a 1\nours: BENCH a 1\n";
        assert!(rows(&format!("{both}{ENDS}")).is_ok());
        assert!(
            rows(&format!(
                "{both}{}",
                ENDS.replacen("ours: guest: exit 0", "ours: guest: exit 1", 1)
            ))
            .is_err()
        );
    }
}
