//! Which real server has to answer which request: the scheduler alone, fed with the same list in the same way.
//!
//! It knows nothing of the run, so what happened can be held against it.

use std::net::{IpAddr, SocketAddr};

use lvs_core::Instant;
use lvs_core::classify::FlowKey;
use lvs_core::config::SchedulerKind;
use lvs_core::scheduler::{ListChange, Request, SchedulerOptions, Server, new_scheduler};

use crate::evidence::Network;

/// The places, in the order of the network, of the servers that get the first `count` connections of `client`.
/// `None` where nobody gets one.
pub(crate) fn servers(
    scheduler: SchedulerKind,
    network: &Network,
    client: IpAddr,
    count: usize,
) -> Vec<Option<usize>> {
    let mut picker = new_scheduler(scheduler, &SchedulerOptions::default());
    let mut list = Vec::new();
    for server in &network.servers {
        // A director puts a new server at the head of the list, as IPVS does.
        let port = network.virtual_service.port();
        list.insert(0, Server::new(server.address(), port, server.weight));
        picker.list_changed(ListChange::Added(0), &list);
    }
    const TCP: u8 = 6;
    // No port: neither of the schedulers looks at the flow.
    let flow = FlowKey::new(TCP, SocketAddr::new(client, 0), network.virtual_service);
    let Some(flow) = flow else { return vec![None; count] };
    let last = list.len().saturating_sub(1);
    let request = Request { flow: &flow, now: Instant::ZERO };
    (0..count).map(|_| picker.pick(&request, &list).map(|place| last - place)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn picks(scheduler: SchedulerKind, weights: &[u32], count: usize) -> Vec<usize> {
        let network = sample::network(weights);
        let client = network.client.address.address();
        servers(scheduler, &network, client, count).into_iter().map(|place| place.unwrap()).collect()
    }

    #[test]
    fn the_last_added_is_first() {
        assert_eq!(picks(SchedulerKind::RoundRobin, &[1, 1, 1], 5), [2, 1, 0, 2, 1]);
    }

    #[test]
    fn weights_count_for_wrr_only() {
        assert_eq!(picks(SchedulerKind::RoundRobin, &[1, 2], 4), [1, 0, 1, 0]);
        let wrr = picks(SchedulerKind::WeightedRoundRobin, &[1, 2], 6);
        assert_eq!(wrr.iter().filter(|place| **place == 1).count(), 4);
    }
}
