//! The boot tests by name.

mod bad_input;
mod case;
mod devices;
mod downtime;
pub mod guests;
mod kernels;
mod life;
mod loads;
mod migration;
mod parity;
mod rust_guests;
mod sizes;

pub use case::Case;

/// By what they are about.
const TABLES: &[&[Case]] = &[
    sizes::CASES,
    life::CASES,
    loads::CASES,
    devices::CASES,
    kernels::CASES,
    rust_guests::CASES,
    guests::CASES,
    migration::CASES,
    parity::CASES,
    bad_input::CASES,
];

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Case> {
    TABLES.iter().copied().flatten()
}

/// Prints names and what each shows.
pub fn list() {
    for case in all() {
        let note = if case.long { " (--long)" } else { "" };
        println!("{:<18} {}{note}", case.name, case.about);
    }
}
