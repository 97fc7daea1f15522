//! Captures of a small cluster.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lvs_testkit::capture::{CaptureFormat, CaptureWriter};
use lvs_testkit::frames::{self, Body, Packet, Tcp, TcpFlags, mac, socket, v4};
use tempfile::TempDir;

pub(crate) const OWN: &str = "02:00:00:00:00:d0";
pub(crate) const ROUTER: &str = "02:00:00:00:00:0f";
const VIP: &str = "192.168.0.250";

/// A capture that is being made, with rules for it.
pub(crate) struct Sample {
    pub(crate) folder: TempDir,
    format: CaptureFormat,
    /// Time, what is in the file, and how long it was.
    frames: Vec<(u64, Vec<u8>, usize)>,
    pub(crate) rules_text: String,
    /// Bytes that are missing at its end.
    pub(crate) cut: usize,
}

impl Sample {
    pub(crate) fn new(format: CaptureFormat) -> Self {
        let rules = "-A -t 192.168.0.250:80 -s rr\n\
                     -a -t 192.168.0.250:80 -r 192.168.0.188\n\
                     -a -t 192.168.0.250:80 -r 192.168.0.111\n";
        Self {
            folder: tempfile::tempdir().unwrap(),
            format,
            frames: Vec::new(),
            rules_text: rules.to_owned(),
            cut: 0,
        }
    }

    /// Adds a frame that passed so many microseconds after the first second of the capture.
    pub(crate) fn add(&mut self, micros: u64, frame: Vec<u8>) {
        let length = frame.len();
        self.frames.push((micros, frame, length));
    }

    /// The same with only so many bytes of it in the file.
    pub(crate) fn add_cut(&mut self, micros: u64, frame: &[u8], length: usize) {
        self.frames.push((micros, frame[..length].to_vec(), frame.len()));
    }

    pub(crate) fn rules(&self) -> PathBuf {
        let path = self.folder.path().join("rules.ipvs");
        fs::write(&path, &self.rules_text).unwrap();
        path
    }

    pub(crate) fn capture(&self) -> PathBuf {
        self.folder.path().join("capture")
    }

    /// Writes the file.
    pub(crate) fn write(&self, bytes: Option<&[u8]>) -> PathBuf {
        let mut writer = CaptureWriter::new(Vec::new(), self.format, 1).unwrap();
        for (micros, bytes, length) in &self.frames {
            writer.write_cut(time(*micros), 0, bytes, *length, None).unwrap();
        }
        let made = writer.finish().unwrap();
        let made = &made[..made.len() - self.cut];
        fs::write(self.capture(), bytes.unwrap_or(made)).unwrap();
        self.capture()
    }
}

fn time(micros: u64) -> Duration {
    Duration::from_secs(1_700_000_000) + Duration::from_micros(micros)
}

pub(crate) fn rip(last: u8) -> String {
    format!("192.168.0.{last}")
}

/// What a real server gets for an Ethernet address if nobody knows one.
pub(crate) fn mac_of(last: u8) -> String {
    format!("02:00:c0:a8:00:{last:02x}")
}

pub(crate) fn to_director<B: Body>(packet: Packet<B>) -> Packet<B> {
    packet.macs(mac(ROUTER), mac(OWN))
}

pub(crate) fn from_director<B: Body>(packet: Packet<B>) -> Packet<B> {
    packet.macs(mac(OWN), mac("02:00:00:00:00:bc"))
}

pub(crate) fn syn(client: &str) -> Packet<Tcp> {
    to_director(frames::tcp(socket(client), socket("192.168.0.250:80"))).flags(TcpFlags::SYN)
}

/// The router asks for the VIP.
pub(crate) fn arp_question() -> Vec<u8> {
    frames::arp_request(mac(ROUTER), v4("192.168.0.15"), v4(VIP)).build()
}

/// The director answers the router.
pub(crate) fn arp_answer() -> Vec<u8> {
    frames::arp_reply(mac(OWN), v4(VIP), mac(ROUTER), v4("192.168.0.15")).build()
}

/// Another station says that it has the VIP.
pub(crate) fn claim(station: &str) -> Vec<u8> {
    frames::arp_announcement(mac(station), v4(VIP)).build()
}

/// A real server tells the director its Ethernet address.
pub(crate) fn server_answer(last: u8) -> Vec<u8> {
    let station = mac(&format!("02:00:00:00:00:{last:02x}"));
    frames::arp_reply(station, v4(&rip(last)), mac(OWN), v4("192.168.0.208")).build()
}

/// A real server has another Ethernet address now, and tells everybody.
pub(crate) fn moved(last: u8) -> Vec<u8> {
    frames::arp_announcement(mac("02:00:00:00:99:99"), v4(&rip(last))).build()
}
