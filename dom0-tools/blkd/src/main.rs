//! `blkd`: a block backend in a process. It serves files (and block devices) as disks of guests, by the protocol of
//! `public/io/blkif.h`, where the kernel's backend has no loop device to offer. Disks are found in xenstore below
//! `backend/qdisk`, where toolstacks announce disks for a backend in a process.
//!
//! A disk's queues are served by a thread each. Requests are carried out one by one in the order of the ring, and each
//! answer is published at once: so everything that is not answered still stands in the ring, and a blkd that was killed
//! goes on where it stopped when it is started again, unnoticed by guests.

mod daemon;
mod device;
mod features;
mod grants;
mod image;
mod queue;
mod request;
mod ring;
mod state;

use anyhow::Result;
use clap::Parser;

/// Serve files as disks of guests
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    /// Stay in the foreground (blkd always does; for likeness with the other daemons)
    #[arg(short = 'F', long)]
    foreground: bool,
    /// Most queues of one disk
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    queues: u32,
    /// Tell of each disk that comes and goes
    #[arg(short, long)]
    verbose: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    daemon::run(options.queues, options.verbose)
}
