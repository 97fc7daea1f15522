//! What the director decides about packets to the VIP, written down by an [`Observer`] while it decides.
//!
//! It keeps the first ones only: a cluster that stays up for days must not fill the memory.

use std::net::{IpAddr, SocketAddr};

use lvs_core::config::SchedulerKind;
use lvs_core::connection::ConnectionState;
use lvs_core::observe::{Answer, Forgotten, Hashed, Observation, Observer};
use lvs_core::scheduler::SchedulerState;
use lvs_core::{MacAddr, Verdict};
use lvs_testkit::frames::Summary;

use crate::evidence::PacketId;

/// More than the packets of the request that is shown, even if many failed before it.
const MOST: usize = 1024;

/// What was decided about one packet, and from what.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    pub(crate) packet: PacketId,
    /// In the order in which the director took them.
    pub(crate) steps: Vec<Step>,
    pub(crate) verdict: Verdict,
    /// The Ethernet addresses it left with: destination and source.
    pub(crate) macs: (MacAddr, MacAddr),
    /// How many of the bytes behind the Ethernet addresses were changed.
    pub(crate) changed: usize,
    /// Its length in bytes.
    pub(crate) length: usize,
}

/// One step of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The flow has a connection.
    Known { before: ConnectionState, after: ConnectionState, destination: SocketAddr },
    /// The flow had a connection that is over.
    Forgotten(Forgotten),
    /// A virtual service takes the flow.
    Service(String),
    /// A scheduler was asked.
    Scheduled {
        scheduler: SchedulerKind,
        state: SchedulerState,
        /// Addresses and weights in list order.
        servers: Vec<(IpAddr, u32)>,
        picked: Option<usize>,
    },
    /// The real server was picked by the hash of the client.
    Hashed { destination: IpAddr, because: Hashed },
    /// The director answered by a packet of its own.
    Answered(Answer),
}

/// Writes decisions down.
#[derive(Debug)]
pub(crate) struct Recorder {
    virtual_service: SocketAddr,
    decisions: Vec<Decision>,
    /// The packet that is being decided about, and its bytes as they came.
    current: Option<(PacketId, Vec<u8>, Vec<Step>)>,
}

impl Recorder {
    /// Watches packets to `virtual_service`.
    pub(crate) const fn new(virtual_service: SocketAddr) -> Self {
        Self { virtual_service, decisions: Vec::new(), current: None }
    }

    /// What has been written down.
    pub(crate) fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    fn begin(&mut self, bytes: &[u8]) {
        self.current = None;
        if self.decisions.len() >= MOST {
            return;
        }
        let Some(packet) = Summary::of(bytes).as_ref().and_then(PacketId::of) else { return };
        if packet.destination == self.virtual_service {
            self.current = Some((packet, bytes.to_vec(), Vec::new()));
        }
    }

    fn end(&mut self, verdict: Verdict, bytes: &[u8]) {
        let Some((packet, before, steps)) = self.current.take() else { return };
        let changed = before.iter().zip(bytes).skip(12).filter(|(a, b)| a != b).count();
        let mac = |at: usize| bytes.get(at..at + 6).and_then(|m| m.first_chunk()).copied().map(MacAddr);
        let macs = (mac(0).unwrap_or_default(), mac(6).unwrap_or_default());
        let length = bytes.len();
        self.decisions.push(Decision {
            packet,
            steps,
            verdict,
            macs,
            changed: changed + before.len().abs_diff(length),
            length,
        });
    }
}

impl Observer for Recorder {
    fn observe(&mut self, observation: &Observation<'_>) {
        match observation {
            Observation::Frame { bytes, .. } => self.begin(bytes),
            Observation::Verdict { verdict, bytes } => self.end(*verdict, bytes),
            other => {
                if let (Some((_, _, steps)), Some(step)) = (&mut self.current, step(other)) {
                    steps.push(step);
                }
            }
        }
    }
}

/// The step that an observation between the first and the last tells of.
fn step(observation: &Observation<'_>) -> Option<Step> {
    Some(match *observation {
        Observation::Known { before, after, destination, .. } => Step::Known { before, after, destination },
        Observation::Forgotten { because, .. } => Step::Forgotten(because),
        Observation::Service { key } => Step::Service(key.to_string()),
        Observation::Scheduled { scheduler, state, servers, picked } => Step::Scheduled {
            scheduler,
            state,
            servers: servers.iter().map(|server| (server.address, server.weight)).collect(),
            picked,
        },
        Observation::Hashed { servers, picked, because } => {
            Step::Hashed { destination: servers.get(picked)?.address, because }
        }
        Observation::Answered { answer } => Step::Answered(answer),
        // A quote is an ICMP message's, and the recorder follows TCP only.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_core::DropReason;
    use lvs_core::io::{Meta, PortId};
    use lvs_testkit::frames::{self, mac, socket};

    const VIP: &str = "192.168.0.250:80";

    /// What a recorder keeps of a segment to `to` that enters, and leaves as `change` makes it.
    fn watch(recorder: &mut Recorder, to: &str, change: impl Fn(&mut [u8])) {
        let frame = frames::tcp(socket("110.0.0.1:40000"), socket(to)).id(7);
        let before = frame.macs(mac("02:00:00:00:00:0f"), mac("02:00:00:00:00:d0")).build();
        let mut after = before.clone();
        change(&mut after);
        let meta = &Meta::default();
        let packet = Err(DropReason::Consumed);
        recorder.observe(&Observation::Frame { index: 0, bytes: &before, meta, packet, interface: None });
        recorder.observe(&Observation::Answered { answer: Answer::Reset });
        recorder.observe(&Observation::Verdict { verdict: Verdict::Transmit(PortId(0)), bytes: &after });
    }

    #[test]
    fn it_counts_changes_behind_the_ethernet_addresses_only() {
        let mut recorder = Recorder::new(socket(VIP));
        watch(&mut recorder, VIP, |bytes| bytes[..12].fill(0xaa));
        watch(&mut recorder, VIP, |bytes| bytes[22] -= 1);
        let [clean, spoilt] = recorder.decisions() else { panic!("{recorder:?}") };
        assert_eq!((clean.changed, clean.macs.0), (0, MacAddr([0xaa; 6])));
        assert_eq!((spoilt.changed, spoilt.packet.id, spoilt.length), (1, 7, 54));
        assert_eq!(spoilt.steps, [Step::Answered(Answer::Reset)]);
    }

    #[test]
    fn it_keeps_the_first_ones_to_the_virtual_service_only() {
        let mut recorder = Recorder::new(socket(VIP));
        watch(&mut recorder, "192.168.0.250:81", |_| {});
        assert_eq!(recorder.decisions().len(), 0);
        for _ in 0..MOST + 5 {
            watch(&mut recorder, VIP, |_| {});
        }
        assert_eq!(recorder.decisions().len(), MOST);
    }
}
