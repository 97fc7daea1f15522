//! A configuration written as rules, in the layout of `ipvsadm -S -n`.
//!
//! Only services and real servers are written, as ipvsadm does it: no time-outs and no counters.

use std::fmt::{self, Write};
use std::net::SocketAddr;

use lvs_core::config::{DestinationConfig, ForwardingMethod, Protocol, ServiceKey};

use crate::collation;
use crate::model::Service;

/// In which order a service's real servers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// By address and port, as `ipvsadm -S -n`. Reading the rules again may give another list order than the
    /// director had, and so another sequence of choices.
    #[default]
    Sorted,
    /// In the order in which they were added, so that reading the rules again gives the same list order.
    Restorable,
}

/// Writes services and their real servers as rules, each on a line of its own, in the order of a
/// sorted listing.
///
/// # Errors
/// Those of `out`, and a service or forwarding method that the rules have no words for: better no file than
/// one that lacks a service.
pub fn save(out: &mut impl Write, services: &[Service], order: Order) -> fmt::Result {
    let mut sorted: Vec<&Service> = services.iter().collect();
    collation::sort(&mut sorted, |a, b| collation::services(&a.config.key, &b.config.key));
    for service in sorted {
        let (option, address) = service_words(&service.config.key).ok_or(fmt::Error)?;
        writeln!(out, "-A {option} {address} -s {}", service.config.scheduler)?;
        let mut destinations: Vec<&DestinationConfig> = service.destinations.iter().collect();
        match order {
            Order::Sorted => collation::sort(&mut destinations, collation::destinations),
            Order::Restorable => destinations.reverse(),
        }
        for destination in destinations {
            let forwarding = forwarding_word(destination.forwarding).ok_or(fmt::Error)?;
            let server = SocketAddr::new(destination.address, destination.port);
            writeln!(out, "-a {option} {address} -r {server} {forwarding} -w {}", destination.weight)?;
        }
    }
    Ok(())
}

fn service_words(key: &ServiceKey) -> Option<(&'static str, SocketAddr)> {
    match *key {
        ServiceKey::Address { protocol, address, port } => {
            let option = match protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                _ => return None,
            };
            Some((option, SocketAddr::new(address, port)))
        }
        _ => None,
    }
}

fn forwarding_word(method: ForwardingMethod) -> Option<&'static str> {
    match method {
        ForwardingMethod::DirectRouting => Some("-g"),
        _ => None,
    }
}
