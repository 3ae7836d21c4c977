//! The console's page (`public/io/console.h`).
#![allow(missing_docs)]

/// A count of bytes ever produced or consumed, modulo 2^32.
pub type XENCONS_RING_IDX = u32;

structs! {
    /// Two byte rings in one page. The guest consumes `in` and produces `out`.
    struct xencons_interface {
        r#in: [u8; 1024],
        out: [u8; 2048],
        in_cons: XENCONS_RING_IDX,
        in_prod: XENCONS_RING_IDX,
        out_cons: XENCONS_RING_IDX,
        out_prod: XENCONS_RING_IDX,
    }
}
