//! From what was seen to what is wrong.

use std::net::IpAddr;

use lvs_core::MacAddr;
use lvs_core::config::Protocol;

use crate::config::{ExaminationConfig, ServicePort};
use crate::cure::{self, Culprit};
use crate::examination::SIZES;
use crate::finding::{Check, Fault, Finding, Outcome};
use crate::state::{Hold, Long, Machine, Pair, Reply, Role, Server, State, Target};

/// The findings, errors first, and the checks. `incomplete` is the number of frames after which the examination was cut
/// short.
pub(crate) fn diagnose(
    config: &ExaminationConfig,
    state: &State,
    incomplete: Option<u32>,
) -> (Vec<Finding>, Vec<Check>) {
    let mut doctor = Doctor { config, state, findings: Vec::new(), checks: Vec::new() };
    if let Some(frames) = incomplete {
        doctor.incomplete(frames);
    }
    for role in [Role::Own, Role::Gateway, Role::Vip] {
        for target in state.targets.iter().filter(|target| target.role == role) {
            match role {
                Role::Vip => doctor.vip(target),
                _ => doctor.address(target),
            }
        }
    }
    let mut pairs: Vec<Vec<&Pair>> = vec![Vec::new(); state.holds.len()];
    for pair in &state.pairs {
        pairs[pair.hold].push(pair);
    }
    let mut holds: Vec<Vec<usize>> = vec![Vec::new(); state.servers.len()];
    for (number, hold) in state.holds.iter().enumerate() {
        holds[hold.server].push(number);
    }
    for (server, holds) in state.servers.iter().zip(holds) {
        doctor.server(server);
        for hold in holds {
            doctor.hold(server, &state.holds[hold], &pairs[hold]);
        }
    }
    let Doctor { mut findings, checks, .. } = doctor;
    findings.sort_by_key(|finding| (finding.fault.severity(), finding.fault));
    (findings, checks)
}

struct Doctor<'a> {
    config: &'a ExaminationConfig,
    state: &'a State,
    findings: Vec<Finding>,
    checks: Vec<Check>,
}

impl Doctor<'_> {
    fn check(&mut self, outcome: Outcome, what: String, detail: impl Into<String>) {
        self.checks.push(Check::new(outcome, what, detail));
    }

    fn incomplete(&mut self, frames: u32) {
        let limits = self.config.limits;
        let evidence = format!(
            "the examination was cut short after {frames} frames; it may send {} and last {:?}. What was not answered \
             until then may only not have been asked",
            limits.frames, limits.time
        );
        let cure = vec!["# examine fewer services at a time, or raise the limits".to_owned()];
        self.findings.push(Finding { cure, ..Finding::new(Fault::ExaminationIncomplete, evidence) });
    }

    fn culprit(&self, mac: MacAddr) -> Culprit {
        if let Some(server) = self.state.by_mac.get(&mac) {
            return Culprit::Server(self.state.servers[*server].address);
        }
        let has = |target: &&Target| target.machines.iter().any(|machine| machine.mac == mac);
        let of = |role| self.state.targets.iter().filter(move |target| target.role == role).find(has);
        match (of(Role::Server), of(Role::Gateway)) {
            (Some(server), _) => Culprit::Server(server.address),
            (None, Some(gateway)) => Culprit::Gateway(gateway.address),
            (None, None) => Culprit::Unknown,
        }
    }

    fn interface(&self, target: &Target) -> &str {
        &self.config.interfaces[target.interface].name
    }

    /// Who has a VIP.
    fn vip(&mut self, target: &Target) {
        let (vip, interface) = (target.address, self.interface(target).to_owned());
        let question = if vip.is_ipv4() { "ARP" } else { "neighbour discovery" };
        let (mut answered, mut announced) = (0, 0);
        for machine in &target.machines {
            let culprit = self.culprit(machine.mac);
            if machine.answers > 0 {
                answered += 1;
                self.vip_answered(target, machine, culprit);
            }
            if let Some(to) = machine.announced_to {
                announced += 1;
                self.vip_announced(target, machine, culprit, to);
            }
        }
        let outcome = if answered == 0 { Outcome::Passed } else { Outcome::Failed };
        let what = format!("nobody but the director answers {question} for VIP {vip} on {interface}");
        let more = if target.more > 0 { " and more" } else { "" };
        let detail =
            if answered == 0 { String::new() } else { format!("machines that do: {answered}{more}") };
        self.check(outcome, what, detail);
        self.announcements(target, announced);
    }

    fn vip_answered(&mut self, target: &Target, machine: &Machine, culprit: Culprit) {
        let (vip, interface) = (target.address, self.interface(target));
        let dip =
            self.config.interfaces[target.interface].dip(vip).map_or_else(String::new, |dip| dip.to_string());
        let evidence = format!(
            "asked on {interface} \"who has {vip}? tell {dip}\", {} answered {} times that it has it; whoever believes \
             that sends everything for the VIP there, past the director",
            culprit.name(machine.mac),
            machine.answers
        );
        let cure = cure::quiet(culprit, machine.mac, vip);
        self.vip_finding(Fault::VipAnswered, vip, machine.mac, culprit, evidence, cure);
    }

    fn vip_announced(&mut self, target: &Target, machine: &Machine, culprit: Culprit, to: IpAddr) {
        let (vip, interface) = (target.address, self.interface(target));
        let said = if to == vip || !target.address.is_ipv4() && to.is_multicast() {
            format!("told everybody \"{vip} is at {}\"", machine.mac)
        } else {
            format!("asked everybody \"who has {to}? tell {vip}\"")
        };
        let provoked = if target.spare.is_some_and(|spare| spare.address == to) {
            format!(", when it had to answer something that was sent to the VIP from {to}, which nobody has")
        } else {
            String::new()
        };
        let evidence = format!(
            "{} {said} on {interface}{provoked}; whoever hears that takes {} for the VIP",
            culprit.name(machine.mac),
            machine.mac
        );
        let cure = cure::quiet(culprit, machine.mac, vip);
        self.vip_finding(Fault::VipAnnounced, vip, machine.mac, culprit, evidence, cure);
    }

    fn vip_finding(
        &mut self,
        fault: Fault,
        vip: IpAddr,
        mac: MacAddr,
        culprit: Culprit,
        evidence: String,
        cure: Vec<String>,
    ) {
        // Once, although it was seen on two interfaces.
        if !self.findings.iter().any(|one| (one.fault, one.vip, one.mac) == (fault, Some(vip), Some(mac))) {
            let (vip, mac, address) = (Some(vip), Some(mac), culprit.address());
            self.findings.push(Finding { vip, mac, address, cure, ..Finding::new(fault, evidence) });
        }
    }

    /// Whether real servers look for others under the VIP's name: known of those that looked for the spare address.
    fn announcements(&mut self, target: &Target, announced: u32) {
        let (vip, interface) = (target.address, self.interface(target).to_owned());
        let here = |hold: &&Hold| {
            let place = self.state.servers[hold.server].place;
            hold.vip == vip && place.is_some_and(|(at, _)| at == target.interface)
        };
        let (mut provoked, mut seen) = (0, 0);
        let number = self.state.vip_target(target.interface, vip);
        for hold in self.state.holds.iter().filter(here) {
            provoked += 1;
            let looked = |number| self.state.looked_as.contains_key(&(number, hold.server));
            seen += u32::from(number.is_some_and(looked));
        }
        let what = format!("no machine announces VIP {vip} on {interface}");
        let detail = match target.spare {
            _ if announced > 0 => format!("machines that do: {announced}"),
            _ if provoked == 0 => "no real server was found there that could".to_owned(),
            Some(spare) if !spare.taken => {
                format!("{seen} of {provoked} real servers were seen looking for {}", spare.address)
            }
            _ => "no free address was found from which real servers could be provoked".to_owned(),
        };
        let outcome = match announced {
            0 if provoked == 0 || seen == provoked => Outcome::Passed,
            0 => Outcome::Unknown,
            _ => Outcome::Failed,
        };
        self.check(outcome, what, detail);
    }

    /// An address of the director's or a gateway's.
    fn address(&mut self, target: &Target) {
        let (address, interface) = (target.address, self.interface(target).to_owned());
        if target.role == Role::Own {
            let outcome = if target.machines.is_empty() { Outcome::Passed } else { Outcome::Failed };
            self.duplicate(target, "the director", 1);
            self.check(
                outcome,
                format!("nobody else has the director's address {address} on {interface}"),
                "",
            );
            return;
        }
        let what = format!("gateway {address} is on {interface}");
        match target.machines.first() {
            None => {
                let evidence =
                    format!("asked {} times on {interface} who has {address}; nobody answered", target.asked);
                let cure = cure::bring_up("gateway", address);
                let finding = Finding::new(Fault::GatewayUnresolved, evidence);
                self.findings.push(Finding { address: Some(address), cure, ..finding });
                self.check(Outcome::Failed, what, "nobody answers");
            }
            Some(machine) => {
                let outcome = if self.duplicate(target, "", 2) { Outcome::Failed } else { Outcome::Passed };
                self.check(outcome, what, format!("at {}", machine.mac));
            }
        }
    }

    /// Whether there are so many machines with an address; if so, that is a finding about each of them.
    fn duplicate(&mut self, target: &Target, besides: &str, at_least: usize) -> bool {
        if target.machines.len() < at_least {
            return false;
        }
        let interface = &self.config.interfaces[target.interface];
        let macs: Vec<String> = target.machines.iter().map(|machine| machine.mac.to_string()).collect();
        let besides = if besides.is_empty() {
            String::new()
        } else {
            format!(" besides {besides} ({})", interface.mac)
        };
        let evidence = format!(
            "asked on {} who has {}; {} answered{besides}",
            interface.name,
            target.address,
            macs.join(" and ")
        );
        let cure = vec![
            format!(
                "# on the machine that should not have {}, or has it on two cards in one segment:",
                target.address
            ),
            format!("ip address show to {}", target.address),
            "# whose Ethernet address is whose: on each, ip link show".to_owned(),
        ];
        // The one that was heard last is the likelier intruder.
        let mac = target.machines.last().map(|machine| machine.mac);
        let finding = Finding::new(Fault::DuplicateAddress, evidence);
        self.findings.push(Finding { mac, address: Some(target.address), cure, ..finding });
        true
    }

    /// Where a real server is, and what it takes.
    fn server(&mut self, server: &Server) {
        let address = server.address;
        let targets: Vec<&Target> =
            server.targets.iter().map(|target| &self.state.targets[*target]).collect();
        let names: Vec<&str> = targets.iter().map(|target| self.interface(target)).collect();
        let what = format!("real server {address} is on {}", names.join(" or "));
        let mut outcome = Outcome::Passed;
        let mut detail = server.place.map_or_else(String::new, |(_, mac)| format!("at {mac}"));
        if server.off_segment || server.behind.is_some() {
            let finding = self.off_segment(server, &names);
            (outcome, detail) =
                (Outcome::Failed, "in no subnet of the director's, or behind a router".to_owned());
            self.findings.push(finding);
        } else if server.place.is_none() {
            let asked = targets.first().map_or(0, |target| target.asked);
            let evidence =
                format!("asked {asked} times on {} who has {address}; nobody answered", names.join(" and "));
            let cure = cure::bring_up("real server", address);
            let finding = Finding::new(Fault::RipUnresolved, evidence);
            self.findings.push(Finding { address: Some(address), cure, ..finding });
            (outcome, detail) = (Outcome::Failed, "nobody answers".to_owned());
        }
        for target in targets {
            if self.duplicate(target, "", 2) {
                outcome = Outcome::Failed;
            }
        }
        self.check(outcome, what, detail);
        if let Some((interface, mac)) = server.place {
            self.size(server, self.config.interfaces[interface].mtu, mac);
        }
    }

    fn off_segment(&self, server: &Server, names: &[&str]) -> Finding {
        let address = server.address;
        let subnets: Vec<String> = self
            .config
            .interfaces
            .iter()
            .flat_map(|interface| &interface.addresses)
            .filter(|subnet| subnet.address().is_ipv4() == address.is_ipv4())
            .map(ToString::to_string)
            .collect();
        let place = format!("{address} lies in none of the director's subnets ({})", subnets.join(", "));
        let (evidence, cure) = match (server.behind, server.place) {
            (Some((gateway, mac)), _) => (
                format!(
                    "asked on {} who has {address}; the gateway {gateway} ({mac}) answered in its place. A router would \
                     send requests for the VIP back to the director",
                    names.join(" and ")
                ),
                vec![
                    "# direct routing needs the real server in a segment of the director's: move it there"
                        .to_owned(),
                ],
            ),
            (None, Some((interface, mac))) => (
                format!(
                    "{place}, but {mac} answered for it on {}. A director sends to a router what is in no subnet of its",
                    self.config.interfaces[interface].name
                ),
                vec![
                    format!(
                        "# if {mac} is the real server's own, give the director a --dip in the subnet of {address};"
                    ),
                    "# if it is a router's, move the real server into a segment of the director's".to_owned(),
                ],
            ),
            (None, None) => (
                format!("{place}, and nobody answers for it on {}", names.join(" and ")),
                vec![
                    "# direct routing needs the real server in a segment of the director's: move it there"
                        .to_owned(),
                ],
            ),
        };
        let mac = server.behind.or(server.place.map(|(_, mac)| (address, mac))).map(|(_, mac)| mac);
        Finding { mac, address: Some(address), cure, ..Finding::new(Fault::RipOffSegment, evidence) }
    }

    fn size(&mut self, server: &Server, mtu: u16, mac: MacAddr) {
        let address = server.address;
        let what = format!("real server {address} takes packets of {mtu} bytes");
        if server.long == Long::Whole {
            return self.check(Outcome::Passed, what, "");
        }
        if !server.short && server.long == Long::Silence {
            return self.check(Outcome::Unknown, what, "it answers no ping");
        }
        let seen = match server.long {
            Long::Pieces => "was answered in pieces".to_owned(),
            _ => "was not answered".to_owned(),
        };
        let longest = server.longest.map_or_else(
            || "none of the shorter lengths that were tried was, but one of 84 was".to_owned(),
            |length| format!("one of {length} was, of {} lengths tried", SIZES.len()),
        );
        let evidence = format!("a ping of {mtu} bytes that must not be fragmented {seen}; {longest}");
        let cure = cure::widen(address, mac, mtu);
        let finding = Finding::new(Fault::MtuSmaller, evidence);
        self.findings.push(Finding { mac: Some(mac), address: Some(address), cure, ..finding });
        self.check(Outcome::Failed, what, seen);
    }

    /// A VIP on a real server, and the services there.
    fn hold(&mut self, server: &Server, hold: &Hold, pairs: &[&Pair]) {
        let Some((_, mac)) = server.place else { return };
        let is_there =
            hold.pinged || pairs.iter().any(|pair| pair.reply.is_some_and(|reply| !forbidden(reply)));
        let expects = |pair: &&&Pair| {
            pair.protocol == Protocol::Tcp && pair.reply.is_none() && pair.elsewhere.is_none()
        };
        let silent: Vec<String> = pairs.iter().filter(expects).map(|pair| service(hold.vip, pair)).collect();
        if !is_there && !silent.is_empty() {
            let evidence = format!(
                "sent {} SYN for {} and 3 pings of the VIP to {mac}, the Ethernet address of {}; it answered none: the VIP \
                 is missing there, or filtered",
                pairs.iter().map(|pair| u32::from(pair.sent)).sum::<u32>(),
                silent.join(" and "),
                server.address
            );
            let cure = cure::hold_vip(server.address, mac, hold.vip);
            self.server_finding(Fault::VipMissing, server, hold, evidence, cure);
        }
        for pair in pairs {
            self.pair(server, hold, pair, is_there, mac);
        }
    }

    fn pair(&mut self, server: &Server, hold: &Hold, pair: &Pair, is_there: bool, mac: MacAddr) {
        let (service, address, port) = (service(hold.vip, pair), server.address, pair.port.number());
        let what = format!("real server {address} answers for {service}");
        let is_udp = pair.protocol == Protocol::Udp;
        let sent = if is_udp { "an empty datagram" } else { "a SYN" };
        let to = format!("{sent} for {service} to {mac}, the Ethernet address of {address}");
        if let Some(other) = pair.elsewhere {
            let evidence = format!("sent {to}; the answer came from {other}");
            let cure = vec![format!(
                "# {other} is another card of the real server, which should answer by the card that was asked, or another \
                 machine to which the real server forwards (sysctl -w net.ipv4.ip_forward=0)"
            )];
            self.server_finding(Fault::AnsweredElsewhere, server, hold, evidence, cure);
        }
        let (outcome, detail) = match (pair.reply, pair.port) {
            (Some(Reply::Accepted), _) => (Outcome::Passed, ""),
            (Some(Reply::Reset | Reply::NobodyListens), ServicePort::Any(_)) => {
                (Outcome::Passed, "the VIP is there")
            }
            (Some(reply @ (Reply::Reset | Reply::NobodyListens)), ServicePort::Exact(_)) => {
                let word = if reply == Reply::Reset { "RST" } else { "ICMP port unreachable" };
                let evidence = format!("sent {to}; it answered with {word}: nobody listens there");
                let cure = cure::listen(address, mac, is_udp, port);
                self.server_finding(Fault::PortClosed, server, hold, evidence, cure);
                (Outcome::Failed, "nobody listens")
            }
            (Some(Reply::Forbidden(by)), _) => {
                let evidence = format!("sent {to}; {by} answered with ICMP destination unreachable");
                self.server_finding(
                    Fault::PortFiltered,
                    server,
                    hold,
                    evidence,
                    cure::open_port(address, mac),
                );
                (Outcome::Failed, "it is refused")
            }
            (None, _) if pair.elsewhere.is_some() => (Outcome::Failed, "another machine does"),
            (None, _) if pair.protocol != Protocol::Tcp => {
                let vip = if is_there { "the VIP is there; " } else { "" };
                let silence = format!("{vip}silence of a {} service tells nothing", pair.protocol.name());
                return self.check(Outcome::Unknown, what, silence);
            }
            (None, _) if is_there => {
                let evidence = format!(
                    "sent {to}, {} times, without an answer, although it answered something else that was sent to the VIP",
                    pair.sent
                );
                self.server_finding(
                    Fault::PortFiltered,
                    server,
                    hold,
                    evidence,
                    cure::open_port(address, mac),
                );
                (Outcome::Failed, "it is filtered")
            }
            (None, _) => (Outcome::Failed, "no answer"),
        };
        self.check(outcome, what, detail);
    }

    fn server_finding(
        &mut self,
        fault: Fault,
        server: &Server,
        hold: &Hold,
        evidence: String,
        cure: Vec<String>,
    ) {
        let mac = server.place.map(|(_, mac)| mac);
        let (vip, address) = (Some(hold.vip), Some(server.address));
        self.findings.push(Finding { vip, mac, address, cure, ..Finding::new(fault, evidence) });
    }
}

/// Says nothing about where the VIP is: a router may say so as well.
const fn forbidden(reply: Reply) -> bool {
    matches!(reply, Reply::Forbidden(_))
}

/// `tcp 192.168.0.250:80`.
fn service(vip: IpAddr, pair: &Pair) -> String {
    format!("{} {}", pair.protocol.name(), std::net::SocketAddr::new(vip, pair.port.number()))
}
