//! Recording what passes an interface, in both directions, and sending frames as they are.
//!
//! A capture sees what `tcpdump` in the host would see: with offloads on, outgoing frames of up to 64 KiB
//! whose checksums are not finished ([`CapturedFrame::checksum_unfinished`]). It keeps whole frames.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce, ReceiveTimestampns};
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, send, setsockopt};
use pcap_file::pcap::{PcapPacket, PcapWriter};

use super::error::{Context, LabError};
use super::host::Host;
use super::server::wait_readable;
use super::sys::{self, Auxiliary};
use super::task::{Stop, Task};

/// Which way a frame went, seen from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It came in.
    In,
    /// The host sent it.
    Out,
}

/// A frame that passed an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedFrame {
    /// When the kernel saw it: since 1970, as the system clock has it.
    pub time: Duration,
    /// Which way it went.
    pub direction: Direction,
    /// All its bytes, Ethernet header first, a VLAN tag included where the kernel had taken it out.
    pub bytes: Vec<u8>,
    /// Whether the transport checksum was left to the hardware, so that what stands there is no fault.
    pub checksum_unfinished: bool,
}

impl CapturedFrame {
    /// The frame in a line, as [`describe`](crate::frames::describe) says it, but without complaint about
    /// a checksum that is not finished.
    #[must_use]
    pub fn describe(&self) -> String {
        let line = crate::frames::describe(&self.bytes);
        match line.strip_suffix(" (bad cksum)") {
            Some(rest) if self.checksum_unfinished => rest.to_owned(),
            _ => line,
        }
    }
}

/// How much to keep and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureOptions {
    /// The most bytes kept in memory; later frames are counted as lost (and still written to the file).
    /// Default: 64 MiB.
    pub memory: usize,
    /// A pcap file to write as well (nanosecond time stamps). Default: none.
    pub pcap: Option<PathBuf>,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self { memory: 64 << 20, pcap: None }
    }
}

/// Everything a capture got.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recording {
    /// The frames, in the order in which the kernel queued them. The stamps of frames that passed at the
    /// same moment on different cores may stand in another order, by microseconds.
    pub frames: Vec<CapturedFrame>,
    /// Frames that passed and are not here: the capture was too slow or its memory full.
    pub lost: u64,
}

/// A running capture. It ends when it is dropped.
#[derive(Debug)]
#[must_use = "a capture ends when it is dropped"]
pub struct Capture {
    shared: Arc<Mutex<Recording>>,
    task: Task<Result<(), LabError>>,
}

impl Capture {
    /// Records what passes `interface` of `host`, from now on.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn start(host: &Host, interface: &str) -> Result<Self, LabError> {
        Self::start_with(host, interface, CaptureOptions::default())
    }

    /// As [`start`](Self::start), with options.
    ///
    /// # Errors
    /// If there is no such interface, or the file cannot be made.
    pub fn start_with(host: &Host, interface: &str, options: CaptureOptions) -> Result<Self, LabError> {
        let what = format!("{}: capture on {interface}", host.name());
        let index = host.interface(interface)?.index;
        let socket = host.run(|| open(index)).context(|| what.clone())?;
        let file = options.pcap.as_ref().map(|path| {
            let file =
                File::create(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())));
            file.and_then(pcap_writer)
        });
        let file = file.transpose().context(|| what.clone())?;
        let shared = Arc::new(Mutex::new(Recording::default()));
        let mut recorder = Recorder { socket, shared: shared.clone(), memory: options.memory, used: 0, file };
        let task = host.spawn(move |stop| recorder.work(stop).context(|| what));
        Ok(Self { shared, task })
    }

    /// A copy of what has been recorded so far. A frame is there within a millisecond of its passing, as
    /// long as a core is free; to be sure, use [`wait_for`](Self::wait_for) or [`stop`](Self::stop).
    #[must_use]
    pub fn frames(&self) -> Vec<CapturedFrame> {
        lock(&self.shared).frames.clone()
    }

    /// Takes what has been recorded so far; the capture goes on. Memory is counted as used for good.
    #[must_use]
    pub fn drain(&self) -> Vec<CapturedFrame> {
        std::mem::take(&mut lock(&self.shared).frames)
    }

    /// Waits for a frame that `wanted` approves, those already recorded included; `None` if there is
    /// none within `timeout`.
    #[must_use]
    pub fn wait_for(
        &self,
        timeout: Duration,
        mut wanted: impl FnMut(&CapturedFrame) -> bool,
    ) -> Option<CapturedFrame> {
        let deadline = Instant::now() + timeout;
        let mut seen = 0;
        loop {
            {
                let recording = lock(&self.shared);
                if let Some(found) = recording.frames.iter().skip(seen).find(|frame| wanted(frame)) {
                    return Some(found.clone());
                }
                seen = recording.frames.len();
            }
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the capture with everything that has passed until now.
    ///
    /// # Errors
    /// If the file could not be written, or the interface is gone.
    pub fn stop(self) -> Result<Recording, LabError> {
        self.task.stop()?;
        Ok(std::mem::take(&mut *lock(&self.shared)))
    }
}

/// Puts a frame on the wire from inside a host, as it is: its sender's address may be anything.
///
/// # Errors
/// If there is no such interface, it is down, or the frame is shorter than an Ethernet header or longer
/// than the MTU allows.
pub fn send_frame(host: &Host, interface: &str, frame: &[u8]) -> Result<(), LabError> {
    let what = || format!("{}: send {} bytes on {interface}", host.name(), frame.len());
    let index = host.interface(interface)?.index;
    let socket = host.run(|| sys::packet_socket(index)).context(what)?;
    let sent = send(socket.as_raw_fd(), frame, MsgFlags::empty()).context(what)?;
    if sent == frame.len() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::WriteZero)).context(what) }
}

/// The capture's thread.
struct Recorder {
    socket: OwnedFd,
    shared: Arc<Mutex<Recording>>,
    memory: usize,
    used: usize,
    file: Option<PcapWriter<io::BufWriter<File>>>,
}

impl Recorder {
    fn work(&mut self, stop: &Stop) -> io::Result<()> {
        let mut buffer = vec![0; LONGEST];
        loop {
            // Read before waiting: what was queued when the stop came belongs to the recording.
            let stopping = stop.requested();
            while let Some(frame) = receive(&self.socket, &mut buffer)? {
                self.keep(frame)?;
            }
            lock(&self.shared).lost += sys::lost_frames(&self.socket)?;
            if stopping {
                return self
                    .file
                    .take()
                    .map_or(Ok(()), |file| file.into_writer().into_inner().map(drop).map_err(Into::into));
            }
            wait_readable(&self.socket, Duration::from_millis(20));
        }
    }

    fn keep(&mut self, frame: CapturedFrame) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            let length = u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX);
            let packet = PcapPacket::new(frame.time, length, &frame.bytes);
            file.write_packet(&packet).map_err(io::Error::other)?;
        }
        let mut recording = lock(&self.shared);
        if self.used + frame.bytes.len() > self.memory {
            recording.lost += 1;
        } else {
            self.used += frame.bytes.len();
            recording.frames.push(frame);
        }
        Ok(())
    }
}

/// A merged frame is at most 64 KiB of packet and some headers.
const LONGEST: usize = 66_000;

/// What may wait in the kernel. Only root gets as much; others get what net.core.rmem_max allows.
const SOCKET_BUFFER: usize = 32 << 20;

fn open(interface: u32) -> io::Result<OwnedFd> {
    let socket = sys::packet_socket(interface)?;
    if setsockopt(&socket, RcvBufForce, &SOCKET_BUFFER).is_err() {
        setsockopt(&socket, RcvBuf, &SOCKET_BUFFER)?;
    }
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    Ok(socket)
}

/// The next frame that waits; `None` if there is none.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<CapturedFrame>> {
    let mut control = nix::cmsg_space!([u8; 128]);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = match recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
        Ok(message) => message,
        Err(nix::errno::Errno::EAGAIN) => return Ok(None),
        // The interface went down; it may come back.
        Err(nix::errno::Errno::ENETDOWN | nix::errno::Errno::EINTR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let outgoing = message.address.as_ref().is_some_and(|from| from.pkttype() == libc::PACKET_OUTGOING);
    let mut time = Duration::ZERO;
    let mut auxiliary = Auxiliary { vlan: None, unfinished: false };
    for item in message.cmsgs()? {
        match item {
            ControlMessageOwned::ScmTimestampns(stamp) => time = Duration::from(stamp),
            ControlMessageOwned::Unknown(other) if other.cmsg_header.cmsg_level == libc::SOL_PACKET => {
                auxiliary = sys::read_auxiliary(&other.data_bytes).unwrap_or(auxiliary);
            }
            _ => {}
        }
    }
    let length = message.bytes;
    let mut bytes = buffer[..length].to_vec();
    if let (Some((tpid, tci)), true) = (auxiliary.vlan, length >= 12) {
        let ([a, b], [c, d]) = (tpid.to_be_bytes(), tci.to_be_bytes());
        bytes.splice(12..12, [a, b, c, d]);
    }
    let direction = if outgoing { Direction::Out } else { Direction::In };
    Ok(Some(CapturedFrame { time, direction, bytes, checksum_unfinished: auxiliary.unfinished }))
}

fn pcap_writer(file: File) -> io::Result<PcapWriter<io::BufWriter<File>>> {
    let header = pcap_file::pcap::PcapHeader {
        snaplen: LONGEST as u32,
        datalink: pcap_file::DataLink::ETHERNET,
        ts_resolution: pcap_file::TsResolution::NanoSecond,
        ..Default::default()
    };
    PcapWriter::with_header(io::BufWriter::new(file), header).map_err(io::Error::other)
}

fn lock(shared: &Mutex<Recording>) -> MutexGuard<'_, Recording> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
