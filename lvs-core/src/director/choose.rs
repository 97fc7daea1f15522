//! Which server a new connection gets: persistence first, then the scheduler.

use core::time::Duration;

use super::common::Common;
use crate::classify::{FlowKey, Packet, PacketKind};
use crate::config::{ClientMask, Persistence, ServiceKey};
use crate::connection::{ConnectionId, ConnectionState, NewConnection, TableMemory, duration_ticks, ticks};
use crate::observe::{Observation, Observer};
use crate::scheduler::Request;
use crate::service::{FTP, Reach, ServiceId};

/// How much longer a template lives that still has connections.
const TEMPLATE_WITH_CONNECTIONS: Duration = Duration::from_secs(60);
/// The port of a template that was given up.
const GIVEN_UP: u16 = 65_535;

/// What was chosen for a new connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub(super) destination: u32,
    /// The template it came by.
    pub(super) template: Option<u32>,
    /// Whether no connection is to be remembered.
    pub(super) one_packet: bool,
}

impl<M: TableMemory> Common<M> {
    /// Chooses a server. `None` if there is none to be had.
    #[inline(always)]
    pub(super) fn choose<O: Observer>(
        &mut self,
        service: ServiceId,
        packet: &Packet,
        observer: &mut O,
    ) -> Option<Choice> {
        let config = &self.services.get(service)?.config;
        let one_packet = config.one_packet && packet.kind == PacketKind::Udp;
        if O::ENABLED && one_packet {
            observer.observe(&Observation::OnePacket);
        }
        let Some(persistence) = config.persistence else {
            // FTP's other ports are for persistent services only.
            if config.key.port() != packet.flow.virtual_port() && config.key.address().is_some() {
                return None;
            }
            let destination = self.schedule(service, &packet.flow, observer)?;
            return Some(Choice { destination, template: None, one_packet });
        };
        let service_key = config.key;
        let key = template_key(&service_key, &packet.flow, persistence.mask);
        if let Some(template) = self.valid_template(&key) {
            let entry = self.templates.entry_mut(ConnectionId(template));
            entry.touch(ticks(self.now));
            let destination = entry.destination();
            if O::ENABLED {
                let destination = self.socket_of(destination, &packet.flow);
                observer.observe(&Observation::Persisted { key: service_key, destination });
            }
            return Some(Choice { destination, template: Some(template), one_packet });
        }
        let destination = self.schedule(service, &packet.flow, observer)?;
        let template = self.make_template(&key, destination, &persistence);
        Some(Choice { destination, template, one_packet })
    }

    /// Asks the service's scheduler for a server.
    #[inline(always)]
    fn schedule<O: Observer>(&mut self, service: ServiceId, flow: &FlowKey, observer: &mut O) -> Option<u32> {
        let request = Request { flow, now: self.now };
        let service = self.services.get_mut(service)?;
        if !O::ENABLED {
            let place = service.schedule(&request)?;
            return Some(service.servers()[place].destination);
        }
        let state = service.scheduler_state();
        let picked = service.schedule(&request);
        let (scheduler, servers) = (service.config.scheduler, service.servers());
        let grounds = service.scheduler_grounds();
        observer.observe(&Observation::Scheduled { flow, scheduler, state, servers, picked, grounds });
        picked.map(|place| servers[place].destination)
    }

    /// The client's template, if its server may still be had. One whose server may not is given up: it stays, for its
    /// connections, but nobody finds it.
    pub(super) fn valid_template(&mut self, key: &FlowKey) -> Option<u32> {
        let hash = self.templates.hash(key);
        let id = self.templates.find(hash, key)?;
        let entry = self.templates.entry(id);
        if entry.is_expired(ticks(self.now)) && entry.children() == 0 {
            self.forget_template(id);
            return None;
        }
        let destination = entry.destination();
        let gone = matches!(self.destinations.lane(destination).reach(), Reach::Gone | Reach::Drained);
        let quiesced = self.destinations.get(destination).config.weight == 0;
        if gone || (quiesced && self.knobs.expire_quiescent_template) {
            self.templates.rename(id, &given_up(key));
            return None;
        }
        Some(id.0)
    }

    fn make_template(&mut self, key: &FlowKey, destination: u32, persistence: &Persistence) -> Option<u32> {
        let timeout = duration_ticks(persistence.timeout);
        let new = NewConnection { destination, state: ConnectionState::None, timeout };
        let hash = self.templates.hash(key);
        let Ok(id) = self.templates.insert(self.now, hash, key, new) else {
            self.templates_full += 1;
            return None;
        };
        self.templates.entry_mut(id).set_children(0);
        self.destinations.template_added(destination);
        self.note_load(destination);
        Some(id.0)
    }

    /// A template gets a connection.
    pub(super) fn adopt(&mut self, template: u32) {
        let entry = self.templates.entry_mut(ConnectionId(template));
        entry.set_children(entry.children() + 1);
    }

    /// A template loses a connection.
    pub(super) fn disown(&mut self, template: u32) {
        let entry = self.templates.entry_mut(ConnectionId(template));
        entry.set_children(entry.children().saturating_sub(1));
    }

    /// One of a template's connections was established.
    pub(super) fn assure(&mut self, template: u32) {
        self.templates.entry_mut(ConnectionId(template)).set_state(ConnectionState::Assured);
    }

    /// Forgets templates whose time is over and that have no connections.
    pub(super) fn expire_templates(&mut self, budget: &mut u32) {
        let longer = duration_ticks(TEMPLATE_WITH_CONNECTIONS);
        let has_connections = |entry: &crate::connection::Line| (entry.children() > 0).then_some(longer);
        while let Some(entry) = self.templates.expire_unless(self.now, budget, has_connections) {
            self.destinations.template_removed(entry.destination());
            self.note_load(entry.destination());
        }
    }

    pub(super) fn forget_template(&mut self, id: ConnectionId) {
        let destination = self.templates.entry(id).destination();
        self.templates.remove(id);
        self.destinations.template_removed(destination);
        self.note_load(destination);
    }
}

/// The key of a client's template: masked address, no port, and what the service is known by. A marked service's template
/// holds for all protocols; one of port 0 or of FTP for all ports.
pub(super) fn template_key(service: &ServiceKey, flow: &FlowKey, mask: ClientMask) -> FlowKey {
    let vport = match service {
        ServiceKey::Address { port, .. } if *port != FTP && *port == flow.virtual_port() => *port,
        _ => 0,
    };
    let mark = match service {
        ServiceKey::Mark { mark, .. } => Some(*mark),
        ServiceKey::Address { .. } => None,
    };
    let protocol = if mark.is_some() { 0 } else { flow.protocol() };
    let ports = u32::from(vport);
    match *flow {
        FlowKey::V4 { addresses, .. } => {
            let mask = if let ClientMask::V4(mask) = mask { mask } else { u32::MAX };
            let client = (addresses >> 32) as u32 & mask;
            let vip = mark.unwrap_or(addresses as u32);
            FlowKey::V4 { addresses: u64::from(client) << 32 | u64::from(vip), ports, protocol }
        }
        FlowKey::V6 { client, virtual_address, .. } => {
            let bits = if let ClientMask::V6(bits) = mask { u32::from(bits) } else { 128 };
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            let virtual_address = mark.map_or(virtual_address, u128::from);
            FlowKey::V6 { client: client & mask, virtual_address, ports, protocol }
        }
    }
}

/// The key of a template that was given up.
const fn given_up(key: &FlowKey) -> FlowKey {
    match *key {
        FlowKey::V4 { addresses, protocol, .. } => {
            FlowKey::V4 { addresses, ports: GIVEN_UP as u32, protocol }
        }
        FlowKey::V6 { client, virtual_address, protocol, .. } => {
            FlowKey::V6 { client, virtual_address, ports: GIVEN_UP as u32, protocol }
        }
    }
}
