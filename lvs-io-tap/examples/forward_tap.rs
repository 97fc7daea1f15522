//! A wire between two TAP devices, without any balancing: what this crate costs by itself.
//!
//! `forward A B [BRIDGE-A BRIDGE-B]` makes the devices, or opens them, and joins them to bridges. Needs CAP_NET_ADMIN unless
//! they are there and set up. Prints its counters when it is interrupted.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lvs_core::io::{FrameIo, PortId, Verdicts};
use lvs_core::verdict::Verdict;
use lvs_io_tap::{KernelEnd, KernelEndConfig, TapConfig, TapIo};
use signal_hook::consts::{SIGINT, SIGTERM};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (names, bridges) = match arguments.as_slice() {
        [a, b] => ([a, b], [None, None]),
        [a, b, bridge_a, bridge_b] => ([a, b], [Some(bridge_a), Some(bridge_b)]),
        _ => return Err("usage: forward A B [BRIDGE-A BRIDGE-B]".into()),
    };
    let mut io = TapIo::open(TapConfig::new(names))?;
    let mut ends = Vec::new();
    for (name, bridge) in names.into_iter().zip(bridges) {
        let mut config = KernelEndConfig::default();
        config.bridge = bridge.cloned();
        let end = KernelEnd::set_up(name, &config)?;
        for step in end.steps() {
            println!("{name}: {step}");
        }
        ends.push(end);
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    while !stop.load(Ordering::Relaxed) {
        let count = io.receive(&mut |frames| {
            frames.iter().map(|frame| Verdict::Transmit(PortId(1 - frame.port().0))).collect::<Verdicts>()
        })?;
        if count == 0 {
            io.wait(Some(Duration::from_secs(1)))?;
        }
        while let Some(event) = io.poll_event() {
            println!("{event:?}");
        }
    }
    println!("{:?}", io.statistics());
    Ok(())
}
