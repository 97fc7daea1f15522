//! One TCP connection of a probe, on a stack of its own: smoltcp without Ethernet, which is the director's. 4 KiB of window and four
//! packets to send bound what a server can make it keep.

use std::collections::VecDeque;
use std::net::SocketAddr;

use lvs_core::Instant;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use crate::config::HttpProbe;
use crate::http::{self, Response, Share};
use crate::outcome::{FailureKind, Outcome};

/// Bytes a server may send before they are read.
const WINDOW: usize = 4096;

/// Packets that wait to be sent.
const WAITING: usize = 4;

pub(super) struct Stream {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    wire: Wire,
    request: Vec<u8>,
    sent: usize,
    response: Option<Response>,
    connected: bool,
    /// Sequence number of the SYN that was sent.
    sequence: Option<u32>,
    /// It waits for a turn to read.
    laborious: bool,
}

impl Stream {
    pub(super) fn new(
        now: Instant,
        seed: u64,
        source: SocketAddr,
        target: SocketAddr,
        mtu: u16,
        http: Option<&HttpProbe>,
    ) -> Self {
        let mut wire =
            Wire { arrived: Vec::new(), leaving: VecDeque::with_capacity(WAITING), mtu: usize::from(mtu) };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, stack_time(now));
        interface.update_ip_addrs(|addresses| {
            let length = if source.is_ipv6() { 128 } else { 32 };
            // An interface has room for two.
            let _ = addresses.push(IpCidr::new(source.ip().into(), length));
        });
        let buffer = |size| tcp::SocketBuffer::new(vec![0; size]);
        let request = http.map(|probe| http::request(probe, &target.to_string())).unwrap_or_default();
        let mut socket = tcp::Socket::new(buffer(WINDOW), buffer(request.len().max(64)));
        // Fails for an unspecified address or port 0 only; the socket stays closed then, which is reported as refused.
        let _ = socket.connect(interface.context(), target, source);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self {
            interface,
            sockets,
            handle,
            wire,
            request,
            sent: 0,
            response: http.map(Response::new),
            connected: false,
            sequence: None,
            laborious: false,
        }
    }

    /// A packet for this connection.
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        packet: &[u8],
        over: bool,
        share: &mut Share,
    ) -> Option<Outcome> {
        // What the window allows at once, with headers: more than that nobody honest sends.
        if packet.len() <= WINDOW + 256 {
            self.wire.arrived.clear();
            self.wire.arrived.extend_from_slice(packet);
        }
        self.drive(now, over, share)
    }

    /// Lets the stack work. Answers the outcome when it is known.
    pub(super) fn drive(&mut self, now: Instant, over: bool, share: &mut Share) -> Option<Outcome> {
        self.interface.poll(stack_time(now), &mut self.wire, &mut self.sockets);
        if over {
            self.laborious = false;
            return None;
        }
        if self.laborious {
            return None;
        }
        let outcome = self.advance(share);
        if outcome.is_some() || self.sent > 0 {
            self.interface.poll(stack_time(now), &mut self.wire, &mut self.sockets);
        }
        outcome
    }

    /// Whether it has to read and the share was over. Nothing is read until it has [a turn](Self::begin_turn).
    pub(super) const fn is_laborious(&self) -> bool {
        self.laborious
    }

    pub(super) const fn begin_turn(&mut self) {
        self.laborious = false;
    }

    fn advance(&mut self, share: &mut Share) -> Option<Outcome> {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        self.connected |= socket.may_send();
        if !self.connected {
            let refused = socket.state() == tcp::State::Closed;
            return refused.then(|| Outcome::failure(FailureKind::Refused, "refused"));
        }
        let Some(response) = &mut self.response else {
            socket.close();
            return Some(Outcome::SUCCESS);
        };
        if socket.can_send() && self.sent < self.request.len() {
            self.sent += socket.send_slice(&self.request[self.sent..]).unwrap_or(0);
        }
        while socket.can_recv() {
            if share.is_over() {
                self.laborious = true;
                return None;
            }
            let taken = socket.recv(|bytes| {
                let piece = bytes.len().min(response.piece());
                (piece, (piece, response.handle_bytes(&bytes[..piece])))
            });
            match taken {
                Ok((_, Some(outcome))) => {
                    socket.abort();
                    return Some(outcome);
                }
                Ok((piece, None)) => share.take(piece, response),
                Err(_) => break,
            }
        }
        match socket.state() {
            tcp::State::Closed => {
                let text = "the connection was reset before the response was complete";
                Some(Outcome::failure(FailureKind::Reset, text))
            }
            _ if !socket.may_recv() => {
                socket.close();
                Some(response.handle_end())
            }
            _ => None,
        }
    }

    pub(super) const fn was_connected(&self) -> bool {
        self.connected
    }

    /// The sequence number of the SYN, as soon as it has been sent.
    pub(super) const fn sequence(&self) -> Option<u32> {
        self.sequence
    }

    /// Ends it with RST.
    pub(super) fn abort(&mut self) {
        self.sockets.get_mut::<tcp::Socket<'_>>(self.handle).abort();
    }

    pub(super) fn has_output(&self) -> bool {
        !self.wire.leaving.is_empty()
    }

    pub(super) fn is_closed(&self) -> bool {
        let state = self.sockets.get::<tcp::Socket<'_>>(self.handle).state();
        matches!(state, tcp::State::Closed | tcp::State::TimeWait) && self.wire.leaving.is_empty()
    }

    /// Writes the next packet to send and answers its length.
    pub(super) fn take_output(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let packet = self.wire.leaving.pop_front()?;
        buffer.get_mut(..packet.len())?.copy_from_slice(&packet);
        self.sequence = self.sequence.or_else(|| sequence_of(&packet));
        Some(packet.len())
    }

    pub(super) fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        // With nothing to send and no room to send it, the stack would ask for the present again and again.
        if self.wire.leaving.len() >= WAITING {
            return None;
        }
        let at = self.interface.poll_at(stack_time(now), &self.sockets)?;
        Some(Instant::from_micros(u64::try_from(at.total_micros()).unwrap_or(0)))
    }
}

/// The sequence number of a TCP packet that the stack made: without IP options.
fn sequence_of(packet: &[u8]) -> Option<u32> {
    let header = if packet.first()? >> 4 == 4 { 20 } else { 40 };
    Some(u32::from_be_bytes(packet.get(header + 4..header + 8)?.try_into().ok()?))
}

fn stack_time(now: Instant) -> StackInstant {
    StackInstant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

/// The stack's device: one packet in, some packets out.
struct Wire {
    arrived: Vec<u8>,
    leaving: VecDeque<Vec<u8>>,
    mtu: usize,
}

struct Arrived(Vec<u8>);

struct Leaving<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push_back(packet);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: StackInstant) -> Option<(Arrived, Leaving<'_>)> {
        if self.arrived.is_empty() || self.leaving.len() >= WAITING {
            return None;
        }
        Some((Arrived(std::mem::take(&mut self.arrived)), Leaving(&mut self.leaving)))
    }

    fn transmit(&mut self, _: StackInstant) -> Option<Leaving<'_>> {
        (self.leaving.len() < WAITING).then_some(Leaving(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        // What comes in was checked before it got here, or left to the hardware.
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities
    }
}
