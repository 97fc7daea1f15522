//! What both networks are built to: addresses and pages, the director's rules, and when it is ready. It builds nothing.

use std::net::IpAddr;
use std::path::Path;

use lvs_core::config::{DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::{Change, Event};

use crate::evidence::Network;
use crate::failure::Failure;

/// The port of the virtual service.
pub(crate) const PORT: u16 = 80;
/// The router's address towards the client in topology B.
pub(crate) const ROUTER_OUTSIDE: &str = "110.0.0.254/24";
/// The pages of the first real servers, as a well-known walk through LVS/DR has them, missing slashes included.
const PAGES: [&str; 2] = ["<h1>wawawaw<h1>", "<h1>hahahaha<h1>"];

/// The page of the real server in this place.
pub(crate) fn page(at: usize, address: IpAddr) -> String {
    PAGES.get(at).map_or_else(|| format!("<h1>{address}</h1>"), |page| (*page).to_owned())
}

/// Makes the directory for capture files, if it is not there.
///
/// # Errors
/// If it cannot be made.
pub(crate) fn make_directory(directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory)
        .map_err(|source| Failure::Pcap { directory: directory.display().to_string(), source })
}

/// The virtual service and its real servers, in the order of the network.
pub(crate) fn rules(network: &Network, scheduler: SchedulerKind) -> Vec<Change> {
    let vip = network.virtual_service;
    let key = ServiceKey::tcp(vip.ip(), vip.port());
    let servers = network.servers.iter().map(|server| {
        let config = DestinationConfig::new(server.address(), vip.port()).weight(server.weight);
        Change::AddDestination(key, config)
    });
    [Change::AddService(ServiceConfig::new(key, scheduler))].into_iter().chain(servers).collect()
}

/// What has not happened yet; `None` if the director is ready.
pub(crate) fn missing(events: &[Event], network: &Network) -> Option<String> {
    let vip = network.virtual_service.ip();
    if !events.iter().any(|event| matches!(event, Event::Announced { address, .. } if *address == vip)) {
        return Some(format!("the VIP {vip} is not announced"));
    }
    let known = |rip: IpAddr| {
        events.iter().any(|event| matches!(event, Event::NeighbourLearnt { address, .. } if *address == rip))
    };
    let silent = network.servers.iter().find(|server| !known(server.address()))?;
    Some(format!("the real server {} does not answer ARP", silent.address()))
}
