//! Which addresses are taken away from the kernel: the contents of the program's maps.
//!
//! An edit changes what differs and nothing else, so no frame of an address that stays is ever seen by the
//! kernel meanwhile.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use lvs_core::Subnet;

use crate::program::Maps;
use crate::sys::bpf::{self, MapDescription, MapKind};

/// What becomes of frames to a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// They stay with the kernel, although a shorter prefix is taken.
    Leave = 0,
    /// They come to the sockets.
    Take = 1,
}

/// A prefix as a key of the maps (`struct bpf_lpm_trie_key`): its length in bits, and the address with the
/// bits behind the prefix cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Prefix {
    V4(u8, u32),
    V6(u8, u128),
}

impl Prefix {
    fn of(subnet: Subnet) -> Self {
        let len = subnet.prefix_len();
        match subnet.address() {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                Self::V4(len, address.to_bits() & mask)
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                Self::V6(len, address.to_bits() & mask)
            }
        }
    }

    const fn is_v4(self) -> bool {
        matches!(self, Self::V4(..))
    }

    fn key(self) -> Vec<u8> {
        match self {
            Self::V4(len, address) => {
                [u32::from(len).to_ne_bytes().as_slice(), &address.to_be_bytes()].concat()
            }
            Self::V6(len, address) => {
                [u32::from(len).to_ne_bytes().as_slice(), &address.to_be_bytes()].concat()
            }
        }
    }
}

type Entries = BTreeMap<Prefix, Action>;

/// The maps of addresses, shared by the programs of all interfaces.
#[derive(Debug)]
pub(crate) struct Addresses {
    v4: OwnedFd,
    v6: OwnedFd,
    /// What the maps hold.
    entries: Entries,
    /// The most prefixes of a family.
    most: u32,
}

/// Why addresses cannot be set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// More prefixes of a family than there is room for.
    #[error(
        "{count} prefixes of a family are more than max_addresses ({most}); open with a larger max_addresses"
    )]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many may be.
        most: u32,
    },
    /// The kernel refused an edit. What was done before it stays done; setting the addresses again goes on from there.
    #[error("the kernel refused to change a map of addresses ({0}); free memory and set the addresses again")]
    Kernel(#[from] io::Error),
}

impl Addresses {
    /// Empty maps with room for `most` prefixes of each family.
    pub(crate) fn new(most: u32) -> io::Result<Self> {
        let map = |name, bytes: u32| {
            bpf::create_map(&MapDescription {
                kind: MapKind::LongestPrefix,
                key_size: 4 + bytes,
                value_size: 4,
                // New prefixes are entered before old ones are removed. Room that is not used costs nothing.
                max_entries: most.saturating_mul(2),
                name,
            })
        };
        Ok(Self { v4: map("lvs_addr4", 4)?, v6: map("lvs_addr6", 16)?, entries: Entries::new(), most })
    }

    /// The descriptors for a program.
    pub(crate) fn maps(&self, sockets: &OwnedFd) -> Maps {
        Maps {
            addresses_v4: self.v4.as_raw_fd(),
            addresses_v6: self.v6.as_raw_fd(),
            sockets: sockets.as_raw_fd(),
        }
    }

    /// Takes all of `take` and leaves all of `leave`; the longest prefix counts, of equal ones the taken one.
    pub(crate) fn set(&mut self, take: &[Subnet], leave: &[Subnet]) -> Result<(), AddressError> {
        let left = leave.iter().map(|subnet| (Prefix::of(*subnet), Action::Leave));
        let taken = take.iter().map(|subnet| (Prefix::of(*subnet), Action::Take));
        let wanted: Entries = left.chain(taken).collect();
        let v4 = wanted.keys().filter(|prefix| prefix.is_v4()).count();
        let count = v4.max(wanted.len() - v4);
        if count > self.most as usize {
            return Err(AddressError::TooMany { count, most: self.most });
        }
        for edit in difference(&self.entries, &wanted) {
            match edit {
                Edit::Enter(prefix, action) => {
                    bpf::update(self.map_of(prefix), &prefix.key(), &(action as u32).to_ne_bytes())?;
                    self.entries.insert(prefix, action);
                }
                Edit::Remove(prefix) => {
                    bpf::delete(self.map_of(prefix), &prefix.key())?;
                    self.entries.remove(&prefix);
                }
            }
        }
        Ok(())
    }

    const fn map_of(&self, prefix: Prefix) -> &OwnedFd {
        if prefix.is_v4() { &self.v4 } else { &self.v6 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    Enter(Prefix, Action),
    Remove(Prefix),
}

/// What leads from one state of the maps to another: exceptions before what they are excepted from, then new
/// prefixes, then removals, the longest last. So an address that is left, before and after, is left all along,
/// and one that is taken is taken all along.
fn difference(now: &Entries, wanted: &Entries) -> Vec<Edit> {
    let mut edits = Vec::new();
    for action in [Action::Leave, Action::Take] {
        let new = wanted.iter().filter(|(prefix, to)| **to == action && now.get(prefix) != Some(to));
        edits.extend(new.map(|(prefix, to)| Edit::Enter(*prefix, *to)));
    }
    for action in [Action::Take, Action::Leave] {
        let old = now.iter().filter(|(prefix, was)| **was == action && !wanted.contains_key(prefix));
        edits.extend(old.map(|(prefix, _)| Edit::Remove(*prefix)));
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(take: &[&str], leave: &[&str]) -> Entries {
        let prefix = |text: &&str| Prefix::of(text.parse().unwrap());
        let taken = take.iter().map(|text| (prefix(text), Action::Take));
        leave.iter().map(|text| (prefix(text), Action::Leave)).chain(taken).collect()
    }

    #[test]
    fn keys_are_a_length_and_an_address_without_host_bits() {
        let key = |text: &str| Prefix::of(text.parse().unwrap()).key();
        assert_eq!(key("192.168.31.100/24"), [&24u32.to_ne_bytes()[..], &[192, 168, 31, 0]].concat());
        assert_eq!(key("10.1.2.3/32"), [&32u32.to_ne_bytes()[..], &[10, 1, 2, 3]].concat());
        assert_eq!(key("10.1.2.3/0"), [0; 8]);
        let v6 = key("fd00:1::ffff/64");
        assert_eq!((v6.len(), &v6[4..10], &v6[12..]), (20, &[0xfd, 0, 0, 1, 0, 0][..], &[0; 8][..]));
        assert_eq!(key("::1/0")[4..], [0; 16]);
    }

    #[test]
    fn the_difference_leads_from_one_to_the_other_and_touches_nothing_else() {
        let now = entries(&["10.0.0.1/32", "10.0.0.2/32", "fd00::/64"], &["fd00::1/128"]);
        let wanted = entries(&["10.0.0.2/32", "10.0.0.3/32", "10.1.0.0/16"], &["10.1.0.1/32"]);
        let edits = difference(&now, &wanted);
        let mut state = now.clone();
        for edit in &edits {
            match edit {
                Edit::Enter(prefix, action) => assert_ne!(state.insert(*prefix, *action), Some(*action)),
                Edit::Remove(prefix) => assert!(state.remove(prefix).is_some()),
            }
        }
        assert_eq!(state, wanted);
        assert_eq!(edits.len(), 6);
        assert!(difference(&wanted, &wanted).is_empty());
    }

    #[test]
    fn an_exception_comes_before_its_rule_and_goes_after_it() {
        let (none, both) = (Entries::new(), entries(&["10.1.0.0/16"], &["10.1.0.1/32"]));
        let exception = Prefix::V4(32, 0x0a01_0001);
        assert_eq!(difference(&none, &both)[0], Edit::Enter(exception, Action::Leave));
        assert_eq!(difference(&both, &none)[1], Edit::Remove(exception));
    }

    #[test]
    fn taken_wins_over_left() {
        assert_eq!(entries(&["10.0.0.1/32"], &["10.0.0.1/32"]).len(), 1);
        assert!(entries(&["10.0.0.1/32"], &["10.0.0.1/32"]).values().all(|a| *a == Action::Take));
    }
}
