//! The host that the director runs on: what its kernel does that a director beside it cannot live with.

use std::net::IpAddr;

use lvs_doctor::{Check, Fault, Finding, Interface, Outcome};
use lvs_examples::host::Host;

use crate::plan::Plan;

/// Findings and checks about this host.
pub(crate) fn look(plan: &Plan) -> (Vec<Finding>, Vec<Check>) {
    let mut inside = Inside { plan, findings: Vec::new(), checks: Vec::new() };
    inside.links();
    inside.vips();
    inside.forwarding();
    inside.dips();
    inside.reverse_path();
    inside.mtus();
    (inside.findings, inside.checks)
}

struct Inside<'a> {
    plan: &'a Plan,
    findings: Vec<Finding>,
    checks: Vec<Check>,
}

impl Inside<'_> {
    /// One check with the findings that belong to it.
    fn conclude(&mut self, what: impl Into<String>, findings: Vec<Finding>) {
        let outcome = if findings.is_empty() { Outcome::Passed } else { Outcome::Failed };
        self.checks.push(Check::new(outcome, what, ""));
        self.findings.extend(findings);
    }

    fn links(&mut self) {
        let mut findings = Vec::new();
        for name in &self.plan.ports {
            let (evidence, cure) = match self.plan.host.link(name) {
                (true, true) => continue,
                (true, false) => (
                    format!("{name} is switched on and has no carrier"),
                    format!("# is the cable of {name} plugged in, is the switch's port on?"),
                ),
                (false, _) => (format!("{name} is switched off"), format!("ip link set dev {name} up")),
            };
            findings.push(Finding { cure: vec![cure], ..Finding::new(Fault::LinkDown, evidence) });
        }
        self.conclude(format!("{} carries frames", self.plan.ports.join(" and ")), findings);
    }

    fn vips(&mut self) {
        let mut vips: Vec<IpAddr> = self.plan.services.iter().map(|service| service.vip).collect();
        vips.sort_unstable();
        vips.dedup();
        let finding = |vip: IpAddr| {
            let held = self.plan.host.holder_of(vip)?;
            let evidence = format!(
                "the VIP {vip}/{} is configured on this host's {}: its kernel answers every client with RST, beside the \
                 director",
                held.prefix_len, held.interface
            );
            let cure = vec![format!("ip address del {vip}/{} dev {}", held.prefix_len, held.interface)];
            Some(Finding { vip: Some(vip), cure, ..Finding::new(Fault::VipOnKernel, evidence) })
        };
        let findings = vips.into_iter().filter_map(finding).collect();
        self.conclude("this host's kernel holds no VIP", findings);
    }

    fn forwarding(&mut self) {
        let is_used = |switch: &&str| {
            let is_v6 = switch.contains("ipv6");
            self.plan.services.iter().any(|service| service.vip.is_ipv6() == is_v6)
        };
        let finding = |switch: &str| {
            let evidence = format!(
                "{switch} is on: the kernel forwards packets for the VIP a second time, beside the director"
            );
            let cure = vec![format!("sysctl -w {switch}=0")];
            Finding { cure, ..Finding::new(Fault::KernelForwards, evidence) }
        };
        let findings = Host::forwarding().into_iter().filter(is_used).map(finding).collect();
        self.conclude("this host's kernel forwards nothing", findings);
    }

    fn dips(&mut self) {
        let mut findings = Vec::new();
        for interface in &self.plan.interfaces {
            if Host::is_listened_to(&interface.name) {
                // A director, which may own its DIPs.
                continue;
            }
            let missing =
                interface.addresses.iter().filter(|dip| self.plan.host.holder_of(dip.address()).is_none());
            for dip in missing {
                let held: Vec<String> =
                    self.plan.host.addresses_of(&interface.name).map(|address| address.to_string()).collect();
                let evidence = format!(
                    "the DIP {} is not among the addresses of {} ({}), and no director runs there that could answer for it",
                    dip.address(),
                    interface.name,
                    held.join(", ")
                );
                let cure = vec![
                    format!("ip address add {dip} dev {}", interface.name),
                    "# or start the director, which answers for a DIP that the kernel does not hold"
                        .to_owned(),
                ];
                let finding = Finding::new(Fault::DipMissing, evidence);
                findings.push(Finding { address: Some(dip.address()), cure, ..finding });
            }
        }
        self.conclude("every DIP has an owner on this host", findings);
    }

    /// Connections of this host to a VIP on a real server (health checks) are answered by the VIP from the interface where
    /// the real server is, which need not be where the kernel would look for the VIP.
    fn reverse_path(&mut self) {
        let mut findings = Vec::new();
        for interface in &self.plan.interfaces {
            let holds =
                |address: IpAddr| self.plan.host.addresses_of(&interface.name).any(|held| held == address);
            let answers = interface.addresses.iter().any(|dip| holds(dip.address()));
            if !answers || !Host::filters_strictly(&interface.name) {
                continue;
            }
            for vip in self.vips_behind(interface) {
                let way = self.plan.host.way_to(vip);
                if way == Some(interface.name.as_str()) {
                    continue;
                }
                let name = &interface.name;
                let evidence = format!(
                    "rp_filter of {name} is 1 (strict), and the kernel's way to {vip} is {}: it throws away what real servers \
                     on {name} answer as {vip} to connections of this host, such as health checks",
                    way.map_or("none".to_owned(), |way| format!("by {way}"))
                );
                let cure = vec![
                    format!("sysctl -w net.ipv4.conf.{name}.rp_filter=2"),
                    "# the larger value of `all` and the interface counts: 2 (loose) wins over 1".to_owned(),
                ];
                findings.push(Finding { vip: Some(vip), cure, ..Finding::new(Fault::RpFilter, evidence) });
            }
        }
        self.conclude("no reverse-path filter drops what real servers answer to this host", findings);
    }

    /// IPv4 VIPs with real servers in the subnets of an interface.
    fn vips_behind(&self, interface: &Interface) -> Vec<IpAddr> {
        let is_there = |server: &IpAddr| interface.addresses.iter().any(|subnet| subnet.contains(*server));
        let services = self.plan.services.iter().filter(|service| service.vip.is_ipv4());
        let mut vips: Vec<IpAddr> = services
            .filter(|service| service.servers.iter().any(is_there))
            .map(|service| service.vip)
            .collect();
        vips.sort_unstable();
        vips.dedup();
        vips
    }

    fn mtus(&mut self) {
        let widest = self.plan.interfaces.iter().max_by_key(|interface| interface.mtu);
        let mut findings = Vec::new();
        if let Some(widest) = widest {
            for narrow in self.plan.interfaces.iter().filter(|interface| interface.mtu < widest.mtu) {
                let evidence = format!(
                    "{} has an MTU of {}, {} one of {}: what comes in by the one can be too long for the other",
                    narrow.name, narrow.mtu, widest.name, widest.mtu
                );
                let cure = vec![format!("ip link set dev {} mtu {}", narrow.name, widest.mtu)];
                findings.push(Finding { cure, ..Finding::new(Fault::MtuDiffers, evidence) });
            }
        }
        if self.plan.interfaces.len() > 1 {
            self.conclude("all interfaces have one MTU", findings);
        }
    }
}
