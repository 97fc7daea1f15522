//! What the doctor is told about the cluster, and what of its findings belongs to the story.

use lvs_core::PortId;
use lvs_core::config::Protocol;
use lvs_doctor::{ExaminationConfig, Fault, Finding, Interface, Service, ServicePort};

use crate::evidence::{Network, Server};

use super::outcome::cure_name;
use super::world::Recipe;

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

/// The doctor remembers so many machines for an address.
const MOST_NAMED: usize = 8;

/// Whether it has found what there is to find while nothing is done: both faults, and every real server by one of them.
pub(crate) fn found(findings: &[Finding], network: &Network) -> Result<String, String> {
    let [answered, announced] = FAULTS.map(|fault| servers_with(fault, findings, network));
    let all = network.servers.len();
    let named = (0..all).filter(|at| answered.contains(at) || announced.contains(at)).count();
    let figures =
        format!("vip-answered of {} and vip-announced of {} real servers", answered.len(), announced.len());
    if answered.is_empty() || announced.is_empty() || named < all.min(MOST_NAMED) {
        return Err(format!("there are {all} real servers, and it found {figures}"));
    }
    let more = if all > MOST_NAMED { ", and names no more than 8" } else { "" };
    Ok(format!("it found {figures}{more}"))
}

/// Whether it has found none of it while the real servers kept quiet. What is on the router it cannot see.
pub(crate) fn silent(diagnoses: &[(Recipe, Vec<Finding>)]) -> Result<String, String> {
    for (cure, findings) in diagnoses.iter().filter(|(cure, _)| *cure != Recipe::StaticEntry) {
        if let Some(finding) = findings.iter().find(|finding| FAULTS.contains(&finding.fault)) {
            let name = cure_name(*cure);
            return Err(format!("with the cure {name} it found {}: {}", finding.fault, finding.evidence));
        }
    }
    Ok("with the cures on the real servers in force it found nobody that answers for the VIP or announces it"
        .to_owned())
}
