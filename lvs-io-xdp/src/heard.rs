//! What the program beside the kernel hears: ARP, NDP and MLD that stay with the kernel.
//!
//! The redirect program leaves to the kernel what the kernel needs to stay reachable, and that is what the
//! director needs as well: answers of real servers, announcements, claims on its addresses, questions about
//! groups. A packet socket on the same interface gets a copy of it, and of nothing else.
//!
//! Frames of the sockets that the program redirected are not heard here, since the kernel does not see them:
//! none comes twice.

use std::io;
use std::os::fd::OwnedFd;

use lvs_core::MacAddr;

use crate::sys::packet::{self, FilterInstruction};
use crate::tag;

/// A packet socket with its filter, bound to an interface.
pub(crate) fn open(interface: u32) -> io::Result<OwnedFd> {
    let socket = packet::open()?;
    packet::set_filter(&socket, &FILTER)?;
    packet::bind_interface(&socket, interface)?;
    Ok(socket)
}

/// Lets frames to a group address in.
pub(crate) fn join(socket: &OwnedFd, interface: u32, group: MacAddr) -> io::Result<()> {
    packet::add_group(socket, interface, group.0)
}

/// What one look brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing is there.
    Nothing,
    /// A frame of that length at the front of the buffer, with its tag in the bytes.
    Frame(usize),
    /// A frame that is longer than the buffer.
    TooLong,
}

/// Takes the next frame into `buffer`.
pub(crate) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Heard {
    let Some((_, behind)) = buffer.split_at_mut_checked(tag::TAG) else { return Heard::TooLong };
    let room = behind.len();
    // Whatever is wrong with the socket is told by the link's state; there is no frame.
    let Ok(heard) = packet::receive(socket, behind) else { return Heard::Nothing };
    if heard.len > room {
        return Heard::TooLong;
    }
    // The tag goes behind the addresses, which move into its place; without a tag everything does.
    let moved = if heard.vlan.is_some() { ADDRESSES.min(heard.len) } else { heard.len };
    buffer.copy_within(tag::TAG..tag::TAG + moved, 0);
    let Some(vlan) = heard.vlan else { return Heard::Frame(heard.len) };
    if let Some(place) = buffer.get_mut(ADDRESSES..ADDRESSES + tag::TAG) {
        place.copy_from_slice(&tag::bytes(vlan));
    }
    Heard::Frame(heard.len + tag::TAG)
}

const ADDRESSES: usize = 12;

// Operations of classic BPF (Documentation/networking/filter.rst).
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE_INDEXED: u16 = 0x50;
const SET_INDEX: u16 = 0x01;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_NOT_LESS: u16 = 0x35;
const RETURN: u16 = 0x06;

const fn instruction(code: u16, value: u32, if_true: u8, if_false: u8) -> FilterInstruction {
    FilterInstruction { code, jt: if_true, jf: if_false, k: value }
}

/// Accepts ARP, neighbour solicitations and advertisements, and MLD queries (which have a hop-by-hop header);
/// the outer tag is not in the bytes, an inner one may be. A load beyond the end refuses the frame. Jumps are
/// counted from the instruction that follows.
const FILTER: [FilterInstruction; 20] = [
    instruction(SET_INDEX, 0, 0, 0),
    instruction(LOAD_HALF, 12, 0, 0),
    instruction(JUMP_EQUAL, 0x8100, 1, 0),
    instruction(JUMP_EQUAL, 0x88a8, 0, 2),
    instruction(SET_INDEX, 4, 0, 0),
    instruction(LOAD_HALF, 16, 0, 0),
    // 6: the EtherType
    instruction(JUMP_EQUAL, 0x0806, 12, 0),
    instruction(JUMP_EQUAL, 0x86dd, 0, 10),
    instruction(LOAD_BYTE_INDEXED, 14 + 6, 0, 0),
    // 9: the next header: ICMPv6, or hop-by-hop options
    instruction(JUMP_EQUAL, 58, 5, 0),
    instruction(JUMP_EQUAL, 0, 0, 7),
    instruction(LOAD_BYTE_INDEXED, 14 + 40, 0, 0),
    instruction(JUMP_EQUAL, 58, 0, 5),
    instruction(LOAD_BYTE_INDEXED, 14 + 40 + 8, 0, 0),
    instruction(JUMP_EQUAL, 130, 4, 3),
    // 15: ICMPv6 without options before it
    instruction(LOAD_BYTE_INDEXED, 14 + 40, 0, 0),
    instruction(JUMP_NOT_LESS, 135, 0, 1),
    instruction(JUMP_GREATER, 136, 0, 1),
    // 18: no; 19: yes
    instruction(RETURN, 0, 0, 0),
    instruction(RETURN, 0x4_0000, 0, 0),
];

#[cfg(test)]
mod tests {
    use lvs_core::io::VlanTag;
    use lvs_testkit::frames::{
        arp_request, echo_request, mld_query, mld_report, neighbour_advertisement, neighbour_solicitation,
        router_solicitation, socket, station, tcp, v4, v6,
    };

    use super::*;

    /// What the filter says: classic BPF as far as it is used.
    fn accepts(frame: &[u8]) -> bool {
        let (mut accumulator, mut index, mut at) = (0u32, 0usize, 0);
        loop {
            let FilterInstruction { code, jt, jf, k } = FILTER[at];
            at += 1;
            let mut load = |offset: usize, len: usize| {
                let bytes = frame.get(offset..offset + len)?;
                accumulator = bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
                Some(())
            };
            let loaded = match code {
                LOAD_HALF => load(k as usize, 2),
                LOAD_BYTE_INDEXED => load(index + k as usize, 1),
                SET_INDEX => {
                    index = k as usize;
                    Some(())
                }
                RETURN => return k != 0,
                _ => {
                    let yes = match code {
                        JUMP_EQUAL => accumulator == k,
                        JUMP_GREATER => accumulator > k,
                        JUMP_NOT_LESS => accumulator >= k,
                        other => panic!("{other:#x}"),
                    };
                    at += usize::from(if yes { jt } else { jf });
                    Some(())
                }
            };
            if loaded.is_none() {
                return false;
            }
        }
    }

    #[test]
    fn the_filter_lets_in_what_the_director_learns_from_and_nothing_else() {
        let (mac, a, b) = (station(1), v6("fe80::1"), v6("fd00::2"));
        let inner = VlanTag { tpid: 0x8100, tci: 5 };
        let heard = [
            arp_request(mac, v4("10.0.0.1"), v4("10.0.0.2")).build(),
            arp_request(mac, v4("10.0.0.1"), v4("10.0.0.2")).tag(inner).build(),
            neighbour_solicitation(mac, a, b).build(),
            neighbour_advertisement(mac, a, station(2), b).build(),
            neighbour_advertisement(mac, a, station(2), b).tag(inner).build(),
            mld_query(mac, a).build(),
            mld_query(mac, a).tag(inner).build(),
        ];
        for frame in &heard {
            assert!(accepts(frame), "{frame:02x?}");
        }
        let not = [
            tcp(socket("10.0.0.1:1"), socket("10.0.0.2:80")).build(),
            tcp(socket("[fd00::1]:1"), socket("[fd00::2]:80")).build(),
            echo_request(a.into(), b.into(), 1, 1).build(),
            router_solicitation(mac, a).build(),
            mld_report(mac, a, &[v6("ff02::1:ff00:1")]).build(),
        ];
        for frame in &not {
            assert!(!accepts(frame), "{frame:02x?}");
        }
        for frame in &heard {
            for len in 0..14 {
                assert!(!accepts(&frame[..len]));
            }
        }
    }
}
