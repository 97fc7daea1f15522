//! What happens in a director, as log lines.

use lvs_core::Event;
use lvs_core::config::InterfaceId;
use lvs_core::io::PortId;

/// Logs an event. `names` are the interfaces' names by number; ports are numbered alike.
pub fn log(event: Event, names: &[String]) {
    let name = |at: u16| names.get(usize::from(at)).map_or("?", String::as_str);
    let on = |InterfaceId(at): InterfaceId| name(at);
    match event {
        Event::Announced { address, interface } => {
            tracing::info!("{address} announced on {}", on(interface));
        }
        Event::NeighbourLearnt { address, mac, interface } => {
            tracing::info!("{address} is at {mac} on {}", on(interface));
        }
        Event::NeighbourChanged { address, old, new, interface } => {
            tracing::warn!("{address} moved from {old} to {new} on {}", on(interface));
        }
        Event::NeighbourLost { address, interface } => {
            tracing::warn!(
                "{address} does not answer on {}: frames to it are dropped until it does",
                on(interface)
            );
        }
        Event::AddressConflict { address, mac, interface } => tracing::error!(
            "{mac} on {} claims {address}, which is this director's. If it is a real server, it needs \
             arp_ignore=1 and arp_announce=2 (the ARP problem); announcing again",
            on(interface)
        ),
        Event::LinkDown(PortId(at)) => tracing::warn!("{} is down", name(at)),
        Event::LinkUp(PortId(at)) => tracing::info!("{} is up", name(at)),
        Event::UnfinishedChecksums(PortId(at)) => tracing::error!(
            "frames with unfinished checksums come in on {}, and AF_XDP cannot carry them on: their receivers \
             drop them. Run `ethtool -K INTERFACE tx off` at the senders (other ends of veth pairs, containers, \
             virtual machines), or use --io afpacket",
            name(at)
        ),
        Event::TableFull => tracing::warn!(
            "the connection table is full: new flows are served by a hash of the client; \
             raise --max-connections"
        ),
        Event::TableHasRoom => tracing::info!("the connection table has had room for two minutes"),
        Event::Lost(count) => tracing::warn!("{count} events were lost"),
        other => tracing::info!("{other:?}"),
    }
}
