//! Long transfers through the director, compared byte for byte, with checksums and segmentation left to the receiver
//! as the kernel has it by default: frames of up to 64 KiB pass.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use lvs_testkit::frames::Summary;
use lvs_testkit::lab::{Capture, Direction, Host, bulk};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Family};
use crate::program::PATIENCE;
use crate::{Outcome, Test, listing};

pub(crate) const TESTS: &[Test] = &[
    ("an_interface_goes_down_during_an_upload", flap),
    ("uploads_and_downloads_arrive_byte_for_byte", both_ways),
];

const PORT: u16 = 9000;
const BYTES: u64 = 64 << 20;

fn start_bulk(cluster: &Cluster) -> Result<Vec<bulk::Server>, Failed> {
    let everywhere = SocketAddr::new([0; 4].into(), PORT);
    let servers = cluster.net.servers.iter().map(|server| bulk::Server::start(&server.host, everywhere));
    Ok(servers.collect::<Result<_, _>>()?)
}

/// A figure of `/proc/net/snmp` or `/proc/net/dev` as this host sees it: the value in `column` behind `line`.
fn figure(host: &Host, file: &str, line: &str, column: usize) -> Result<u64, Failed> {
    let text = host.run(|| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")))?;
    // The line with the names comes before the one with the figures.
    let figures = text.lines().filter_map(|found| found.trim_start().strip_prefix(line)).next_back();
    let figure = figures.and_then(|figures| figures.split_whitespace().nth(column)?.parse().ok());
    figure.ok_or_else(|| format!("{file} has no figure {column} behind {line}:\n{text}").into())
}

/// TCP segments that a host has sent again.
fn retransmitted(host: &Host) -> Result<u64, Failed> {
    figure(host, "snmp", "Tcp:", 11)
}

fn both_ways() -> Outcome {
    let cluster = Cluster::b(2)?;
    let _servers = start_bulk(&cluster)?;
    let director = cluster.start(Family::V4, &cluster.rules("-t", Family::V4, PORT, "rr", &[]))?;
    let service = SocketAddr::new(cluster.vip(Family::V4), PORT);
    let client = &cluster.net.client;
    let up = bulk::upload(client, service, BYTES, PATIENCE)?;
    let again = retransmitted(client)?;
    let down = bulk::download(client, service, BYTES, PATIENCE)?;
    assert_eq!((up.bytes, down.bytes), (BYTES, BYTES));
    let ended = director.stop(Signal::SIGTERM)?;
    eprintln!(
        "64 MiB through the director: up {:.1} Gbit/s, {again} segments again; down {:.1} Gbit/s",
        up.gigabits_per_second(),
        down.gigabits_per_second()
    );
    assert_eq!(ended.lines("; lost: 0 before they were read, 0 on the way out").len(), 1, "{:#?}", ended.log);
    let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
    // The upload went to the second server. Frames are merged: far fewer than the 48,000 of an MTU of 1500.
    let [second, first] = &service.servers[..] else { return Err("two servers".into()) };
    assert!(second.in_bytes > BYTES && second.in_packets < 24_000, "{service:?}");
    // Of the download the director sees acknowledgements only.
    assert!(first.in_bytes < BYTES / 20, "{service:?}");
    Ok(())
}

fn flap() -> Outcome {
    const DOWN: Duration = Duration::from_millis(1500);
    // As many that the link is down long before the end.
    const LONG: u64 = 1 << 30;
    let cluster = Cluster::b(2)?;
    let _servers = start_bulk(&cluster)?;
    let director = cluster.start(Family::V4, &cluster.rules("-t", Family::V4, PORT, "rr", &[]))?;
    director.wait_for(" is at ", 2, PATIENCE)?;
    let service = SocketAddr::new(cluster.vip(Family::V4), PORT);
    let (client, host) = (&cluster.net.client, &cluster.net.director);
    let router = cluster.net.router.as_ref().ok_or("topology B has a router")?;
    let received = || figure(host, "dev", "eth0:", 0);

    let upload = thread::scope(|scope| -> Result<bulk::Transfer, Failed> {
        let upload = scope.spawn(|| bulk::upload(client, service, LONG, Duration::from_secs(40)));
        let deadline = Instant::now() + PATIENCE;
        while received()? < 16 << 20 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        assert!(!upload.is_finished(), "the upload is too short for this test");
        host.set_link("eth0", false)?;
        thread::sleep(DOWN);
        assert!(!upload.is_finished(), "nothing passes while the link is down");
        let capture = Capture::start(router, "eth1")?;
        host.set_link("eth0", true)?;
        let announced = capture.wait_for(PATIENCE, |frame| {
            let arp = Summary::of(&frame.bytes).and_then(|summary| summary.arp);
            frame.direction == Direction::In
                && arp.is_some_and(|arp| arp.sender == cluster.net.vips.v4 && arp.target == arp.sender)
        });
        assert!(announced.is_some(), "the VIP is announced again");
        drop(capture);
        Ok(upload.join().map_err(|_| "the upload panicked")??)
    })?;
    assert!(upload.elapsed > DOWN, "{upload:?}");
    assert_eq!(director.lines("192.168.0.250 announced on eth0").len(), 2);
    let ended = director.stop(Signal::SIGTERM)?;
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.lines("eth0 is down").len(), 1, "{:#?}", ended.log);
    // The first one is the state at the start.
    assert_eq!(ended.lines("eth0 is up").len(), 2, "{:#?}", ended.log);
    assert_eq!(ended.lines("does not answer"), [""; 0]);
    Ok(())
}
