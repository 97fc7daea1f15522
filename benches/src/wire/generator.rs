//! Sends frames as fast as the machine can, or at a rate.
//!
//! Where the kernel allows it, frames come from within the kernel: an XDP program that is run over copies of a frame (live
//! frames of BPF_PROG_TEST_RUN), writes a random source port into each and redirects it to the card. That costs a
//! twentieth of a microsecond a frame, so more is offered than anything forwards. It needs CAP_BPF and CAP_NET_ADMIN
//! outside of any user namespace; without these, frames go through a packet socket, 64 a system call.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use lvs_core::{FrameIo, PortId};
use lvs_io_afpacket::{PacketConfig, PacketIo};
use lvs_testkit::lab::{Host, Stop, Task};
use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::Signal;

use super::sys::{Map, Program};
use crate::machine::pin;
use crate::traffic::Random;

/// How many different source ports the socket generator uses, from 1024 on; the other one uses nearly all.
const PORTS: u64 = 60_000;
/// Where the source port of TCP over IPv4 without options is.
const SOURCE_PORT: usize = 34;
/// Frames that are sent before the clock is read again.
const BURST: u64 = 64;
/// How often a thread that is to stop is told so.
const REMIND: Duration = Duration::from_millis(2);

/// A generator at work.
pub(super) struct Running {
    task: Task<io::Result<u64>>,
    /// Its thread, if it must be woken by a signal.
    thread: Option<Pthread>,
}

/// Where frames come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An XDP program in the kernel.
    Kernel,
    /// A packet socket.
    Socket,
}

impl Source {
    /// What can be had here: the kernel, unless it refuses.
    ///
    /// # Errors
    /// If signals cannot be caught.
    pub(super) fn best() -> io::Result<Self> {
        // A signal ends a run of the program; its default action would end the process.
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::new(AtomicBool::new(false)))?;
        let allowed = Map::new().and_then(|map| Program::load(&program(&map, 1))).is_ok();
        Ok(if allowed { Self::Kernel } else { Self::Socket })
    }

    /// As people read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "an XDP program in the kernel",
            Self::Socket => "a packet socket (no right to load BPF programs: less is offered)",
        }
    }

    /// Begins to send copies of `frame` by `interface`, each with a random source port; `rate` frames a second at most.
    pub(super) fn start(
        self,
        host: &Host,
        interface: &str,
        frame: &[u8],
        rate: Option<u64>,
    ) -> io::Result<Running> {
        let frame = frame.to_vec();
        match self {
            Self::Kernel => {
                let index = host.interface(interface).map_err(io::Error::other)?.index;
                let (told, tells) = mpsc::channel();
                let task = host.spawn(move |stop| {
                    pin(0);
                    // Nobody waits for it if this thread is not wanted any more.
                    let _ = told.send(pthread_self());
                    from_kernel(stop, index, &frame, rate)
                });
                let thread = tells.recv().map_err(io::Error::other)?;
                Ok(Running { task, thread: Some(thread) })
            }
            Self::Socket => {
                let interface = interface.to_owned();
                let task = host.spawn(move |stop| {
                    pin(0);
                    from_socket(stop, &interface, frame, rate)
                });
                Ok(Running { task, thread: None })
            }
        }
    }
}

impl Running {
    /// Ends it; answers how many frames it sent.
    pub(super) fn stop(self) -> io::Result<u64> {
        self.task.request_stop();
        while !self.task.is_finished() {
            if let Some(thread) = self.thread {
                // The thread may not be in the call yet: once is not enough. If it has just ended, nobody hears it.
                let _ = pthread_kill(thread, Signal::SIGUSR1);
            }
            thread::sleep(REMIND);
        }
        self.task.stop()
    }
}

fn from_kernel(stop: &Stop, interface: u32, frame: &[u8], rate: Option<u64>) -> io::Result<u64> {
    let map = Map::new()?;
    map.set(&[rate.unwrap_or(0), 0, 0])?;
    let program = Program::load(&program(&map, interface))?;
    while !stop.requested() {
        match program.run_live(frame) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
    Ok(map.get()?[2])
}

/// The program, in words: the map holds the rate, when the first frame left, and how many have.
/// ```text
///   if rate != 0 and sent * 10^9 > (now - first) * rate: drop
///   source port = random, but not that of FTP data; sent += 1; redirect to the interface
/// ```
fn program(map: &Map, interface: u32) -> Vec<u64> {
    const LOOKUP: i32 = 1;
    const NOW: i32 = 5;
    const RANDOM: i32 = 7;
    const REDIRECT: i32 = 23;
    const ELAPSED: i16 = 16;
    const SEND: i16 = 21;
    const DROP: i16 = 39;
    /// As it stands in a frame. What comes from there is taken for FTP data, which a service on another port does not get (as in IPVS).
    const FTP_DATA: i32 = 20u16.to_be() as i32;
    // Operation code, destination, source, offset, immediate (RFC 9669 section 3). Jumps count from the next one.
    let op = |code: u8, to: u8, from: u8, offset: i16, value: i32| {
        u64::from(code)
            | u64::from(from << 4 | to) << 8
            | u64::from(offset as u16) << 16
            | u64::from(value as u32) << 32
    };
    let call = |function| op(0x85, 0, 0, 0, function);
    let jump = |at: i16, to: i16| to - at - 1;
    vec![
        op(0xbf, 6, 1, 0, 0),                   // 0: r6 = context
        op(0x62, 10, 0, -4, 0),                 // 1: key = 0
        op(0x18, 1, 1, 0, map.number()),        // 2, 3: r1 = map
        0,                                      //
        op(0xbf, 2, 10, 0, 0),                  // 4: r2 = stack
        op(0x07, 2, 0, 0, -4),                  // 5: r2 -> key
        call(LOOKUP),                           // 6: r0 -> value
        op(0x15, 0, 0, jump(7, DROP), 0),       // 7: none: drop
        op(0xbf, 7, 0, 0, 0),                   // 8: r7 -> value
        call(NOW),                              // 9: r0 = now
        op(0x79, 1, 7, 0, 0),                   // 10: r1 = rate
        op(0x15, 1, 0, jump(11, SEND), 0),      // 11: none: send
        op(0x79, 2, 7, 8, 0),                   // 12: r2 = first
        op(0x55, 2, 0, jump(13, ELAPSED), 0),   // 13: known
        op(0x7b, 7, 0, 8, 0),                   // 14: first = now
        op(0xbf, 2, 0, 0, 0),                   // 15: r2 = now
        op(0x1f, 0, 2, 0, 0),                   // 16: r0 = now - first
        op(0x2f, 0, 1, 0, 0),                   // 17: r0 *= rate
        op(0x79, 3, 7, 16, 0),                  // 18: r3 = sent
        op(0x27, 3, 0, 0, 1_000_000_000),       // 19: r3 *= 10^9
        op(0x2d, 3, 0, jump(20, DROP), 0),      // 20: too many: drop
        op(0x61, 9, 6, 0, 0),                   // 21: r9 -> frame
        op(0x61, 2, 6, 4, 0),                   // 22: r2 -> its end
        op(0xbf, 3, 9, 0, 0),                   // 23
        op(0x07, 3, 0, 0, 60),                  // 24: r3 -> behind 60 bytes
        op(0x2d, 3, 2, jump(25, DROP), 0),      // 25: too short: drop
        call(RANDOM),                           // 26: r0 = random
        op(0xbf, 1, 0, 0, 0),                   // 27: r1 = r0
        op(0x57, 1, 0, 0, 0xffff),              // 28: the port of it
        op(0x55, 1, 0, jump(29, 31), FTP_DATA), // 29: another
        op(0xb7, 0, 0, 0, 1),                   // 30: r0 = 1
        op(0x6b, 9, 0, SOURCE_PORT as i16, 0),  // 31: source port = r0
        op(0x79, 3, 7, 16, 0),                  // 32: r3 = sent
        op(0x07, 3, 0, 0, 1),                   // 33: + 1
        op(0x7b, 7, 3, 16, 0),                  // 34: sent = r3
        op(0xb7, 1, 0, 0, interface as i32),    // 35: r1 = interface
        op(0xb7, 2, 0, 0, 0),                   // 36: no flags
        call(REDIRECT),                         // 37
        op(0x95, 0, 0, 0, 0),                   // 38: exit
        op(0xb7, 0, 0, 0, 1),                   // 39: r0 = XDP_DROP
        op(0x95, 0, 0, 0, 0),                   // 40: exit
    ]
}

fn from_socket(stop: &Stop, interface: &str, mut frame: Vec<u8>, rate: Option<u64>) -> io::Result<u64> {
    let mut config = PacketConfig::new([interface]);
    // It hears nothing that matters.
    config.ring_bytes = 1 << 20;
    let mut io = PacketIo::open(&config).map_err(io::Error::other)?;
    let (mut random, start, mut sent) = (Random::new(5), Instant::now(), 0);
    while !stop.requested() {
        let due = rate.map_or(u64::MAX, |rate| (start.elapsed().as_secs_f64() * rate as f64) as u64);
        let count = due.saturating_sub(sent).min(BURST);
        for _ in 0..count {
            // Above those that have a meaning, as FTP data has.
            let port = 1024 + (random.bits() % PORTS) as u16;
            frame[SOURCE_PORT..SOURCE_PORT + 2].copy_from_slice(&port.to_be_bytes());
            io.transmit(PortId(0), &lvs_core::io::Meta::default(), &frame).map_err(io::Error::other)?;
        }
        io.flush().map_err(io::Error::other)?;
        sent += count;
    }
    Ok(io.statistics().transmitted)
}
