//! Pages of a guest, mapped for a request or for good.

use std::collections::HashMap;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use privcmd::{DomId, GrantDevice, GrantMap, Mapping, PAGE_SIZE, Piece};

use crate::request::Segment;

/// Pages that one queue keeps mapped at most: a ring's worth of requests with all their segments.
const KEPT: usize = 1056;

/// Where a queue gets its guest's pages from.
pub(crate) trait Guest {
    /// Mapped pages.
    type Pages: Deref<Target = Mapping> + std::fmt::Debug;

    /// Maps pages, one behind the other.
    ///
    /// # Errors
    /// Where one of them is not granted, or not with this right.
    fn map(&mut self, grefs: &[u32], writable: bool) -> io::Result<Self::Pages>;
}

/// A guest by its grants.
#[derive(Debug)]
pub(crate) struct Granted {
    device: GrantDevice,
    domid: DomId,
}

impl Granted {
    /// The guest `domid`.
    pub(crate) fn new(device: GrantDevice, domid: DomId) -> Self {
        Self { device, domid }
    }
}

impl Guest for Granted {
    type Pages = GrantMap;

    fn map(&mut self, grefs: &[u32], writable: bool) -> io::Result<GrantMap> {
        self.device.map(self.domid, grefs, writable)
    }
}

/// The pages of a guest for one queue. A frontend that uses the same pages again and again (feature-persistent) has
/// them stay mapped, up to a limit; pages past it are mapped for each request.
#[derive(Debug)]
pub(crate) struct Pages<G: Guest> {
    guest: G,
    persistent: bool,
    kept: HashMap<u32, (Arc<G::Pages>, usize)>,
}

/// Pages of one request: the mapping of each segment, and its page in there.
type Places<P> = Vec<(Arc<P>, usize)>;

impl<G: Guest> Pages<G> {
    /// None mapped yet.
    pub(crate) fn new(guest: G, persistent: bool) -> Self {
        Self {
            guest,
            persistent,
            kept: HashMap::new(),
        }
    }

    /// Maps the pages of `segments`. With `to_guest` they will be written to.
    ///
    /// # Errors
    /// Where one of them is not granted, or not with the right that is needed.
    pub(crate) fn places(&mut self, segments: &[Segment], to_guest: bool) -> io::Result<Places<G::Pages>> {
        let mut missing: Vec<u32> = segments.iter().map(|segment| segment.gref).collect();
        missing.retain(|gref| !self.kept.contains_key(gref));
        missing.sort_unstable();
        missing.dedup();
        let keep = self.persistent && self.kept.len() + missing.len() <= KEPT;
        let mut fresh = HashMap::new();
        if !missing.is_empty() {
            // Pages that stay will be used both ways.
            let pages = Arc::new(self.guest.map(&missing, to_guest || keep)?);
            let places = missing.iter().enumerate();
            fresh.extend(places.map(|(index, gref)| (*gref, (pages.clone(), index))));
        }
        let place = |segment: &Segment| {
            let found = self.kept.get(&segment.gref).or_else(|| fresh.get(&segment.gref));
            found.cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        };
        let places = segments.iter().map(place).collect();
        if keep {
            self.kept.extend(fresh);
        }
        places
    }

    /// Copies bytes out of pages that hold a list, each page full but the last.
    ///
    /// # Errors
    /// Where one of the pages is not granted.
    pub(crate) fn read(&mut self, grefs: &[u32], len: usize) -> io::Result<Vec<u8>> {
        let whole = |gref: &u32| Segment {
            gref: *gref,
            first: 0,
            last: 7,
        };
        let segments: Vec<Segment> = grefs.iter().map(whole).collect();
        let places = self.places(&segments, false)?;
        let mut bytes = vec![0; len];
        for ((pages, index), chunk) in places.iter().zip(bytes.chunks_mut(PAGE_SIZE)) {
            pages.read(index * PAGE_SIZE, chunk);
        }
        Ok(bytes)
    }
}

/// The bytes of `segments` at their places; neighbours become one piece.
pub(crate) fn pieces<'a, P: Deref<Target = Mapping>>(
    segments: &[Segment],
    places: &'a [(Arc<P>, usize)],
) -> Vec<Piece<'a>> {
    let mut pieces: Vec<Piece<'a>> = Vec::with_capacity(segments.len());
    for (segment, (pages, index)) in segments.iter().zip(places) {
        let memory: &Mapping = pages;
        let offset = index * PAGE_SIZE + segment.offset();
        match pieces.last_mut() {
            Some(last) if std::ptr::eq(last.memory, memory) && last.offset + last.len == offset => {
                last.len += segment.len();
            }
            _ => pieces.push(Piece {
                memory,
                offset,
                len: segment.len(),
            }),
        }
    }
    pieces
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs::File;

    use super::*;

    /// A guest whose pages are a file's; page 0 is never granted, pages from 100 on only to be read.
    #[derive(Debug)]
    pub(crate) struct FileGuest {
        pub(crate) memory: File,
        pub(crate) maps: usize,
    }

    impl FileGuest {
        pub(crate) fn new() -> Self {
            let memory = tempfile::tempfile().unwrap();
            memory.set_len(2000 * PAGE_SIZE as u64).unwrap();
            Self { memory, maps: 0 }
        }
    }

    impl Guest for FileGuest {
        type Pages = Box<Mapping>;

        fn map(&mut self, grefs: &[u32], writable: bool) -> io::Result<Box<Mapping>> {
            self.maps += 1;
            let refused = |gref: &u32| *gref == 0 || *gref >= 2000 || writable && (100..200).contains(gref);
            if grefs.iter().any(refused) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let pages: Vec<u64> = grefs.iter().map(|gref| u64::from(*gref)).collect();
            Mapping::of_pages(&self.memory, &pages, writable).map(Box::new)
        }
    }

    fn segment(gref: u32) -> Segment {
        Segment {
            gref,
            first: 0,
            last: 7,
        }
    }

    #[test]
    fn persistent_pages_are_mapped_once_up_to_a_limit() {
        let mut pages = Pages::new(FileGuest::new(), true);
        for _ in 0..3 {
            pages.places(&[segment(5), segment(6), segment(5)], true).unwrap();
        }
        assert_eq!(pages.guest.maps, 1);
        for gref in 200..1600 {
            pages.places(&[segment(gref)], false).unwrap();
        }
        assert_eq!(pages.kept.len(), KEPT);
        assert!(pages.places(&[segment(5), segment(0)], true).is_err());
    }

    #[test]
    fn other_pages_are_mapped_for_each_request() {
        let mut pages = Pages::new(FileGuest::new(), false);
        pages.places(&[segment(100)], false).unwrap();
        pages.places(&[segment(100)], false).unwrap();
        assert_eq!((pages.guest.maps, pages.kept.len()), (2, 0));
        assert!(pages.places(&[segment(100)], true).is_err(), "granted to be read only");
    }

    #[test]
    fn neighbours_become_one_piece() {
        let mut pages = Pages::new(FileGuest::new(), false);
        let half = Segment {
            gref: 7,
            first: 0,
            last: 3,
        };
        let segments = [segment(5), segment(6), half, segment(9)];
        let places = pages.places(&segments, true).unwrap();
        let pieces: Vec<(usize, usize)> = pieces(&segments, &places).iter().map(|p| (p.offset, p.len)).collect();
        assert_eq!(pieces, [(0, 2 * 4096 + 2048), (3 * 4096, 4096)]);
    }
}
