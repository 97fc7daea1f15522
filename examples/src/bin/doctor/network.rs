//! The examination over packet sockets. They hear copies: neither the host's kernel nor a director beside loses a frame.

use std::time::Duration;

use lvs_core::Verdict;
use lvs_core::io::{FrameIo, Meta, Verdicts};
use lvs_doctor::{Examination, ExaminationConfig, Limits};
use lvs_examples::backend::Io;
use lvs_examples::clock::Clock;
use lvs_examples::run;
use lvs_io_afpacket::{PacketConfig, PacketIo};

use crate::Error;
use crate::offloads::Unfit;
use crate::plan::Plan;
use crate::report::Report;

/// The most answers of one portion of questions fit in, many times over.
const RING_BYTES: usize = 4 << 20;

pub(crate) fn examine(plan: &Plan, report: &mut Report) -> Result<(), Error> {
    let [a, b, c, d, e, f, g, h, ..] = run::seed()?;
    let config = ExaminationConfig {
        interfaces: plan.interfaces.clone(),
        services: plan.services.clone(),
        director_macs: plan.director_macs.clone(),
        seed: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        limits: Limits::default(),
    };
    let clock = Clock::start();
    // Refused before a socket is opened.
    let mut examination = Examination::new(config, clock.now())?;
    let mut sockets = PacketConfig::new(plan.ports.iter().cloned());
    sockets.ring_bytes = RING_BYTES;
    let mut io = PacketIo::open(&sockets)?;
    join_groups(plan, &mut io)?;

    let mut unfit = vec![Unfit::default(); plan.ports.len()];
    while !examination.is_finished() {
        while let Some(frame) = examination.poll_transmit(clock.now()) {
            io.transmit(frame.port, &Meta::default(), frame.bytes)?;
        }
        io.flush()?;
        let received = io.receive(&mut |frames| {
            let now = clock.now();
            for frame in &*frames {
                unfit[usize::from(frame.port().0)].look(frame);
                examination.handle_frame(now, frame);
            }
            frames.iter().map(|_| Verdict::Pass).collect::<Verdicts>()
        })?;
        // A wait ends at once while there is something to fetch.
        while io.poll_event().is_some() {}
        if received == 0 {
            let due = examination.poll_timeout();
            let wait = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(clock.now()));
            io.wait(Some(wait))?;
        }
    }
    report.findings.extend_from_slice(examination.findings());
    report.checks.extend_from_slice(examination.checks());
    report.frames =
        Some((examination.frames_sent(), clock.now().saturating_duration_since(lvs_core::Instant::ZERO)));
    if plan.io == Io::Xdp {
        for (name, unfit) in plan.ports.iter().zip(&unfit) {
            unfit.tell(name, report);
        }
    }
    Ok(())
}

/// Asks the card to let in what is sent to the groups of addresses that nobody else here answers for.
fn join_groups(plan: &Plan, io: &mut PacketIo) -> Result<(), Error> {
    for interface in &plan.interfaces {
        for address in &interface.answer_for {
            let std::net::IpAddr::V6(address) = address else { continue };
            let [.., a, b, c] = address.octets();
            io.join_multicast(interface.port, lvs_core::MacAddr([0x33, 0x33, 0xff, a, b, c]))?;
        }
    }
    Ok(())
}
