//! Errors as they travel: by name.

macro_rules! errors {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        /// An error that a reply can carry, as listed in `xs_wire.h`; the variants' names are those on the wire.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[allow(clippy::upper_case_acronyms)]
        pub enum Error {
            $(#[doc = $text] $name,)*
        }

        impl Error {
            /// Every error, in the order of `xs_wire.h`.
            pub const ALL: &'static [Error] = &[$(Error::$name),*];

            /// The name on the wire.
            pub fn name(self) -> &'static str {
                match self {
                    $(Error::$name => stringify!($name),)*
                }
            }

            /// Linux's number for it.
            pub fn number(self) -> i32 {
                match self {
                    $(Error::$name => $number,)*
                }
            }

            /// What it means here, in words.
            pub fn text(self) -> &'static str {
                match self {
                    $(Error::$name => $text,)*
                }
            }
        }
    };
}

errors! {
    EINVAL = 22, "malformed request or path";
    EACCES = 13, "permission denied";
    EEXIST = 17, "exists already";
    EISDIR = 21, "is a directory";
    ENOENT = 2, "no such node";
    ENOMEM = 12, "out of memory";
    ENOSPC = 28, "quota exceeded";
    EIO = 5, "input/output error";
    ENOTEMPTY = 39, "not empty";
    ENOSYS = 38, "not supported by this xenstored";
    EROFS = 30, "read only";
    EBUSY = 16, "busy";
    EAGAIN = 11, "transaction conflicts with another change";
    EISCONN = 106, "already connected";
    E2BIG = 7, "too big";
    EPERM = 1, "not permitted";
}

impl Error {
    /// Reads an error reply's payload; a name that is not listed counts as [`Error::EINVAL`], as in libxenstore.
    pub fn from_payload(payload: &[u8]) -> Error {
        let name = crate::first_field(payload).unwrap_or(payload);
        Self::ALL
            .iter()
            .copied()
            .find(|error| error.name().as_bytes() == name)
            .unwrap_or(Error::EINVAL)
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} ({})", self.text(), self.name())
    }
}

impl core::error::Error for Error {}

#[cfg(feature = "std")]
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        std::io::Error::from_raw_os_error(error.number())
    }
}
