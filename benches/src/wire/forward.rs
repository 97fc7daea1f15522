//! Frames a second: the director and the plain forwarder in turns under full load, then the director at falling and rising
//! rates until the highest is known at which nothing to speak of is lost.

use std::io;
use std::thread;
use std::time::Duration;

use super::forwarder::Forwarder;
use super::generator::Source;
use super::net::{Count, Net, OUT};
use super::{Error, Figure, Io, Options};
use crate::report::{median, tenths};
use crate::traffic::{Family, Flow, Kind, SHORTEST_FRAME, Traffic};

/// How long a load lasts before it is measured.
const WARM_UP: Duration = Duration::from_millis(300);
/// Steps of the search for a rate without loss: it halves what is left each time.
const STEPS: u32 = 6;
/// Where the search begins, by what is forwarded under full load: more may get through where less is thrown away.
const ABOVE: f64 = 1.2;
/// Fewer than this share lost counts as nothing.
const LOSSLESS: f64 = 0.001;

/// What became of the frames of a bounded run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accounted {
    /// Frames that the generator sent.
    pub sent: u64,
    /// Frames that reached the director's card.
    pub offered: u64,
    /// Frames that reached the sink.
    pub forwarded: u64,
}

pub(super) fn run(options: &Options, source: Source) -> Result<Figure, Error> {
    let net = Net::build(options.io)?;
    // The plain forwarder has packet sockets.
    let cables = if options.io == Io::Tap { Some(Net::on_cables()?) } else { None };
    let frame = frame(options.frame_bytes);
    let (mut director, mut lost, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let (mpps, share) = full_load(&net, source, &frame, Forwarder::Director(options.io), options.time)?;
        director.push(mpps);
        lost.push(share);
        let net = cables.as_ref().unwrap_or(&net);
        plain.push(full_load(net, source, &frame, Forwarder::Plain, options.time)?.0);
    }
    let mpps = median(&director);
    let lossless = lossless(&net, source, &frame, options, mpps)?;
    Ok(Figure::Forward {
        io: options.io,
        frame_bytes: options.frame_bytes,
        mpps: hundredths(mpps),
        lost_percent: tenths(median(&lost) * 100.0),
        lossless_mpps: hundredths(lossless),
        baseline_mpps: hundredths(median(&plain)),
    })
}

/// Sends at a rate for a time, and accounts for every frame once all have arrived.
///
/// # Errors
/// If the network cannot be built, or the director fails.
pub fn account(io: Io, rate: u64, time: Duration) -> Result<Accounted, Error> {
    let net = Net::build(io)?;
    let frame = frame(SHORTEST_FRAME);
    Ok(bounded(&net, Source::best()?, &frame, Forwarder::Director(io), rate, time)?.0)
}

/// An ACK of one client; the generator writes source ports.
fn frame(bytes: usize) -> Vec<u8> {
    let mut frame = vec![0; bytes.max(SHORTEST_FRAME)];
    Traffic::new(Family::Ipv4, Kind::Ack).write(Flow::number(1), &mut frame);
    frame
}

/// Millions of frames a second, and the share of the offered that was lost.
fn full_load(
    net: &Net,
    source: Source,
    frame: &[u8],
    forwarder: Forwarder,
    time: Duration,
) -> io::Result<(f64, f64)> {
    let task = forwarder.start(net)?;
    let running = source.start(&net.generator, OUT, frame, None)?;
    thread::sleep(WARM_UP);
    let before = net.count()?;
    thread::sleep(time);
    let after = net.count()?;
    running.stop()?;
    task.stop()?;
    net.settle()?;
    let lost = share_lost(after.offered - before.offered, after.forwarded - before.forwarded);
    Ok((mpps(&before, &after), lost))
}

fn share_lost(offered: u64, forwarded: u64) -> f64 {
    // Between two counts under load more may be forwarded than comes in: no loss.
    (1.0 - forwarded as f64 / offered.max(1) as f64).max(0.0)
}

/// A run at a rate, from silence to silence. Answers the millions of frames a second that were forwarded, too: the
/// generator may not reach the rate.
fn bounded(
    net: &Net,
    source: Source,
    frame: &[u8],
    forwarder: Forwarder,
    rate: u64,
    time: Duration,
) -> io::Result<(Accounted, f64)> {
    let task = forwarder.start(net)?;
    let before = net.settle()?;
    let running = source.start(&net.generator, OUT, frame, Some(rate))?;
    thread::sleep(time / 4);
    let early = net.count()?;
    thread::sleep(time * 3 / 4);
    let late = net.count()?;
    let sent = running.stop()?;
    let after = net.settle()?;
    task.stop()?;
    let offered = after.offered - before.offered;
    Ok((Accounted { sent, offered, forwarded: after.forwarded - before.forwarded }, mpps(&early, &late)))
}

/// Millions of frames a second that were forwarded between two counts.
fn mpps(before: &Count, after: &Count) -> f64 {
    (after.forwarded - before.forwarded) as f64 / (after.at - before.at).as_secs_f64() / 1e6
}

/// Millions of frames a second at the highest rate tried at which nothing was lost.
fn lossless(net: &Net, source: Source, frame: &[u8], options: &Options, mpps: f64) -> io::Result<f64> {
    let (mut best, mut low, mut high) = (0.0, 0.0, mpps * ABOVE);
    for _ in 0..STEPS {
        let rate = f64::midpoint(low, high);
        let forwarder = Forwarder::Director(options.io);
        let (run, forwarded) = bounded(net, source, frame, forwarder, (rate * 1e6) as u64, options.time)?;
        if share_lost(run.offered, run.forwarded) < LOSSLESS {
            best = forwarded.min(rate);
            low = rate;
        } else {
            high = rate;
        }
    }
    Ok(best)
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
