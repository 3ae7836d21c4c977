//! The disk that `bench` boots: Debian with the programs that make load.
