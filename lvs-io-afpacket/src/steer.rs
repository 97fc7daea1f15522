//! The classic BPF program by which a group of packet sockets shares out frames: each client's to one socket.
//!
//! It computes what [`owner`](lvs_core::classify::owner) does, over what a program of this kind can walk: IPv4 with options,
//! IPv6 without extension headers, and the packets that ICMP errors quote. Where the two differ the director hands the frame
//! to its owner. What is unusual it leaves to the
//! first socket.

use std::num::NonZeroU16;

use libc::{
    BPF_ABS, BPF_ALU, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_MOD,
    BPF_MSH, BPF_MUL, BPF_RET, BPF_RSH, BPF_W, BPF_X, BPF_XOR, sock_filter,
};

/// For a group of packet sockets a frame begins with its network header.
const NETWORK: u32 = 0;
/// The EtherType behind VLAN tags that the device took out.
const PROTOCOL: u32 = -0x1000_i32 as u32;
const A_TO_X: u16 = 0x07;
/// `BPF_A`: answer the accumulator.
const RETURN_A: u16 = BPF_RET as u16 | 0x10;

const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;
const ICMP: u32 = 1;
const ICMPV6: u32 = 58;
const LATER_FRAGMENT: u32 = 0x1fff;

/// A program while it is written; jumps go to labels.
#[derive(Default)]
struct Writer {
    code: Vec<sock_filter>,
    /// Jumps to be filled in: the instruction, whether it is the jump for "yes", and the label.
    jumps: Vec<(usize, bool, Label)>,
    labels: Vec<(Label, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    V6,
    ClientV4,
    QuoteV4,
    ClientV6,
    QuoteV6,
    Mix,
    Nobody,
}

impl Writer {
    fn push(&mut self, code: u16, k: u32) {
        self.code.push(sock_filter { code, jt: 0, jf: 0, k });
    }

    fn load(&mut self, size: u32, at: u32) {
        self.push((BPF_LD | BPF_ABS | size) as u16, at);
    }

    /// Goes on at `yes` if the accumulator is `k`.
    fn if_equal(&mut self, k: u32, yes: Label) {
        self.jumps.push((self.code.len(), true, yes));
        self.push((BPF_JMP | BPF_JEQ | BPF_K) as u16, k);
    }

    fn unless_equal(&mut self, k: u32, no: Label) {
        self.jumps.push((self.code.len(), false, no));
        self.push((BPF_JMP | BPF_JEQ | BPF_K) as u16, k);
    }

    fn if_any(&mut self, bits: u32, yes: Label) {
        self.jumps.push((self.code.len(), true, yes));
        self.push((BPF_JMP | BPF_JSET | BPF_K) as u16, bits);
    }

    /// A test that is always true, both ways: a jump.
    fn go(&mut self, to: Label) {
        self.jumps.push((self.code.len(), true, to));
        self.jumps.push((self.code.len(), false, to));
        self.push((BPF_JMP | BPF_JEQ | BPF_K) as u16, 0);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.code.len()));
    }

    /// The four words of an IPv6 address, XORed.
    fn load_folded(&mut self, at: u32) {
        self.load(BPF_W, at);
        for word in 1..4 {
            self.push(A_TO_X, 0);
            self.load(BPF_W, at + 4 * word);
            self.push((BPF_ALU | BPF_XOR | BPF_X) as u16, 0);
        }
    }

    fn finish(mut self) -> Vec<sock_filter> {
        for (at, yes, label) in self.jumps {
            let to = self.labels.iter().find(|(one, _)| *one == label).map_or(at + 1, |(_, to)| *to);
            let distance = (to - at - 1) as u8;
            let jump = &mut self.code[at];
            *if yes { &mut jump.jt } else { &mut jump.jf } = distance;
        }
        self.code
    }
}

/// The program for so many members.
pub(crate) fn program(members: NonZeroU16) -> Vec<sock_filter> {
    let mut p = Writer::default();
    p.load(BPF_W, PROTOCOL);
    p.if_equal(IPV6, Label::V6);
    p.unless_equal(IPV4, Label::Nobody);

    p.load(BPF_B, NETWORK + 9);
    p.unless_equal(ICMP, Label::ClientV4);
    p.load(BPF_H, NETWORK + 6);
    p.if_any(LATER_FRAGMENT, Label::ClientV4);
    p.push((BPF_LDX | BPF_MSH | BPF_B) as u16, NETWORK);
    p.push((BPF_LD | BPF_IND | BPF_B) as u16, NETWORK);
    for error in [3, 4, 11] {
        p.if_equal(error, Label::QuoteV4);
    }
    p.label(Label::ClientV4);
    p.load(BPF_W, NETWORK + 12);
    p.go(Label::Mix);
    p.label(Label::QuoteV4);
    // The receiver of the quoted packet, which the VIP sent: behind 8 bytes of ICMP.
    p.push((BPF_LD | BPF_IND | BPF_W) as u16, NETWORK + 8 + 16);
    p.go(Label::Mix);

    p.label(Label::V6);
    p.load(BPF_B, NETWORK + 6);
    p.unless_equal(ICMPV6, Label::ClientV6);
    p.load(BPF_B, NETWORK + 40);
    for error in [1, 2, 3] {
        p.if_equal(error, Label::QuoteV6);
    }
    p.label(Label::ClientV6);
    p.load_folded(NETWORK + 8);
    p.go(Label::Mix);
    p.label(Label::QuoteV6);
    p.load_folded(NETWORK + 40 + 8 + 24);

    p.label(Label::Mix);
    p.push((BPF_ALU | BPF_MUL | BPF_K) as u16, 0x9e37_79b1);
    p.push((BPF_ALU | BPF_RSH | BPF_K) as u16, 16);
    p.push((BPF_ALU | BPF_MOD | BPF_K) as u16, members.get().into());
    p.push(RETURN_A, 0);
    p.label(Label::Nobody);
    p.push(BPF_RET as u16 | BPF_K as u16, 0);
    p.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_core::classify::owner;
    use lvs_core::io::Meta;
    use lvs_testkit::frames::{self, IcmpError, addr, tcp, udp};
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

    /// What the kernel does with a program of this kind: a load from where nothing is answers 0.
    fn run(program: &[sock_filter], frame: &[u8]) -> u32 {
        let network = &frame[14..];
        let load = |size: u32, at: u32| -> Option<u32> {
            if at == PROTOCOL {
                return Some(u32::from(u16::from_be_bytes([frame[12], frame[13]])));
            }
            let at = at.wrapping_sub(NETWORK) as usize;
            let len = if size == BPF_W {
                4
            } else if size == BPF_H {
                2
            } else {
                1
            };
            let bytes = network.get(at..at + len)?;
            Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
        };
        let (mut a, mut x, mut at) = (0u32, 0u32, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let code = u32::from(code);
            let (class, size) = (code & 7, code & 0x18);
            let got = match (class, code & 0xe0) {
                (BPF_LD, BPF_ABS) => load(size, k),
                (BPF_LD, BPF_IND) => load(size, k.wrapping_add(x)),
                (BPF_LDX, BPF_MSH) => {
                    let Some(byte) = load(BPF_B, k) else { return 0 };
                    x = (byte & 0xf) * 4;
                    Some(a)
                }
                (BPF_ALU, _) => Some(match code & 0xf0 {
                    BPF_MUL => a.wrapping_mul(k),
                    BPF_RSH => a >> k,
                    BPF_MOD => a % k,
                    BPF_XOR => a ^ x,
                    other => panic!("ALU {other:x}"),
                }),
                (BPF_JMP, _) => {
                    let yes = if code & 0xf0 == BPF_JEQ { a == k } else { a & k != 0 };
                    at += usize::from(if yes { jt } else { jf });
                    Some(a)
                }
                (BPF_RET, _) => return if code == u32::from(RETURN_A) { a } else { k },
                (7, _) => {
                    x = a;
                    Some(a)
                }
                other => panic!("{other:?}"),
            };
            let Some(got) = got else { return 0 };
            a = got;
        }
    }

    /// Held to the rule that it stands for, over many clients and kinds of frames.
    #[test]
    fn computes_the_owner() {
        for members in [1, 2, 3, 16] {
            let members = NonZeroU16::new(members).unwrap();
            let program = program(members);
            for n in 0..200u32 {
                let v4 = Ipv4Addr::from_bits(0x6e00_0000 + n * 77_777);
                let v6 = Ipv6Addr::from_bits(0xfd00_u128 << 112 | u128::from(n) << 70 | u128::from(n * 31));
                for (client, vip, router) in [
                    (SocketAddr::from((v4, 999)), "192.168.0.250", "10.5.5.5"),
                    (SocketAddr::from((v6, 999)), "fd00::fa", "fd00:5::5"),
                ] {
                    let vip = SocketAddr::new(addr(vip), 80);
                    let reply = tcp(vip, client).payload(&[0; 100]).build();
                    let mut all = vec![
                        tcp(client, vip).build(),
                        udp(client, vip).build(),
                        frames::echo_request(client.ip(), vip.ip(), 1, 2).build(),
                    ];
                    for error in [IcmpError::TooBig { mtu: 1400 }, IcmpError::PortUnreachable] {
                        all.push(frames::icmp_error(addr(router), vip.ip(), error, &reply).build());
                    }
                    if client.is_ipv4() {
                        all.push(tcp(client, vip).options(&[1; 8]).build());
                        all.extend(udp(client, vip).payload(&[0; 4000]).fragments(1500));
                    }
                    for frame in all {
                        let expected = owner(&frame, &Meta::default(), members);
                        assert_eq!(
                            run(&program, &frame),
                            u32::from(expected),
                            "{}",
                            frames::describe(&frame)
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_ip_belongs_to_the_first() {
        let program = program(NonZeroU16::new(7).unwrap());
        let arp = frames::arp_request(frames::station(1), frames::v4("10.0.0.1"), frames::v4("10.0.0.2"));
        assert_eq!(run(&program, &arp.build()), 0);
    }
}
