//! What a live trace costs while nobody watches: established frames decided about, for a profiler that counts instructions.
//!
//! ```text
//! cargo build --release -p lvs-admin --example witness_cost
//! for observer in none witness; do for rounds in 1000 2000; do
//!   valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/witness_cost $observer 64 $rounds
//! done; done
//! ```
//! The difference of two runs, by the frames that one has more, is what a frame costs; the start is in neither. `none` is the
//! code without observers, `witness` what the program `director` runs; 64 is how many frames come at once.

use std::num::NonZeroU16;

use lvs_admin::control::Tracer;
use lvs_core::config::{DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::connection::HeapMemory;
use lvs_core::director::DirectorGroup;
use lvs_core::{Change, DirectorConfig, Frame, Instant, InterfaceConfig, PortId};
use lvs_testkit::frames::{self, TcpFlags, mac, socket};

const USAGE: &str = "witness_cost none|witness FRAMES ROUNDS: FRAMES at once, from 1 to 64";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [observer, batch, rounds] = &words[..] else { return Err(USAGE.into()) };
    let (batch, rounds): (u16, u32) = (batch.parse()?, rounds.parse()?);
    if !(1..=64).contains(&batch) || !["none", "witness"].contains(&observer.as_str()) {
        return Err(USAGE.into());
    }

    let own = mac("02:00:00:00:00:d0");
    let eth0 = InterfaceConfig::new(PortId(0), own, "192.168.0.208/24".parse()?);
    let config = DirectorConfig::new(vec![eth0], [7; 32]);
    let (group, members) = DirectorGroup::new(&config, Instant::ZERO, NonZeroU16::MIN, &HeapMemory)?;
    let http = ServiceKey::tcp("192.168.0.250".parse()?, 80);
    let rip = "192.168.0.188".parse()?;
    group.apply(
        Instant::ZERO,
        &[
            Change::AddService(ServiceConfig::new(http, SchedulerKind::RoundRobin)),
            Change::AddDestination(http, DestinationConfig::new(rip, 80)),
            Change::SetStaticNeighbour { address: rip, mac: Some(mac("02:00:00:00:00:bc")) },
        ],
    )?;
    let frame = |n: u16, flags| {
        let client = std::net::SocketAddr::new([110, 0, 0, 1].into(), 2000 + n);
        frames::tcp(client, socket("192.168.0.250:80"))
            .flags(flags)
            .macs(mac("02:00:00:00:00:0f"), own)
            .build()
    };
    let [member] = &members[..] else { return Err("one worker".into()) };
    for n in 0..batch {
        let mut bytes = frame(n, TcpFlags::SYN);
        let _ = member.handle_batch(Instant::ZERO, &mut [Frame::new(&mut bytes, PortId(0))]);
    }
    let mut all: Vec<Vec<u8>> = (0..batch).map(|n| frame(n, TcpFlags::ACK)).collect();
    let fresh = all.clone();
    let mut witness = Tracer::new().witness(None);
    for round in 0..rounds {
        let now = Instant::from_micros(u64::from(round));
        for (bytes, fresh) in all.iter_mut().zip(&fresh) {
            bytes.copy_from_slice(fresh);
        }
        let mut frames: Vec<Frame<'_>> = all.iter_mut().map(|bytes| Frame::new(bytes, PortId(0))).collect();
        let _ = match observer.as_str() {
            "none" => member.handle_batch(now, &mut frames),
            _ => member.handle_batch_observed(now, &mut frames, &mut witness),
        };
    }
    let counted = group.statistics();
    let expected = u64::from(batch) * (u64::from(rounds) + 1);
    if counted.transmitted != expected {
        return Err(format!("{expected} frames, of which {} were forwarded", counted.transmitted).into());
    }
    Ok(())
}
