//! Making a daemon's state from records.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Acquire, Release};

use xenstore_proto::{RELEASE_DOMAIN, ring};

use crate::access::Identity;
use crate::connection::{Connection, Link, OwnWatch};
use crate::daemon::{Daemon, Domain, Introduced};
use crate::record::{self, Damaged, Reader, Tag};
use xenstore_core::platform::RingPage;
use xenstore_core::state::RingState;

/// Added to the generation reached, so that none that a client remembers comes again.
const GENERATION_GAP: u64 = 1 << 32;
/// Transactions that may have begun since the journal last told.
const TRANSACTION_GAP: u32 = 1 << 20;

/// A socket's client in a handover.
pub struct SocketState {
    slot: u64,
    next_transaction: u32,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// What records say beside the nodes.
#[derive(Default)]
pub struct Restored {
    domains: BTreeMap<u16, (Domain, Option<(u64, u32)>)>,
    rings: BTreeMap<u16, RingState>,
    watches: BTreeMap<u16, Vec<OwnWatch>>,
    /// Clients at sockets, in the order of their descriptors.
    pub sockets: Vec<SocketState>,
    socket_watches: Vec<(u64, OwnWatch)>,
}

impl Restored {
    /// Takes in a batch of records; nodes go to `daemon` at once.
    pub fn read(&mut self, daemon: &mut Daemon, batch: &[u8]) -> Result<(), Damaged> {
        let mut reader = Reader::new(batch);
        while let Some(tag) = reader.tag()? {
            match tag {
                Tag::Value | Tag::Make | Tag::MakeInherited | Tag::Remove | Tag::Permissions => {
                    let generation = daemon.next_generation();
                    record::apply(&mut daemon.live.tree, tag, &mut reader, generation)?;
                }
                Tag::Generation => daemon.generation = daemon.generation.max(reader.number()?),
                Tag::Special => {
                    let name = reader.bytes()?.to_vec();
                    daemon.special.insert(name, reader.permissions()?);
                }
                Tag::Quota => {
                    let name = String::from_utf8_lossy(reader.bytes()?).into_owned();
                    daemon.quotas.set(&name, reader.number()?);
                }
                Tag::Logging => daemon.logging = true,
                other => self.read_client(other, &mut reader)?,
            }
        }
        Ok(())
    }

    fn read_client(&mut self, tag: Tag, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        if tag == Tag::SocketWatch {
            let slot = reader.number()?;
            self.socket_watches.push((slot, read_watch(reader)?));
            return Ok(());
        }
        if tag == Tag::Socket {
            self.sockets.push(SocketState {
                slot: reader.number()?,
                next_transaction: reader.small()?,
                input: reader.bytes()?.to_vec(),
                output: reader.bytes()?.to_vec(),
            });
            return Ok(());
        }
        let domain: u16 = reader.small()?;
        match tag {
            Tag::Domain => {
                let entry = read_domain(reader)?;
                self.domains.insert(domain, entry);
            }
            Tag::Forget => {
                self.domains.remove(&domain);
                self.rings.remove(&domain);
                self.watches.remove(&domain);
            }
            Tag::Ring => {
                let state = read_ring(reader)?;
                self.rings.insert(domain, state);
            }
            Tag::Watch => {
                let watch = read_watch(reader)?;
                self.watches.entry(domain).or_default().push(watch);
            }
            Tag::Unwatch => {
                let (path, token) = (reader.bytes()?, reader.bytes()?);
                let watches = self.watches.entry(domain).or_default();
                watches.retain(|watch| *watch.path != *path || *watch.token != *token);
            }
            Tag::ResetWatches => {
                self.watches.remove(&domain);
            }
            _ => return Err(Damaged),
        }
        Ok(())
    }

    /// Connects everybody again. With `handover`, event channels are still bound as the records say.
    pub fn connect(mut self, daemon: &mut Daemon, sockets: Vec<OwnedFd>, handover: bool) {
        daemon.generation += GENERATION_GAP;
        daemon.recount();
        let mut gone = Vec::new();
        for (number, (domain, ring)) in &self.domains {
            daemon.domains.insert(*number, domain.clone());
            if *number != 0 && daemon.host.state(*number).is_none_or(|state| state.dying) {
                gone.push((*number, ring.is_some()));
            }
        }
        for (number, (_, ring)) in std::mem::take(&mut self.domains) {
            let Some((frame, remote_port)) = ring else { continue };
            if gone.iter().any(|(domain, _)| *domain == number) {
                continue;
            }
            let state = self.rings.remove(&number).unwrap_or_default();
            let slot = match self.connect_domain(daemon, number, frame, remote_port, &state, handover) {
                Ok(slot) => slot,
                Err(error) => {
                    eprintln!("xenstored: domain {number}: its ring cannot be connected again: {error}");
                    continue;
                }
            };
            if let Some(known) = daemon.domains.get_mut(&number) {
                known.ring = Some(Introduced {
                    slot,
                    frame,
                    remote_port,
                });
            }
            daemon.touch(slot);
        }
        self.connect_sockets(daemon, sockets);
        daemon.live.log.clear();
        for (number, introduced) in gone {
            daemon.forget_domain(number);
            if introduced {
                daemon.fire(RELEASE_DOMAIN.as_bytes(), false, None, None);
            }
        }
    }

    fn connect_domain(
        &mut self,
        daemon: &mut Daemon,
        number: u16,
        frame: u64,
        remote_port: u32,
        state: &RingState,
        handover: bool,
    ) -> std::io::Result<usize> {
        let (page, remote_port) = if number == 0 {
            daemon.host.own_ring()?.ok_or(std::io::ErrorKind::NotFound)?
        } else {
            (daemon.host.map_ring(number, frame)?, remote_port)
        };
        let port = if handover {
            state.port
        } else {
            daemon.host.bind(number, remote_port)?
        };
        let slot = daemon.add_ring(number, page, port);
        let identity = daemon.identity_of(number);
        if let Some(connection) = daemon.client(slot) {
            connection.identity = identity;
            resume_ring(connection, state);
            let gap = if handover { 0 } else { TRANSACTION_GAP };
            connection.lost_below = state.next_transaction.max(1).saturating_add(gap);
            connection.next_transaction = connection.lost_below;
        }
        for watch in self.watches.remove(&number).unwrap_or_default() {
            // It was accepted before; a second one like it cannot be among them.
            let _ = daemon.add_watch(slot, watch);
        }
        daemon.host.notify(port);
        Ok(slot)
    }

    fn connect_sockets(&mut self, daemon: &mut Daemon, descriptors: Vec<OwnedFd>) {
        for (state, descriptor) in std::mem::take(&mut self.sockets).into_iter().zip(descriptors) {
            let mut connection = Connection::new(Identity::privileged(), Link::Socket(descriptor));
            connection.input = state.input;
            connection.output.restore(&state.output);
            connection.next_transaction = state.next_transaction;
            connection.lost_below = state.next_transaction;
            let slot = daemon.add_connection(connection);
            for (_, watch) in self.socket_watches.extract_if(.., |(client, _)| *client == state.slot) {
                let _ = daemon.add_watch(slot, watch);
            }
            daemon.touch(slot);
        }
    }
}

/// Brings a ring's two streams to where the records say they were, as far as the ring itself is not further.
fn resume_ring(connection: &mut Connection, state: &RingState) {
    let Link::Ring(ring) = &mut connection.link else { return };
    let ahead = ring
        .page
        .load_u32(ring::REQUEST_CONSUMER, Acquire)
        .wrapping_sub(state.consumer) as i32;
    if (-(ring::SIZE as i32)..0).contains(&ahead) {
        ring.page.store_u32(ring::REQUEST_CONSUMER, state.consumer, Release);
    }
    if ahead <= 0 {
        connection.input = state.input.clone();
    }
    let given = ring
        .page
        .load_u32(ring::REPLY_PRODUCER, Acquire)
        .wrapping_sub(state.producer) as usize;
    if let Some(rest) = state.output.get(given..) {
        connection.output.restore(rest);
    }
}

fn read_domain(reader: &mut Reader<'_>) -> Result<(Domain, Option<(u64, u32)>), Damaged> {
    let since = reader.number()?;
    let shutdown = reader.byte()? != 0;
    let target = u16::try_from(reader.number()?).ok();
    let ring = if reader.byte()? != 0 {
        Some((reader.number()?, reader.small()?))
    } else {
        None
    };
    Ok((
        Domain {
            since,
            shutdown,
            ring: None,
            target,
        },
        ring,
    ))
}

fn read_ring(reader: &mut Reader<'_>) -> Result<RingState, Damaged> {
    Ok(RingState {
        consumer: reader.small()?,
        producer: reader.small()?,
        port: reader.small()?,
        next_transaction: reader.small()?,
        input: reader.bytes()?.to_vec(),
        output: reader.bytes()?.to_vec(),
    })
}

fn read_watch(reader: &mut Reader<'_>) -> Result<OwnWatch, Damaged> {
    let skip: usize = reader.small()?;
    let depth = u32::try_from(reader.number()?).ok();
    let (path, token) = (reader.bytes()?, reader.bytes()?);
    if skip > path.len() {
        return Err(Damaged);
    }
    Ok(OwnWatch {
        path: path.into(),
        token: token.into(),
        skip,
        depth,
    })
}
