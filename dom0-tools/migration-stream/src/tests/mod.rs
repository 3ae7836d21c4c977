//! Streams that are read as they were written, and hostile ones.

mod hostile;
mod whole;

use crate::libxc::{self, Part, Record, Tsc};
use crate::{PAGE_SIZE, PageKind, libxl, xl};

/// The records of a small domain, memory left out.
fn records() -> Vec<Record> {
    vec![
        Record::PvInfo { width: 8, levels: 4 },
        Record::CpuidPolicy(vec![7; 48]),
        Record::MsrPolicy(vec![9; 32]),
        Record::StaticDataEnd,
        Record::P2mFrames {
            first: 0,
            last: 600,
            frames: vec![3, 4],
        },
        Record::Tsc(Tsc {
            mode: 2,
            khz: 1_000_000,
            elapsed_ns: 1 << 40,
            incarnation: 3,
        }),
        Record::SharedInfo(vec![1; PAGE_SIZE]),
        Record::Vcpu {
            vcpu: 1,
            part: Part::Msrs,
            context: vec![5; 17],
        },
    ]
}

/// A whole saved domain, as `xl save` lays it out.
fn image() -> Vec<u8> {
    let mut bytes = Vec::new();
    xl::write(&mut bytes, b"{}").expect("written");
    libxl::write_header(&mut bytes).expect("written");
    libxl::write_libxc(&mut bytes).expect("written");
    libxc::write_header(&mut bytes, (4, 17)).expect("written");
    for record in records() {
        libxc::write_record(&mut bytes, &record).expect("written");
    }
    let frames = [
        (0, PageKind::NORMAL),
        (1, PageKind::INVALID),
        (600, PageKind::table(4, true).expect("a level")),
    ];
    let data: Vec<u8> = (0..2 * PAGE_SIZE).map(|at| at as u8).collect();
    libxc::write_pages(&mut bytes, &frames, &data).expect("written");
    libxc::write_record(&mut bytes, &Record::End).expect("written");
    libxl::write_end(&mut bytes).expect("written");
    bytes
}
