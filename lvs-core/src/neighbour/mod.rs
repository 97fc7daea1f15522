//! Neighbours: the director's ARP and NDP.
//!
//! ```text
//!   add_local ───────► announcements (gratuitous ARP, unsolicited NA, MLD) ──┐
//!   track, wanted ───► questions to real servers and gateways ───────────────┼─► poll_transmit
//!   handle_arp       ─┬─► an answer, written over the question ► Outcome::Reply
//!   handle_icmpv6    ─┤                an answer that is longer ─────────────┘
//!                     ├─► a neighbour's address ► poll_update, poll_event
//!                     └─► somebody claims ours ► poll_event, announcement
//! ```
//!
//! It answers for local addresses (VIPs, and own addresses that no kernel answers for), keeps the Ethernet
//! addresses of tracked neighbours, announces and defends local addresses, and tells switches that snoop
//! which groups it listens to. Questions are asked with the interface's DIP as sender, never with a VIP: a
//! real server, which holds the VIP too, would not answer.
//!
//! It creates no entry because of a frame: who is not tracked is not remembered. It does not probe an
//! address before using it, does not route, and reads no router advertisements or redirects: configuration
//! says where neighbours are.
//!
//! Everything that becomes due ends in a frame, so [`poll_transmit`](Neighbours::poll_transmit) also runs
//! the timers: call it, until it answers `None`, when [`poll_timeout`](Neighbours::poll_timeout) has come
//! and after each batch of frames. Nothing allocates after construction, every call does a bounded amount
//! of work, nothing a frame contains can panic.

mod arp;
mod conflicts;
mod deadlines;
mod entry;
mod events;
mod handle_arp;
mod handle_icmpv6;
mod index;
mod interfaces;
mod locals;
mod mld;
mod ndp;
mod pace;
mod table;
mod transmit;

use alloc::vec::Vec;
use core::net::IpAddr;

use conflicts::Conflicts;
use deadlines::Deadlines;
use entry::{Entry, Report};
use events::Events;
use interfaces::Interfaces;
use locals::Locals;
use pace::{Pace, Random};
use table::Table;
use transmit::{Answers, GroupReports};

use crate::addr::{MacAddr, Subnet};
use crate::config::{InterfaceConfig, InterfaceId};
use crate::event::Event;
use crate::io::PortId;
use crate::listing::NeighbourUsage;
use crate::time::Instant;

/// The number of a tracked neighbour; stable while it is tracked, used again afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NeighbourId(pub(crate) u32);

/// Why an address is local.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalKind {
    /// A virtual service's.
    Vip,
    /// The director's own: a DIP or another one that no kernel answers for.
    Own,
}

/// As many neighbours or local addresses are known as there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room for another address: raise the capacity that the director is made with")]
pub(crate) struct Full;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Outcome {
    /// It is an answer now: send it out of the interface by which it came.
    Reply,
    /// Heard and used; nothing is left to do with it.
    Consumed,
    /// Not for the director (it may have learnt from it): the host's own stack may have it.
    Pass,
    /// No honest sender writes this.
    Bad,
}

/// The director's ARP and NDP. See the module's description.
#[derive(Debug)]
pub(crate) struct Neighbours {
    interfaces: Interfaces,
    table: Table,
    locals: Locals,
    /// Subnets all of whose addresses are answered for, but not announced.
    prefixes: Vec<Subnet>,
    /// Timers: neighbours first, then local addresses, then interfaces (for group reports).
    deadlines: Deadlines,
    /// The first timer of a local address, and of an interface.
    first_local: u32,
    first_interface: u32,
    pace: Pace,
    random: Random,
    answers: Answers,
    reports: GroupReports,
    conflicts: Conflicts,
    events: Events,
}

impl Neighbours {
    /// Takes all memory it will ever use: about 220 bytes a neighbour, 150 a local address.
    ///
    /// All links are held to be up until [`handle_link`](Self::handle_link) says otherwise. The interfaces'
    /// own addresses are not local by themselves: where `owns_addresses` is set, the caller adds them.
    /// `seed` spreads deadlines and keys the index; any value will do.
    pub(crate) fn new(
        interfaces: &[InterfaceConfig],
        max_neighbours: u32,
        max_locals: u32,
        seed: u64,
    ) -> Self {
        let first_interface = max_neighbours.saturating_add(max_locals);
        Self {
            deadlines: Deadlines::new(first_interface as usize + interfaces.len()),
            table: Table::new(max_neighbours, seed),
            locals: Locals::new(max_locals, seed),
            prefixes: Vec::new(),
            first_local: max_neighbours,
            first_interface,
            pace: Pace::default(),
            random: Random::new(seed),
            answers: Answers::new(),
            reports: GroupReports::new(interfaces.len()),
            conflicts: Conflicts::default(),
            events: Events::new(),
            interfaces: Interfaces::new(interfaces),
        }
    }

    /// Answers for an address from now on, and announces it. Counted: an address stays local until it was
    /// removed as often as it was added, for each kind.
    ///
    /// It is announced on the interfaces that have it configured; if there are none, on those whose subnet
    /// holds it; else on those with a gateway of its family; else on all. It is answered for on all, except
    /// that an IPv6 link-local address is answered for only where it is announced.
    ///
    /// # Errors
    /// [`Full`] if it is new and there is no room; nothing changed then.
    pub(crate) fn add_local(&mut self, now: Instant, address: IpAddr, kind: LocalKind) -> Result<(), Full> {
        if let Some(slot) = self.locals.add(address, kind, &self.interfaces)? {
            self.deadlines.set(self.first_local + slot, Some(now));
        }
        Ok(())
    }

    /// Answers for all addresses of a subnet from now on. A subnet of one address is announced like any other local
    /// address; of a larger one nothing is announced, and one that holds an address of the director's is left alone.
    ///
    /// # Errors
    /// [`Full`] if there is no room; nothing changed then.
    pub(crate) fn add_local_prefix(&mut self, now: Instant, prefix: Subnet) -> Result<(), Full> {
        if is_host(prefix) {
            return self.add_local(now, prefix.address(), LocalKind::Vip);
        }
        // A subnet that holds the director itself holds its neighbours too: what lies in it comes by a route.
        if !self.interfaces.is_within(prefix) {
            self.prefixes.push(prefix);
        }
        Ok(())
    }

    /// Takes back one [`add_local_prefix`](Self::add_local_prefix).
    pub(crate) fn remove_local_prefix(&mut self, prefix: Subnet) {
        if is_host(prefix) {
            self.remove_local(prefix.address(), LocalKind::Vip);
        } else if let Some(at) = self.prefixes.iter().position(|other| *other == prefix) {
            self.prefixes.swap_remove(at);
        }
    }

    /// Takes back one [`add_local`](Self::add_local). Switches learn that nobody listens any more by
    /// themselves.
    pub(crate) fn remove_local(&mut self, address: IpAddr, kind: LocalKind) {
        if let Some(slot) = self.locals.remove(address, kind) {
            self.deadlines.set(self.first_local + slot, None);
        }
    }

    /// Whether the director answers for this address. O(1).
    #[cfg(test)]
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        self.locals.find(address).is_some()
    }

    /// Whether each VIP has been announced, since it was added and since a link came up, on all its
    /// interfaces that are up, and on one at least. O(1).
    pub(crate) const fn all_announced(&self) -> bool {
        self.locals.all_announced()
    }

    /// Starts to keep the Ethernet address of a neighbour. Counted: several servers may share a gateway.
    ///
    /// # Errors
    /// [`Full`] if it is new and there is no room; nothing changed then.
    pub(crate) fn track(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        address: IpAddr,
    ) -> Result<NeighbourId, Full> {
        let up = self.interfaces.is_up(interface);
        let id = self.table.find_or_insert(interface, address, || Entry::new(now, up))?;
        self.table.add_user(id);
        // Sets the timer of one that is new.
        self.edit(now, id, |_, _| ());
        Ok(id)
    }

    /// Takes back one [`track`](Self::track).
    pub(crate) fn untrack(&mut self, id: NeighbourId) {
        self.table.remove_user(id);
        self.forget_unused(id);
    }

    /// Fixes the Ethernet address of a neighbour, tracked or not yet, or (with `None`) goes back to asking;
    /// the fixed address is then used until everybody was asked in vain. Causes no event. A static
    /// neighbour takes the room of a tracked one.
    ///
    /// # Errors
    /// [`Full`] if it is new and there is no room; nothing changed then.
    pub(crate) fn set_static(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        address: IpAddr,
        mac: Option<MacAddr>,
    ) -> Result<(), Full> {
        let up = self.interfaces.is_up(interface);
        let id = match mac {
            Some(_) => self.table.find_or_insert(interface, address, || Entry::new(now, up))?,
            None => match self.table.find(interface, address) {
                Some(id) => id,
                None => return Ok(()),
            },
        };
        self.edit(now, id, |entry, _| match mac {
            Some(mac) => entry.fix(mac),
            None => entry.release(now, up),
        });
        self.forget_unused(id);
        Ok(())
    }

    /// The Ethernet address of a tracked neighbour, if it is known. O(1).
    pub(crate) fn mac(&self, id: NeighbourId) -> Option<MacAddr> {
        self.table.entry(id)?.mac()
    }

    /// The number of a neighbour, if it is tracked or static. O(1).
    pub(crate) fn find(&self, interface: InterfaceId, address: IpAddr) -> Option<NeighbourId> {
        self.table.find(interface, address)
    }

    /// How full the table is. O(1).
    pub(crate) const fn usage(&self) -> NeighbourUsage {
        self.table.usage()
    }

    /// A frame waits for this neighbour: it is asked again at once if the last question is a second old,
    /// and as soon as it is otherwise. Nothing happens if its address is known.
    pub(crate) fn wanted(&mut self, now: Instant, id: NeighbourId) {
        self.edit(now, id, |entry, _| entry.wanted(now));
    }

    /// The next neighbour whose [`mac`](Self::mac) may be another one than when it was last named here (or
    /// tracked).
    pub(crate) fn poll_update(&mut self) -> Option<NeighbourId> {
        self.table.poll_update()
    }

    /// The next multicast group that an interface's device has to let in: each is named once.
    pub(crate) fn poll_join(&mut self) -> Option<(InterfaceId, MacAddr)> {
        self.locals.poll_join(&self.interfaces)
    }

    /// The next thing to report. At most 256 are kept; how many more there were comes after them.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// How many answers were not sent because too many were asked for at once.
    pub(crate) const fn lost_answers(&self) -> u64 {
        self.answers.lost()
    }

    /// A port began or ceased to carry frames. Down: nobody is asked on it; known addresses are kept. Up:
    /// local addresses are announced anew, neighbours have to be confirmed; also if it was up already.
    /// O(capacity).
    pub(crate) fn handle_link(&mut self, now: Instant, port: PortId, up: bool) {
        self.interfaces.set_link(port, up);
        for id in self.table.ids() {
            let Some((interface, _)) = self.table.place(id) else { continue };
            if self.interfaces.get(interface).is_some_and(|interface| interface.port == port) {
                self.edit(now, id, |entry, _| if up { entry.link_up(now) } else { entry.link_down() });
            }
        }
        if up {
            for slot in 0..self.first_interface - self.first_local {
                if self.locals.restart(slot, port, &self.interfaces) {
                    self.deadlines.set(self.first_local + slot, Some(now));
                }
            }
        }
    }

    /// When [`poll_transmit`](Self::poll_transmit) has something to do next; may lie in the past. O(1).
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if !self.answers.is_empty() {
            return Some(Instant::ZERO);
        }
        self.deadlines.first().map(|(at, _)| self.pace.earliest(at))
    }

    /// Edits a neighbour's entry, moves its timer, and reports what changed.
    fn edit<R>(
        &mut self,
        now: Instant,
        id: NeighbourId,
        edit: impl FnOnce(&mut Entry, &mut Random) -> R,
    ) -> Option<R> {
        let random = &mut self.random;
        let (result, deadline, report) = self.table.edit(id, |entry| {
            let result = edit(entry, random);
            (result, entry.deadline(), entry.report(now))
        })?;
        self.deadlines.set(id.0, deadline);
        if let Some(report) = report
            && let Some((interface, address)) = self.table.place(id)
        {
            self.events.push(match report {
                Report::Learnt(mac) => Event::NeighbourLearnt { address, mac, interface },
                Report::Changed { old, new } => Event::NeighbourChanged { address, old, new, interface },
                Report::Lost => Event::NeighbourLost { address, interface },
            });
        }
        Some(result)
    }

    fn forget_unused(&mut self, id: NeighbourId) {
        if self.table.forget_unused(id) {
            self.deadlines.set(id.0, None);
        }
    }

    /// Whether questions about an address are answered on this interface: it is local, or lies in a local subnet.
    fn answers_for(&self, interface: InterfaceId, address: IpAddr) -> bool {
        self.local_on(interface, address).is_some()
            || self.prefixes.iter().any(|prefix| prefix.contains(address))
    }

    /// The slot of a local address that is answered for on this interface.
    fn local_on(&self, interface: InterfaceId, address: IpAddr) -> Option<u32> {
        let slot = self.locals.find(address)?;
        let everywhere = match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        };
        let here = || Some(self.locals.get(slot)?.is_on(self.interfaces.get(interface)?));
        (everywhere || here()?).then_some(slot)
    }

    /// Somebody claims a local address: says so, and announces the address again, both at a bounded rate.
    fn conflict(&mut self, now: Instant, interface: InterfaceId, slot: u32, mac: MacAddr) {
        let Some(address) = self.locals.get(slot).map(locals::Local::address) else { return };
        if self.conflicts.is_news(now, address, mac) {
            self.events.push(Event::AddressConflict { address, mac, interface });
        }
        if self.locals.defend(slot, now) {
            self.deadlines.set(self.first_local + slot, Some(now));
        }
    }
}

/// Whether a subnet has one address only.
const fn is_host(prefix: Subnet) -> bool {
    match prefix.address() {
        IpAddr::V4(_) => prefix.prefix_len() == 32,
        IpAddr::V6(_) => prefix.prefix_len() == 128,
    }
}

#[cfg(test)]
mod tests;
