//! A network namespace of the tests' own, and pairs of interfaces in it. Gone when the program ends.

use std::fs;
use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::sched::{CloneFlags, unshare};

/// Enters a new network namespace, in a new user namespace if that takes more rights than there are. Must be
/// called before threads are started.
///
/// # Errors
/// Why that is not possible on this machine.
pub(crate) fn enter() -> Result<(), String> {
    if unshare(CloneFlags::CLONE_NEWNET).is_err() {
        let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("unshare: {error}"))?;
        for (file, content) in [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("0 {user} 1")),
            ("gid_map", format!("0 {group} 1")),
        ] {
            fs::write(format!("/proc/self/{file}"), content).map_err(|error| format!("{file}: {error}"))?;
        }
    }
    // The kernel's own IPv6 traffic would mix with that of the tests. Where there is no IPv6 there is none.
    let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    Veth::new("probe0", "probe1").map(drop).map_err(|error| format!("veth: {error}"))
}

/// Two interfaces joined by a cable, up. Deleted when dropped.
pub(crate) struct Veth {
    name: String,
}

impl Veth {
    pub(crate) fn new(name: &str, peer: &str) -> io::Result<Self> {
        let mut other = LinkMessage::default();
        other.attributes.push(LinkAttribute::IfName(peer.to_owned()));
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
        ]));
        request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)?;
        let veth = Self { name: name.to_owned() };
        set_up(name, true)?;
        set_up(peer, true)?;
        Ok(veth)
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(self.name.clone()));
        // A test may have deleted it; everything goes with the namespace anyway.
        let _ = request(RouteNetlinkMessage::DelLink(link), 0);
    }
}

/// Sets an interface up or down.
pub(crate) fn set_up(name: &str, up: bool) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    link.header.change_mask = LinkFlags::Up;
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    request(RouteNetlinkMessage::SetLink(link), 0)
}

/// Whether the interface's list of group addresses has `group`.
pub(crate) fn has_group(name: &str, group: &str) -> bool {
    // Index, name, users, global users, address in hexadecimal digits.
    fs::read_to_string("/proc/net/dev_mcast").unwrap_or_default().lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(name) && words.nth(2) == Some(group)
    })
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
