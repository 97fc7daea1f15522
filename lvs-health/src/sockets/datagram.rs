//! A datagram and its answer: UDP, DNS, and ICMP echo.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{Protocol, Socket, Type};

use super::{from_error, open};
use crate::config::{SocketMethod, SocketProbe, UdpReply};
use crate::dns;
use crate::outcome::{FailureKind, Outcome};

/// Datagrams read in one go. What nobody asked for is no answer, and may be somebody else's with the server's address: it neither
/// fails a probe nor keeps others waiting.
const READS: usize = 16;

pub(super) struct Datagram {
    socket: Socket,
    expects: Expects,
    more: bool,
}

enum Expects {
    Udp(UdpReply),
    /// The question.
    Dns(Vec<u8>),
    /// Type of the reply, and what it must end with.
    Ping(u8, [u8; 8]),
}

impl Datagram {
    /// Sends it. The socket is connected: only the target's datagrams and the errors about ours come back.
    pub(super) fn send(
        probe: &SocketProbe,
        target: SocketAddr,
        random: u64,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, Outcome> {
        let told = |error: io::Error| from_error(&error, target);
        let udp = || open(probe, target.ip(), Type::DGRAM, Protocol::UDP).map_err(told);
        let (socket, message, expects) = match &probe.method {
            SocketMethod::Udp(one) => (udp()?, one.payload.clone(), Expects::Udp(one.reply.clone())),
            SocketMethod::Dns(one) => {
                let query =
                    dns::query(one, random as u16).ok_or_else(|| Outcome::undecided("no DNS name"))?;
                (udp()?, query.clone(), Expects::Dns(query))
            }
            _ => {
                let (socket, message, expects) = ping(probe, target, random)?;
                (socket, message, expects)
            }
        };
        socket.connect(&target.into()).map_err(told)?;
        socket.send(&message).map_err(told)?;
        registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE).map_err(told)?;
        Ok(Self { socket, expects, more: false })
    }

    /// Whether there was more to read than one call may. The system does not tell of it again.
    pub(super) const fn has_more(&self) -> bool {
        self.more
    }

    pub(super) fn advance(&mut self, target: SocketAddr) -> Option<Outcome> {
        self.more = false;
        let mut buffer = [0; 2048];
        for _ in 0..READS {
            match (&self.socket).read(&mut buffer) {
                Ok(read) => {
                    if let Some(outcome) = self.judge(&buffer[..read], target) {
                        return Some(outcome);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => return Some(from_error(&error, target)),
            }
        }
        self.more = true;
        None
    }

    fn judge(&self, bytes: &[u8], target: SocketAddr) -> Option<Outcome> {
        match &self.expects {
            Expects::Udp(UdpReply::NotNeeded | UdpReply::Any) => Some(Outcome::SUCCESS),
            Expects::Udp(UdpReply::Begins(wanted)) if bytes.starts_with(wanted) => Some(Outcome::SUCCESS),
            Expects::Udp(UdpReply::Matches { pattern, lengths })
                if lengths.contains(&bytes.len())
                    && pattern.iter().zip(bytes).all(|((value, mask), byte)| (value ^ byte) & mask == 0) =>
            {
                Some(Outcome::SUCCESS)
            }
            Expects::Udp(UdpReply::Begins(_) | UdpReply::Matches { .. }) => Some(Outcome::failure(
                FailureKind::Content,
                format!("the answer from {target} is not the expected one"),
            )),
            Expects::Dns(query) => dns::judge(query, bytes),
            // A raw socket hears its own request where the target is this host, and gives IPv4 with its header.
            Expects::Ping(kind, token) => {
                let header = bytes.len().checked_sub(16)?;
                (bytes.get(header) == Some(kind) && bytes.ends_with(token)).then_some(Outcome::SUCCESS)
            }
        }
    }

    pub(super) fn time_out(&self, target: SocketAddr, timeout: Duration) -> Outcome {
        match &self.expects {
            Expects::Udp(UdpReply::NotNeeded) => Outcome::SUCCESS,
            Expects::Ping(..) => Outcome::failure(
                FailureKind::NoAnswer,
                format!("no echo from {} in {timeout:?}", target.ip()),
            ),
            _ => Outcome::failure(FailureKind::NoAnswer, format!("no answer from {target} in {timeout:?}")),
        }
    }
}

/// An ICMP echo request of 16 bytes (RFC 792, RFC 4443) and a socket for it: one for datagrams where the system lets this group have
/// it, or else a raw one.
fn ping(probe: &SocketProbe, target: SocketAddr, random: u64) -> Result<(Socket, Vec<u8>, Expects), Outcome> {
    let ipv6 = target.is_ipv6();
    let protocol = if ipv6 { Protocol::ICMPV6 } else { Protocol::ICMPV4 };
    let socket = open(probe, target.ip(), Type::DGRAM, protocol)
        .or_else(|_| open(probe, target.ip(), Type::RAW, protocol))
        .map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Outcome::undecided(
                "ping is not allowed here: put this process's group into net.ipv4.ping_group_range, or give it CAP_NET_RAW",
            ),
            _ => from_error(&error, target),
        })?;
    let (request, reply) = if ipv6 { (128, 129) } else { (8, 0) };
    let token = random.to_be_bytes();
    let mut message = vec![request, 0, 0, 0, token[0], token[1], 0, 1];
    message.extend_from_slice(&token);
    if !ipv6 {
        // ICMPv6's is the kernel's business.
        let sum =
            message.chunks(2).fold(0u32, |sum, pair| sum + (u32::from(pair[0]) << 8 | u32::from(pair[1])));
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    Ok((socket, message, Expects::Ping(reply, token)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DnsProbe;

    #[test]
    fn datagrams_that_nobody_asked_for_are_passed_over() {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = server.local_addr().unwrap();
        let poll = mio::Poll::new().unwrap();
        let probe = SocketProbe::new(SocketMethod::Dns(DnsProbe::default()));
        let mut datagram = Datagram::send(&probe, target, 7, poll.registry(), Token(0)).unwrap();
        let mut query = [0; 512];
        let (length, client) = server.recv_from(&mut query).unwrap();
        for _ in 0..2 * READS {
            server.send_to(b"anything", client).unwrap();
        }
        query[2] = 0x81;
        server.send_to(&query[..length], client).unwrap();
        for _ in 0..2 {
            assert_eq!((datagram.advance(target), datagram.has_more()), (None, true));
        }
        assert_eq!((datagram.advance(target), datagram.has_more()), (Some(Outcome::SUCCESS), false));
        assert_eq!((datagram.advance(target), datagram.has_more()), (None, false));
    }
}
