//! The two shapes this crate consists of: lists of numbers and plain structures.

/// Defines a list of constants of one type.
macro_rules! consts {
    ($ty:ty: $($(#[$meta:meta])* $name:ident = $value:expr;)*) => {
        $($(#[$meta])* pub const $name: $ty = $value;)*
    };
}

/// Defines structures with C layout that may be read from and written to guest memory as bytes.
/// Padding is explicit (`_pad*`), so that no byte of a structure copied out is uninitialised.
macro_rules! structs {
    ($($(#[$meta:meta])* struct $name:ident { $($(#[$fmeta:meta])* $field:ident: $ty:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[repr(C)]
            #[derive(
                Clone,
                Copy,
                Debug,
                zerocopy::FromBytes,
                zerocopy::IntoBytes,
                zerocopy::Immutable,
                zerocopy::KnownLayout,
            )]
            pub struct $name {
                $($(#[$fmeta])* pub $field: $ty,)*
            }

            impl Default for $name {
                fn default() -> Self {
                    zerocopy::FromZeros::new_zeroed()
                }
            }
        )*
    };
}
