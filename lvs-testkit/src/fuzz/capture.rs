//! Any bytes as a capture file.

use std::io::Sink;

use lvs_core::Verdict;
use lvs_core::io::{FrameIo, Verdicts};

use crate::capture::{CaptureError, CaptureFormat, CaptureIo, CaptureReader, CaptureWriter, CapturedPacket};

/// Reads bytes as a capture, and asserts that what can be read is no more than the bytes hold, that it is the same when it
/// was written again, and that all of it is played.
///
/// # Panics
/// If not.
pub fn pcap(bytes: &[u8]) {
    let Ok(reader) = CaptureReader::new(bytes).map_err(|error| check(&error, bytes.len())) else { return };
    let (packets, fault) = read(reader);
    if let Some(fault) = &fault {
        check(fault, bytes.len());
    }
    assert!((1..).zip(&packets).all(|(n, packet)| packet.number == n));
    assert!(packets.iter().map(|packet| packet.bytes.len()).sum::<usize>() <= bytes.len());
    for format in [CaptureFormat::Pcap, CaptureFormat::Pcapng] {
        write_again(&packets, format);
    }
    play(bytes, &packets, fault.is_some());
}

fn read(reader: CaptureReader<&[u8]>) -> (Vec<CapturedPacket>, Option<CaptureError>) {
    let (mut packets, mut fault) = (Vec::new(), None);
    for packet in reader {
        assert!(fault.is_none(), "a reader ends with its error");
        match packet {
            Ok(packet) => packets.push(packet),
            Err(error) => fault = Some(error),
        }
    }
    (packets, fault)
}

fn check(error: &CaptureError, length: usize) {
    assert!(error.offset <= length as u64, "{error}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("byte {}, after packet {}: ", error.offset, error.packets)), "{text}");
}

fn write_again(packets: &[CapturedPacket], format: CaptureFormat) {
    let interfaces = packets.iter().map(|packet| packet.interface + 1).max().unwrap_or(1);
    let mut writer = CaptureWriter::new(Vec::new(), format, interfaces).expect("memory takes everything");
    let mut kept = Vec::new();
    for packet in packets {
        let CapturedPacket { time, interface, original_length, bytes, .. } = packet;
        let written = writer.write_cut(*time, *interface, bytes, *original_length as usize, Some("again"));
        // What the formats cannot say: times beyond 2106 in pcap, beyond 2554 in pcapng.
        let last =
            if format == CaptureFormat::Pcap { u64::from(u32::MAX) } else { u64::MAX / 1_000_000_000 - 1 };
        assert!(written.is_ok() || time.as_secs() > last, "{written:?}");
        if written.is_ok() {
            kept.push(packet);
        }
    }
    let file = writer.finish().expect("memory takes everything");
    let (again, fault) = read(CaptureReader::new(&file[..]).expect("a capture"));
    assert!(fault.is_none(), "{fault:?}");
    assert_eq!(again.len(), kept.len());
    for (again, packet) in again.iter().zip(kept) {
        assert_eq!((again.time, &again.bytes), (packet.time, &packet.bytes));
        assert_eq!(again.missing(), packet.missing());
    }
}

fn play(bytes: &[u8], packets: &[CapturedPacket], is_damaged: bool) {
    let reader = CaptureReader::new(bytes).expect("it could be read before");
    let mut io: CaptureIo<&[u8], Sink> = CaptureIo::new(reader);
    let (mut played, mut faults) = (0, 0);
    // Each turn plays a packet at least, or the fault.
    for _ in 0..=packets.len() + 1 {
        match io.receive(&mut |batch| batch.iter().map(|_| Verdict::Pass).collect::<Verdicts>()) {
            Ok(count) => played += count,
            Err(_) => faults += 1,
        }
        let Ok(()) = io.wait(None) else { unreachable!("nothing is waited for") };
    }
    let lost = io.statistics().receive_lost as usize;
    assert_eq!((played + lost, faults == 1), (packets.len(), is_damaged));
    assert!(io.is_finished());
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// A fuzzer in small: the corpus with some bytes changed, the same ones each time.
    #[test]
    fn damaged_captures_do_no_harm() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/pcap");
        let files =
            std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
        let mut random = 1u64;
        let mut draw = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below.max(1)
        };
        let mut count = 0;
        for file in files {
            super::pcap(&file);
            count += 1;
            for _ in 0..300 {
                let mut damaged = file.clone();
                for _ in 0..=draw(3) {
                    let at = draw(damaged.len());
                    if let Some(byte) = damaged.get_mut(at) {
                        *byte = [0, 1, 0x7f, 0xff, draw(256) as u8][draw(5)];
                    }
                }
                super::pcap(&damaged);
            }
        }
        assert!(count > 20, "{count} files");
    }
}
