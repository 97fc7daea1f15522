//! Reading a capture, a packet at a time.

use std::io::Read;
use std::time::Duration;

use super::input::{Input, Order};
use super::pcapng::Section;
use super::{CaptureError, CaptureProblem, LONGEST_PACKET};

/// A packet of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedPacket {
    /// Its number in the file, from 1.
    pub number: u64,
    /// When it passed: since 1970, as the file has it.
    pub time: Duration,
    /// The number of its interface, from 0; 0 in a pcap file.
    pub interface: u16,
    /// How long it was on the wire, in bytes.
    pub original_length: u32,
    /// What of it is in the file, Ethernet header first.
    pub bytes: Vec<u8>,
}

impl CapturedPacket {
    /// How many bytes the snap length took off.
    #[must_use]
    pub fn missing(&self) -> usize {
        (self.original_length as usize).saturating_sub(self.bytes.len())
    }
}

/// Reads a capture of either format.
///
/// An iterator over packets. After an error it ends: what stands behind it is not to be found.
#[derive(Debug)]
pub struct CaptureReader<R> {
    input: Input<R>,
    format: Format,
    packets: u64,
    interfaces: u16,
    has_ended: bool,
}

#[derive(Debug)]
enum Format {
    Pcap { order: Order, nanoseconds: bool },
    Pcapng(Section),
}

const PCAP_HEADER: &str = "the header of the file";
const PACKET: &str = "a packet";

impl<R: Read> CaptureReader<R> {
    /// Reads the head of a capture.
    ///
    /// # Errors
    /// If it is none, or of something other than Ethernet frames.
    pub fn new(source: R) -> Result<Self, CaptureError> {
        let mut input = Input::new(source);
        let format = open(&mut input).map_err(|problem| CaptureError::new(0, 0, problem))?;
        Ok(Self { input, format, packets: 0, interfaces: 1, has_ended: false })
    }

    /// How many interfaces have been seen so far, at least 1.
    #[must_use]
    pub const fn interfaces(&self) -> u16 {
        self.interfaces
    }

    /// The next packet; `None` at the end of the file.
    fn read(&mut self) -> Result<Option<CapturedPacket>, CaptureProblem> {
        let packet = match &mut self.format {
            Format::Pcap { order, nanoseconds } => read_pcap(&mut self.input, *order, *nanoseconds)?,
            Format::Pcapng(section) => section.next_packet(&mut self.input)?,
        };
        Ok(packet.map(|packet| {
            self.packets += 1;
            self.interfaces = self.interfaces.max(packet.interface.saturating_add(1));
            CapturedPacket { number: self.packets, ..packet }
        }))
    }
}

impl<R: Read> Iterator for CaptureReader<R> {
    type Item = Result<CapturedPacket, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let offset = self.input.offset;
        let next =
            self.read().map_err(|problem| CaptureError::new(offset, self.packets, problem)).transpose();
        self.has_ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Finds out the format.
fn open<R: Read>(input: &mut Input<R>) -> Result<Format, CaptureProblem> {
    let mut magic = [0; 4];
    let filled = input.fill(&mut magic)?;
    let (order, nanoseconds) = match magic {
        _ if filled == 0 => return Err(CaptureProblem::Empty),
        [0xa1, 0xb2, 0xc3, 0xd4] => (Order::Big, false),
        [0xd4, 0xc3, 0xb2, 0xa1] => (Order::Little, false),
        [0xa1, 0xb2, 0x3c, 0x4d] => (Order::Big, true),
        [0x4d, 0x3c, 0xb2, 0xa1] => (Order::Little, true),
        [0x0a, 0x0d, 0x0d, 0x0a] => return Section::open(input).map(Format::Pcapng),
        first => return Err(CaptureProblem::NoCapture { first }),
    };
    // Version, time zone, accuracy and snap length: the lengths of the packets are what counts.
    input.array::<16>(PCAP_HEADER)?;
    // The upper bits say whether frames have check sequences, which are padding to us.
    let link_type = order.u32(input.array(PCAP_HEADER)?) & 0xffff;
    if link_type != ETHERNET {
        return Err(CaptureProblem::LinkType(link_type));
    }
    Ok(Format::Pcap { order, nanoseconds })
}

/// The link type of Ethernet.
pub(super) const ETHERNET: u32 = 1;

fn read_pcap<R: Read>(
    input: &mut Input<R>,
    order: Order,
    nanoseconds: bool,
) -> Result<Option<CapturedPacket>, CaptureProblem> {
    let mut header = [0; 16];
    match input.fill(&mut header)? {
        0 => return Ok(None),
        16 => {}
        _ => return Err(CaptureProblem::CutOff { within: "the header of a packet" }),
    }
    let word = |at| order.u32_at(&header, at).unwrap_or_default();
    let (seconds, fraction, length, original_length) = (word(0), word(4), word(8), word(12));
    if length as usize > LONGEST_PACKET {
        return Err(CaptureProblem::Length { of: "a packet", length: length.into() });
    }
    let fraction = if nanoseconds {
        Duration::from_nanos(fraction.into())
    } else {
        Duration::from_micros(fraction.into())
    };
    let bytes = input.bytes(length as usize, PACKET)?;
    let time = Duration::from_secs(seconds.into()) + fraction;
    Ok(Some(CapturedPacket { number: 0, time, interface: 0, original_length, bytes }))
}
