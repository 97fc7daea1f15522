//! Captures written and read back, damaged ones, and files that are none.

use std::time::Duration;

use lvs_core::io::{FrameIo, Verdicts};
use lvs_core::{Instant, Verdict};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, Endianness, TsResolution};

use super::*;
use crate::frames::{self, socket};

/// A capture of `count` frames, 1.000001001 seconds apart.
fn sample(format: CaptureFormat, count: u32) -> Vec<u8> {
    let mut writer = CaptureWriter::new(Vec::new(), format, 2).unwrap();
    for n in 0..count {
        let interface = if format == CaptureFormat::Pcapng { (n % 2) as u16 } else { 0 };
        writer.write(time(n), interface, &frame(n), Some("a comment")).unwrap();
    }
    writer.finish().unwrap()
}

fn time(n: u32) -> Duration {
    Duration::from_secs(1_700_000_000) + Duration::new(1, 1001) * n
}

fn frame(n: u32) -> Vec<u8> {
    let payload = vec![n as u8; n as usize % 7];
    frames::udp(socket("110.0.0.1:4000"), socket("192.168.0.250:53")).payload(&payload).build()
}

/// Everything that can be read, and what then went wrong.
fn read(file: &[u8]) -> (Vec<CapturedPacket>, Option<String>) {
    let reader = match CaptureReader::new(file) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error.to_string())),
    };
    let mut packets = Vec::new();
    for packet in reader {
        match packet {
            Ok(packet) => packets.push(packet),
            Err(error) => return (packets, Some(error.to_string())),
        }
    }
    (packets, None)
}

#[test]
fn what_is_written_is_read_back_and_pcap_file_reads_the_same() {
    for format in [CaptureFormat::Pcap, CaptureFormat::Pcapng] {
        let file = sample(format, 5);
        let (packets, fault) = read(&file);
        assert_eq!((packets.len(), fault), (5, None));
        for (n, packet) in (0..).zip(&packets) {
            assert_eq!((packet.number, packet.time), (u64::from(n) + 1, time(n)));
            assert_eq!((&packet.bytes, packet.missing()), (&frame(n), 0));
        }
        let theirs: Vec<Vec<u8>> = if format == CaptureFormat::Pcap {
            let mut reader = PcapReader::new(&file[..]).unwrap();
            std::iter::from_fn(|| reader.next_packet().map(|packet| packet.unwrap().data.into_owned()))
                .collect()
        } else {
            assert_eq!(packets.iter().map(|packet| packet.interface).collect::<Vec<_>>(), [0, 1, 0, 1, 0]);
            let mut reader = PcapNgReader::new(&file[..]).unwrap();
            let mut all = Vec::new();
            while let Some(block) = reader.next_block() {
                if let Block::EnhancedPacket(packet) = block.unwrap() {
                    all.push(packet.data.into_owned());
                }
            }
            all
        };
        assert_eq!(theirs, packets.into_iter().map(|packet| packet.bytes).collect::<Vec<_>>());
    }
}

#[test]
fn pcap_in_both_orders_and_resolutions_and_with_packets_cut_by_a_snap_length() {
    for endianness in [Endianness::Big, Endianness::Little] {
        for ts_resolution in [TsResolution::MicroSecond, TsResolution::NanoSecond] {
            let header = PcapHeader {
                endianness,
                ts_resolution,
                datalink: DataLink::ETHERNET,
                ..PcapHeader::default()
            };
            let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
            writer.write_packet(&PcapPacket::new(Duration::new(7, 123_456_000), 1514, &[7; 60])).unwrap();
            let (packets, fault) = read(&writer.into_writer());
            assert_eq!(fault, None);
            assert_eq!((packets[0].time, packets[0].missing()), (Duration::new(7, 123_456_000), 1454));
        }
    }
}

/// Blocks by hand: what pcap-file does not write.
struct Blocks {
    file: Vec<u8>,
    big: bool,
}

impl Blocks {
    fn new(big: bool) -> Self {
        let mut blocks = Self { file: Vec::new(), big };
        let magic = blocks.word(0x1a2b_3c4d);
        let version = if big { [0, 1, 0, 0] } else { [1, 0, 0, 0] };
        blocks.add(0x0a0d_0d0a, &[&magic[..], &version, &[0xff; 8]].concat());
        blocks
    }

    fn word(&self, word: u32) -> [u8; 4] {
        if self.big { word.to_be_bytes() } else { word.to_le_bytes() }
    }

    fn half(&self, half: u16) -> [u8; 2] {
        if self.big { half.to_be_bytes() } else { half.to_le_bytes() }
    }

    fn add(&mut self, kind: u32, body: &[u8]) {
        let length = 12 + body.len().next_multiple_of(4);
        self.file.extend(self.word(kind));
        self.file.extend(self.word(length as u32));
        self.file.extend(body);
        self.file.resize(self.file.len().next_multiple_of(4), 0);
        self.file.extend(self.word(length as u32));
    }

    /// An interface; `options` are code and value.
    fn interface(&mut self, link_type: u16, options: &[(u16, &[u8])]) {
        let mut body = [&self.half(link_type)[..], &[0, 0], &self.word(64)].concat();
        for (code, value) in options {
            body.extend(self.half(*code));
            body.extend(self.half(value.len() as u16));
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.add(1, &body);
    }

    fn packet(&mut self, interface: u32, units: u64, data: &[u8], original: u32) {
        let words = [interface, (units >> 32) as u32, units as u32, data.len() as u32, original];
        let mut body: Vec<u8> = words.iter().flat_map(|word| self.word(*word)).collect();
        body.extend(data);
        self.add(6, &body);
    }
}

#[test]
fn pcapng_with_resolutions_offsets_sections_and_other_blocks() {
    for big in [false, true] {
        let mut blocks = Blocks::new(big);
        blocks.interface(1, &[(2, b"eth0")]);
        // A non-UTF-8 name, nanoseconds, ten seconds later; and no end of options.
        let later = if big { 10i64.to_be_bytes() } else { 10i64.to_le_bytes() };
        blocks.interface(1, &[(2, b"\xff\xfe"), (9, &[9]), (14, &later)]);
        blocks.interface(1, &[(9, &[0x80 | 10])]);
        blocks.interface(113, &[]);
        blocks.add(0xbad, &[1, 2, 3]);
        blocks.packet(0, 5_000_001, &[1; 60], 60);
        blocks.packet(1, 5_000_000_001, &[2; 61], 1514);
        blocks.packet(2, 5 << 10 | 512, &[3; 60], 60);
        let original = blocks.word(100);
        blocks.add(3, &[&original[..], &[4; 64]].concat());
        let second = Blocks::new(!big);
        blocks.file.extend(&second.file);
        blocks.big = !big;
        blocks.interface(1, &[]);
        blocks.packet(0, 9_000_000, &[5; 60], 60);
        let (packets, fault) = read(&blocks.file);
        assert_eq!(fault, None);
        let seen: Vec<_> =
            packets.iter().map(|p| (p.interface, p.time, p.bytes.len(), p.missing())).collect();
        let at = Duration::new;
        assert_eq!(
            seen,
            [
                (0, at(5, 1000), 60, 0),
                (1, at(15, 1), 61, 1453),
                (2, at(5, 500_000_000), 60, 0),
                (0, at(5, 500_000_000), 64, 36),
                (0, at(9, 0), 60, 0),
            ]
        );
    }
}

#[test]
fn what_cannot_be_read_is_named_with_its_place() {
    let mut other = Blocks::new(false);
    other.interface(113, &[]);
    other.packet(0, 1, &[0; 60], 60);
    let mut stranger = Blocks::new(false);
    stranger.packet(3, 1, &[0; 60], 60);
    let mut cooked = sample(CaptureFormat::Pcap, 1);
    cooked[20] = 113;
    let mut long = sample(CaptureFormat::Pcap, 1);
    long[24 + 8..24 + 12].fill(0xff);
    let cases: [(&[u8], &str); 8] = [
        (b"", "byte 0, after packet 0: the file is empty; expected a pcap or pcapng capture"),
        (b"hello", "byte 0, after packet 0: this is no capture: it begins with 68 65 6c 6c"),
        (&[0x1f, 0x8b, 8, 0], "compressed; expected a pcap or pcapng capture (gunzip it first)"),
        (&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0], "cut off in the middle of the header of the file"),
        (&cooked, "link type 113 is not Ethernet (1)"),
        (&other.file, "link type 113 is not Ethernet (1)"),
        (
            &stranger.file,
            "byte 28, after packet 0: a packet of interface 3, which the file does not describe",
        ),
        (&long, "byte 24, after packet 0: a packet of 4294967295 bytes cannot be"),
    ];
    for (file, expected) in cases {
        let (packets, fault) = read(file);
        let fault = fault.unwrap_or_default();
        assert!(packets.is_empty() && fault.contains(expected), "{fault}\nexpected {expected}");
    }
}

#[test]
fn a_file_cut_off_anywhere_delivers_what_was_before() {
    for format in [CaptureFormat::Pcap, CaptureFormat::Pcapng] {
        let file = sample(format, 3);
        let (whole, _) = read(&file);
        for length in 0..file.len() {
            let (packets, fault) = read(&file[..length]);
            assert_eq!(packets, whole[..packets.len()], "{length}");
            assert!(packets.len() < 3);
            // At the end of a packet or block nobody can see that something is missing.
            if let Some(fault) = fault
                && length >= 24
            {
                assert!(fault.contains(&format!("after packet {}: ", packets.len())), "{fault}");
                assert!(fault.contains("cut off in the middle of"), "{fault}");
            }
        }
    }
}

#[test]
fn a_capture_is_played_in_its_own_time_and_its_fault_comes_last() {
    let file = sample(CaptureFormat::Pcapng, 4);
    let mut io: CaptureIo<_, std::io::Sink> =
        CaptureIo::new(CaptureReader::new(&file[..file.len() - 5]).unwrap());
    let clock = io.clock();
    let mut seen = Vec::new();
    let mut fault = None;
    for _ in 0..20 {
        let received = io.receive(&mut |batch| {
            seen.extend(batch.iter().map(|frame| (frame.port().0, clock.now())));
            batch.iter().map(|_| Verdict::Pass).collect::<Verdicts>()
        });
        fault = fault.or(received.err());
        io.wait(Some(Duration::from_millis(300))).unwrap();
    }
    let at = |n: u64| Instant::from_micros(n * 1_000_001);
    assert_eq!(seen, [(0, at(0)), (1, at(1)), (0, at(2))]);
    assert!(fault.unwrap().to_string().contains("after packet 3: the file is cut off"));
    assert!(io.is_finished());
    assert_eq!(io.take_passed().len(), 3);
}
