//! Switches a device's offloads, as `ethtool -K` does, over generic netlink.
//!
//! Only this one message of the ethtool family is spoken; the numbers are those of
//! include/uapi/linux/ethtool_netlink.h and genetlink.h.

use std::convert::Infallible;
use std::io;

use netlink_packet_core::{
    DefaultNla, Emitable, NLA_F_NESTED, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable,
    NlasIterator,
};

use super::netlink::{NETLINK_GENERIC, Netlink};

const CONTROL_FAMILY: u16 = 16;
const CONTROL_GET_FAMILY: u8 = 3;
const CONTROL_FAMILY_ID: u16 = 1;
const CONTROL_FAMILY_NAME: u16 = 2;
const FEATURES_SET: u8 = 12;
const FEATURES_HEADER: u16 = 1;
const FEATURES_WANTED: u16 = 3;
const HEADER_NAME: u16 = 2;
const HEADER_FLAGS: u16 = 3;
const OMIT_REPLY: u32 = 2;
const BITSET_BITS: u16 = 3;
const BITSET_BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;

/// Switches features of `interface` in the calling thread's namespace on or off, by their kernel names.
pub(super) fn set_features(interface: &str, features: &[(&str, bool)]) -> io::Result<()> {
    let mut netlink = Netlink::open(NETLINK_GENERIC)?;
    let name = attribute(CONTROL_FAMILY_NAME, text("ethtool"));
    let answers = netlink.ask(Generic::new(CONTROL_FAMILY, CONTROL_GET_FAMILY, 1, &[name]))?;
    let family = answers
        .iter()
        .find_map(|answer| answer.u16_attribute(CONTROL_FAMILY_ID))
        .ok_or_else(|| io::Error::other("the kernel has no ethtool over netlink (CONFIG_ETHTOOL_NETLINK)"))?;
    let header = nested(
        FEATURES_HEADER,
        &[
            attribute(HEADER_NAME, text(interface)),
            attribute(HEADER_FLAGS, OMIT_REPLY.to_ne_bytes().to_vec()),
        ],
    );
    let bits: Vec<DefaultNla> = features
        .iter()
        .map(|(name, on)| {
            let mut bit = vec![attribute(BIT_NAME, text(name))];
            if *on {
                bit.push(attribute(BIT_VALUE, Vec::new()));
            }
            nested(BITSET_BIT, &bit)
        })
        .collect();
    let wanted = nested(FEATURES_WANTED, &[nested(BITSET_BITS, &bits)]);
    netlink.change(Generic::new(family, FEATURES_SET, 1, &[header, wanted]), 0)
}

/// A generic netlink message: its family, and the bytes from the generic header on.
struct Generic {
    family: u16,
    bytes: Vec<u8>,
}

impl Generic {
    fn new(family: u16, command: u8, version: u8, attributes: &[DefaultNla]) -> Self {
        let mut bytes = vec![command, version, 0, 0];
        bytes.extend(emit(attributes));
        Self { family, bytes }
    }

    fn u16_attribute(&self, kind: u16) -> Option<u16> {
        let attributes = NlasIterator::new(self.bytes.get(4..)?);
        let found = attributes.filter_map(Result::ok).find(|attribute| attribute.kind() == kind)?;
        found.value().first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
    }
}

impl NetlinkSerializable for Generic {
    fn message_type(&self) -> u16 {
        self.family
    }

    fn buffer_len(&self) -> usize {
        self.bytes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.bytes);
    }
}

impl NetlinkDeserializable for Generic {
    type Error = Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Infallible> {
        Ok(Self { family: header.message_type, bytes: payload.to_vec() })
    }
}

fn attribute(kind: u16, value: Vec<u8>) -> DefaultNla {
    DefaultNla::new(kind, value)
}

fn nested(kind: u16, attributes: &[DefaultNla]) -> DefaultNla {
    DefaultNla::new(kind | NLA_F_NESTED, emit(attributes))
}

fn emit(attributes: &[DefaultNla]) -> Vec<u8> {
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    bytes
}

fn text(value: &str) -> Vec<u8> {
    let mut bytes = value.as_bytes().to_vec();
    bytes.push(0);
    bytes
}
