//! Names for servers that outlive their places: a small number for each (address, port) ever seen.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::Server;
use crate::quick_hash::QuickMap;

/// The small number of a server.
pub(super) type Name = u16;

/// Numbers of servers, and where in the list they stand now.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    by_server: QuickMap<(IpAddr, u16), Name>,
    /// By name: the place now, if it is in the list.
    places: Vec<Option<u32>>,
    /// By place.
    names: Vec<Name>,
}

impl Names {
    /// Follows the list. Answers whether old names have lost their meaning, which happens when very many servers have come
    /// and gone: whoever remembers names has to forget them then.
    pub(super) fn follow(&mut self, servers: &[Server]) -> bool {
        let most = (2 * servers.len() + 1024).min(usize::from(Name::MAX));
        let forget = self.places.len() > most;
        if forget {
            *self = Self::default();
        }
        self.places.fill(None);
        self.names.clear();
        for (place, server) in servers.iter().take(usize::from(Name::MAX)).enumerate() {
            let next = self.by_server.len() as Name;
            let name = *self.by_server.entry((server.address, server.port)).or_insert(next);
            if usize::from(name) == self.places.len() {
                self.places.push(None);
            }
            self.places[usize::from(name)] = Some(place as u32);
            self.names.push(name);
        }
        forget
    }

    /// Where a server stands now.
    pub(super) fn place(&self, name: Name) -> Option<usize> {
        self.places.get(usize::from(name)).copied().flatten().map(|place| place as usize)
    }

    /// The name of the server in a place.
    pub(super) fn name(&self, place: usize) -> Option<Name> {
        self.names.get(place).copied()
    }
}
