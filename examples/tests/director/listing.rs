//! The listing that the program prints at its end, as numbers.

use libtest_mimic::Failed;

/// A line: what it is about, and the five totals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) connections: u64,
    pub(crate) in_packets: u64,
    pub(crate) in_bytes: u64,
}

/// A virtual service with its real servers.
#[derive(Debug)]
pub(crate) struct Service {
    /// Named like `TCP 192.168.0.250:80`.
    pub(crate) total: Line,
    /// Named like `192.168.0.111:80`.
    pub(crate) servers: Vec<Line>,
}

impl Service {
    /// The connections of each server, in the order of the listing.
    pub(crate) fn connections(&self) -> Vec<(&str, u64)> {
        self.servers.iter().map(|server| (server.name.as_str(), server.connections)).collect()
    }
}

/// Reads a listing in the layout of `ipvsadm -Ln --stats` (figures below 100,000,000), and checks that each service's line is the sum of its
/// servers' and that nothing went out through the director.
pub(crate) fn read(text: &str) -> Result<Vec<Service>, Failed> {
    let wrong = |what: &str| Failed::from(format!("{what}:\n{text}"));
    let mut lines = text.lines();
    let title = lines.next().unwrap_or_default();
    if !title.starts_with("IP Virtual Server version 1.2.1 (size=") {
        return Err(wrong("the first line is another"));
    }
    let columns = "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes";
    if lines.next() != Some(columns) || lines.next() != Some("  -> RemoteAddress:Port") {
        return Err(wrong("the head is another"));
    }
    let mut services: Vec<Service> = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind, address, figures @ ..] = words.as_slice() else { return Err(wrong("a short line")) };
        let figures: Result<Vec<u64>, _> = figures.iter().map(|figure| figure.parse()).collect();
        let Ok([connections, in_packets, 0, in_bytes, 0]) = figures.as_deref() else {
            return Err(wrong("not five figures, or packets from a server"));
        };
        let (connections, in_packets, in_bytes) = (*connections, *in_packets, *in_bytes);
        if *kind == "->" {
            let Some(service) = services.last_mut() else { return Err(wrong("a server without service")) };
            let name = (*address).to_owned();
            service.servers.push(Line { name, connections, in_packets, in_bytes });
        } else {
            let total = Line { name: format!("{kind} {address}"), connections, in_packets, in_bytes };
            services.push(Service { total, servers: Vec::new() });
        }
    }
    for service in &services {
        let sum = |of: fn(&Line) -> u64| service.servers.iter().map(of).sum::<u64>();
        let sums = (sum(|l| l.connections), sum(|l| l.in_packets), sum(|l| l.in_bytes));
        let total = &service.total;
        if sums != (total.connections, total.in_packets, total.in_bytes) {
            return Err(wrong("the servers' figures do not add up to the service's"));
        }
    }
    Ok(services)
}
