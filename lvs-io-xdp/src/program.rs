//! The redirect program: which frames come to this program's sockets, and which stay with the kernel.
//!
//! ```text
//!   Ethernet ─► up to two tags ─┬─ ARP ─────► address asked for ─────────────┐
//!                               ├─ IPv4 ────► destination ───────────────────┤ longest prefix
//!                               ├─ IPv6 ────► destination ───────────────────┼──────────────► taken: redirect
//!                               │   └─ neighbour solicitation, ───► target ──┘        │
//!                               │      advertisement                                  │ else
//!                               └─ anything else ─────────────────────────────────────┴─────► kernel
//! ```
//! **ARP and NDP.** A program can give a frame to the socket or to the kernel, but not to both, and both need
//! to hear neighbours: the kernel for its own addresses, or the machine could not be reached any more; the
//! director to learn where its real servers are. So only questions about addresses that are taken away from
//! the kernel are redirected. All other ARP, NDP and MLD passes on to the kernel, and a packet socket beside
//! (see [`heard`](crate::heard)) hears a copy.
//!
//! ICMP errors go by their destination, like everything of IP. A frame of a queue without socket stays with
//! the kernel.

use std::os::fd::RawFd;

use crate::assembler::Assembler;
use crate::assembler::Register::{R0, R1, R2, R3, R6, R7, R8, R9, R10};
use crate::assembler::Width::{Byte, Half, Word};

/// What a program answers (`enum xdp_action`).
pub(crate) const XDP_PASS: i32 = 2;

/// Helper functions of the kernel (include/uapi/linux/bpf.h).
const MAP_LOOKUP: i32 = 1;
const REDIRECT_MAP: i32 = 51;

/// Offsets in `struct xdp_md`.
const CONTEXT_DATA: i16 = 0;
const CONTEXT_DATA_END: i16 = 4;
const CONTEXT_QUEUE: i16 = 16;

const ETHERNET: i32 = 14;
const TAG: i32 = 4;
const NEXT_HEADER_ICMPV6: i32 = 58;
const SOLICITATION: i32 = 135;
const ADVERTISEMENT: i32 = 136;

/// The maps that the program looks into.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maps {
    /// From an IPv4 prefix (length, address) to 1 for "taken" or 0 for "left".
    pub(crate) addresses_v4: RawFd,
    /// The same for IPv6.
    pub(crate) addresses_v6: RawFd,
    /// From a queue to its socket.
    pub(crate) sockets: RawFd,
}

/// The program. `without_socket` is what becomes of a frame to be redirected from a queue without a socket.
///
/// Registers: `R6` context, `R7` start of the frame, `R8` its end, `R9` start of the network header.
pub(crate) fn redirect_program(maps: Maps, without_socket: i32) -> Vec<u64> {
    let mut a = Assembler::default();
    a.copy(R6, R1);
    a.load(Word, R7, R6, CONTEXT_DATA);
    a.load(Word, R8, R6, CONTEXT_DATA_END);
    a.copy(R9, R7);
    a.add(R9, ETHERNET);
    a.jump_if_greater(R9, R8, "pass");
    a.load(Half, R3, R7, 12);
    skip_tag(&mut a, "one tag", "no tag");
    skip_tag(&mut a, "two tags", "no further tag");
    a.label("no tag");
    a.label("no further tag");
    a.jump_if_equal(R3, ether_type(0x0800), "ipv4");
    a.jump_if_equal(R3, ether_type(0x86dd), "ipv6");
    a.jump_if_equal(R3, ether_type(0x0806), "arp");
    a.jump("pass");

    a.label("ipv4");
    need(&mut a, 20);
    look_up_v4(&mut a, 16, maps.addresses_v4);
    a.jump("pass");

    a.label("arp");
    // Hardware type, protocol type, lengths, operation; sender's addresses; target's Ethernet address.
    need(&mut a, 28);
    look_up_v4(&mut a, 24, maps.addresses_v4);
    a.jump("pass");

    a.label("ipv6");
    need(&mut a, 40);
    look_up_v6(&mut a, 24, maps.addresses_v6);
    // Solicitations go to groups: what counts is the address asked for.
    a.load(Byte, R3, R9, 6);
    a.jump_if_not_equal(R3, NEXT_HEADER_ICMPV6, "pass");
    need(&mut a, 40 + 24);
    a.load(Byte, R3, R9, 40);
    a.jump_if_equal(R3, SOLICITATION, "neighbour");
    a.jump_if_not_equal(R3, ADVERTISEMENT, "pass");
    a.label("neighbour");
    look_up_v6(&mut a, 48, maps.addresses_v6);

    a.label("pass");
    a.set(R0, XDP_PASS);
    a.exit();

    a.label("redirect");
    a.load_map(R1, maps.sockets);
    a.load(Word, R2, R6, CONTEXT_QUEUE);
    a.set(R3, without_socket);
    a.call(REDIRECT_MAP);
    a.exit();
    a.finish()
}

/// If `R3` is the type of a tag: goes behind the tag, with the type that follows in `R3`.
fn skip_tag(a: &mut Assembler, tag: &'static str, none: &'static str) {
    a.jump_if_equal(R3, ether_type(0x8100), tag);
    a.jump_if_not_equal(R3, ether_type(0x88a8), none);
    a.label(tag);
    need(a, TAG);
    a.load(Half, R3, R9, 2);
    a.add(R9, TAG);
}

/// Leaves the frame to the kernel if it ends before `bytes` behind `R9`.
fn need(a: &mut Assembler, bytes: i32) {
    a.copy(R1, R9);
    a.add(R1, bytes);
    a.jump_if_greater(R1, R8, "pass");
}

/// Redirects if the longest prefix of the IPv4 address at `R9 + offset` is taken; goes on otherwise.
fn look_up_v4(a: &mut Assembler, offset: i16, map: RawFd) {
    a.store_value(R10, -8, 32);
    a.load(Word, R1, R9, offset);
    a.store(R10, -4, R1);
    look_up(a, -8, map, if offset == 16 { "left (ipv4)" } else { "left (arp)" });
}

/// The same for an IPv6 address.
fn look_up_v6(a: &mut Assembler, offset: i16, map: RawFd) {
    a.store_value(R10, -20, 128);
    for part in 0..4 {
        a.load(Word, R1, R9, offset + 4 * part);
        a.store(R10, -16 + 4 * part, R1);
    }
    look_up(a, -20, map, if offset == 24 { "left (ipv6)" } else { "left (target)" });
}

fn look_up(a: &mut Assembler, key: i32, map: RawFd, left: &'static str) {
    a.load_map(R1, map);
    a.copy(R2, R10);
    a.add(R2, key);
    a.call(MAP_LOOKUP);
    a.jump_if_equal(R0, 0, left);
    a.load(Word, R1, R0, 0);
    a.jump_if_not_equal(R1, 0, "redirect");
    a.label(left);
}

/// An EtherType as a 16-bit load from a frame gives it.
const fn ether_type(number: u16) -> i32 {
    u16::from_ne_bytes(number.to_be_bytes()) as i32
}

#[cfg(test)]
mod tests;
