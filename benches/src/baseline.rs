//! A plain load balancer over a hash map: what one writes in an afternoon, frame by frame.
//!
//! It does for the usual frames what the director does: checks Ethernet, IP and TCP headers, looks the flow up (hashbrown
//! with foldhash), picks a server for a new one (rr), keeps TCP state, packet count and time stamp, rewrites the Ethernet
//! addresses, answers ARP for its VIPs. It has no timers, no fragments, no ICMP, no VLANs, no persistence, no limit on
//! what outsiders can make it remember, and it makes no batches.

use std::net::{IpAddr, Ipv4Addr};

use hashbrown::HashMap;
use lvs_core::{Frame, Instant, MacAddr, Verdict};

use crate::subject::{SERVERS, server_mac};
use crate::traffic::{DIRECTOR_MAC, Family, PORT};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const TCP: u8 = 6;

/// Addresses and ports of a flow to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Flow<A> {
    client: A,
    vip: A,
    ports: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    SynReceived,
    Established,
    FinWait,
    Close,
}

#[derive(Debug, Clone, Copy)]
struct Connection {
    server: u16,
    state: State,
    packets: u32,
    last_seen: Instant,
}

/// A real server.
#[derive(Debug)]
struct Server {
    mac: MacAddr,
    packets: u64,
    bytes: u64,
}

/// A virtual service: rr over its servers.
#[derive(Debug)]
struct Service {
    first: u16,
    count: u16,
    next: u16,
}

/// The load balancer.
#[derive(Debug)]
pub struct Baseline {
    mac: MacAddr,
    services: HashMap<(IpAddr, u16), Service>,
    servers: Vec<Server>,
    flows4: HashMap<Flow<u32>, Connection>,
    flows6: HashMap<Flow<u128>, Connection>,
}

impl Baseline {
    /// The services and servers of [`Subject`](crate::subject::Subject), and room for so many connections of a family.
    #[must_use]
    pub fn new(family: Family, connections: u32) -> Self {
        let mut baseline = Self {
            mac: DIRECTOR_MAC,
            services: HashMap::new(),
            servers: Vec::new(),
            flows4: HashMap::new(),
            flows6: HashMap::new(),
        };
        match family {
            Family::Ipv4 => baseline.flows4.reserve(connections as usize),
            Family::Ipv6 => baseline.flows6.reserve(connections as usize),
        }
        for family in [Family::Ipv4, Family::Ipv6] {
            let first = baseline.servers.len() as u16;
            let service = Service { first, count: u16::from(SERVERS), next: 0 };
            baseline.services.insert((family.vip(), PORT), service);
            let server = |n| Server { mac: server_mac(n), packets: 0, bytes: 0 };
            baseline.servers.extend((0..SERVERS).map(server));
        }
        baseline
    }

    /// Forgets all connections; the memory stays.
    pub fn clear(&mut self) {
        self.flows4.clear();
        self.flows6.clear();
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.flows4.len() + self.flows6.len()
    }

    /// Decides about one frame; the frame is changed in place if it is to be transmitted.
    #[inline]
    pub fn handle(&mut self, now: Instant, frame: &mut Frame<'_>) -> Verdict {
        let port = frame.port();
        let bytes = frame.bytes_mut();
        let Some(header) = bytes.first_chunk::<14>() else { return Verdict::Pass };
        let sent = match [header[12], header[13]] {
            [0x08, 0x00] => self.handle_ipv4(now, bytes),
            [0x86, 0xdd] => self.handle_ipv6(now, bytes),
            [0x08, 0x06] => self.handle_arp(bytes),
            _ => None,
        };
        sent.map_or(Verdict::Pass, |()| Verdict::Transmit(port))
    }

    fn handle_ipv4(&mut self, now: Instant, bytes: &mut [u8]) -> Option<()> {
        let header = bytes.get(14..)?.first_chunk::<20>()?;
        let header_len = usize::from(header[0] & 15) * 4;
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let is_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
        if header[0] >> 4 != 4 || header[9] != TCP || is_fragment {
            return None;
        }
        let (client, vip) = (u32_at(header, 12)?, u32_at(header, 16)?);
        let packet = bytes.get(14..14 + total_len)?;
        let (options, segment) = packet.split_at_checked(header_len)?;
        if header_len < 20 || checksum(options) != 0 {
            return None;
        }
        let (ports, flags) = tcp(segment)?;
        let flow = Flow { client, vip, ports };
        let server = match self.flows4.get_mut(&flow) {
            Some(connection) => connection.touch(now, flags),
            None => {
                let vip = IpAddr::V4(vip.into());
                let connection = connect(&mut self.services, now, vip, ports, flags)?;
                self.flows4.insert(flow, connection);
                connection.server
            }
        };
        self.forward(server, bytes, total_len)
    }

    fn handle_ipv6(&mut self, now: Instant, bytes: &mut [u8]) -> Option<()> {
        let header = bytes.get(14..)?.first_chunk::<40>()?;
        let total_len = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
        if header[0] >> 4 != 6 || header[6] != TCP {
            return None;
        }
        let (client, vip) = (u128_at(header, 8)?, u128_at(header, 24)?);
        let segment = bytes.get(54..14 + total_len)?;
        let (ports, flags) = tcp(segment)?;
        let flow = Flow { client, vip, ports };
        let server = match self.flows6.get_mut(&flow) {
            Some(connection) => connection.touch(now, flags),
            None => {
                let vip = IpAddr::V6(vip.into());
                let connection = connect(&mut self.services, now, vip, ports, flags)?;
                self.flows6.insert(flow, connection);
                connection.server
            }
        };
        self.forward(server, bytes, total_len)
    }

    fn forward(&mut self, server: u16, bytes: &mut [u8], len: usize) -> Option<()> {
        let server = self.servers.get_mut(usize::from(server))?;
        server.packets += 1;
        server.bytes += len as u64;
        let addresses = bytes.first_chunk_mut::<12>()?;
        addresses[..6].copy_from_slice(&server.mac.0);
        addresses[6..].copy_from_slice(&self.mac.0);
        Some(())
    }

    /// Answers who has one of the VIPs (RFC 826).
    fn handle_arp(&self, bytes: &mut [u8]) -> Option<()> {
        let arp = *bytes.get(14..)?.first_chunk::<28>()?;
        let target = Ipv4Addr::from(u32_at(&arp, 24)?);
        let is_request = arp[..8] == [0, 1, 8, 0, 6, 4, 0, 1];
        if !is_request || !self.services.contains_key(&(IpAddr::V4(target), PORT)) {
            return None;
        }
        let mut reply = arp;
        reply[7] = 2;
        reply[8..14].copy_from_slice(&self.mac.0);
        reply[14..18].copy_from_slice(&target.octets());
        reply[18..28].copy_from_slice(&arp[8..18]);
        bytes[..6].copy_from_slice(&arp[8..14]);
        bytes[6..12].copy_from_slice(&self.mac.0);
        bytes[14..42].copy_from_slice(&reply);
        Some(())
    }
}

impl Connection {
    /// Takes note of a segment; answers the server.
    fn touch(&mut self, now: Instant, flags: u8) -> u16 {
        self.last_seen = now;
        self.packets = self.packets.saturating_add(1);
        self.state = match self.state {
            _ if flags & RST != 0 => State::Close,
            State::SynReceived if flags & SYN == 0 => State::Established,
            _ if flags & FIN != 0 => State::FinWait,
            state => state,
        };
        self.server
    }
}

/// A connection for a new flow, if a service wants it.
fn connect(
    services: &mut HashMap<(IpAddr, u16), Service>,
    now: Instant,
    vip: IpAddr,
    ports: u32,
    flags: u8,
) -> Option<Connection> {
    let service = services.get_mut(&(vip, ports as u16))?;
    if flags & SYN == 0 {
        return None;
    }
    let server = service.first + service.next;
    service.next = (service.next + 1) % service.count;
    Some(Connection { server, state: State::SynReceived, packets: 1, last_seen: now })
}

/// Ports (source in the upper half) and flags.
fn tcp(segment: &[u8]) -> Option<(u32, u8)> {
    let header = segment.first_chunk::<20>()?;
    let header_len = usize::from(header[12] >> 4) * 4;
    (header_len >= 20 && header_len <= segment.len()).then_some((u32_at(header, 0)?, header[13]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u128_at(bytes: &[u8], at: usize) -> Option<u128> {
    Some(u128::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// RFC 1071; 0 over a header with its right checksum.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2);
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Ring;
    use crate::subject::Subject;
    use crate::traffic::{Flow, Kind, Random, Traffic};

    /// What the director and the baseline make of the same frames, in bytes and verdicts.
    fn both(kinds: &[Kind], family: Family) {
        let mut subject = Subject::new(family, 1000);
        let mut baseline = Baseline::new(family, 1000);
        let (mut rings, mut random) = ((Ring::new(), Ring::new()), Random::new(3));
        for round in 0..30 {
            let kind = kinds[random.below(kinds.len() as u32) as usize];
            let traffic = Traffic::new(family, kind);
            let flows: Vec<Flow> = (0..64).map(|_| Flow::number(random.below(300))).collect();
            let mut made = Vec::new();
            let mut next = flows.iter().copied();
            rings.0.batch(
                &traffic,
                64,
                || next.next().unwrap(),
                |frames| {
                    let verdicts = subject.handle(frames);
                    made = verdicts.iter().zip(frames).map(|(v, f)| (*v, f.bytes().to_vec())).collect();
                },
            );
            let mut next = flows.iter().copied();
            rings.1.batch(
                &traffic,
                64,
                || next.next().unwrap(),
                |frames| {
                    for (at, (frame, made)) in frames.iter_mut().zip(&made).enumerate() {
                        let verdict = baseline.handle(Instant::ZERO, frame);
                        let same = std::mem::discriminant(&verdict) == std::mem::discriminant(&made.0)
                        // The director refuses what belongs to no connection; the baseline leaves it alone.
                        || verdict == Verdict::Pass && matches!(made.0, Verdict::Drop(_));
                        assert!(same, "{kind:?}, round {round}, frame {at}: {verdict:?}, not {:?}", made.0);
                        let (got, want) = (frame.bytes().to_vec(), &made.1);
                        if kind == Kind::ArpRequest || verdict == Verdict::Pass {
                            assert_eq!(&got, want);
                        } else {
                            // rr begins where it likes, but it goes round alike.
                            assert_eq!(got[6..], want[6..]);
                            let (got, want) = (got[5], want[5]);
                            assert_eq!((got + want) % SERVERS, SERVERS - 1, "last added first");
                        }
                    }
                },
            );
        }
        assert_eq!(subject.connections() as usize, baseline.connections());
    }

    #[test]
    fn forwards_as_the_director_does() {
        both(&[Kind::Syn, Kind::Syn, Kind::Ack, Kind::NotOurs, Kind::ArpRequest], Family::Ipv4);
        both(&[Kind::Syn, Kind::Ack, Kind::NotOurs], Family::Ipv6);
    }

    #[test]
    fn keeps_tcp_states() {
        let mut connection =
            connect(&mut Baseline::new(Family::Ipv4, 1).services, Instant::ZERO, Family::Ipv4.vip(), 80, SYN)
                .unwrap();
        for (flags, state) in [
            (SYN, State::SynReceived),
            (16, State::Established),
            (FIN | 16, State::FinWait),
            (RST, State::Close),
        ] {
            connection.touch(Instant::from_secs(1), flags);
            assert_eq!(connection.state, state);
        }
        assert_eq!((connection.packets, connection.last_seen), (5, Instant::from_secs(1)));
    }

    #[test]
    fn refuses_broken_headers() {
        let traffic = Traffic::new(Family::Ipv4, Kind::Syn);
        for (at, value) in [(14, 0x44), (14, 0x46), (17, 200), (20, 0x20), (24, 0xff), (46, 0x40)] {
            let mut baseline = Baseline::new(Family::Ipv4, 10);
            let mut bytes = [0; 60];
            traffic.write(Flow::number(1), &mut bytes);
            bytes[at] = value;
            let verdict = baseline.handle(Instant::ZERO, &mut Frame::new(&mut bytes, lvs_core::PortId(0)));
            assert_eq!((verdict, baseline.connections()), (Verdict::Pass, 0), "byte {at}");
        }
    }
}
