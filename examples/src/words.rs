//! What happens in a director, as log lines: words for people, and fields for machines.

use lvs_core::Event;
use lvs_core::config::InterfaceId;
use lvs_core::io::PortId;

/// Logs an event. `names` are the interfaces' names by number; ports are numbered alike.
pub fn log(event: Event, names: &[String]) {
    let name = |at: u16| names.get(usize::from(at)).map_or("?", String::as_str);
    let on = |InterfaceId(at): InterfaceId| name(at);
    match event {
        Event::Announced { address, interface } => {
            tracing::info!(event = "announced", %address, "{address} announced on {}", on(interface));
        }
        Event::NeighbourLearnt { address, mac, interface } => {
            tracing::info!(event = "neighbour_learnt", %address, %mac, "{address} is at {mac} on {}", on(interface));
        }
        Event::NeighbourChanged { address, old, new, interface } => {
            tracing::warn!(event = "neighbour_changed", %address, %old, %new, "{address} moved from {old} to {new} on {}", on(interface));
        }
        Event::NeighbourLost { address, interface } => {
            tracing::warn!(event = "neighbour_lost", %address,
                "{address} does not answer on {}: frames to it are dropped until it does",
                on(interface)
            );
        }
        Event::AddressConflict { address, mac, interface } => {
            tracing::error!(event = "conflict", %address, %mac,
                "{mac} on {} claims {address}, which is this director's. If it is a real server, it needs \
                 arp_ignore=1 and arp_announce=2 (the ARP problem); announcing again",
                on(interface)
            );
        }
        Event::LinkDown(PortId(at)) => tracing::warn!(event = "link_down", "{} is down", name(at)),
        Event::LinkUp(PortId(at)) => tracing::info!(event = "link_up", "{} is up", name(at)),
        Event::UnfinishedChecksums(PortId(at)) => tracing::error!(
            event = "unfinished_checksums",
            "frames with unfinished checksums come in on {}, and AF_XDP cannot carry them on: their receivers \
             drop them. Run `ethtool -K INTERFACE tx off` at the senders (other ends of veth pairs, containers, \
             virtual machines), or use --io afpacket",
            name(at)
        ),
        Event::TableFull => tracing::warn!(
            event = "table_full",
            "the connection table is full: new flows are served by a hash of the client; \
             raise --max-connections"
        ),
        Event::TableHasRoom => {
            tracing::info!(event = "table_has_room", "the connection table has had room for two minutes");
        }
        Event::Lost(count) => tracing::warn!(event = "lost", "{count} events were lost"),
        other => tracing::info!("{other:?}"),
    }
}
