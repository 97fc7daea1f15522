//! What an examination has seen so far. Its size is that of the configuration: outsiders can only fill in what was asked
//! for, and at most [`MAX_MACHINES`] machines an address.

use std::collections::HashMap;
use std::net::IpAddr;

use arrayvec::ArrayVec;
use lvs_core::MacAddr;
use lvs_core::config::Protocol;

use crate::config::{ExaminationConfig, ServicePort};
use crate::spare;

/// So many machines are remembered for an address; more are counted.
pub(crate) const MAX_MACHINES: usize = 8;

/// Whose address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Vip,
    Server,
    Gateway,
    /// The director's own: a DIP or a probe address.
    Own,
}

/// A machine that was heard to have an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) mac: MacAddr,
    /// Answers so far.
    pub(crate) answers: u32,
    /// For whom it looked when it announced itself (itself: it told everybody).
    pub(crate) announced_to: Option<IpAddr>,
}

/// An address that is asked about on an interface.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) interface: usize,
    pub(crate) address: IpAddr,
    pub(crate) role: Role,
    pub(crate) asked: u8,
    pub(crate) machines: ArrayVec<Machine, MAX_MACHINES>,
    /// Machines that were not remembered, or some of them again.
    pub(crate) more: u32,
    /// For a VIP: an address that nobody has, from which real servers are sent something.
    pub(crate) spare: Option<Spare>,
}

/// An address that is believed to be free.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spare {
    pub(crate) address: IpAddr,
    /// How many have been tried.
    pub(crate) tried: u8,
    /// Somebody has it, and no other was found.
    pub(crate) taken: bool,
}

impl Target {
    /// Somebody has this address.
    pub(crate) fn heard(&mut self, mac: MacAddr, announced_to: Option<IpAddr>) {
        let at = match self.machines.iter().position(|machine| machine.mac == mac) {
            Some(at) => at,
            None if self.machines.is_full() => {
                self.more = self.more.saturating_add(1);
                return;
            }
            None => {
                self.machines.push(Machine { mac, answers: 0, announced_to: None });
                self.machines.len() - 1
            }
        };
        let machine = &mut self.machines[at];
        match announced_to {
            Some(_) => machine.announced_to = machine.announced_to.or(announced_to),
            None => machine.answers = machine.answers.saturating_add(1),
        }
    }
}

/// A real server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: IpAddr,
    /// Where it is asked for: on the interface in whose subnet it lies, or else on all.
    pub(crate) targets: Vec<usize>,
    /// Whether it lies in no subnet of the director's.
    pub(crate) off_segment: bool,
    /// The interface and the Ethernet address by which it is probed, once known.
    pub(crate) place: Option<(usize, MacAddr)>,
    /// The gateway that answers in its place.
    pub(crate) behind: Option<(IpAddr, MacAddr)>,
    /// Answered a short ping, and one of the interface's MTU.
    pub(crate) short: bool,
    pub(crate) long: Long,
    /// The longest of the lengths between that it answered, whole.
    pub(crate) longest: Option<u16>,
}

/// What became of the longest ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Long {
    Silence,
    /// The answer came in pieces.
    Pieces,
    Whole,
}

/// A VIP that a real server should hold.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) vip: IpAddr,
    pub(crate) server: usize,
    /// The port of a TCP service, if there is one.
    pub(crate) tcp: Option<u16>,
    /// Answered a ping of the VIP.
    pub(crate) pinged: bool,
    /// Something was sent from the VIP's spare address.
    pub(crate) provoked: bool,
}

/// A service on a real server.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) hold: usize,
    pub(crate) protocol: Protocol,
    pub(crate) port: ServicePort,
    pub(crate) sent: u8,
    pub(crate) reply: Option<Reply>,
    /// Another machine's Ethernet address, from which the answer came.
    pub(crate) elsewhere: Option<MacAddr>,
}

/// How a service answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// SYN+ACK, or a datagram.
    Accepted,
    /// RST.
    Reset,
    /// ICMP port unreachable.
    NobodyListens,
    /// Another ICMP destination unreachable, from this address.
    Forbidden(IpAddr),
}

/// Everything.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) targets: Vec<Target>,
    pub(crate) servers: Vec<Server>,
    pub(crate) holds: Vec<Hold>,
    pub(crate) pairs: Vec<Pair>,
    /// Targets by interface and address.
    pub(crate) by_address: HashMap<(usize, IpAddr), usize>,
    /// Targets by interface and spare address.
    pub(crate) by_spare: HashMap<(usize, IpAddr), usize>,
    /// Real servers by the Ethernet address they are probed by.
    pub(crate) by_mac: HashMap<MacAddr, usize>,
    /// With which address a real server looked for a VIP's spare address: by target and server.
    pub(crate) looked_as: HashMap<(usize, usize), IpAddr>,
}

impl State {
    pub(crate) fn new(config: &ExaminationConfig) -> Self {
        let mut state = Self {
            targets: Vec::new(),
            servers: Vec::new(),
            holds: Vec::new(),
            pairs: Vec::new(),
            by_address: HashMap::new(),
            by_spare: HashMap::new(),
            by_mac: HashMap::new(),
            looked_as: HashMap::new(),
        };
        for (at, interface) in config.interfaces.iter().enumerate() {
            let own = interface.addresses.iter().map(|subnet| subnet.address());
            for address in own.chain(interface.probe_addresses.iter().copied()) {
                state.target(at, address, Role::Own);
            }
            for gateway in &interface.gateways {
                state.target(at, *gateway, Role::Gateway);
            }
        }
        let mut servers: HashMap<IpAddr, usize> = HashMap::new();
        let mut holds: HashMap<(IpAddr, usize), usize> = HashMap::new();
        for service in &config.services {
            for (at, interface) in config.interfaces.iter().enumerate() {
                if interface.dip(service.vip).is_some() {
                    state.target(at, service.vip, Role::Vip);
                }
            }
            for address in &service.servers {
                let server = *servers.entry(*address).or_insert_with(|| state.add_server(config, *address));
                let hold = *holds.entry((service.vip, server)).or_insert_with(|| {
                    state.holds.push(Hold {
                        vip: service.vip,
                        server,
                        tcp: None,
                        pinged: false,
                        provoked: false,
                    });
                    state.holds.len() - 1
                });
                if service.protocol == Protocol::Tcp {
                    let tcp = &mut state.holds[hold].tcp;
                    *tcp = tcp.or(Some(service.port.number()));
                }
                state.pairs.push(Pair {
                    hold,
                    protocol: service.protocol,
                    port: service.port,
                    sent: 0,
                    reply: None,
                    elsewhere: None,
                });
            }
        }
        for at in 0..state.targets.len() {
            state.pick_spare(config, at, 0);
        }
        state
    }

    /// The target of that interface and address, made if there is none.
    fn target(&mut self, interface: usize, address: IpAddr, role: Role) -> usize {
        *self.by_address.entry((interface, address)).or_insert_with(|| {
            let machines = ArrayVec::new();
            self.targets.push(Target { interface, address, role, asked: 0, machines, more: 0, spare: None });
            self.targets.len() - 1
        })
    }

    fn add_server(&mut self, config: &ExaminationConfig, address: IpAddr) -> usize {
        let near = config.interfaces.iter().position(|interface| interface.subnet_of(address).is_some());
        let all = || (0..config.interfaces.len()).filter(|at| config.interfaces[*at].dip(address).is_some());
        let interfaces: Vec<usize> = near.map_or_else(|| all().collect(), |near| vec![near]);
        let targets = interfaces.into_iter().map(|at| self.target(at, address, Role::Server)).collect();
        self.servers.push(Server {
            address,
            targets,
            off_segment: near.is_none(),
            place: None,
            behind: None,
            short: false,
            long: Long::Silence,
            longest: None,
        });
        self.servers.len() - 1
    }

    /// Chooses an address for a VIP that nobody is known to have, if its subnet has room.
    pub(crate) fn pick_spare(&mut self, config: &ExaminationConfig, target: usize, tried: u8) {
        let Target { interface, address: vip, role, .. } = self.targets[target];
        let Some(dip) = config.interfaces[interface].dip(vip) else { return };
        let Some(subnet) = config.interfaces[interface].subnet_of(dip) else { return };
        if role != Role::Vip {
            return;
        }
        let known = |address: IpAddr| {
            self.by_address.contains_key(&(interface, address))
                || self.by_spare.contains_key(&(interface, address))
        };
        let seed = spare::mix(config.seed, (target as u64) << 8 | u64::from(tried));
        self.targets[target].spare = spare::pick(subnet, seed, known).map(|address| {
            self.by_spare.insert((interface, address), target);
            Spare { address, tried, taken: false }
        });
    }

    /// Somebody has a spare address: another is tried, four in all. Answers whether there is one.
    pub(crate) fn spare_is_taken(&mut self, config: &ExaminationConfig, target: usize) -> bool {
        let Some(spare) = self.targets[target].spare else { return false };
        self.by_spare.remove(&(self.targets[target].interface, spare.address));
        if spare.tried >= 3 {
            self.targets[target].spare = Some(Spare { taken: true, ..spare });
            return false;
        }
        self.pick_spare(config, target, spare.tried + 1);
        self.targets[target].spare.is_some()
    }

    /// Where real servers are, now that all were asked for.
    pub(crate) fn place_servers(&mut self) {
        let gateways: Vec<(IpAddr, MacAddr)> = self
            .targets
            .iter()
            .filter(|target| target.role == Role::Gateway)
            .flat_map(|target| target.machines.iter().map(|machine| (target.address, machine.mac)))
            .collect();
        for (at, server) in self.servers.iter_mut().enumerate() {
            for target in &server.targets {
                let target = &self.targets[*target];
                for machine in &target.machines {
                    match gateways
                        .iter()
                        .find(|(address, mac)| *mac == machine.mac && *address != server.address)
                    {
                        Some(gateway) => server.behind = server.behind.or(Some(*gateway)),
                        None => server.place = server.place.or(Some((target.interface, machine.mac))),
                    }
                }
            }
            if let Some((_, mac)) = server.place {
                self.by_mac.entry(mac).or_insert(at);
            }
        }
    }

    /// The target of a VIP on an interface.
    pub(crate) fn vip_target(&self, interface: usize, vip: IpAddr) -> Option<usize> {
        self.by_address.get(&(interface, vip)).copied()
    }
}
