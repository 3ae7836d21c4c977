//! Names of schedulers.

/// The name of `XEN_SCHEDULER_*` as xl prints it.
pub fn name(sched_id: u32) -> &'static str {
    match sched_id {
        4 => "sedf",
        5 => "credit",
        6 => "credit2",
        7 => "arinc653",
        8 => "rtds",
        9 => "null",
        _ => "unknown",
    }
}
