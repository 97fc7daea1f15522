//! Interfaces with several receive queues: a socket each, and a way out by the queue in the same place.

use std::collections::BTreeSet;
use std::io;

use lvs_core::io::{FrameIo, Meta, PortId};
use lvs_io_afpacket::{PacketConfig, PacketIo};
use lvs_io_xdp::{XdpConfig, XdpIo};
use lvs_testkit::frames::{socket, udp};
use lvs_testkit::lab::Host;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::Test;
use crate::bench::{collect, settle, subnet};

pub(crate) const TESTS: &[Test] = &[("all_queues_of_an_interface_are_served", all_queues)];

const QUEUES: u32 = 3;

fn all_queues() {
    let host = Host::new("queues").unwrap();
    host.sysctl("net.ipv6.conf.default.disable_ipv6", "1").unwrap();
    let (mut tester, mut device) = host.run(|| {
        make_pair("far0", "near0").unwrap();
        make_pair("far1", "near1").unwrap();
        let tester = PacketIo::open(&PacketConfig::new(["far0", "far1"])).unwrap();
        let mut config = XdpConfig::new(["near0", "near1"]);
        (config.receive_entries, config.transmit_entries) = (512, 512);
        (tester, XdpIo::open(&config).unwrap())
    });
    for port in [PortId(0), PortId(1)] {
        assert_eq!(u32::from(device.mode(port).unwrap().queues), QUEUES);
    }
    device.set_addresses(&[subnet("0.0.0.0/0")], &[]).unwrap();
    settle(&mut tester);
    settle(&mut device);
    // The kernel chooses queues by flow: among so many each is chosen.
    let frames: Vec<_> = (0..300u16)
        .map(|i| udp(socket(&format!("10.0.0.1:{}", 1000 + i)), socket("10.0.0.2:53")).build())
        .collect();
    for frame in &frames {
        tester.transmit(PortId(0), &Meta::default(), frame).unwrap();
    }
    tester.flush().unwrap();
    let mut batches = 0;
    let mut rest = frames.len();
    while rest > 0 {
        let got = device
            .receive(&mut |frames| frames.iter().map(|_| lvs_core::Verdict::Transmit(PortId(1))).collect())
            .unwrap();
        batches += usize::from(got > 0);
        rest -= got;
    }
    let received: BTreeSet<_> = collect(&mut tester, frames.len()).into_iter().collect();
    assert_eq!(received, frames.into_iter().collect());
    assert!(batches >= QUEUES as usize);
    let statistics = device.statistics();
    assert_eq!((statistics.received, statistics.transmitted), (300, 300));
    assert_eq!((statistics.receive_lost, statistics.transmit_lost), (0, 0));
}

/// Two interfaces with so many queues, joined by a cable, up.
fn make_pair(name: &str, peer: &str) -> io::Result<()> {
    let end = |name: &str| {
        let mut link = LinkMessage::default();
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::NumTxQueues(QUEUES),
            LinkAttribute::NumRxQueues(QUEUES),
        ];
        link
    };
    let mut link = end(name);
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(end(peer)))),
    ]));
    request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)?;
    for name in [name, peer] {
        let mut link = LinkMessage::default();
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        request(RouteNetlinkMessage::SetLink(link), 0)?;
    }
    Ok(())
}

fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        _ => Ok(()),
    }
}
