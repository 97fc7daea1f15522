//! What `arptables` does on a real server, without the program: two rules in the kernel's packet filter for ARP.
//!
//! ```text
//!   arptables -A INPUT  -d VIP -j DROP                       nobody who asks for the VIP is heard
//!   arptables -A OUTPUT -s VIP -j mangle --mangle-ip-s RIP   no question of the host's own names the VIP
//! ```
//! The messages are those of nf_tables (linux/netfilter/nf_tables.h); only what these two rules need is here.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};

use super::error::{Context, LabError};
use super::host::Host;
use super::netlink::{NETLINK_NETFILTER, PATIENCE};

const TABLE: &str = "lvs-testkit";

impl Host {
    /// Keeps quiet about `vip` by filter rules instead of sysctls: questions for it are not heard, and the host's own questions
    /// name `rip` where they would name it. The rules go with the host, or by [`remove_arp_filter`](Self::remove_arp_filter).
    ///
    /// # Errors
    /// If the kernel has no ARP filter (`CONFIG_NF_TABLES_ARP`), or the host has these rules already.
    pub fn add_arp_filter(&self, vip: Ipv4Addr, rip: Ipv4Addr) -> Result<(), LabError> {
        let messages = [
            Message::new(NEW_TABLE, CREATE | EXCLUSIVE).text(1, TABLE),
            Message::chain("in", ARP_IN),
            Message::chain("out", ARP_OUT),
            Message::rule("in", &[load(ARP_TARGET), equals(vip), drop_it()]),
            Message::rule("out", &[load(ARP_SENDER), equals(vip), value(rip), store(ARP_SENDER)]),
        ];
        self.filter(&messages).context(|| format!("{}: ARP filter for {vip}", self.name()))
    }

    /// Takes the rules away again.
    ///
    /// # Errors
    /// If there are none.
    pub fn remove_arp_filter(&self) -> Result<(), LabError> {
        let messages = [Message::new(DELETE_TABLE, 0).text(1, TABLE)];
        self.filter(&messages).context(|| format!("{}: remove the ARP filter", self.name()))
    }

    /// Has the kernel take over some messages, all or none.
    fn filter(&self, messages: &[Message]) -> io::Result<()> {
        self.run(|| {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            let patience = nix::sys::time::TimeVal::new(PATIENCE.as_secs() as _, 0);
            setsockopt(&socket.as_fd(), ReceiveTimeout, &patience)?;
            let mut bytes = Message::batch(BATCH_BEGIN).finish(0);
            for (sequence, message) in (1..).zip(messages) {
                bytes.extend(message.clone().finish(sequence));
            }
            bytes.extend(Message::batch(BATCH_END).finish(0));
            socket.send(&bytes, 0)?;
            let mut answered = 0;
            while answered < messages.len() {
                let (answer, _) = socket.recv_from_full()?;
                answered += acknowledged(&answer)?;
            }
            Ok(())
        })
    }
}

/// How many messages a datagram acknowledges.
fn acknowledged(mut answer: &[u8]) -> io::Result<usize> {
    const ERROR: u16 = 2;
    let short = || io::Error::new(io::ErrorKind::InvalidData, "a short answer");
    let mut count = 0;
    while !answer.is_empty() {
        let header = answer.first_chunk::<20>().ok_or_else(short)?;
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if u16::from_ne_bytes([header[4], header[5]]) == ERROR {
            match i32::from_ne_bytes([header[16], header[17], header[18], header[19]]) {
                0 => count += 1,
                code => return Err(io::Error::from_raw_os_error(-code)),
            }
        }
        answer = answer.get(length.next_multiple_of(4).max(20)..).unwrap_or_default();
    }
    Ok(count)
}

// Kinds of messages.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NF_TABLES: u16 = 10;
const NEW_TABLE: u16 = NF_TABLES << 8;
const DELETE_TABLE: u16 = NF_TABLES << 8 | 2;
const NEW_CHAIN: u16 = NF_TABLES << 8 | 3;
const NEW_RULE: u16 = NF_TABLES << 8 | 6;
// Flags of messages.
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
// Where a chain is hooked in.
const ARP_IN: u32 = 0;
const ARP_OUT: u32 = 1;
/// Bytes from the beginning of an ARP message to the address of its sender (RFC 826, Ethernet and IPv4).
const ARP_SENDER: u32 = 14;
/// The same to the address that is asked for.
const ARP_TARGET: u32 = 24;
const NETWORK_HEADER: u32 = 1;
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;

/// A message on its way to the kernel.
#[derive(Clone)]
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        const FAMILY_ARP: u8 = 3;
        Self::header(kind, ACKNOWLEDGE | flags, FAMILY_ARP, 0)
    }

    fn batch(kind: u16) -> Self {
        Self::header(kind, 0, 0, NF_TABLES)
    }

    fn header(kind: u16, flags: u16, family: u8, resource: u16) -> Self {
        let mut bytes = vec![0; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(REQUEST | flags).to_ne_bytes());
        bytes.extend([family, 0]);
        bytes.extend(resource.to_be_bytes());
        Self(bytes)
    }

    fn chain(name: &str, hook: u32) -> Self {
        let hook = [attribute(1, &hook.to_be_bytes()), attribute(2, &0u32.to_be_bytes())].concat();
        Self::new(NEW_CHAIN, CREATE | EXCLUSIVE)
            .text(1, TABLE)
            .text(3, name)
            .nested(4, &hook)
            .text(7, "filter")
    }

    fn rule(chain: &str, expressions: &[Vec<u8>]) -> Self {
        let list: Vec<u8> = expressions.iter().flat_map(|one| nested(1, one)).collect();
        Self::new(NEW_RULE, CREATE | APPEND).text(1, TABLE).text(2, chain).nested(4, &list)
    }

    fn text(mut self, kind: u16, text: &str) -> Self {
        self.0.extend(named(kind, text));
        self
    }

    fn nested(mut self, kind: u16, content: &[u8]) -> Self {
        self.0.extend(nested(kind, content));
        self
    }

    /// The bytes, with length and number.
    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + content.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn nested(kind: u16, content: &[u8]) -> Vec<u8> {
    const NESTED: u16 = 0x8000;
    attribute(NESTED | kind, content)
}

fn named(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

fn expression(name: &str, numbers: &[(u16, u32)], data: Option<(u16, Vec<u8>)>) -> Vec<u8> {
    let mut content: Vec<u8> =
        numbers.iter().flat_map(|(kind, number)| attribute(*kind, &number.to_be_bytes())).collect();
    if let Some((kind, data)) = data {
        content.extend(nested(kind, &data));
    }
    [named(1, name), nested(2, &content)].concat()
}

/// Four bytes of the message into the register.
fn load(offset: u32) -> Vec<u8> {
    expression("payload", &[(1, REGISTER), (2, NETWORK_HEADER), (3, offset), (4, 4)], None)
}

/// The register into four bytes of the message; ARP has no checksum.
fn store(offset: u32) -> Vec<u8> {
    expression(
        "payload",
        &[(5, REGISTER), (2, NETWORK_HEADER), (3, offset), (4, 4), (6, 0), (7, 0), (8, 0)],
        None,
    )
}

/// Goes on only if the register holds this address.
fn equals(address: Ipv4Addr) -> Vec<u8> {
    const EQUAL: u32 = 0;
    expression("cmp", &[(1, REGISTER), (2, EQUAL)], Some((3, attribute(1, &address.octets()))))
}

/// This address into the register.
fn value(address: Ipv4Addr) -> Vec<u8> {
    expression("immediate", &[(1, REGISTER)], Some((2, attribute(1, &address.octets()))))
}

fn drop_it() -> Vec<u8> {
    const DROP: u32 = 0;
    let verdict = nested(2, &attribute(1, &DROP.to_be_bytes()));
    expression("immediate", &[(1, VERDICT_REGISTER)], Some((2, verdict)))
}
