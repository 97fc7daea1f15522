//! Writing a capture.

use std::borrow::Cow;
use std::io::Write;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};

use super::{CaptureError, CaptureProblem, LONGEST_PACKET};

/// How a capture is written. Times are in nanoseconds in both formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaptureFormat {
    /// pcap: read by everything, but without interfaces and comments.
    Pcap,
    /// pcapng: with an interface a port, and comments.
    #[default]
    Pcapng,
}

/// Writes a capture of Ethernet frames.
pub struct CaptureWriter<W: Write> {
    file: File<W>,
    interfaces: u16,
}

impl<W: Write> std::fmt::Debug for CaptureWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureWriter").field("interfaces", &self.interfaces).finish_non_exhaustive()
    }
}

enum File<W: Write> {
    Pcap(PcapWriter<W>),
    Pcapng(PcapNgWriter<W>),
}

impl<W: Write> CaptureWriter<W> {
    /// Writes the head of a file for frames of so many interfaces; pcap has one, whatever is said here.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(target: W, format: CaptureFormat, interfaces: u16) -> Result<Self, CaptureError> {
        Self::open(target, format, interfaces).map_err(|error| failed(&error))
    }

    fn open(target: W, format: CaptureFormat, interfaces: u16) -> Result<Self, PcapError> {
        let file = match format {
            CaptureFormat::Pcap => {
                let header = PcapHeader {
                    snaplen: LONGEST_PACKET as u32,
                    datalink: DataLink::ETHERNET,
                    ts_resolution: TsResolution::NanoSecond,
                    endianness: Endianness::Little,
                    ..PcapHeader::default()
                };
                File::Pcap(PcapWriter::with_header(target, header)?)
            }
            CaptureFormat::Pcapng => {
                let mut writer = PcapNgWriter::with_endianness(target, Endianness::Little)?;
                for number in 0..interfaces {
                    let name = Cow::Owned(format!("port{number}"));
                    writer.write_pcapng_block(InterfaceDescriptionBlock {
                        linktype: DataLink::ETHERNET,
                        snaplen: LONGEST_PACKET as u32,
                        options: vec![
                            InterfaceDescriptionOption::IfName(name),
                            InterfaceDescriptionOption::IfTsResol(9),
                        ],
                    })?;
                }
                File::Pcapng(writer)
            }
        };
        Ok(Self { file, interfaces })
    }

    /// Writes a frame. `time` is since 1970. A comment is for pcapng; pcap leaves it out. What is longer than a comment may
    /// be (65,535 bytes) is cut.
    ///
    /// # Errors
    /// If it cannot be written, the frame is longer than [`LONGEST_PACKET`], the file has no such interface, or the
    /// format ends before that time (pcap in 2106, pcapng in 2554).
    pub fn write(
        &mut self,
        time: Duration,
        interface: u16,
        frame: &[u8],
        comment: Option<&str>,
    ) -> Result<(), CaptureError> {
        self.write_cut(time, interface, frame, frame.len(), comment)
    }

    /// The same for a frame of which not all is at hand: it had `original_length` bytes.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_cut(
        &mut self,
        time: Duration,
        interface: u16,
        frame: &[u8],
        original_length: usize,
        comment: Option<&str>,
    ) -> Result<(), CaptureError> {
        let original_len = u32::try_from(original_length.max(frame.len())).unwrap_or(u32::MAX);
        if frame.len() > LONGEST_PACKET {
            let problem = format!("a frame of {} bytes; a capture takes {LONGEST_PACKET}", frame.len());
            return Err(CaptureError::new(0, 0, CaptureProblem::Unwritable(problem)));
        }
        if matches!(self.file, File::Pcapng(_)) && u64::try_from(time.as_nanos()).is_err() {
            let problem = format!("a time of {} s; pcapng ends in 2554", time.as_secs());
            return Err(CaptureError::new(0, 0, CaptureProblem::Unwritable(problem)));
        }
        let written = match &mut self.file {
            File::Pcap(writer) => writer.write_packet(&PcapPacket::new(time, original_len, frame)),
            File::Pcapng(writer) => writer.write_pcapng_block(EnhancedPacketBlock {
                interface_id: interface.into(),
                timestamp: time,
                original_len,
                data: Cow::Borrowed(frame),
                options: comment.map(|text| EnhancedPacketOption::Comment(cut(text))).into_iter().collect(),
            }),
        };
        written.map(drop).map_err(|error| failed(&error))
    }

    /// Sees to it that everything is written, and gives the target back.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> Result<W, CaptureError> {
        let mut target = match self.file {
            File::Pcap(writer) => writer.into_writer(),
            File::Pcapng(writer) => writer.into_inner(),
        };
        target.flush().map_err(|error| CaptureError::new(0, 0, CaptureProblem::Io(error)))?;
        Ok(target)
    }
}

fn cut(text: &str) -> Cow<'_, str> {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Borrowed(&text[..end])
}

fn failed(error: &PcapError) -> CaptureError {
    let problem = match error {
        PcapError::IoError(error) => CaptureProblem::Io(std::io::Error::new(error.kind(), error.to_string())),
        other => CaptureProblem::Unwritable(format!("the capture takes no such frame: {other}")),
    };
    CaptureError::new(0, 0, problem)
}
