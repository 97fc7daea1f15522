//! A forwarder between two interfaces, without any balancing: what this crate costs by itself.
//!
//! `forward A B` is a wire for IP, ARP and NDP: what comes in on one leaves by the other, unchanged.
//! `forward A B MAC-A MAC-B` addresses frames that leave by A to MAC-A and those that leave by B to MAC-B,
//! as a director does. `--generic` in front keeps the program out of the drivers. Needs CAP_NET_ADMIN,
//! CAP_NET_RAW and CAP_BPF. Prints its counters when it is interrupted.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lvs_core::MacAddr;
use lvs_core::io::{Frame, FrameIo, PortId, Verdicts};
use lvs_core::verdict::Verdict;
use lvs_io_xdp::{Attachment, XdpConfig, XdpIo, interface_mac};
use signal_hook::consts::{SIGINT, SIGTERM};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let generic = arguments.first().is_some_and(|first| first == "--generic");
    arguments.drain(..usize::from(generic));
    let (names, stations) = match arguments.as_slice() {
        [a, b] => ([a, b], None),
        [a, b, mac_a, mac_b] => ([a, b], Some([mac_a.parse::<MacAddr>()?, mac_b.parse()?])),
        _ => return Err("usage: forward [--generic] A B [MAC-A MAC-B]".into()),
    };
    let addresses = match stations {
        Some([a, b]) => Some([(a, interface_mac(names[0])?), (b, interface_mac(names[1])?)]),
        None => None,
    };
    let mut config = XdpConfig::new(names);
    if generic {
        config.attachment = Attachment::Generic;
    }
    let mut io = XdpIo::open(&config)?;
    io.set_addresses(&["0.0.0.0/0".parse()?, "::/0".parse()?], &[])?;
    for port in [PortId(0), PortId(1)] {
        if let (Some(name), Some(mode)) = (io.interface(port), io.mode(port)) {
            println!("{name}: {mode}");
        }
    }
    for warning in io.warnings() {
        println!("{warning}");
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }

    let mut forward = |frames: &mut [Frame<'_>]| -> Verdicts {
        let mut verdicts = Verdicts::new();
        for frame in frames {
            let out = 1 - frame.port().0;
            if let (Some(addresses), Some(header)) = (&addresses, frame.bytes_mut().first_chunk_mut::<12>()) {
                let (destination, source) = addresses[usize::from(out)];
                header[..6].copy_from_slice(&destination.0);
                header[6..].copy_from_slice(&source.0);
            }
            verdicts.push(Verdict::Transmit(PortId(out)));
        }
        verdicts
    };
    while !stop.load(Ordering::Relaxed) {
        if io.receive(&mut forward)? == 0 {
            io.wait(Some(Duration::from_secs(1)))?;
        }
        while let Some(event) = io.poll_event() {
            println!("{event:?}");
        }
    }
    println!("{:?} {:?}", io.statistics(), io.details());
    Ok(())
}
