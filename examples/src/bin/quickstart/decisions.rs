//! What the director decides about packets to the VIP, written down by an [`Observer`] while it decides.
//!
//! It keeps the first ones only: a cluster that stays up for days must not fill the memory.

use std::net::SocketAddr;

use lvs_admin::explain::{Explanation, Notes};
use lvs_core::observe::{Observation, Observer};
use lvs_testkit::frames::Summary;

use crate::evidence::PacketId;

/// More than the packets of the request that is shown, even if many failed before it.
const MOST: usize = 1024;

/// What was decided about one packet, and from what.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    pub(crate) packet: PacketId,
    pub(crate) explanation: Explanation,
}

/// Writes decisions down.
#[derive(Debug)]
pub(crate) struct Recorder {
    virtual_service: SocketAddr,
    decisions: Vec<Decision>,
    notes: Notes,
    /// The packet that is being decided about.
    current: Option<PacketId>,
}

impl Recorder {
    /// Watches packets to `virtual_service`.
    pub(crate) fn new(virtual_service: SocketAddr) -> Self {
        Self { virtual_service, decisions: Vec::new(), notes: Notes::new(), current: None }
    }

    /// What has been written down.
    pub(crate) fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    fn begin(&mut self, bytes: &[u8]) {
        self.current = None;
        if self.decisions.len() < MOST {
            let packet = Summary::of(bytes).as_ref().and_then(PacketId::of);
            self.current = packet.filter(|packet| packet.destination == self.virtual_service);
        }
    }
}

impl Observer for Recorder {
    fn observe(&mut self, observation: &Observation<'_>) {
        if let Observation::Frame { bytes, .. } = observation {
            self.begin(bytes);
        }
        let Some(packet) = self.current else { return };
        if let Some(explanation) = self.notes.note(observation) {
            self.decisions.push(Decision { packet, explanation: explanation.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_admin::explain::Step;
    use lvs_core::io::{Meta, PortId};
    use lvs_core::observe::Answer;
    use lvs_core::{DropReason, MacAddr, Verdict};
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
        let of_clean = &clean.explanation;
        assert_eq!((of_clean.changed, of_clean.macs.0), (0, MacAddr([0xaa; 6])));
        let of_spoilt = &spoilt.explanation;
        assert_eq!((of_spoilt.changed, spoilt.packet.id, of_spoilt.length), (1, 7, 54));
        assert_eq!(of_spoilt.steps, [Step::Answered(Answer::Reset)]);
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
