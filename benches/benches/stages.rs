//! What the stages of a frame's way cost, one by one, and what is used beside it: schedulers, and reading rules.
//!
//! ```text
//! cargo bench -p lvs-benches -- classify
//! ```
//! A `batch` is the whole way of 64 frames of one kind; divide by 64. Where a stage changes the table, only that part is
//! timed.

#![expect(missing_docs, reason = "what criterion's macro makes has none")]

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lvs_benches::ring::Ring;
use lvs_benches::subject::Subject;
use lvs_benches::traffic::{Family, Flow, Kind, Random, Traffic};
use lvs_core::classify::{FlowKey, classify};
use lvs_core::config::SchedulerKind;
use lvs_core::io::{MAX_BATCH, Meta};
use lvs_core::scheduler::{ListChange, Request, SchedulerOptions, Server, new_scheduler};

/// Flows that are established where some have to be.
const FLOWS: u32 = 100_000;
const BATCH: u64 = MAX_BATCH as u64;

/// Frames of different flows, as the classifier gets them.
fn frames(family: Family, kind: Kind) -> Vec<Vec<u8>> {
    let traffic = Traffic::new(family, kind);
    let frame = |n| {
        let mut frame = vec![0; traffic.frame_len()];
        traffic.write(Flow::number(n), &mut frame);
        frame
    };
    (0..BATCH as u32).map(frame).collect()
}

fn classification(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classify");
    group.throughput(Throughput::Elements(BATCH));
    for (name, family, kind) in [
        ("tcp/ipv4", Family::Ipv4, Kind::Ack),
        ("tcp/ipv6", Family::Ipv6, Kind::Ack),
        ("arp", Family::Ipv4, Kind::ArpRequest),
    ] {
        let frames = frames(family, kind);
        let meta = Meta::default();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for frame in &frames {
                    let _ = black_box(classify(black_box(frame), &meta));
                }
            });
        });
    }
    group.finish();
}

/// The whole way of 64 frames that change no table.
fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(BATCH));
    for (name, family, kind, known) in [
        ("established/ipv4", Family::Ipv4, Kind::Ack, true),
        ("established/ipv6", Family::Ipv6, Kind::Ack, true),
        // Flows without a connection: looked for, not found, refused.
        ("unknown/ipv4", Family::Ipv4, Kind::Ack, false),
        ("unknown/ipv6", Family::Ipv6, Kind::Ack, false),
        ("not_ours/ipv4", Family::Ipv4, Kind::NotOurs, false),
        ("not_ours/ipv6", Family::Ipv6, Kind::NotOurs, false),
        ("arp", Family::Ipv4, Kind::ArpRequest, false),
    ] {
        let (mut ring, mut random) = (Ring::new(), Random::new(1));
        let mut subject = Subject::new(family, 1 << 20);
        subject.establish(&mut ring, family, FLOWS);
        let traffic = Traffic::new(family, kind);
        let mut pick = move || {
            let bits = random.bits();
            if known { Flow::number(bits as u32 % FLOWS) } else { Flow::random(bits) }
        };
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let took = timed(count, |time| {
                    ring.batch(&traffic, MAX_BATCH, &mut pick, |frames| {
                        let start = Instant::now();
                        black_box(subject.handle(frames));
                        *time += start.elapsed();
                    });
                });
                subject.settle();
                took
            });
        });
    }
    group.finish();
}

/// The time that `count` runs of `work` add up.
fn timed(count: u64, mut work: impl FnMut(&mut Duration)) -> Duration {
    let mut time = Duration::ZERO;
    (0..count).for_each(|_| work(&mut time));
    time
}

/// Making and expiring connections.
fn connections(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("connections");
    group.throughput(Throughput::Elements(BATCH));
    for (family, name) in [(Family::Ipv4, "ipv4"), (Family::Ipv6, "ipv6")] {
        let traffic = Traffic::new(family, Kind::Syn);
        let (mut ring, mut subject, mut next) = (Ring::new(), Subject::new(family, 1 << 20), 0);
        group.bench_function(BenchmarkId::new("insert", name), |bencher| {
            bencher.iter_custom(|count| {
                timed(count, |time| {
                    if subject.connections() > 900_000 {
                        expire_all(&mut subject);
                    }
                    let pick = || {
                        next += 1;
                        Flow::number(next)
                    };
                    ring.batch(&traffic, MAX_BATCH, pick, |frames| {
                        let start = Instant::now();
                        black_box(subject.handle(frames));
                        *time += start.elapsed();
                    });
                })
            });
        });
        expire_all(&mut subject);
        group.bench_function(BenchmarkId::new("expire", name), |bencher| {
            bencher.iter_custom(|count| {
                let mut time = Duration::ZERO;
                let mut rest = count * BATCH;
                while rest > 0 {
                    let some = rest.min(900_000) as u32;
                    subject.send(&mut ring, &traffic, (0..some).map(Flow::number));
                    time += expire_all(&mut subject);
                    rest -= u64::from(some);
                }
                time
            });
        });
    }
    group.finish();
}

/// Lets all connections expire; answers how long that took.
fn expire_all(subject: &mut Subject) -> Duration {
    subject.skip(Duration::from_secs(1000));
    let start = Instant::now();
    while subject.connections() > 0 {
        subject.tick();
    }
    start.elapsed()
}

fn schedulers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    for kind in SchedulerKind::ALL {
        for count in [10u16, 1000] {
            let server = |n: u16| {
                let [high, low] = n.to_be_bytes();
                Server::new([10, 0, high, low].into(), 80, 1 + u32::from(n % 7))
            };
            let servers: Vec<Server> = (0..count).map(server).collect();
            let options = SchedulerOptions {
                seed: 7,
                lblc_expiration: 86_400,
                lblcr_expiration: 86_400,
                ..SchedulerOptions::default()
            };
            let mut scheduler = new_scheduler(*kind, &options);
            scheduler.list_changed(ListChange::Replaced, &servers);
            let mut random = Random::new(1);
            let id = BenchmarkId::new(kind.name(), count);
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    let bits = random.bits();
                    let addresses = bits << 32 | 0xc0a8_00fa;
                    let flow = FlowKey::V4 { addresses, ports: (bits >> 32) as u32, protocol: 6 };
                    let request = Request { flow: &flow, now: lvs_core::Instant::from_secs(1) };
                    black_box(scheduler.pick(&request, &servers))
                });
            });
        }
    }
    group.finish();
}

/// A rules file of 100 services with 10 real servers each.
fn rules(criterion: &mut Criterion) {
    let mut text = String::new();
    for service in 0..100 {
        writeln!(text, "-A -t 192.168.1.{service}:80 -s wlc").expect("a string takes everything");
        for server in 0..10 {
            writeln!(text, "-a -t 192.168.1.{service}:80 -r 10.0.{service}.{server}:80 -g -w 3")
                .expect("a string takes everything");
        }
    }
    let mut group = criterion.benchmark_group("rules");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("load", |bencher| {
        bencher.iter(|| lvs_admin::rules::load(black_box(text.as_bytes())).expect("right rules"));
    });
    group.finish();
}

criterion_group!(stages, classification, batches, connections, schedulers, rules);
criterion_main!(stages);
