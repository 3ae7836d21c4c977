//! What the views show and how: gathered from hypervisor and store, printed as xl prints it or as JSON.

pub mod changes;
pub mod colour;
pub mod cpu_ranges;
pub mod domains;
pub mod duration;
pub mod json;
pub mod long_list;
pub mod scheduler;
