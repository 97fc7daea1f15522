//! A first look through the capture: who has which Ethernet address, and to whom frames for the VIPs go.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::Read;
use std::net::IpAddr;

use lvs_core::MacAddr;
use lvs_core::config::VlanPath;
use lvs_testkit::capture::{CaptureReader, CapturedPacket};
use lvs_testkit::frames::Summary;

use crate::plan::Rules;

/// Things that are counted; further ones are not, so that no capture fills the memory.
const MOST: usize = 65_536;

/// Where frames came in: the capture's interface, and the VLAN.
pub(crate) type Place = (u16, VlanPath);

/// What the capture tells.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The first Ethernet address of each address that was heard of.
    pub(crate) stations: HashMap<IpAddr, MacAddr>,
    /// Who says to have a VIP.
    pub(crate) claims: Counts<MacAddr>,
    /// Whom frames for the VIPs are sent to.
    pub(crate) receivers: Counts<MacAddr>,
    /// Where frames for the VIPs, and claims of one, came in: by whom they concern.
    pub(crate) places: Counts<(MacAddr, Place)>,
    /// The capture's interfaces.
    pub(crate) interfaces: u16,
}

/// How often things came.
#[derive(Debug)]
pub(crate) struct Counts<T> {
    /// How often, and in which order they came first.
    counts: HashMap<T, (u64, usize)>,
}

impl<T> Default for Counts<T> {
    fn default() -> Self {
        Self { counts: HashMap::new() }
    }
}

impl<T: Copy + Eq + Hash> Counts<T> {
    fn add(&mut self, thing: T) {
        let order = self.counts.len();
        if order < MOST || self.counts.contains_key(&thing) {
            self.counts.entry(thing).or_insert((0, order)).0 += 1;
        }
    }

    /// The most frequent first; of equals the one that came first.
    pub(crate) fn ranking(&self) -> Vec<(T, u64)> {
        let mut all: Vec<_> = self.counts.iter().collect();
        all.sort_by_key(|(_, (count, order))| (std::cmp::Reverse(*count), *order));
        all.into_iter().map(|(thing, (count, _))| (*thing, *count)).collect()
    }
}

impl Survey {
    /// Looks through a capture as far as it can be read.
    pub(crate) fn of<R: Read>(mut reader: CaptureReader<R>, rules: &Rules) -> Self {
        let mut survey = Self::default();
        while let Some(Ok(packet)) = reader.next() {
            survey.look(&packet, rules);
        }
        survey.interfaces = reader.interfaces();
        survey
    }

    fn look(&mut self, packet: &CapturedPacket, rules: &Rules) {
        let Some(frame) = Summary::of(&packet.bytes) else { return };
        let place = (packet.interface, path(&frame));
        if let Some((address, mac)) = heard(&frame) {
            if rules.is_virtual(address) {
                self.claims.add(mac);
                self.places.add((mac, place));
            } else if self.stations.len() < MOST {
                self.stations.entry(address).or_insert(mac);
            }
        }
        let to = frame.destination_mac;
        if let Some(ip) = &frame.ip
            && !to.is_multicast()
            && rules.is_virtual(ip.destination)
        {
            self.receivers.add(to);
            self.places.add((to, place));
        }
    }
}

/// The stations that an ARP or NDP message tells of.
pub(crate) fn heard(frame: &Summary) -> Option<(IpAddr, MacAddr)> {
    if let Some(arp) = &frame.arp {
        let known = !arp.sender.is_unspecified() && !arp.sender_mac.is_multicast();
        return known.then_some((arp.sender, arp.sender_mac));
    }
    let ip = frame.ip.as_ref()?;
    match (ip.icmp?, ip.neighbour_target) {
        ((136, _), Some(target)) => Some((target, frame.source_mac)),
        ((135, _), Some(_)) if !ip.source.is_unspecified() => Some((ip.source, frame.source_mac)),
        _ => None,
    }
}

/// The VLANs of a frame.
fn path(frame: &Summary) -> VlanPath {
    let mut ids = frame.tags.iter().map(|tag| tag.id()).filter(|id| *id != 0);
    VlanPath { outer: ids.next().unwrap_or(0), inner: ids.next().unwrap_or(0) }
}
