//! Connections as plain values, read and written: what listings, snapshots and synchronisation stand on.

use alloc::vec::Vec;

use arrayvec::ArrayVec;

use super::Director;
use crate::classify::FlowKey;
use crate::config::{Protocol, ServiceKey};
use crate::connection::{
    ConnectionId, ConnectionRecord, ConnectionState, NewConnection, TableMemory, duration_ticks, ticks,
    ticks_duration,
};
use crate::time::Instant;

/// Why a connection cannot be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// No virtual service has the record's protocol, address and port.
    #[error("no virtual service takes this connection")]
    NoService,
    /// The virtual service has no such real server.
    #[error("the virtual service has no such real server")]
    NoDestination,
    /// The client's family is not the virtual address's.
    #[error("client and virtual address are of different families")]
    FamilyMismatch,
    /// The flow has a connection already, which is left as it is.
    #[error("the flow has a connection already")]
    Exists,
    /// The state is not one of the protocol's.
    #[error("the state does not belong to the protocol")]
    BadState,
    /// The connection table is full.
    #[error("the connection table is full: raise the director's max_connections")]
    TableFull,
}

impl<M: TableMemory> Director<M> {
    /// Connections from `cursor` on (0 at first), at most as many as fit `records` and looking at no more than `budget`
    /// table lines. Answers the cursor to go on with, or `None` at the end. Connections that come and go meanwhile may be
    /// missing; none is shown twice.
    pub fn connections<const N: usize>(
        &self,
        now: Instant,
        cursor: u32,
        budget: u32,
        records: &mut ArrayVec<ConnectionRecord, N>,
    ) -> Option<u32> {
        let mut budget = budget;
        let mut cursor = cursor;
        while !records.is_full() {
            let (found, next) = self.connections.scan(cursor, &mut budget);
            if let Some(id) = found {
                records.push(self.record_of(now, id));
            }
            cursor = next?;
            if found.is_none() {
                return Some(cursor);
            }
        }
        Some(cursor)
    }

    /// All connections at once. For tests and small tables; a busy director is read by
    /// [`connections`](Self::connections).
    #[must_use]
    pub fn all_connections(&self, now: Instant) -> Vec<ConnectionRecord> {
        let mut all = Vec::new();
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let mut some = ArrayVec::<_, 64>::new();
            cursor = self.connections(now, at, u32::MAX, &mut some);
            all.extend(some);
        }
        all
    }

    fn record_of(&self, now: Instant, id: ConnectionId) -> ConnectionRecord {
        let entry = self.connections.entry(id);
        let key = self.connections.key(id);
        let protocol = if key.protocol() == Protocol::Udp.number() { Protocol::Udp } else { Protocol::Tcp };
        ConnectionRecord {
            protocol,
            client: key.client(),
            virtual_address: key.virtual_socket(),
            destination: self.socket_of(entry.destination()),
            state: entry.state(),
            expires_in: self.connections.expires_in(id, now),
            timeout: ticks_duration(entry.timeout()),
            packets: entry.packets(),
        }
    }

    /// Makes a connection as recorded, by this director or another one. It counts for its server from now on, but not in
    /// the statistics.
    ///
    /// # Errors
    /// If the director has no such service or server, or no room, or knows the flow.
    pub fn restore(&mut self, now: Instant, record: &ConnectionRecord) -> Result<(), RestoreError> {
        self.now = self.now.max(now);
        let (protocol, vip) = (record.protocol, record.virtual_address);
        let key = ServiceKey::Address { protocol, address: vip.ip(), port: vip.port() };
        let service = self.services.id(key).and_then(|id| self.services.get(id));
        let service = service.ok_or(RestoreError::NoService)?;
        let place = service.place_of(record.destination.ip(), record.destination.port());
        let destination = service.servers()[place.ok_or(RestoreError::NoDestination)?].destination;
        let flow = FlowKey::new(protocol.number(), record.client, vip).ok_or(RestoreError::FamilyMismatch)?;
        if (record.state == ConnectionState::Udp) != (protocol == Protocol::Udp) {
            return Err(RestoreError::BadState);
        }
        let hash = self.connections.hash(&flow);
        if self.connections.find(hash, &flow).is_some() {
            return Err(RestoreError::Exists);
        }
        let timeout = duration_ticks(record.timeout);
        let new = NewConnection { destination, state: record.state, timeout };
        let id = self.connections.insert(self.now, hash, &flow, new).map_err(|_| RestoreError::TableFull)?;
        let spent = timeout.saturating_sub(duration_ticks(record.expires_in));
        let entry = self.connections.entry_mut(id);
        entry.set_packets(record.packets);
        entry.set_last_seen(ticks(self.now).wrapping_sub(spent));
        self.connections.hasten(id);
        self.destinations.connection_restored(destination, record.state.is_active());
        Ok(())
    }
}
