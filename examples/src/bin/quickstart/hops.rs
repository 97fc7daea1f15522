//! One request, followed from hop to hop: which of the recorded frames are its packets, and what the director
//! decided about them. Finds and pairs; how it looks is the business of `hops_view`.

use std::time::Duration;

use lvs_testkit::frames::TcpFlags;

use crate::decisions::Decision;
use crate::evidence::{Evidence, PacketId, Place, Request, Seen, Way};

/// A request and all packets of its connection, in the order in which the client saw them.
#[derive(Debug)]
pub(crate) struct Followed<'a> {
    pub(crate) request: &'a Request,
    pub(crate) packets: Vec<Packet<'a>>,
}

/// One packet on its way.
#[derive(Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) id: PacketId,
    /// Whether it goes from the client to the VIP.
    pub(crate) is_request: bool,
    /// Since the first packet, at the client.
    pub(crate) after: Duration,
    /// The frames that carried it, from sender to receiver.
    pub(crate) hops: Vec<Hop<'a>>,
    /// What the director decided, if the packet passed it.
    pub(crate) decision: Option<&'a Decision>,
}

/// One frame that carried a packet. From whom to whom it went, its own Ethernet addresses tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hop<'a> {
    pub(crate) frame: &'a Seen,
    /// Where the frame was recorded.
    pub(crate) recorded_at: (Place, Way),
}

/// Follows the second request if it was answered (before the first the scheduler has no history to tell of), or
/// the first that was.
pub(crate) fn follow(evidence: &Evidence) -> Option<Followed<'_>> {
    let answered = |request: &&Request| request.outcome.is_ok();
    let second = evidence.requests.get(1).filter(answered);
    let request = second.or_else(|| evidence.requests.iter().find(answered))?;
    let answer = request.outcome.as_ref().ok()?;
    let of_connection = |frame: &'_ Seen| {
        let id = frame.packet()?;
        (id.source == answer.client || id.destination == answer.client).then_some(id)
    };
    let at_client =
        || evidence.at(Place::Client).iter().filter_map(|frame| Some((frame, of_connection(frame)?)));
    let (first, syn) = at_client().next()?;
    // The client's kernel uses its ports again, some thousand requests later.
    let is_another = |id: &PacketId| id.flags == TcpFlags::SYN && id.seq != syn.seq;
    let packets = at_client().take_while(|(_, id)| !is_another(id)).map(|(frame, id)| {
        let is_request = id.source == answer.client;
        let way = if is_request { way_there(answer.server) } else { WAY_BACK };
        let hops = way.into_iter().filter_map(|recorded_at| {
            let frame = find(evidence, recorded_at, id)?;
            Some(Hop { frame, recorded_at })
        });
        let after = frame.time.saturating_sub(first.time);
        let decision = evidence.decisions.iter().find(|decision| decision.packet == id);
        Packet { id, is_request, after, hops: hops.collect(), decision }
    });
    Some(Followed { request, packets: packets.collect() })
}

/// Where the frames of a packet to the VIP are looked for.
fn way_there(server: usize) -> [(Place, Way); 3] {
    [(Place::Client, Way::Out), (Place::Director, Way::In), (Place::Server(server), Way::In)]
}

/// Where those of a reply are looked for. One that went astray would be seen at the director, and is shown then.
const WAY_BACK: [(Place, Way); 3] =
    [(Place::Router, Way::In), (Place::Client, Way::In), (Place::Director, Way::In)];

fn find(evidence: &Evidence, (place, way): (Place, Way), id: PacketId) -> Option<&Seen> {
    evidence.at(place).iter().find(|frame| frame.way == way && frame.packet() == Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn places(packet: &Packet<'_>) -> Vec<Place> {
        packet.hops.iter().map(|hop| hop.recorded_at.0).collect()
    }

    #[test]
    fn the_second_request_is_followed_there_and_back() {
        let evidence = sample::evidence(2, 3);
        let followed = follow(&evidence).unwrap();
        assert_eq!(followed.request.number, 2);
        let [syn, answer] = &followed.packets[..] else { panic!("{:?}", followed.packets) };
        assert!(syn.is_request && syn.decision.is_some());
        let server = Place::Server(0);
        assert_eq!(places(syn), [Place::Client, Place::Director, server]);
        assert_eq!(places(answer), [Place::Router, Place::Client]);
        assert!(answer.decision.is_none());
    }

    #[test]
    fn without_an_answered_request_there_is_nothing_to_follow() {
        let mut evidence = sample::evidence(2, 2);
        for request in &mut evidence.requests {
            request.outcome = Err("timed out".to_owned());
        }
        assert!(follow(&evidence).is_none());
    }
}
