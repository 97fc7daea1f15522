//! The director that is measured: the real one, with one service and eight real servers a family.

use std::time::Duration;

use lvs_core::config::{DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::director::TRANSMIT_BUFFER;
use lvs_core::io::{MAX_BATCH, Verdicts};
use lvs_core::{Change, Director, DirectorConfig, Frame, Instant, InterfaceConfig, MacAddr, PortId};
use lvs_hugepages::HugePages;

use crate::ring::Ring;
use crate::traffic::{DIRECTOR_MAC, Family, Flow, Kind, PORT, Traffic};

/// How many real servers there are.
pub const SERVERS: u8 = 8;

/// The director's key. Its attackers do not know it.
pub const SEED: [u8; 32] = *b"\x8f\x1a\x55\xd3\x04\x9c\xe7\x62\xb0\x3d\x71\xfa\x28\x86\x4e\x17\xc9\x5b\xaf\x30\xd6\x0e\x93\x7c\x21\xe4\x68\xbd\x4a\xf2\x15\x89";

/// A director with its memory and its clock.
pub struct Subject {
    /// The director.
    pub director: Director<HugePages>,
    /// Where its tables are.
    pub memory: HugePages,
    clock: Clock,
}

/// A clock of which time can be skipped.
#[derive(Debug, Clone, Copy)]
struct Clock {
    start: std::time::Instant,
    skipped: Duration,
}

impl Clock {
    #[inline]
    fn now(&self) -> Instant {
        Instant::from_micros((self.start.elapsed() + self.skipped).as_micros() as u64)
    }
}

/// The Ethernet address of real server `n`.
#[must_use]
pub const fn server_mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 1, 0, n])
}

/// A director on one interface with room for so many connections of this family.
///
/// # Panics
/// Never: the addresses are right.
#[must_use]
pub fn config(family: Family, connections: u32, seed: [u8; 32]) -> DirectorConfig {
    let dip4 = "192.168.0.208/24".parse().expect("an address");
    let dip6 = "fd00::d0/64".parse().expect("an address");
    let mut eth0 = InterfaceConfig::new(PortId(0), DIRECTOR_MAC, dip4);
    eth0.addresses.push(dip6);
    let mut config = DirectorConfig::new(vec![eth0], seed);
    // An IPv6 connection counts twice.
    config.max_connections = connections * if family == Family::Ipv6 { 2 } else { 1 };
    config.max_templates = 64;
    config
}

/// A service of each family with its servers.
#[must_use]
pub fn changes() -> Vec<Change> {
    let mut changes = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let key = ServiceKey::tcp(family.vip(), PORT);
        changes.push(Change::AddService(ServiceConfig::new(key, SchedulerKind::RoundRobin)));
        for n in 0..SERVERS {
            let address = family.server(n);
            // Nobody is there to be asked.
            changes.push(Change::SetStaticNeighbour { address, mac: Some(server_mac(n)) });
            changes.push(Change::AddDestination(key, DestinationConfig::new(address, PORT)));
        }
    }
    changes
}

impl Subject {
    /// A director with room for so many connections of this family, its memory touched.
    ///
    /// # Panics
    /// If there is not that much memory.
    #[must_use]
    pub fn new(family: Family, connections: u32) -> Self {
        Self::with_seed(family, connections, SEED)
    }

    /// The same with another key.
    ///
    /// # Panics
    /// As there.
    #[must_use]
    pub fn with_seed(family: Family, connections: u32, seed: [u8; 32]) -> Self {
        let memory = HugePages::new().prefault(true);
        let config = config(family, connections, seed);
        let clock = Clock { start: std::time::Instant::now(), skipped: Duration::ZERO };
        let director = Director::with_memory(config, clock.now(), &memory).expect("a director");
        let mut subject = Self { director, memory, clock };
        subject.configure();
        subject
    }

    fn configure(&mut self) {
        self.director.apply(self.clock.now(), &changes()).expect("changes that fit");
        self.settle();
    }

    /// Decides about a batch, as a run loop has it done: the clock is read once.
    #[inline]
    pub fn handle(&mut self, frames: &mut [Frame<'_>]) -> Verdicts {
        self.director.handle_batch(self.clock.now(), frames)
    }

    /// Does what is due by the clock, as a run loop does every 16 batches.
    #[inline]
    pub fn tick(&mut self) {
        self.director.handle_timeout(self.clock.now());
    }

    /// Does what is due, and throws away what the director wants to send and to tell.
    pub fn settle(&mut self) {
        let mut buffer = [0; TRANSMIT_BUFFER];
        self.tick();
        while self.director.poll_transmit(self.clock.now(), &mut buffer).is_some() {}
        while self.director.poll_event().is_some() {}
    }

    /// Lets time pass.
    pub fn skip(&mut self, time: Duration) {
        self.clock.skipped += time;
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.director.connection_usage().connections
    }

    /// Sends one frame of each of these flows.
    pub fn send(&mut self, ring: &mut Ring, traffic: &Traffic, flows: impl ExactSizeIterator<Item = Flow>) {
        let mut flows = flows;
        while flows.len() > 0 {
            let count = flows.len().min(MAX_BATCH);
            let pick = || flows.next().expect("counted");
            ring.batch(traffic, count, pick, |frames| {
                self.handle(frames);
            });
        }
        self.settle();
    }

    /// Establishes the flows with numbers below `flows`.
    ///
    /// # Panics
    /// If one of them gets no connection.
    pub fn establish(&mut self, ring: &mut Ring, family: Family, flows: u32) {
        let before = self.connections();
        for kind in [Kind::Syn, Kind::Ack] {
            self.send(ring, &Traffic::new(family, kind), (0..flows).map(Flow::number));
        }
        assert_eq!(self.connections() - before, flows, "every flow has a connection");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_core::config::ServiceKey;

    #[test]
    fn flows_are_established_and_spread_evenly() {
        for family in [Family::Ipv4, Family::Ipv6] {
            let mut ring = Ring::new();
            let mut subject = Subject::new(family, 1000);
            subject.establish(&mut ring, family, 800);
            let listing = subject.director.service(ServiceKey::tcp(family.vip(), PORT)).unwrap();
            assert!(listing.destinations.iter().all(|server| server.active == 100), "{listing:?}");
            assert_eq!(subject.director.statistics().transmitted, 1600);
            subject.skip(Duration::from_secs(1000));
            (0..100).for_each(|_| subject.settle());
            assert_eq!(subject.connections(), 0);
        }
    }
}
