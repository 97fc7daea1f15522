//! What becomes of what is heard.

use std::net::IpAddr;

use lvs_core::config::Protocol;
use lvs_core::{Instant, MacAddr};

use super::{
    ASKS_SPARE, Examination, FIRST_PORT, MAX_ANSWERS, PING_LONG, PING_SHORT, PING_SIZES, PING_VIP, Phase,
    SIZES, Task,
};
use crate::hear::{ACK, Endpoint, Purpose, RST, SYN};
use crate::state::{Long, Reply, Role};
use crate::write::{self, Ends};

impl Examination {
    pub(super) fn heard_neighbour(
        &mut self,
        now: Instant,
        interface: usize,
        purpose: Purpose,
        mac: MacAddr,
        sender: Option<IpAddr>,
        target: IpAddr,
    ) {
        let own = &self.config.interfaces;
        if own.iter().any(|one| one.mac == mac) {
            return;
        }
        if purpose == Purpose::Asks && own[interface].answer_for.contains(&target) {
            self.answer(interface, mac, sender, target);
        }
        let Some(sender) = sender else { return };
        if let Some(at) = self.state.by_address.get(&(interface, sender)).copied() {
            let is_vip = self.state.targets[at].role == Role::Vip;
            if !(is_vip && self.config.director_macs.contains(&mac)) {
                let announced_to = (purpose != Purpose::Answers).then_some(target);
                self.state.targets[at].heard(mac, announced_to);
            }
        }
        if let Some(vip) = self.state.by_spare.get(&(interface, sender)).copied() {
            if self.phase == Phase::Neighbours && self.state.spare_is_taken(&self.config, vip) {
                self.plan(now, Task::AskSpare(vip, ASKS_SPARE));
            }
        } else if let (Purpose::Asks, Some(vip), Some(server)) =
            (purpose, self.state.by_spare.get(&(interface, target)), self.state.by_mac.get(&mac))
        {
            self.state.looked_as.insert((*vip, *server), sender);
        }
    }

    /// Somebody looks for an address of ours.
    fn answer(&mut self, interface: usize, mac: MacAddr, asker: Option<IpAddr>, address: IpAddr) {
        if self.answers.len() >= MAX_ANSWERS {
            return;
        }
        let ends = Ends { to: mac, ..self.to_all(interface) };
        let frame = match (address, asker) {
            (IpAddr::V4(address), Some(IpAddr::V4(asker))) => write::arp_reply(ends, address, asker),
            (IpAddr::V6(address), Some(IpAddr::V6(asker))) => write::advertisement(ends, address, asker),
            _ => return,
        };
        self.answers.push_back((self.config.interfaces[interface].port, frame));
    }

    /// The pair whose probe `source` answers to `destination`.
    pub(super) fn pair_of(
        &self,
        protocol: Protocol,
        source: Endpoint,
        destination: Endpoint,
    ) -> Option<usize> {
        let at = usize::from(destination.1.checked_sub(FIRST_PORT)?);
        let pair = self.state.pairs.get(at)?;
        let hold = &self.state.holds[pair.hold];
        let (interface, _) = self.state.servers[hold.server].place?;
        let is_ours = pair.sent > 0
            && pair.protocol == protocol
            && source == (hold.vip, pair.port.number())
            && self.source(interface, hold.vip) == Some(destination.0);
        is_ours.then_some(at)
    }

    pub(super) fn heard_tcp(
        &mut self,
        now: Instant,
        from: MacAddr,
        source: Endpoint,
        destination: Endpoint,
        flags: u8,
        ack: u32,
    ) {
        let Some(pair) = self.pair_of(Protocol::Tcp, source, destination) else { return };
        if ack != self.sequence(pair).wrapping_add(1) || flags & ACK == 0 {
            return;
        }
        if flags & RST != 0 {
            self.answered(pair, from, Reply::Reset);
        } else if flags & SYN != 0 && self.answered(pair, from, Reply::Accepted) {
            self.plan(now, Task::End(pair, ack));
        }
    }

    /// A probe was answered, for the first time or again. Answers whether the real server's connection is to be ended.
    pub(super) fn answered(&mut self, pair: usize, from: MacAddr, reply: Reply) -> bool {
        let server = self.state.holds[self.state.pairs[pair].hold].server;
        let is_first = self.state.pairs[pair].reply.is_none();
        let state = &mut self.state.pairs[pair];
        match self.state.servers[server].place {
            Some((_, mac)) if mac == from => state.reply = state.reply.or(Some(reply)),
            _ => state.elsewhere = Some(from),
        }
        is_first && state.reply.is_some()
    }

    pub(super) fn heard_echo(
        &mut self,
        from: MacAddr,
        source: IpAddr,
        kind: u16,
        seq: usize,
        fragmented: bool,
    ) {
        if kind == PING_VIP {
            let Some(hold) = self.state.holds.get_mut(seq) else { return };
            let place = self.state.servers[hold.server].place;
            hold.pinged |= hold.vip == source && place.is_some_and(|(_, mac)| mac == from);
            return;
        }
        let Some(server) = self.state.servers.get_mut(seq) else { return };
        if server.address != source || server.place.is_none_or(|(_, mac)| mac != from) {
            return;
        }
        match kind {
            PING_SHORT => server.short = true,
            PING_LONG => server.long = if fragmented { Long::Pieces } else { Long::Whole },
            _ => {
                let Some(size) = SIZES.get(usize::from(kind.wrapping_sub(PING_SIZES))) else { return };
                if !fragmented {
                    server.longest = server.longest.max(Some(*size));
                }
            }
        }
    }
}
