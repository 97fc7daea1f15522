//! The blocks of a pcapng file (draft-ietf-opsawg-pcapng), as far as packets need them.

use std::io::Read;
use std::time::Duration;

use super::input::{Input, Order};
use super::reader::ETHERNET;
use super::{CaptureProblem, CapturedPacket, LONGEST_PACKET};

/// A section: the byte order and the interfaces that count until the next one begins.
#[derive(Debug)]
pub(super) struct Section {
    order: Order,
    interfaces: Vec<Interface>,
    /// The time of the last packet, for packets that have none of their own.
    time: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Interface {
    is_ethernet: bool,
    link_type: u32,
    snap_length: u32,
    /// `if_tsresol`: negative powers of ten, or of two if the highest bit is set.
    resolution: u8,
    /// `if_tsoffset`, in seconds.
    offset: i64,
}

const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// A block of packets or interfaces is no longer than the longest packet and some options.
const LONGEST_BLOCK: u32 = LONGEST_PACKET as u32 + 65_536;
const MAX_INTERFACES: usize = 4096;
const HEADER: &str = "the header of a block";
const BLOCK: &str = "a block";

impl Section {
    /// Reads a section header behind its type.
    pub(super) fn open<R: Read>(input: &mut Input<R>) -> Result<Self, CaptureProblem> {
        let length = input.array(HEADER)?;
        let order = match input.array(HEADER)? {
            [0x1a, 0x2b, 0x3c, 0x4d] => Order::Big,
            [0x4d, 0x3c, 0x2b, 0x1a] => Order::Little,
            first => return Err(CaptureProblem::NoCapture { first }),
        };
        let length = checked(order.u32(length), 28)?;
        input.skip(u64::from(length) - 12, BLOCK)?;
        Ok(Self { order, interfaces: Vec::new(), time: Duration::ZERO })
    }

    /// The next packet, over blocks of other kinds; `None` at the end of the file.
    pub(super) fn next_packet<R: Read>(
        &mut self,
        input: &mut Input<R>,
    ) -> Result<Option<CapturedPacket>, CaptureProblem> {
        loop {
            let mut kind = [0; 4];
            match input.fill(&mut kind)? {
                0 => return Ok(None),
                4 => {}
                _ => return Err(CaptureProblem::CutOff { within: HEADER }),
            }
            if kind == SECTION_HEADER {
                let time = self.time;
                *self = Self { time, ..Self::open(input)? };
                continue;
            }
            let length = checked(self.order.u32(input.array(HEADER)?), 12)?;
            let kind = self.order.u32(kind);
            if !matches!(kind, INTERFACE | OLD_PACKET | SIMPLE_PACKET | ENHANCED_PACKET) {
                input.skip(u64::from(length) - 8, BLOCK)?;
                continue;
            }
            if length > LONGEST_BLOCK {
                return Err(CaptureProblem::Length { of: "a block", length: length.into() });
            }
            let mut body = input.bytes(length as usize - 8, BLOCK)?;
            let end = body.len() - 4;
            if self.order.u32_at(&body, end) != Some(length) {
                return Err(CaptureProblem::Length {
                    of: "a block whose end says otherwise",
                    length: length.into(),
                });
            }
            body.truncate(end);
            if kind == INTERFACE {
                self.add_interface(&body)?;
            } else {
                return self.packet(kind, &body).map(Some);
            }
        }
    }

    fn add_interface(&mut self, body: &[u8]) -> Result<(), CaptureProblem> {
        let order = self.order;
        let (Some(link_type), Some(snap_length)) = (order.u16_at(body, 0), order.u32_at(body, 4)) else {
            return Err(CaptureProblem::Length { of: "an interface", length: body.len() as u64 });
        };
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err(CaptureProblem::TooManyInterfaces);
        }
        let link_type = u32::from(link_type);
        let is_ethernet = link_type == ETHERNET;
        let mut interface = Interface { is_ethernet, link_type, snap_length, resolution: 6, offset: 0 };
        let mut at = 8;
        // Options that break off are as good as none: the packets can be read without them.
        while let (Some(code), Some(length)) = (order.u16_at(body, at), order.u16_at(body, at + 2)) {
            let value = body.get(at + 4..at + 4 + usize::from(length)).unwrap_or_default();
            match (code, value) {
                (0, _) => break,
                (9, [resolution]) => interface.resolution = *resolution,
                (14, value) => {
                    if let Some(bytes) = value.first_chunk::<8>() {
                        interface.offset = match order {
                            Order::Little => i64::from_le_bytes(*bytes),
                            Order::Big => i64::from_be_bytes(*bytes),
                        };
                    }
                }
                _ => {}
            }
            at += 4 + usize::from(length).next_multiple_of(4);
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// A packet in one of the three blocks that hold one.
    fn packet(&mut self, kind: u32, body: &[u8]) -> Result<CapturedPacket, CaptureProblem> {
        let order = self.order;
        let short = || CaptureProblem::Length { of: "a packet's block", length: body.len() as u64 };
        let word = |at| order.u32_at(body, at).ok_or_else(short);
        let number = match kind {
            ENHANCED_PACKET => word(0)?,
            OLD_PACKET => order.u16_at(body, 0).ok_or_else(short)?.into(),
            _ => 0,
        };
        let Some(interface) = self.interfaces.get(number as usize).copied() else {
            return Err(CaptureProblem::NoSuchInterface(number));
        };
        if !interface.is_ethernet {
            return Err(CaptureProblem::LinkType(interface.link_type));
        }
        let (length, original_length, start) = if kind == SIMPLE_PACKET {
            let original = word(0)?;
            let snap = if interface.snap_length == 0 { u32::MAX } else { interface.snap_length };
            let room = body.len().saturating_sub(4) as u32;
            (original.min(snap).min(room), original, 4)
        } else {
            let units = u64::from(word(4)?) << 32 | u64::from(word(8)?);
            self.time = interface.time(units);
            (word(12)?, word(16)?, 20)
        };
        if length as usize > LONGEST_PACKET {
            return Err(CaptureProblem::Length { of: "a packet", length: length.into() });
        }
        let bytes = body.get(start..).and_then(|rest| rest.get(..length as usize));
        let bytes = bytes.ok_or(CaptureProblem::Length { of: "a packet", length: length.into() })?.to_vec();
        let interface = number as u16;
        Ok(CapturedPacket { number: 0, time: self.time, interface, original_length, bytes })
    }
}

impl Interface {
    /// A time stamp as time since 1970; before that it is 0, and beyond all bounds the largest there is.
    fn time(&self, units: u64) -> Duration {
        let power = u32::from(self.resolution & 0x7f);
        let nanos = u128::from(units) * 1_000_000_000;
        let nanos = if self.resolution & 0x80 != 0 {
            nanos >> power.min(127)
        } else {
            10u128.checked_pow(power).map_or(0, |unit| nanos / unit)
        };
        let seconds = (nanos / 1_000_000_000) as i128 + i128::from(self.offset);
        let seconds = u64::try_from(seconds.max(0)).unwrap_or(u64::MAX);
        Duration::new(seconds, (nanos % 1_000_000_000) as u32)
    }
}

/// The length of a block: whole words, at least its own frame.
fn checked(length: u32, least: u32) -> Result<u32, CaptureProblem> {
    if length < least || !length.is_multiple_of(4) {
        return Err(CaptureProblem::Length { of: "a block", length: length.into() });
    }
    Ok(length)
}
