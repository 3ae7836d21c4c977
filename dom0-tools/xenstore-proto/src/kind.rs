//! What a message asks for.

/// A message's type: open, since a peer may send any number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind(pub u32);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl Kind {
            $($(#[$doc])* pub const $name: Kind = Kind($value);)*

            /// The name in `xs_wire.h` without its `XS_`, or none for a number that has no meaning.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// Commands for the daemon itself.
    CONTROL = 0;
    /// Names of a node's children.
    DIRECTORY = 1;
    /// A node's value.
    READ = 2;
    /// A node's access list.
    GET_PERMS = 3;
    /// Asks to be told of changes at or below a path.
    WATCH = 4;
    /// Takes a watch back.
    UNWATCH = 5;
    /// Begins a transaction.
    TRANSACTION_START = 6;
    /// Commits or drops a transaction.
    TRANSACTION_END = 7;
    /// Connects a domain's ring.
    INTRODUCE = 8;
    /// Disconnects a domain's ring.
    RELEASE = 9;
    /// The path that a domain's relative paths begin at.
    GET_DOMAIN_PATH = 10;
    /// Sets a node's value, and makes the node and its parents.
    WRITE = 11;
    /// Makes a node and its parents.
    MKDIR = 12;
    /// Removes a node and all below it.
    RM = 13;
    /// Replaces a node's access list.
    SET_PERMS = 14;
    /// From the daemon only: a watch has fired.
    WATCH_EVENT = 15;
    /// From the daemon only: the request failed.
    ERROR = 16;
    /// Whether a domain's ring is connected.
    IS_DOMAIN_INTRODUCED = 17;
    /// Lets a domain that was shut down be reported again.
    RESUME = 18;
    /// Lets a domain act for another one.
    SET_TARGET = 19;
    /// Drops all watches and transactions of the caller.
    RESET_WATCHES = 21;
    /// A part of a long list of children.
    DIRECTORY_PART = 22;
}

impl core::fmt::Debug for Kind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Kind({})", self.0),
        }
    }
}
