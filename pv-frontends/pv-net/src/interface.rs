//! What the two ends of a network device have in common.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use pv_hal::Port;

use crate::{Error, Features, Mac, Meta};

/// Where a device stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// The two ends are finding each other; frames cannot be sent.
    Connecting,
    /// In use.
    Up,
    /// Gone: unplugged, closed, or given up because of what the peer did.
    Closed,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError {
    /// No room now; there will be once the peer has answered.
    Full,
    /// The device is not connected.
    Down,
    /// The frame is larger than the peer takes, or empty.
    BadLength,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "no room for a frame now",
            Self::Down => "the network device is not connected",
            Self::BadLength => "a frame of a length that the peer does not take",
        })
    }
}

impl core::error::Error for SendError {}

/// A frame that was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Its length in bytes.
    pub len: usize,
    /// Checksum and segmentation.
    pub meta: Meta,
}

/// What a device has done since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Frames sent.
    pub sent: u64,
    /// Frames that the peer answered with an error, or that were under way when it let go.
    pub send_errors: u64,
    /// Frames received.
    pub received: u64,
    /// Frames from the peer that were broken or did not fit.
    pub dropped: u64,
    /// Events sent.
    pub notifications: u64,
}

/// One end of a network device.
pub trait Interface {
    /// Follows the store and says where the device stands. Returns at once, but for the store's answers, and those are
    /// waited for only when something there has changed.
    ///
    /// # Errors
    /// The store cannot be reached, or memory, grants or ports are missing. The peer's mistakes lead to
    /// [`Status::Closed`] instead.
    fn poll(&mut self) -> Result<Status, Error>;

    /// Takes a frame to be sent. It is on its way after [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`SendError`]; then nothing of the frame was sent.
    fn try_send(&mut self, frame: &[u8], meta: Meta) -> Result<(), SendError>;

    /// Whether a frame of `len` bytes would be taken now, whatever is in it.
    fn has_room(&mut self, len: usize) -> bool;

    /// Lets the peer see what was taken, and tells it if it sleeps.
    fn flush(&mut self);

    /// The next frame from the peer, copied to the beginning of `into`; none if there is none now. A frame that does not
    /// fit is dropped and counted.
    fn try_receive(&mut self, into: &mut [u8]) -> Option<Received>;

    /// Forgets events, asks for new ones about whatever comes next (frames, and room to send if `wants_room`), and says
    /// whether there is something already. Only after `false` may a loop sleep for the [`ports`](Self::ports).
    fn arm(&mut self, wants_room: bool) -> bool;

    /// The ports that report frames, room and changes in the store.
    fn ports(&self) -> Vec<Port>;

    /// Sends what was taken, and sleeps until the peer has done something, or until the deadline (in the time of
    /// [`now`](Self::now)).
    fn wait(&mut self, wants_room: bool, deadline: Option<Duration>);

    /// The machine's time.
    fn now(&self) -> Duration;

    /// What the peer takes.
    fn peer_features(&self) -> Features;

    /// The hardware address of the guest's end.
    fn mac(&self) -> Mac;

    /// Most bytes of a frame that is no large segment, without the Ethernet header.
    fn mtu(&self) -> usize;

    /// What was sent and received.
    fn statistics(&self) -> Statistics;

    /// Sends a frame, and sleeps while there is no room.
    ///
    /// # Errors
    /// [`Error::Down`], [`Error::BadLength`]; those of [`poll`](Self::poll).
    fn send(&mut self, frame: &[u8], meta: Meta) -> Result<(), Error> {
        loop {
            match self.try_send(frame, meta) {
                Ok(()) => {
                    self.flush();
                    return Ok(());
                }
                Err(SendError::Full) => self.wait(true, None),
                Err(SendError::Down) => return Err(Error::Down),
                Err(SendError::BadLength) => return Err(Error::BadLength),
            }
            if self.poll()? != Status::Up {
                return Err(Error::Down);
            }
        }
    }

    /// Sleeps until a frame comes; none at the deadline.
    ///
    /// # Errors
    /// [`Error::Down`]; those of [`poll`](Self::poll).
    fn receive(&mut self, into: &mut [u8], deadline: Option<Duration>) -> Result<Option<Received>, Error> {
        loop {
            if self.poll()? != Status::Up {
                return Err(Error::Down);
            }
            let received = self.try_receive(into);
            if received.is_some() || deadline.is_some_and(|deadline| self.now() >= deadline) {
                return Ok(received);
            }
            self.wait(false, deadline);
        }
    }

    /// Sleeps until the device is up; false at the deadline.
    ///
    /// # Errors
    /// [`Error::Down`] for a device that has closed; those of [`poll`](Self::poll).
    fn wait_until_up(&mut self, deadline: Option<Duration>) -> Result<bool, Error> {
        loop {
            match self.poll()? {
                Status::Up => return Ok(true),
                Status::Closed => return Err(Error::Down),
                Status::Connecting => {}
            }
            if deadline.is_some_and(|deadline| self.now() >= deadline) {
                return Ok(false);
            }
            self.wait(false, deadline);
        }
    }
}
