//! A director in the place of the recorded one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lvs_admin::model::Model;
use lvs_admin::{knobs, rules};
use lvs_core::config::{MarkRule, PortRange, PortRanges, Protocol};
use lvs_core::director::TurnBuffers;
use lvs_core::{Change, Director, DirectorConfig, Instant, InterfaceConfig, MacAddr, PortId};
use lvs_testkit::memory::MemoryIo;

use crate::compare;
use crate::scenario::{Action, Scenario, Step};

/// The last bytes of the lab's Ethernet addresses and IP addresses.
const NODES: [(&str, u8, u8); 6] = [
    ("cl", 0x64, 100),
    ("dir", 0x02, 2),
    ("rs1", 0x0b, 11),
    ("rs2", 0x0c, 12),
    ("rs3", 0x0d, 13),
    ("rs4", 0x0e, 14),
];

pub(crate) struct Lab {
    pub(crate) director: Director,
    io: MemoryIo,
    buffers: TurnBuffers,
    pub(crate) now: Instant,
}

pub(crate) fn replay(scenario: &Scenario) -> Result<(), String> {
    let mut lab = Lab::new(scenario)?;
    // Statistics lag behind by up to two seconds in the kernel.
    let mut settled = false;
    for step in &scenario.steps {
        lab.pass_until(Instant::ZERO + START + step.at);
        if is_no_test(scenario, step) {
            continue;
        }
        lab.step(step).map_err(|fault| format!("step {}: {fault}", step.number))?;
        for (command, text) in &step.listings {
            compare::listing(&lab, command, text, settled, Duration::ZERO)
                .map_err(|fault| format!("step {}: {command}: {fault}", step.number))?;
        }
        settled = matches!(step.action, Action::Sleep);
    }
    let last = scenario.steps.last().map_or(Duration::ZERO, |step| step.at);
    lab.pass_until(Instant::ZERO + START + scenario.end);
    let settled = matches!(scenario.name.as_str(), "stats" | "udp");
    for (command, text) in &scenario.listings {
        // The listings were taken between the last step and the end.
        compare::listing(&lab, command, text, settled, scenario.end - last)
            .map_err(|fault| format!("{command}: {fault}"))?;
    }
    Ok(())
}

/// The kernel's answer to an ICMP error with a wrong checksum differs between its builds.
fn is_no_test(scenario: &Scenario, step: &Step) -> bool {
    scenario.name == "icmp_err" && step.number == 15
}

/// Time for announcements to be over before a scenario begins.
const START: Duration = Duration::from_secs(10);

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 9, 0, last).into()
}

/// fd00:9::64 for cl, ::2 for dir, ::11 for rs1: the IPv4 host part written as it is.
fn v6(last: u8) -> IpAddr {
    let digits = if last == 100 { 0x100 } else { u16::from(last / 10 * 16 + last % 10) };
    Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, digits).into()
}

impl Lab {
    fn new(scenario: &Scenario) -> Result<Self, String> {
        let mut interface = InterfaceConfig::new(PortId(0), mac(2), "10.9.0.2/24".parse().unwrap());
        interface.addresses.push("fd00:9::2/64".parse().unwrap());
        interface.gateways.extend([v4(100), v6(100)]);
        interface.owns_addresses = true;
        let mut config = DirectorConfig::new(vec![interface], [9; 32]);
        config.max_connections = 4096;
        config.local_addresses = vec![v4(10), v6(10)];
        config.knobs.decrement_ttl = true;
        config.knobs.answers_per_second = 1_000_000;
        for (name, value) in &scenario.sysctl {
            knobs::set(&mut config.knobs, &format!("{name}={value}")).map_err(|error| error.to_string())?;
        }
        let marks = set_up(&scenario.extra, &mut config)?;
        let mut director = Director::new(config, Instant::ZERO).map_err(|error| error.to_string())?;
        let fixed = NODES.iter().filter(|(name, ..)| *name != "dir").flat_map(|(_, last, host)| {
            [v4(*host), v6(*host)]
                .map(|address| Change::SetStaticNeighbour { address, mac: Some(mac(*last)) })
        });
        director.apply(Instant::ZERO, &fixed.collect::<Vec<_>>()).map_err(|error| error.to_string())?;
        let mut lab =
            Self { director, io: MemoryIo::new(1), buffers: TurnBuffers::new(), now: Instant::ZERO };
        let marks: Vec<Change> = marks.into_iter().map(Change::AddMarkRule).collect();
        lab.director.apply(Instant::ZERO, &marks).map_err(|error| error.to_string())?;
        for rule in &scenario.rules {
            lab.ipvsadm(rule).map_err(|error| format!("{rule}: {error}"))?;
        }
        lab.pass_until(Instant::ZERO + START);
        lab.io.take_sent();
        Ok(lab)
    }

    fn ipvsadm(&mut self, args: &str) -> Result<(), String> {
        // `--set` with 0 keeps what there is.
        let rules = if args.starts_with("--set") {
            let mut model = Model::new();
            model.apply(&Change::SetTimeouts(*self.director.timeouts())).map_err(|e| e.to_string())?;
            rules::load_onto(args.as_bytes(), &mut model)
        } else {
            rules::parse(args.as_bytes())
        };
        let rules = rules.map_err(|error| error.to_string())?;
        let changes: Vec<Change> = rules.iter().map(|rule| rule.change).collect();
        self.director.apply(self.now, &changes).map_err(|error| error.error.to_string())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match &step.action {
            Action::Send { frame, delivered } => {
                self.io.inject(PortId(0), frame);
                self.turn();
                let out = self.io.take_sent().into_iter().map(|frame| frame.bytes);
                // Announcements and questions of the director's own have their stories elsewhere.
                let out: Vec<_> = out.filter(|frame| !compare::is_neighbour_talk(frame)).collect();
                // What a real server sends is listed as arriving at the director, too.
                let recorded: Vec<_> =
                    delivered.iter().filter(|(_, bytes)| bytes != frame).cloned().collect();
                let out: Vec<_> = out.iter().map(|frame| (node_of(frame), frame.as_slice())).collect();
                compare::frames(frame, &out, &recorded)
            }
            Action::Ipvsadm { args, rc, err } => match (self.ipvsadm(args), *rc) {
                (Ok(()), 0) => Ok(()),
                (Err(_), 1..) => Ok(()),
                (result, rc) => Err(format!("ipvsadm {args}: {result:?}, recorded {rc} {err}")),
            },
            Action::Sleep | Action::Nothing => Ok(()),
        }
    }

    fn turn(&mut self) {
        let now = self.now;
        while self.director.turn(&mut self.io, &mut self.buffers, || now).unwrap() > 0 {}
    }

    fn pass_until(&mut self, end: Instant) {
        for _ in 0..1_000_000 {
            self.turn();
            match self.director.poll_timeout() {
                Some(due) if due <= end => self.now = self.now.max(due),
                _ => break,
            }
        }
        self.now = self.now.max(end);
        self.turn();
    }
}

/// What the shell commands of a scenario mean here.
fn set_up(extra: &str, config: &mut DirectorConfig) -> Result<Vec<MarkRule>, String> {
    let interface = &mut config.interfaces[0];
    if extra.is_empty() || extra.starts_with("ip neigh del") || extra.starts_with("ip -6 neigh del") {
        return Ok(Vec::new());
    }
    if extra.contains("mtu 1400") {
        interface.mtu = 1400;
        return Ok(Vec::new());
    }
    if extra.starts_with("ip route del default") {
        interface.gateways.clear();
        return Ok(Vec::new());
    }
    if extra.starts_with("ip route add 192.0.2.0/24 via 10.9.0.13") {
        interface.gateways = vec![v4(13)];
        return Ok(Vec::new());
    }
    let rule = |mark, protocol, destination: &str, ports: &[(u16, u16)]| {
        let ranges: Vec<_> =
            ports.iter().map(|(first, last)| PortRange { first: *first, last: *last }).collect();
        MarkRule {
            mark,
            protocol,
            destination: destination.parse().unwrap(),
            ports: PortRanges::new(&ranges).unwrap(),
        }
    };
    if extra.contains("-d 10.77.0.0/16 -j MARK --set-mark 7") {
        let all = |protocol| rule(7, protocol, "10.77.0.0/16", &[(0, u16::MAX)]);
        return Ok(vec![all(Protocol::Tcp), all(Protocol::Udp)]);
    }
    if extra.contains("--dports 80,443 -j MARK --set-mark 1") {
        return Ok(vec![rule(1, Protocol::Tcp, "10.9.0.10/32", &[(80, 80), (443, 443)])]);
    }
    Err(format!("unknown set-up: {extra}"))
}

fn node_of(frame: &[u8]) -> String {
    let node = NODES.iter().find(|(_, last, _)| frame[..6] == mac(*last).0);
    node.map_or_else(|| format!("{:02x?}", &frame[..6]), |(name, ..)| (*name).to_owned())
}
