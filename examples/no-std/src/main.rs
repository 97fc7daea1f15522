//! The proof that the director needs neither std nor an allocator that is there while it works: a binary without std,
//! in which a director is made out of a fixed piece of memory, the memory is sealed, and frames are forwarded.
//!
//! ```text
//! cargo run --release --manifest-path examples/no-std/Cargo.toml
//! ```
//! Prints a line and exits with 0; exits with the number of the step that went wrong otherwise. It runs on Linux because
//! that is where it is tested; only `exit` and `puts` know.
#![no_std]
#![no_main]

extern crate alloc;

mod memory;

use alloc::vec;
use core::ffi::{c_char, c_int};

use lvs_core::config::{DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::director::TRANSMIT_BUFFER;
use lvs_core::{Change, Director, DirectorConfig, Frame, Instant, InterfaceConfig, MacAddr, PortId, Verdict};

#[global_allocator]
static MEMORY: memory::Fixed = memory::Fixed::new();

#[link(name = "c")]
unsafe extern "C" {
    safe fn exit(status: c_int) -> !;
    fn puts(text: *const c_char) -> c_int;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(101)
}

/// The compiled `alloc` that comes with Rust names it, for unwinding that never happens here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

const DIRECTOR: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xd0]);
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0f]);
const SERVERS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 0xbc]), MacAddr([2, 0, 0, 0, 0, 0x6f])];
const FRAMES: u16 = 10_000;

#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    let Some(mut director) = director() else {
        return 1;
    };
    // What it wants to say of its own accord: announcements and questions for its neighbours.
    let mut buffer = [0; TRANSMIT_BUFFER];
    while director.poll_transmit(Instant::ZERO, &mut buffer).is_some() {}

    MEMORY.seal();
    let mut sent = [0u32; 2];
    for n in 0..FRAMES {
        // Each port opens a connection and goes on with it.
        for flags in [SYN, ACK] {
            let mut bytes = segment(1024 + n, flags);
            let mut frame = Frame::new(&mut bytes, PortId(0));
            let now = Instant::from_micros(u64::from(n));
            if director.handle_frame(now, &mut frame) != Verdict::Transmit(PortId(0)) {
                return 2;
            }
            match SERVERS.iter().position(|mac| frame.bytes().starts_with(&mac.0)) {
                Some(server) => sent[server] += 1,
                None => return 3,
            }
        }
    }
    if sent != [u32::from(FRAMES); 2] {
        return 4;
    }
    // SAFETY: a C string that lives for ever.
    unsafe {
        puts(c"20000 frames forwarded to two real servers, without std and without allocating".as_ptr())
    };
    0
}

/// A director with one service and two real servers whose Ethernet addresses are known.
fn director() -> Option<Director> {
    let eth0 = InterfaceConfig::new(PortId(0), DIRECTOR, "192.168.0.208/24".parse().ok()?);
    let mut config = DirectorConfig::new(vec![eth0], [7; 32]);
    config.max_connections = 16_384;
    config.max_templates = 64;
    config.max_services = 16;
    config.max_destinations = 64;
    let mut director = Director::new(config, Instant::ZERO).ok()?;
    let http = ServiceKey::tcp("192.168.0.250".parse().ok()?, 80);
    let mut changes = vec![Change::AddService(ServiceConfig::new(http, SchedulerKind::RoundRobin))];
    for (n, mac) in (10..).zip(SERVERS) {
        let address = core::net::Ipv4Addr::new(192, 168, 0, n).into();
        changes.push(Change::SetStaticNeighbour { address, mac: Some(mac) });
        changes.push(Change::AddDestination(http, DestinationConfig::new(address, 80)));
    }
    director.apply(Instant::ZERO, &changes).ok()?;
    Some(director)
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A TCP segment from a client's port to the VIP, as the router hands it on.
fn segment(port: u16, flags: u8) -> [u8; 60] {
    let mut frame = [0; 60];
    let parts: [(usize, &[u8]); 6] = [
        (0, &DIRECTOR.0),
        (6, &ROUTER.0),
        (12, &[0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 63, 6]),
        (26, &[110, 0, 0, 1, 192, 168, 0, 250]),
        (34, &port.to_be_bytes()),
        (36, &[0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff]),
    ];
    for (at, bytes) in parts {
        frame[at..at + bytes.len()].copy_from_slice(bytes);
    }
    let words = frame[14..34].chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum = words.sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    frame
}
