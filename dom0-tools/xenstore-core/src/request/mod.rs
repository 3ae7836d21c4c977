//! Carrying out requests.

pub mod control;
mod domains;
mod nodes;
mod transactions;
mod watches;

use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;

use xenstore_proto::{Error, Header, Kind, path, split_message};

use crate::access::Identity;
use crate::connection::Connection;
use crate::daemon::Daemon;
use crate::platform::Platform;
use crate::space::Space;
use crate::transaction::Transaction;

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// It was answered.
    Done,
    /// It must wait until another client's transaction is over.
    Stall,
}

/// How a handler ends: it has answered, or gives an error to answer with, or wants to be called again later.
type Outcome = Result<Flow, Error>;

impl<P: Platform> Daemon<P> {
    /// Handles the messages that `bytes` begins with; gives how many bytes they are. Stops early when the client must
    /// read first or wait.
    pub fn handle_messages(&mut self, slot: usize, bytes: &[u8]) -> usize {
        let mut done = 0;
        loop {
            let outstanding = self.quotas.outstanding;
            let Some(connection) = self.client(slot) else {
                return bytes.len();
            };
            if connection.closing || connection.is_paused(outstanding) {
                return done;
            }
            match split_message(&bytes[done..]) {
                Ok(None) => return done,
                Ok(Some((header, payload))) => {
                    if self.handle(slot, &header, payload) == Flow::Stall {
                        return done;
                    }
                    done += Header::SIZE + payload.len();
                }
                Err(_) => {
                    connection.closing = true;
                    self.touch(slot);
                    return bytes.len();
                }
            }
        }
    }

    /// Handles one message.
    fn handle(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Flow {
        if self.logging {
            self.host.log(format_args!(
                "client {slot}: {header:?} {:?}",
                String::from_utf8_lossy(payload)
            ));
        }
        let outcome = self.dispatch(slot, header, payload);
        if outcome == Ok(Flow::Stall) {
            if let Some(connection) = self.client(slot) {
                connection.stalled = true;
                self.stalled.push(slot);
            }
            return Flow::Stall;
        }
        let Some(connection) = self.client(slot) else {
            return Flow::Done;
        };
        if let Err(error) = outcome {
            let name = error.name();
            connection
                .output
                .answer_with(Kind::ERROR, header.request, header.transaction, |out| {
                    out.extend_from_slice(name.as_bytes());
                    out.push(0);
                });
        }
        if !connection.dirty {
            self.touch(slot);
        }
        Flow::Done
    }

    fn dispatch(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        match header.kind {
            Kind::READ => self.read(slot, header, payload),
            Kind::WRITE => self.write(slot, header, payload),
            Kind::DIRECTORY => self.directory(slot, header, payload),
            Kind::DIRECTORY_PART => self.directory_part(slot, header, payload),
            Kind::MKDIR => self.make(slot, header, payload),
            Kind::RM => self.remove(slot, header, payload),
            Kind::GET_PERMS => self.permissions(slot, header, payload),
            Kind::SET_PERMS => self.set_permissions(slot, header, payload),
            Kind::TRANSACTION_START => self.start_transaction(slot, header),
            Kind::TRANSACTION_END => self.end_transaction(slot, header, payload),
            Kind::WATCH => self.watch(slot, header, payload),
            Kind::UNWATCH => self.unwatch(slot, header, payload),
            Kind::RESET_WATCHES => self.reset_watches(slot, header),
            Kind::GET_DOMAIN_PATH => self.domain_path(slot, header, payload),
            Kind::CONTROL
            | Kind::INTRODUCE
            | Kind::RELEASE
            | Kind::IS_DOMAIN_INTRODUCED
            | Kind::RESUME
            | Kind::SET_TARGET => self.dispatch_privileged(slot, header, payload),
            _ => Err(Error::ENOSYS),
        }
    }

    fn dispatch_privileged(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        let Some(connection) = self.client(slot) else {
            return Ok(Flow::Done);
        };
        if !connection.identity.privileged {
            return Err(Error::EACCES);
        }
        if header.transaction != 0 {
            find_transaction(connection, header.transaction)?;
        }
        match header.kind {
            Kind::INTRODUCE => self.introduce(slot, header, payload),
            Kind::RELEASE => self.release(slot, header, payload),
            Kind::IS_DOMAIN_INTRODUCED => self.is_introduced(slot, header, payload),
            Kind::RESUME => self.resume(slot, header, payload),
            Kind::SET_TARGET => self.set_target(slot, header, payload),
            _ => self.control(slot, header, payload),
        }
    }

    /// Answers with a payload.
    fn answer(&mut self, slot: usize, header: &Header, payload: &[u8]) -> Outcome {
        if let Some(connection) = self.client(slot) {
            connection
                .output
                .answer(header.kind, header.request, header.transaction, payload);
        }
        Ok(Flow::Done)
    }

    /// Answers that it is done.
    fn acknowledge(&mut self, slot: usize, header: &Header) -> Outcome {
        self.answer(slot, header, xenstore_proto::OK)
    }

    /// The client, and the nodes that a request of it concerns: the live ones, or those of its transaction.
    fn scene(&mut self, slot: usize, transaction: u32) -> Result<Scene<'_>, Error> {
        let connection = self
            .connections
            .get_mut(slot)
            .and_then(Option::as_mut)
            .ok_or(Error::EIO)?;
        let space = if transaction == 0 {
            &mut self.live
        } else {
            let at = transaction_index(connection, transaction, &self.live)?;
            let identity = connection.identity;
            let others = size_of_others(connection, at);
            let transaction = &mut connection.transactions[at];
            transaction.check_size(&identity, &self.quotas, others)?;
            &mut transaction.space
        };
        Ok(Scene {
            identity: connection.identity,
            space,
            output: &mut connection.output,
        })
    }
}

/// What a request works on.
struct Scene<'a> {
    identity: Identity,
    space: &'a mut Space,
    output: &'a mut crate::output::Output,
}

/// The place of a client's transaction in its list. One that was lost when the daemon ended without warning is made
/// again, to fail when it ends: its client then runs it anew, instead of stumbling over a number that is unknown.
fn transaction_index<P: Platform>(connection: &mut Connection<P>, id: u32, live: &Space) -> Result<usize, Error> {
    if let Some(at) = connection
        .transactions
        .iter()
        .position(|transaction| transaction.id == id)
    {
        return Ok(at);
    }
    if id >= connection.lost_below || connection.transactions.len() >= 64 {
        return Err(Error::ENOENT);
    }
    let mut transaction = Transaction::new(id, &live.tree);
    transaction.doomed = true;
    connection.transactions.push(transaction);
    Ok(connection.transactions.len() - 1)
}

/// Bytes that a client's transactions but the one at `at` keep; none is counted of domain 0's, which has no limit.
fn size_of_others<P: Platform>(connection: &Connection<P>, at: usize) -> u64 {
    if connection.identity.privileged {
        return 0;
    }
    let all = connection.transactions.iter().enumerate();
    all.filter(|(index, _)| *index != at)
        .map(|(_, other)| other.size())
        .sum()
}

/// Whether a client has a transaction of this number.
fn find_transaction<P: Platform>(connection: &Connection<P>, id: u32) -> Result<(), Error> {
    let known = connection.transactions.iter().any(|transaction| transaction.id == id);
    if known { Ok(()) } else { Err(Error::ENOENT) }
}

/// The payload's only string.
fn only_field(payload: &[u8]) -> Result<&[u8], Error> {
    match xenstore_proto::split_value(payload) {
        Some((field, [])) => Ok(field),
        _ => Err(Error::EINVAL),
    }
}

/// Makes a path absolute and checks it. `room` holds it if it had to be put together.
fn absolute_path<'a>(
    raw: &'a [u8],
    domain: u16,
    limit: u64,
    special: bool,
    room: &'a mut Vec<u8>,
) -> Result<&'a [u8], Error> {
    let full = if path::is_relative(raw) {
        room.extend_from_slice(b"/local/domain/");
        room.extend_from_slice(domain.to_string().as_bytes());
        room.push(b'/');
        room.extend_from_slice(raw);
        &room[..]
    } else {
        raw
    };
    if !path::is_valid(full, special) || !path::is_short_enough(full, limit as usize) {
        return Err(Error::EINVAL);
    }
    Ok(full)
}
