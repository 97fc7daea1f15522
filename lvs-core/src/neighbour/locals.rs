//! The addresses that the director answers for, and how far their announcement has come.
//!
//! An announcement is three rounds a second apart. A round walks over the interfaces on which the address is
//! announced; on each there is one frame, and for IPv6 in the first two rounds a report that the address's
//! solicited-node group has a listener goes before it (RFC 3810 section 6.1, robustness 2).
//!
//! Addresses are announced and defended, but not probed for first (RFC 5227 section 2.1.1, RFC 4862 section
//! 5.4): a director that takes over must not wait, and must not give way.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use super::events::SlotQueue;
use super::index::{Index, Key};
use super::interfaces::{Interface, Interfaces, Reach};
use super::{Full, LocalKind};
use crate::addr::MacAddr;
use crate::config::InterfaceId;
use crate::io::PortId;
use crate::time::Instant;

/// Announcements of a new address.
const ROUNDS: u8 = 3;
/// Group reports for a new address.
const REPORTS: u8 = 2;
/// Between two rounds, and between two defences of an address.
pub(super) const GAP: Duration = Duration::from_secs(1);

/// Which interfaces a running announcement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Port(PortId),
}

/// What a round sends next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Report the solicited-node group.
    GroupReport(InterfaceId),
    /// Announce the address; `first` says whether it is the first time there.
    Announce { interface: InterfaceId, first: bool },
}

/// One local address.
#[derive(Debug)]
pub(super) struct Local {
    address: IpAddr,
    reach: Reach,
    vips: u32,
    owns: u32,
    scope: Scope,
    rounds: u8,
    reports: u8,
    /// How far the round has come: twice the interface's number, plus one after its report.
    cursor: u32,
    /// Whether this is the first round of an announcement.
    first: bool,
    /// Whether anything was sent in this round.
    sent: bool,
    /// Whether the first round of the latest announcement is still to come.
    pending: bool,
    defended: Option<Instant>,
    /// The interface from which on the device has not been asked to let the group in.
    join: u16,
}

impl Local {
    pub(super) const fn address(&self) -> IpAddr {
        self.address
    }

    pub(super) const fn is_vip(&self) -> bool {
        self.vips > 0
    }

    /// Whether the address is announced, and its group listened to, on this interface.
    pub(super) fn is_on(&self, interface: &Interface) -> bool {
        interface.is_reached(self.reach, self.address)
    }

    /// The address's solicited-node group (RFC 4291 section 2.7.1); none for IPv4.
    pub(super) fn group(&self) -> Option<Ipv6Addr> {
        match self.address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(solicited_node(address)),
        }
    }

    const fn users(&mut self, kind: LocalKind) -> &mut u32 {
        match kind {
            LocalKind::Vip => &mut self.vips,
            LocalKind::Own => &mut self.owns,
        }
    }

    const fn start(&mut self, scope: Scope) {
        self.scope = scope;
        self.rounds = ROUNDS;
        self.reports = if self.address.is_ipv6() { REPORTS } else { 0 };
        self.cursor = 0;
        self.first = true;
        self.sent = false;
    }

    /// The next thing to send in this round, or `None` at its end.
    pub(super) fn step(&mut self, interfaces: &Interfaces) -> Option<Step> {
        loop {
            let id = InterfaceId(u16::try_from(self.cursor / 2).ok()?);
            let interface = interfaces.get(id)?;
            let in_scope = match self.scope {
                Scope::All => true,
                Scope::Port(port) => interface.port == port,
            };
            if !in_scope || !interface.up || !self.is_on(interface) {
                self.cursor = (self.cursor / 2 + 1) * 2;
                continue;
            }
            if self.cursor.is_multiple_of(2) && self.reports > 0 {
                self.cursor += 1;
                return Some(Step::GroupReport(id));
            }
            self.cursor = (self.cursor / 2 + 1) * 2;
            self.sent = true;
            return Some(Step::Announce { interface: id, first: self.first });
        }
    }

    /// The round is over: when the next one begins, if there is one. A round in which nothing could be sent
    /// is not counted; it is made up for when a link comes up.
    fn end_round(&mut self, now: Instant) -> Option<Instant> {
        self.cursor = 0;
        if !core::mem::take(&mut self.sent) {
            return None;
        }
        self.first = false;
        self.reports = self.reports.saturating_sub(1);
        self.rounds = self.rounds.saturating_sub(1);
        (self.rounds > 0).then(|| now + GAP)
    }
}

/// The solicited-node group of an address (RFC 4291 section 2.7.1).
pub(super) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    let low = u16::from_be_bytes([b, c]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), low)
}

/// A fixed number of local addresses. The only editor of their slots, index, and the two queues that follow
/// from them.
#[derive(Debug)]
pub(super) struct Locals {
    slots: Vec<Option<Local>>,
    free: Vec<u32>,
    index: Index,
    joins: SlotQueue,
    /// VIPs whose first round is still to come.
    pending: u32,
}

impl Locals {
    pub(super) fn new(capacity: u32, seed: u64) -> Self {
        let count = capacity as usize;
        Self {
            slots: core::iter::repeat_with(|| None).take(count).collect(),
            free: (0..capacity).rev().collect(),
            index: Index::new(count, seed),
            joins: SlotQueue::new(count),
            pending: 0,
        }
    }

    /// O(1).
    pub(super) fn find(&self, address: IpAddr) -> Option<u32> {
        self.index.find(Key { scope: 0, address })
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Local> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// Adds a user of an address. Answers the slot if its announcement starts now.
    pub(super) fn add(
        &mut self,
        address: IpAddr,
        kind: LocalKind,
        interfaces: &Interfaces,
    ) -> Result<Option<u32>, Full> {
        let slot = match self.find(address) {
            Some(slot) => slot,
            None => self.insert(address, interfaces)?,
        };
        let Some(local) = self.slots[slot as usize].as_mut() else { return Ok(None) };
        // The first VIP user starts it, even where the address was announced as an own one: its event is
        // awaited.
        let starts = local.vips == 0 && (kind == LocalKind::Vip || local.owns == 0);
        let users = local.users(kind);
        *users = users.saturating_add(1);
        if starts {
            self.start(slot, Scope::All);
        }
        Ok(starts.then_some(slot))
    }

    fn insert(&mut self, address: IpAddr, interfaces: &Interfaces) -> Result<u32, Full> {
        let slot = self.free.pop().ok_or(Full)?;
        self.slots[slot as usize] = Some(Local {
            address,
            reach: interfaces.reach(address),
            vips: 0,
            owns: 0,
            scope: Scope::All,
            rounds: 0,
            reports: 0,
            cursor: 0,
            first: false,
            sent: false,
            pending: false,
            defended: None,
            join: 0,
        });
        self.index.insert(Key { scope: 0, address }, slot);
        if address.is_ipv6() {
            self.joins.push(slot);
        }
        Ok(slot)
    }

    /// Removes a user of an address. Answers the slot if that was the last one: its timer is to be cleared.
    pub(super) fn remove(&mut self, address: IpAddr, kind: LocalKind) -> Option<u32> {
        let slot = self.find(address)?;
        let local = self.slots[slot as usize].as_mut()?;
        let users = local.users(kind);
        *users = users.saturating_sub(1);
        if local.vips == 0 && core::mem::take(&mut local.pending) {
            self.pending -= 1;
        }
        if local.vips > 0 || local.owns > 0 {
            return None;
        }
        self.slots[slot as usize] = None;
        self.index.remove(Key { scope: 0, address });
        self.free.push(slot);
        Some(slot)
    }

    /// Announces an address anew on the interfaces of a port. Answers whether it is announced there at all.
    pub(super) fn restart(&mut self, slot: u32, port: PortId, interfaces: &Interfaces) -> bool {
        let Some(local) = self.get(slot) else { return false };
        let concerned = interfaces.iter().any(|(_, i)| i.port == port && local.is_on(i));
        if concerned {
            let scope = match local.scope {
                scope if local.rounds == 0 || scope == Scope::Port(port) => Scope::Port(port),
                _ => Scope::All,
            };
            self.start(slot, scope);
        }
        concerned
    }

    fn start(&mut self, slot: u32, scope: Scope) {
        let Some(local) = self.slots[slot as usize].as_mut() else { return };
        local.start(scope);
        if local.vips > 0 && !core::mem::replace(&mut local.pending, true) {
            self.pending += 1;
        }
    }

    /// Somebody else claims the address: announce it once more, but not twice a second. Answers whether it
    /// is to be now.
    pub(super) fn defend(&mut self, slot: u32, now: Instant) -> bool {
        let Some(Some(local)) = self.slots.get_mut(slot as usize) else { return false };
        if local.defended.is_some_and(|last| now < last + GAP) {
            return false;
        }
        local.defended = Some(now);
        if local.rounds == 0 {
            local.scope = Scope::All;
            local.rounds = 1;
            local.cursor = 0;
        }
        true
    }

    /// The next thing to send for an address that is due. Without one, the round is over, and the deadline
    /// of the next round is answered instead.
    pub(super) fn step(
        &mut self,
        slot: u32,
        now: Instant,
        interfaces: &Interfaces,
    ) -> Result<Step, Option<Instant>> {
        let Some(Some(local)) = self.slots.get_mut(slot as usize) else { return Err(None) };
        if let Some(step) = local.step(interfaces) {
            return Ok(step);
        }
        let sent = local.sent;
        let next = local.end_round(now);
        if sent && core::mem::take(&mut local.pending) {
            self.pending -= 1;
        }
        Err(next)
    }

    pub(super) const fn all_announced(&self) -> bool {
        self.pending == 0
    }

    /// The slots from `first` on that hold an address, and the addresses. O(capacity).
    pub(super) fn iter_from(&self, first: u32) -> impl Iterator<Item = (u32, &Local)> {
        let slots = self.slots.get(first as usize..).unwrap_or_default();
        (first..).zip(slots).filter_map(|(slot, local)| Some((slot, local.as_ref()?)))
    }

    /// The next group that the device has to let in. O(interfaces).
    pub(super) fn poll_join(&mut self, interfaces: &Interfaces) -> Option<(InterfaceId, MacAddr)> {
        while let Some(slot) = self.joins.first() {
            if let Some(local) = self.slots[slot as usize].as_mut()
                && let Some(group) = local.group()
            {
                let from = local.join;
                let next = interfaces.iter().find(|(id, i)| id.0 >= from && local.is_on(i));
                if let Some((id, _)) = next {
                    local.join = id.0.saturating_add(1);
                    return Some((id, MacAddr::for_ipv6_multicast(group)));
                }
            }
            self.joins.pop();
        }
        None
    }
}
