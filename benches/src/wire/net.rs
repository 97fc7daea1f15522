//! The network that frames are measured in.
//!
//! ```text
//!   generator out ───── eth0 director eth1 ───── in sink
//! ```
//! or, where the director is on a TAP device (one port for both ways):
//! ```text
//!   generator out ─┬─ bridge ── tap0 director
//!   sink in ───────┘
//! ```
//! Three namespaces and two cables. The director has one core, the generator another. Frames are counted by the cards:
//! what came to the director's eth0 was offered, what came to the sink was forwarded. They are addressed to a station that
//! the sink is not, so its kernel drops them at once; on veth even that is work of the director's core.

use std::io;
use std::time::{Duration, Instant};

use lvs_core::MacAddr;
use lvs_testkit::frames;
use lvs_testkit::lab::{Host, LabError, Nic, Switch, SwitchOptions, cable, send_frame};

use super::Io;
use crate::subject::server_mac;
use crate::traffic::DIRECTOR_MAC;

/// The Ethernet address of the director's side towards the sink.
pub(super) const BACK_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);
/// The director's card towards the generator.
pub(super) const FRONT: &str = "eth0";
/// The director's card towards the sink.
pub(super) const BACK: &str = "eth1";
/// The generator's card.
pub(super) const OUT: &str = "out";
const IN: &str = "in";
/// The TAP device, and the bridge of a switch of the lab.
pub(super) const TAP: &str = "tap0";
pub(super) const BRIDGE: &str = "bridge";
/// The EtherType for experiments (IEEE 802, local experimental 1): no kernel answers it.
const EXPERIMENT: u16 = 0x88b5;

/// The longest that frames can be under way.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long nothing must arrive before all has arrived.
const SILENCE: Duration = Duration::from_millis(60);

/// The three hosts.
pub(super) struct Net {
    pub(super) generator: Host,
    pub(super) director: Host,
    pub(super) sink: Host,
    /// The director's card at which frames are counted when they come.
    front: String,
    /// The bridge with the director's TAP device; its host is the director's.
    switch: Option<Switch>,
}

/// What has been counted, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    pub(super) offered: u64,
    pub(super) forwarded: u64,
    pub(super) at: Instant,
}

impl Net {
    /// The network for a director on this backend.
    pub(super) fn build(io: Io) -> Result<Self, LabError> {
        if io == Io::Tap { Self::on_a_bridge() } else { Self::on_cables() }
    }

    fn on_a_bridge() -> Result<Self, LabError> {
        let switch = Switch::new("director", SwitchOptions { snooping: false, querier: false })?;
        // As README.md of lvs-io-tap advises: no firewall for what the bridge carries.
        for family in ["iptables", "ip6tables", "arptables"] {
            let name = format!("net.bridge.bridge-nf-call-{family}");
            // Without br_netfilter there is no such switch.
            if switch.host().read_sysctl(&name).is_ok() {
                switch.host().sysctl(&name, "0")?;
            }
        }
        let (generator, sink) = (Host::new("generator")?, Host::new("sink")?);
        for host in [&generator, &sink] {
            host.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
        }
        switch.connect(Nic::new(&generator, OUT))?;
        switch.connect(Nic::new(&sink, IN))?;
        let front = switch.port_of("generator", OUT).unwrap_or_default();
        switch.host().set_features(&front, &[("rx-gro", true)])?;
        Ok(Self { generator, director: switch.host().clone(), sink, front, switch: Some(switch) })
    }

    /// Lets the bridge know where the real server is, or it would send every frame for it to the generator, too.
    pub(super) fn introduce(&self) -> Result<(), LabError> {
        if self.switch.is_none() {
            return Ok(());
        }
        send_frame(&self.sink, IN, &frames::ethernet(server_mac(0), DIRECTOR_MAC, EXPERIMENT, &[0; 46]))
    }

    /// Two cables, for packet sockets and the like.
    pub(super) fn on_cables() -> Result<Self, LabError> {
        let net = Self {
            generator: Host::new("generator")?,
            director: Host::new("director")?,
            sink: Host::new("sink")?,
            front: FRONT.to_owned(),
            switch: None,
        };
        for host in [&net.generator, &net.director, &net.sink] {
            // Kernels that speak IPv6 send frames that nobody asked for.
            host.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
        }
        let mtu = 1500;
        cable(
            Nic::new(&net.generator, OUT).mtu(mtu),
            Nic::new(&net.director, FRONT).mac(DIRECTOR_MAC).mtu(mtu),
        )?;
        cable(Nic::new(&net.director, BACK).mac(BACK_MAC).mtu(mtu), Nic::new(&net.sink, IN).mtu(mtu))?;
        // Frames that a program redirects into a veth are lost silently unless the other end polls.
        net.director.set_features(FRONT, &[("rx-gro", true)])?;
        Ok(net)
    }

    pub(super) fn count(&self) -> io::Result<Count> {
        let offered = received(&self.director, &self.front)?;
        let forwarded = received(&self.sink, IN)?;
        Ok(Count { offered, forwarded, at: Instant::now() })
    }

    /// Waits until nothing more arrives, and counts.
    pub(super) fn settle(&self) -> io::Result<Count> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = self.count()?;
        loop {
            std::thread::sleep(SILENCE);
            let now = self.count()?;
            if (now.offered, now.forwarded) == (last.offered, last.forwarded) || Instant::now() > deadline {
                return Ok(now);
            }
            last = now;
        }
    }
}

/// Frames that a card has received.
fn received(host: &Host, interface: &str) -> io::Result<u64> {
    let text = host.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))?;
    packets(&text, interface).ok_or_else(|| io::Error::other(format!("no counters of {interface}:\n{text}")))
}

/// The second figure behind the card's name (proc_net(5)).
fn packets(text: &str, interface: &str) -> Option<u64> {
    let figures = text.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'))?;
    figures.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_counters_of_a_card() {
        let text = "Inter-|   Receive\n face |bytes    packets errs\n    lo:  7 8 0\n  eth0: 6000     100    0    0\n eth01: 1 2 3\n";
        assert_eq!((packets(text, "eth0"), packets(text, "lo")), (Some(100), Some(8)));
        assert_eq!(packets(text, "eth"), None);
    }
}
