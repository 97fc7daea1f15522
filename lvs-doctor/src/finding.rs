//! What an examination says: faults with evidence and cure, and the checks that were made.

use std::fmt;
use std::net::IpAddr;

use lvs_core::MacAddr;

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Requests are lost, or pass the director by.
    Error,
    /// It works now, and will hurt some day or somebody.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Declares the faults with their slugs and severities in one place.
macro_rules! faults {
    ($($(#[$doc:meta])+ $name:ident, $slug:literal, $severity:ident;)+) => {
        /// The kinds of fault. Those of the network are found by an [`Examination`](crate::Examination); those of the
        /// director's host by whoever looks at it (the program `doctor`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Fault { $($(#[$doc])+ $name,)+ }

        impl Fault {
            /// All of them, in the order in which they are reported.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name in JSON and in documentation.
            #[must_use]
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)+ }
            }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }
        }
    };
}

faults! {
    /// The director's interface is off or has no carrier.
    LinkDown, "link-down", Error;
    /// The kernel of the director's host holds a VIP: it answers clients with RST.
    VipOnKernel, "vip-on-kernel", Error;
    /// The kernel of the director's host forwards: packets for the VIP travel twice.
    KernelForwards, "kernel-forwards", Error;
    /// Nobody on the director's host owns the DIP.
    DipMissing, "dip-missing", Error;
    /// Strict reverse-path filtering throws away what real servers answer to this host's own connections.
    RpFilter, "rp-filter", Warning;
    /// The interfaces of the director have different MTUs.
    MtuDiffers, "mtu-differs", Warning;
    /// Frames come in with unfinished checksums, which AF_XDP cannot carry on.
    UnfinishedChecksums, "unfinished-checksums", Error;
    /// Merged frames come in (LRO or GRO), which AF_XDP cannot carry on in generic mode.
    MergedFrames, "merged-frames", Warning;
    /// A machine other than the director answers ARP or neighbour discovery for a VIP.
    VipAnswered, "vip-answered", Error;
    /// A machine other than the director announces a VIP: it asks by ARP with the VIP as the sender's address.
    VipAnnounced, "vip-announced", Error;
    /// Two machines have one address (of a real server, a gateway, or the director).
    DuplicateAddress, "duplicate-address", Error;
    /// Nobody answers for a real server's address.
    RipUnresolved, "rip-unresolved", Error;
    /// A real server is not on the director's segment.
    RipOffSegment, "rip-off-segment", Error;
    /// Nobody answers for a gateway's address.
    GatewayUnresolved, "gateway-unresolved", Warning;
    /// A real server answers nothing that is sent to the VIP.
    VipMissing, "vip-missing", Error;
    /// A real server has the VIP, and something keeps the service's port from being reached.
    PortFiltered, "port-filtered", Error;
    /// A real server has the VIP, and nobody listens on the service's port.
    PortClosed, "port-closed", Error;
    /// What was sent to a real server was answered by another machine.
    AnsweredElsewhere, "answered-elsewhere", Warning;
    /// A real server does not take packets as long as the director's interface sends.
    MtuSmaller, "mtu-smaller", Warning;
    /// The bounds of the examination were reached before its end.
    ExaminationIncomplete, "examination-incomplete", Warning;
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

/// A fault that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub fault: Fault,
    /// The VIP it concerns.
    pub vip: Option<IpAddr>,
    /// The Ethernet address of the machine at fault.
    pub mac: Option<MacAddr>,
    /// The address of the machine at fault, where it is known: a RIP, a gateway, a DIP.
    pub address: Option<IpAddr>,
    /// What was sent and what was seen.
    pub evidence: String,
    /// Lines for a shell. Those that begin with `#` say where to type the others, or what no command can do.
    pub cure: Vec<String>,
}

impl Finding {
    /// A finding without addresses and cure.
    #[must_use]
    pub fn new(fault: Fault, evidence: impl Into<String>) -> Self {
        Self { fault, vip: None, mac: None, address: None, evidence: evidence.into(), cure: Vec::new() }
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Passed,
    /// A finding says what is wrong.
    Failed,
    /// Nothing was seen that would tell.
    Unknown,
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What should be so.
    pub what: String,
    /// Whether it is.
    pub outcome: Outcome,
    /// What was seen, or why nothing was; may be empty.
    pub detail: String,
}

impl Check {
    /// A check.
    #[must_use]
    pub fn new(outcome: Outcome, what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { what: what.into(), outcome, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_distinct_and_well_formed() {
        let mut slugs: Vec<_> = Fault::ALL.iter().map(|fault| fault.slug()).collect();
        assert!(slugs.iter().all(|slug| slug.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), Fault::ALL.len());
    }
}
