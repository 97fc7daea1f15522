//! Connections and how many fit.

use std::net::SocketAddr;
use std::time::Duration;

use lvs_core::config::Protocol;
use lvs_core::connection::{ConnectionRecord, ConnectionState};
use lvs_core::listing::ConnectionUsage;
use serde::{Deserialize, Serialize};

use super::ValueError;

/// A connection, or a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// `tcp`, `udp`, `sctp`; nothing for a template of a marked service.
    pub protocol: Option<String>,
    /// Whether it is a template.
    pub template: bool,
    /// The client.
    pub client: SocketAddr,
    /// The service's address.
    #[serde(rename = "virtual")]
    pub virtual_address: SocketAddr,
    /// The real server.
    pub server: SocketAddr,
    /// As `ipvsadm -Lc` names it.
    pub state: String,
    /// Seconds until it is forgotten, rounded down.
    pub expires_in: u64,
    /// Seconds it is remembered after a packet.
    pub timeout: u64,
    /// Packets forwarded.
    pub packets: u32,
}

impl From<&ConnectionRecord> for Connection {
    fn from(record: &ConnectionRecord) -> Self {
        Self {
            protocol: record.protocol.map(|protocol| protocol.name().to_ascii_lowercase()),
            template: record.template,
            client: record.client,
            virtual_address: record.virtual_address,
            server: record.destination,
            state: record.state.name().to_owned(),
            expires_in: record.expires_in.as_secs(),
            timeout: record.timeout.as_secs(),
            packets: record.packets,
        }
    }
}

impl TryFrom<Connection> for ConnectionRecord {
    type Error = ValueError;

    fn try_from(connection: Connection) -> Result<Self, ValueError> {
        let protocol = match connection.protocol.as_deref() {
            None => None,
            Some("tcp") => Some(Protocol::Tcp),
            Some("udp") => Some(Protocol::Udp),
            Some("sctp") => Some(Protocol::Sctp),
            Some(other) => return Err(ValueError::new("protocol", other, "tcp, udp or sctp")),
        };
        let sctp = protocol == Some(Protocol::Sctp);
        // One name stands for a state of TCP and one of SCTP.
        let state = STATES.iter().find(|state| {
            let of_sctp = matches!(state, ConnectionState::SctpEstablished);
            state.name() == connection.state && (!of_sctp || sctp)
        });
        let state = match state.copied() {
            Some(ConnectionState::Established) if sctp => ConnectionState::SctpEstablished,
            Some(state) => state,
            None => return Err(ValueError::new("state", &connection.state, "a state")),
        };
        Ok(Self {
            protocol,
            template: connection.template,
            client: connection.client,
            virtual_address: connection.virtual_address,
            destination: connection.server,
            state,
            expires_in: Duration::from_secs(connection.expires_in),
            timeout: Duration::from_secs(connection.timeout),
            packets: connection.packets,
        })
    }
}

pub(super) const STATES: [ConnectionState; 17] = [
    ConnectionState::None,
    ConnectionState::SynReceived,
    ConnectionState::Established,
    ConnectionState::FinWait,
    ConnectionState::TimeWait,
    ConnectionState::Close,
    ConnectionState::Udp,
    ConnectionState::SynAck,
    ConnectionState::Assured,
    ConnectionState::SctpInit1,
    ConnectionState::SctpInit,
    ConnectionState::SctpCookieSent,
    ConnectionState::SctpEstablished,
    ConnectionState::SctpShutdownReceived,
    ConnectionState::SctpShutdownAckSent,
    ConnectionState::SctpRejected,
    ConnectionState::SctpClosed,
];

/// How full the connection table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Connections that are remembered.
    pub connections: u32,
    /// Lines in use: one an IPv4 connection, two an IPv6 connection.
    pub used: u32,
    /// Lines there are.
    pub capacity: u32,
}

impl From<ConnectionUsage> for Usage {
    fn from(usage: ConnectionUsage) -> Self {
        Self { connections: usage.connections, used: usage.used, capacity: usage.capacity }
    }
}
