//! What the doctor is told about the cluster, and what of its findings belongs to the story.

use lvs_core::PortId;
use lvs_core::config::Protocol;
use lvs_doctor::{ExaminationConfig, Fault, Finding, Interface, Service, ServicePort};

use crate::evidence::{Network, Server};

/// The director's card, and the virtual service with its real servers. Somebody else answers for the DIP.
pub(crate) fn config(network: &Network, seed: u64) -> ExaminationConfig {
    let vip = network.virtual_service;
    let mut card = Interface::new(PortId(0), network.director.mac, network.director.address);
    card.name.clone_from(&network.director.interface);
    card.gateways.push(network.router_inside.address.address());
    let service = Service {
        protocol: Protocol::Tcp,
        vip: vip.ip(),
        port: ServicePort::Exact(vip.port()),
        servers: network.servers.iter().map(Server::address).collect(),
    };
    ExaminationConfig::new(card, vec![service], seed)
}

/// The faults that are the ARP problem: who answers for the VIP, and who announces it.
pub(crate) const FAULTS: [Fault; 2] = [Fault::VipAnswered, Fault::VipAnnounced];

/// The places of the real servers that a fault was found of.
pub(crate) fn servers_with(fault: Fault, findings: &[Finding], network: &Network) -> Vec<usize> {
    let found = |server: &Server| {
        findings.iter().any(|finding| finding.fault == fault && finding.mac == Some(server.card.mac))
    };
    (0..network.servers.len()).filter(|at| found(&network.servers[*at])).collect()
}
