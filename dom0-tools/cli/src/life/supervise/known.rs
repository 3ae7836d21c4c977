//! The records as the supervisor saw them last. With hundreds of domains, reading all of their files anew for each that
//! begins or ends would cost more than what is to be done; a file that is still the same one is not read again.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use xl_config::Uuid;

use crate::life::record::{Record, Records};
use crate::{failure, message};

/// A file that was written so lately may be written again without its times telling: kernels count those in ticks, and
/// give a number of a file that is gone to the next one.
const UNSETTLED: Duration = Duration::from_millis(200);

/// What tells one state of a record's file from another: a record is never changed in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    inode: u64,
    written: SystemTime,
    size: u64,
}

/// Records, each with the state of its file; none where the file may have changed since without showing it.
#[derive(Debug, Default)]
pub struct Known {
    records: BTreeMap<Uuid, (Option<State>, Record)>,
}

impl Known {
    /// Looks for records that are new, changed or gone; what cannot be read is named on standard error and left.
    pub fn refresh(&mut self, files: &Records) -> Result<()> {
        let now = SystemTime::now();
        let mut before = std::mem::take(&mut self.records);
        for (uuid, metadata) in files.list()? {
            let written = metadata.modified().unwrap_or(now);
            let state = State {
                inode: metadata.ino(),
                written,
                size: metadata.size(),
            };
            if let Some(same) = before.remove(&uuid).filter(|(seen, _)| *seen == Some(state)) {
                self.records.insert(uuid, same);
                continue;
            }
            let is_settled = now.duration_since(written).is_ok_and(|age| age > UNSETTLED);
            match files.load(uuid) {
                // What was read may already be the next file: then its state differs at the next look.
                Ok(Some(record)) => drop(self.records.insert(uuid, (is_settled.then_some(state), record))),
                Ok(None) => {}
                Err(error) => message::warn(failure::text(&error)),
            }
        }
        Ok(())
    }

    /// All of them.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values().map(|(_, record)| record)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};

    use super::*;
    use crate::life::record::{Stage, boot_id};

    fn record(number: u8) -> Record {
        let text = format!("name='g{number}'\nkernel='/k'\nmemory=64\n");
        let config = xl_config::interpret(&xl_config::parse("t", &text).0)
            .0
            .expect("a domain");
        Record {
            uuid: Uuid([number; 16]),
            domid: None,
            stage: Stage::Building,
            boot_id: boot_id(),
            source: "t".into(),
            config,
            next_config: None,
        }
    }

    fn age(files: &Records, uuid: Uuid, by: Duration) {
        let times = FileTimes::new().set_modified(SystemTime::now() - by);
        let file = File::options().write(true).open(files.path(uuid)).expect("a file");
        file.set_times(times).expect("set");
    }

    #[test]
    fn changes_show_and_what_is_settled_is_not_read_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = Records::at(directory.path(), directory.path());
        files.prepare().expect("directories");
        let (mut first, second) = (record(1), record(2));
        for record in [&first, &second] {
            files.save(record).expect("saved");
        }
        let mut known = Known::default();
        let mut seen = |files: &Records| {
            known.refresh(files).expect("read");
            let states = known.records().map(|record| (record.uuid.0[0], record.stage));
            (
                states.collect::<Vec<_>>(),
                known.records.values().filter(|(state, _)| state.is_some()).count(),
            )
        };
        // Fresh files are read each time.
        assert_eq!(seen(&files), (vec![(1, Stage::Building), (2, Stage::Building)], 0));
        first.stage = Stage::Running;
        files.save(&first).expect("saved");
        assert_eq!(seen(&files), (vec![(1, Stage::Running), (2, Stage::Building)], 0));
        // Old ones are not, until they are others.
        for uuid in [first.uuid, second.uuid] {
            age(&files, uuid, Duration::from_secs(60));
        }
        assert_eq!(seen(&files).1, 2);
        first.stage = Stage::Preserved;
        files.save(&first).expect("saved");
        assert_eq!(seen(&files), (vec![(1, Stage::Preserved), (2, Stage::Building)], 1));
        files.remove(second.uuid).expect("removed");
        assert_eq!(seen(&files).0, vec![(1, Stage::Preserved)]);
    }
}
