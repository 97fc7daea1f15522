//! Connections as plain values, read and written: what listings, snapshots and synchronisation stand on.

use alloc::vec::Vec;

use arrayvec::ArrayVec;

use super::Director;
use super::common::Common;
use super::worker::Worker;
use crate::classify::FlowKey;
use crate::config::{Protocol, ServiceKey};
use crate::connection::{
    ConnectionId, ConnectionRecord, ConnectionState, ConnectionTable, NewConnection, TableMemory,
    duration_ticks, ticks, ticks_duration,
};
use crate::service::ServiceId;
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
    #[error("the connection table is full: raise the director's max_connections or max_templates")]
    TableFull,
}

/// Cursors from here on are in the table of templates.
const TEMPLATES: u32 = 1 << 31;

impl<M: TableMemory> Director<M> {
    /// Connections and templates from `cursor` on (0 at first), at most as many as fit `records` and looking at no more
    /// than `budget` table lines. Answers the cursor to go on with, or `None` at the end. Those that come and go meanwhile
    /// may be missing; none is shown twice.
    pub fn connections<const N: usize>(
        &self,
        now: Instant,
        cursor: u32,
        budget: u32,
        records: &mut ArrayVec<ConnectionRecord, N>,
    ) -> Option<u32> {
        self.worker.records(&self.common, true, now, cursor, budget, records)
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

    /// Makes a connection or a template as recorded, by this director or another one. It counts for its server from now
    /// on, but not in the statistics. A connection is tied to its client's template if that is there: restore templates
    /// first.
    ///
    /// # Errors
    /// If the director has no such service or server, or no room, or knows the flow.
    pub fn restore(&mut self, now: Instant, record: &ConnectionRecord) -> Result<(), RestoreError> {
        self.worker.restore(&mut self.common, now, record)
    }
}

impl<M: TableMemory> Worker<M> {
    /// Its connections, and if asked for behind them the common templates; see [`Director::connections`].
    pub(super) fn records<const N: usize>(
        &self,
        common: &Common<M>,
        with_templates: bool,
        now: Instant,
        cursor: u32,
        budget: u32,
        records: &mut ArrayVec<ConnectionRecord, N>,
    ) -> Option<u32> {
        let (mut cursor, mut budget) = (cursor, budget);
        while !records.is_full() {
            let in_templates = cursor >= TEMPLATES;
            let table = if in_templates { &common.templates } else { &self.connections };
            let (found, next) = table.scan(cursor % TEMPLATES, &mut budget);
            if let Some(id) = found {
                records.push(common.record_of(table, now, id, in_templates));
            }
            cursor = match next {
                Some(next) if in_templates => TEMPLATES + next,
                Some(next) => next,
                None if in_templates || !with_templates => return None,
                None => TEMPLATES,
            };
            if found.is_none() && budget == 0 {
                return Some(cursor);
            }
        }
        Some(cursor)
    }

    /// See [`Director::restore`].
    pub(super) fn restore(
        &mut self,
        common: &mut Common<M>,
        now: Instant,
        record: &ConnectionRecord,
    ) -> Result<(), RestoreError> {
        common.now = common.now.max(now);
        self.now = self.now.max(now);
        let protocol = record.protocol.map_or(0, Protocol::number);
        let flow = FlowKey::new(protocol, record.client, record.virtual_address)
            .ok_or(RestoreError::FamilyMismatch)?;
        if !suits(record) {
            return Err(RestoreError::BadState);
        }
        let service = common.service_of(record, &flow).ok_or(RestoreError::NoService)?;
        let listed = common.services.get(service).ok_or(RestoreError::NoService)?;
        let address = record.destination.ip();
        // No port is mapped: one that differs is another director's.
        let same_port = record.destination.port() == record.virtual_address.port();
        let server = listed.servers().iter().find(|server| server.address == address && same_port);
        let destination = server.ok_or(RestoreError::NoDestination)?.destination;
        let template = if record.template { None } else { common.template_of(service, &flow) };
        let table = if record.template { &mut common.templates } else { &mut self.connections };
        let id = insert(table, common.now, &flow, record, destination)?;
        if record.template {
            table.entry_mut(id).set_children(0);
            common.destinations.template_added(destination);
        } else {
            table.entry_mut(id).set_template(template);
            common.destinations.connection_restored(destination, record.state.is_active());
            if let Some(template) = template {
                common.adopt(template);
            }
        }
        common.note_load(destination);
        Ok(())
    }
}

impl<M: TableMemory> Common<M> {
    fn record_of(
        &self,
        table: &ConnectionTable<M>,
        now: Instant,
        id: ConnectionId,
        template: bool,
    ) -> ConnectionRecord {
        let entry = table.entry(id);
        let key = table.key(id);
        ConnectionRecord {
            protocol: Protocol::from_number(key.protocol()),
            template,
            client: key.client(),
            virtual_address: key.virtual_socket(),
            destination: self.socket_of(entry.destination(), &key),
            state: entry.state(),
            expires_in: table.expires_in(id, now),
            timeout: ticks_duration(entry.timeout()),
            packets: entry.packets(),
        }
    }

    /// The service that a record belongs to.
    fn service_of(&self, record: &ConnectionRecord, flow: &FlowKey) -> Option<ServiceId> {
        if !record.template {
            return self.services.find(flow);
        }
        let vip = record.virtual_address;
        let key = match record.protocol {
            Some(protocol) => ServiceKey::Address { protocol, address: vip.ip(), port: vip.port() },
            None => ServiceKey::Mark { mark: flow.folded_virtual(), ipv6: flow.is_ipv6() },
        };
        self.services.id(key)
    }

    /// The template of a flow's client.
    fn template_of(&mut self, service: ServiceId, flow: &FlowKey) -> Option<u32> {
        let config = self.services.get(service)?.config;
        self.valid_template(&super::choose::template_key(&config.key, flow, config.persistence?.mask))
    }
}

/// Whether a record's state is one of its protocol's.
const fn suits(record: &ConnectionRecord) -> bool {
    use ConnectionState as S;
    if record.template {
        return matches!(record.state, S::None | S::Assured);
    }
    match record.protocol {
        Some(Protocol::Udp) => matches!(record.state, S::Udp),
        Some(Protocol::Tcp) => matches!(
            record.state,
            S::None | S::SynReceived | S::SynAck | S::Established | S::FinWait | S::TimeWait | S::Close
        ),
        Some(Protocol::Sctp) => matches!(
            record.state,
            S::None
                | S::SctpInit1
                | S::SctpInit
                | S::SctpCookieSent
                | S::SctpEstablished
                | S::SctpShutdownReceived
                | S::SctpShutdownAckSent
                | S::SctpRejected
                | S::SctpClosed
        ),
        None => false,
    }
}

/// Puts a record into a table, with the time it has left.
fn insert<M: TableMemory>(
    table: &mut ConnectionTable<M>,
    now: Instant,
    flow: &FlowKey,
    record: &ConnectionRecord,
    destination: u32,
) -> Result<ConnectionId, RestoreError> {
    let hash = table.hash(flow);
    if table.find(hash, flow).is_some() {
        return Err(RestoreError::Exists);
    }
    let timeout = duration_ticks(record.timeout);
    let new = NewConnection { destination, state: record.state, timeout };
    let id = table.insert(now, hash, flow, new).map_err(|_| RestoreError::TableFull)?;
    let spent = timeout.saturating_sub(duration_ticks(record.expires_in));
    let entry = table.entry_mut(id);
    entry.set_packets(record.packets);
    entry.set_last_seen(ticks(now).wrapping_sub(spent));
    table.hasten(id);
    Ok(id)
}
