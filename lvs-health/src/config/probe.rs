//! What a probe does: plain values, to be carried out by [`path`](crate::path) or [`sockets`](crate::sockets).

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;

use super::ConfigError;

/// How one check asks a real server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// Along the way that clients' packets take: sent to the real server's Ethernet address, for the VIP. Finds a server
    /// without the VIP on `lo`. The right choice for TCP under direct routing.
    Path(PathProbe),
    /// From the director's host to the real server's own address, over the kernel's sockets. Says that the program runs,
    /// not that the server takes packets for the VIP.
    Socket(SocketProbe),
}

/// A probe through the DR path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathProbe {
    /// Which VIP to ask for. Default: the service's. Needed for a service by mark.
    pub vip: Option<IpAddr>,
    /// Which port. Default: the service's. Needed for a service by mark or with port 0.
    pub port: Option<u16>,
    /// How.
    pub method: PathMethod,
}

impl PathProbe {
    /// A probe of the service's own VIP and port.
    #[must_use]
    pub const fn new(method: PathMethod) -> Self {
        Self { vip: None, port: None, method }
    }
}

/// How a probe through the DR path asks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathMethod {
    /// A SYN, answered by SYN+ACK, ended by RST: the server's kernel answers, its program notices nothing.
    HalfOpen,
    /// A complete connection, closed at once.
    Connect,
    /// A complete connection and one request.
    Http(HttpProbe),
}

/// A probe over the kernel's sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketProbe {
    /// Which address to ask (`connect_ip`). Default: the real server's.
    pub address: Option<IpAddr>,
    /// Which port (`connect_port`). Default: the service's.
    pub port: Option<u16>,
    /// From which address of this host (`bindto`). Default: the kernel chooses.
    pub source: Option<IpAddr>,
    /// From which port of this host (`bind_port`); not for a ping or a command. Default: the kernel chooses. Two probes of a server
    /// at a time from one port are none of the server's fault, so they are undecided. A connection from a fixed port ends with a
    /// RST: otherwise the next one would have to wait for a minute (TIME-WAIT).
    pub source_port: Option<NonZeroU16>,
    /// How.
    pub method: SocketMethod,
}

impl SocketProbe {
    /// A probe of the real server's own address and the service's port.
    #[must_use]
    pub const fn new(method: SocketMethod) -> Self {
        Self { address: None, port: None, source: None, source_port: None, method }
    }
}

/// How a probe over sockets asks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketMethod {
    /// A TCP connection, closed at once.
    Tcp,
    /// A TCP connection and one HTTP request.
    Http(HttpProbe),
    /// The same inside TLS.
    Https(HttpProbe, TlsProbe),
    /// A datagram, and perhaps an answer.
    Udp(UdpProbe),
    /// A question to a name server, over UDP.
    Dns(DnsProbe),
    /// An ICMP echo request.
    Ping,
    /// A program whose exit status tells.
    Command(CommandProbe),
}

/// Which HTTP version a request claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersion {
    /// HTTP/1.0: nothing but the page itself comes back. The default, as with keepalived.
    #[default]
    Http10,
    /// HTTP/1.1 with `Connection: close`, for servers that refuse the older one.
    Http11,
}

/// What a response's body must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BodyMatch {
    /// Anything; it is not even read.
    #[default]
    Any,
    /// It contains these bytes (1 to 1024 of them).
    Contains(Vec<u8>),
    /// All of it has this MD5 digest (keepalived's `digest`).
    Md5([u8; 16]),
    /// All of it has this SHA-256 digest.
    Sha256([u8; 32]),
    /// It contains something that fits a regular expression, or must not. Looked at as it comes in, as far as
    /// [`body_limit`](HttpProbe::body_limit); some 100 KiB of memory may each of the probes under way take for it.
    #[cfg(feature = "regex")]
    Pattern {
        /// The expression.
        pattern: super::Pattern,
        /// Whether it is to be there.
        wanted: bool,
    },
}

/// One HTTP request and what its answer must be. keepalived's HTTP_GET with several `url` blocks is several checks of one
/// server: all of them must succeed there too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// The path with its query. Default `/`.
    pub path: String,
    /// The `Host` header (`virtualhost`), with HTTPS also the name in the certificate. Default: the address asked.
    pub host: Option<String>,
    /// Default HTTP/1.0.
    pub version: HttpVersion,
    /// Status codes that are good. Default 200 to 299. At least one range.
    pub status: Vec<RangeInclusive<u16>>,
    /// What the body must be. Default: anything.
    pub body: BodyMatch,
    /// The most bytes of a body that are looked at. Default 256 KiB, at most 16 MiB. A longer one fails a digest; texts and
    /// expressions are looked for in this beginning.
    pub body_limit: usize,
}

impl HttpProbe {
    /// A request for this path.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            host: None,
            version: HttpVersion::Http10,
            status: vec![200..=299],
            body: BodyMatch::Any,
            body_limit: 256 * 1024,
        }
    }

    /// Refuses what cannot be sent or can never succeed.
    fn validate(&self) -> Result<(), ConfigError> {
        // A request must have one meaning: no space, no control character.
        let clean = |text: &str| !text.is_empty() && text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        if !clean(&self.path) || !self.path.starts_with('/') || self.path.len() > 1024 {
            return Err(ConfigError::HttpPath);
        }
        if self.host.as_ref().is_some_and(|host| !clean(host) || host.len() > 255) {
            return Err(ConfigError::HttpHost);
        }
        if self.status.is_empty() || self.status.iter().any(RangeInclusive::is_empty) {
            return Err(ConfigError::HttpStatus);
        }
        if matches!(&self.body, BodyMatch::Contains(text) if text.is_empty() || text.len() > 1024) {
            return Err(ConfigError::HttpBody);
        }
        if self.body_limit > 16 * 1024 * 1024 {
            return Err(ConfigError::HttpBodyLimit);
        }
        Ok(())
    }
}

/// How much of a server's certificate is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// It must lead to one of Mozilla's root certificates, and name the host.
    WebRoots,
    /// It must lead to one of these certificates (DER), and name the host. For a certificate authority of one's own.
    Authorities(Vec<Vec<u8>>),
    /// It is not looked at. What keepalived's SSL_GET does.
    NotChecked,
}

/// The TLS of an HTTPS probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsProbe {
    /// Whom to believe. There is no default: not to check has to be said.
    pub trust: Trust,
    /// Whether to name the host in the handshake (SNI, keepalived's `enable_sni`). It is done if the host is a name.
    pub send_name: bool,
}

impl TlsProbe {
    /// TLS with the host named in the handshake.
    #[must_use]
    pub const fn new(trust: Trust) -> Self {
        Self { trust, send_name: true }
    }
}

/// What must come back for a datagram.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum UdpReply {
    /// Nothing need come; only an ICMP port unreachable within the time-out is a failure. The default, as with keepalived:
    /// **a dead host passes it**, since it sends no errors either. Ask for a reply where the protocol has one.
    #[default]
    NotNeeded,
    /// Any datagram.
    Any,
    /// A datagram that begins with these bytes (`require_reply`).
    Begins(Vec<u8>),
    /// A datagram with a length of these, and with these bits as far as it goes (`require_reply` with `x`, `min_reply_length`,
    /// `max_reply_length`).
    Matches {
        /// Bytes, each with the bits of it that count.
        pattern: Vec<(u8, u8)>,
        /// Lengths in bytes.
        lengths: RangeInclusive<usize>,
    },
}

/// A datagram to send, and what must come back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UdpProbe {
    /// What to send; at most 1400 bytes. Default: an empty datagram.
    pub payload: Vec<u8>,
    /// What must come back.
    pub reply: UdpReply,
}

/// A question to a name server. Any answer with the code NOERROR is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsProbe {
    /// The name asked for. Default `.`, the root.
    pub name: String,
    /// The record type by number. Default 6, SOA.
    pub record_type: u16,
}

impl Default for DnsProbe {
    fn default() -> Self {
        Self { name: ".".into(), record_type: 6 }
    }
}

/// A program that checks. Exit status 0 is success, 1 failure. It runs in a process group of its own, which is killed when
/// the time is over, and gets no input; 4 KiB of its output are kept for the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandProbe {
    /// The program and its arguments. No shell is involved: for one, say `["/bin/sh", "-c", "..."]`.
    pub arguments: Vec<String>,
    /// Exit status 2 to 255 is success and sets the server's weight to the status less 2 (`misc_dynamic`). Default off: such
    /// a status is a failure.
    pub dynamic_weight: bool,
}

impl Probe {
    /// Refuses what cannot be carried out.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Self::Path(path) => match &path.method {
                PathMethod::HalfOpen | PathMethod::Connect => Ok(()),
                PathMethod::Http(http) => http.validate(),
            },
            Self::Socket(socket) => match &socket.method {
                SocketMethod::Ping | SocketMethod::Command(_) if socket.source_port.is_some() => {
                    Err(ConfigError::SourcePort)
                }
                SocketMethod::Tcp | SocketMethod::Ping => Ok(()),
                SocketMethod::Http(http) => http.validate(),
                SocketMethod::Https(http, tls) => match &tls.trust {
                    Trust::Authorities(list) if list.is_empty() => Err(ConfigError::NoAuthorities),
                    _ => http.validate(),
                },
                SocketMethod::Udp(udp) if udp.payload.len() > 1400 => Err(ConfigError::UdpPayload),
                SocketMethod::Udp(_) => Ok(()),
                SocketMethod::Dns(dns) => {
                    crate::dns::encode_name(&dns.name).map(drop).ok_or(ConfigError::DnsName)
                }
                SocketMethod::Command(command) => match command.arguments.first() {
                    Some(program)
                        if !program.is_empty() && command.arguments.iter().all(|a| !a.contains('\0')) =>
                    {
                        Ok(())
                    }
                    _ => Err(ConfigError::Command),
                },
            },
        }
    }

    /// A short name for listings: `half-open`, `connect`, `http`, `tcp`, `https`, `udp`, `dns`, `ping`, `command`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Path(path) => match path.method {
                PathMethod::HalfOpen => "half-open",
                PathMethod::Connect => "connect",
                PathMethod::Http(_) => "http",
            },
            Self::Socket(socket) => match socket.method {
                SocketMethod::Tcp => "tcp",
                SocketMethod::Http(_) => "http",
                SocketMethod::Https(..) => "https",
                SocketMethod::Udp(_) => "udp",
                SocketMethod::Dns(_) => "dns",
                SocketMethod::Ping => "ping",
                SocketMethod::Command(_) => "command",
            },
        }
    }
}
