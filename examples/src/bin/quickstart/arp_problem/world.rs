//! What the story needs of a network, whatever it is made of; and the recipes that are tried on it.

use std::time::Duration;

use lvs_core::MacAddr;
use lvs_doctor::Finding;
use lvs_testkit::frames::{ArpSummary, Summary};

use crate::evidence::{Answer, Network};
use crate::failure::Failure;

/// A cluster whose real servers hold the VIP on `lo` and have the kernel's default sysctls.
pub(crate) trait World {
    /// Who is where.
    fn network(&self) -> &Network;

    /// Lets the client fetch the page over a new connection.
    ///
    /// # Errors
    /// If no page of a real server comes; says why.
    fn fetch(&mut self) -> Result<Answer, String>;

    /// Lets time pass.
    fn pass(&mut self, time: Duration);

    /// Whose Ethernet address the router holds for the VIP.
    ///
    /// # Errors
    /// If the router cannot be asked.
    fn router_believes(&mut self) -> Result<Option<MacAddr>, Failure>;

    /// Lets the router forget who has the VIP, as it does by itself after a while. An entry that was set by hand stays.
    ///
    /// # Errors
    /// If it cannot be made to.
    fn router_forgets(&mut self) -> Result<(), Failure>;

    /// Lets the real servers forget their router, as they do by themselves after a while, and whomever else they know or look for.
    ///
    /// # Errors
    /// If they cannot be made to.
    fn servers_forget(&mut self) -> Result<(), Failure>;

    /// Applies a recipe, or takes it away again.
    ///
    /// # Errors
    /// If that cannot be done.
    fn set(&mut self, recipe: Recipe, on: bool) -> Result<(), Failure>;

    /// How many connections the director has given to each real server since it started, in their order.
    ///
    /// # Errors
    /// If the director has ended.
    fn made(&mut self) -> Result<Vec<u64>, Failure>;

    /// What ARP said about the VIP at the router's card in the LAN since this was last called, oldest first.
    fn overheard(&mut self) -> Vec<Said>;

    /// Examines the network from the director's place, beside the running director.
    ///
    /// # Errors
    /// If it cannot be examined.
    fn examine(&mut self) -> Result<Vec<Finding>, Failure>;
}

/// Something that is done about the ARP problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// The router is told by hand who has the VIP.
    StaticEntry,
    /// The kernels of the real servers keep quiet: `arp_ignore=1`, `arp_announce=2`.
    Sysctl,
    /// A packet filter for ARP keeps the real servers quiet.
    Arptables,
    /// `arp_ignore=0`, `arp_announce=1`, `arp_filter=1` on `lo`: found in the wild, and no cure.
    AboutLo,
}

impl Recipe {
    /// Those that work, in the order of the story.
    pub(crate) const CURES: [Self; 3] = [Self::StaticEntry, Self::Sysctl, Self::Arptables];
}

/// An ARP message that passed the router's card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    /// The sender of the frame.
    pub(crate) from: MacAddr,
    /// Its receiver; a group, if it is for all.
    pub(crate) to: MacAddr,
    pub(crate) arp: ArpSummary,
}

impl Said {
    /// `None` for what does not concern the VIP of this network, or is about the director's own questions.
    ///
    /// What does is a question for the VIP, and whatever names the VIP as its sender.
    pub(crate) fn about_vip(frame: &Summary, network: &Network) -> Option<Self> {
        let arp = frame.arp?;
        let vip = network.virtual_service.ip();
        let said = Self { from: frame.source_mac, to: frame.destination_mac, arp };
        (arp.sender == vip || arp.operation == REQUEST && arp.target == vip).then_some(said)
    }

    /// Whether somebody looks for another address, and names the VIP as who asks.
    pub(crate) fn is_question_of_vip(&self, network: &Network) -> bool {
        let vip = network.virtual_service.ip();
        self.arp.operation == REQUEST && self.arp.sender == vip && self.arp.target != vip
    }

    /// The real server that says by this that it has the VIP.
    pub(crate) fn claimed_by(&self, network: &Network) -> Option<usize> {
        let claims = self.arp.sender == network.virtual_service.ip();
        network.server_with(self.arp.sender_mac).filter(|_| claims)
    }
}

/// The operation of an ARP question (RFC 826).
pub(crate) const REQUEST: u16 = 1;
