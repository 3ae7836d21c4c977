//! A blocking client of xenstore: over the daemon's socket, or over `/dev/xen/xenbus` where there is no daemon.
//!
//! When the daemon ends and comes back, the client connects again, sets its watches again (each fires once, which tells
//! its user to look again), and repeats the request it was at. Only a transaction is lost by that:
//! [`Client::transaction`] runs it anew, as it does after a conflict.
//!
//! ```no_run
//! use xenstore_client::{Client, Store};
//! let mut client = Client::open()?;
//! let name = client.read_text("/local/domain/0/name")?;
//! client.transaction(|store| {
//!     store.write("/tool/example/a", "1")?;
//!     store.write("/tool/example/b", "2")
//! })?;
//! # Ok::<(), xenstore_client::Error>(())
//! ```
#![forbid(unsafe_code)]

mod client;
mod error;
mod store;
mod transaction;
mod transport;

pub use client::{Client, Event};
pub use error::Error;
pub use store::Store;
pub use transaction::Transaction;
pub use xenstore_proto::{Access, Error as StoreError, Kind, Permission};

/// What a request gives.
pub type Result<T> = std::result::Result<T, Error>;
