//! Directors on a bridge, between a client and two real servers: the use that this crate is for.
//!
//! ```text
//!   client ──┐
//!   server1 ─┼─ bridge ── tap0 ── director
//!   server2 ─┘
//! ```

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::{Duration, Instant as SystemTime};

use libtest_mimic::Failed;
use lvs_core::config::{Change, DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::connection::HeapMemory;
use lvs_core::director::{DirectorGroup, TurnBuffers};
use lvs_core::io::{FrameIo, IoStatistics};
use lvs_core::{DirectorConfig, Instant, InterfaceConfig, PortId, Subnet};
use lvs_io_tap::{KernelEnd, TapConfig, TapIo, TapPort, stable_mac};
use lvs_testkit::lab::{Stop, Task, Topology, TopologyOptions, bulk, http};

use crate::bench::{PATIENCE, join};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a_director_on_a_bridge_takes_exact_turns", exact_turns),
    ("uploads_arrive_byte_for_byte_with_offloads_and_without", uploads),
    ("workers_with_a_queue_each_take_exact_turns_and_uploads", workers),
];

struct Appliance {
    net: Topology,
    workers: Vec<Task<Result<IoStatistics, String>>>,
    _end: KernelEnd,
}

impl Appliance {
    /// Topology A, and a director on a TAP device of its switch, for services on these ports.
    fn start(offloads: bool, workers: u16, ports: &[u16]) -> Result<Self, Failed> {
        let workers = NonZeroU16::new(workers).ok_or("a worker")?;
        let net = Topology::a(TopologyOptions::default())?;
        let host = net.switches[0].host();
        let mut port = TapPort::new("tap0");
        port.offloads = offloads;
        let devices = host.run(|| TapIo::open_group(TapConfig::of([port]), workers))?;
        let end = join(host, "tap0")?;
        let mac = stable_mac("tap0");
        assert_ne!(mac, host.interface("tap0")?.mac, "the kernel's end has an address of its own");

        let started = SystemTime::now();
        let mut interface = InterfaceConfig::new(PortId(0), mac, subnet("192.168.31.21/24")?);
        interface.addresses.extend([subnet("fd00:31::21/64")?, subnet("fe80::21/64")?]);
        interface.owns_addresses = true;
        let config = DirectorConfig::new(vec![interface], [7; 32]);
        let (group, members) = DirectorGroup::new(&config, now(started), workers, &HeapMemory)?;
        group.apply(now(started), &changes(&net, ports))?;
        let run = |(mut member, mut io): (lvs_core::director::GroupMember<HeapMemory>, TapIo)| {
            host.spawn(move |stop: &Stop| {
                let mut buffers = TurnBuffers::new();
                while !stop.requested() {
                    let count = member
                        .turn(&mut io, &mut buffers, || now(started))
                        .map_err(|error| error.to_string())?;
                    if count == 0 {
                        io.wait(Some(Duration::from_millis(2))).map_err(|error| error.to_string())?;
                    }
                }
                Ok(io.statistics())
            })
        };
        let workers = members.into_iter().zip(devices).map(run).collect();
        let deadline = SystemTime::now() + PATIENCE;
        while !group.is_announced() {
            if SystemTime::now() > deadline {
                return Err("the VIPs are not announced".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { net, workers, _end: end })
    }

    /// What the workers have counted.
    fn stop(self) -> Result<Vec<IoStatistics>, Failed> {
        self.workers.iter().for_each(Task::request_stop);
        self.workers.into_iter().map(|worker| Ok(worker.stop()?)).collect()
    }
}

fn now(started: SystemTime) -> Instant {
    Instant::from_micros(started.elapsed().as_micros() as u64)
}

fn subnet(text: &str) -> Result<Subnet, Failed> {
    Ok(text.parse()?)
}

/// The same service on either VIP, with all real servers.
fn changes(net: &Topology, ports: &[u16]) -> Vec<Change> {
    let mut changes = Vec::new();
    for port in ports {
        for v6 in [false, true] {
            let service = ServiceKey::tcp(if v6 { net.vips.v6 } else { net.vips.v4 }, *port);
            changes.push(Change::AddService(ServiceConfig::new(service, SchedulerKind::RoundRobin)));
            for server in &net.servers {
                let address = if v6 { server.addresses.v6 } else { server.addresses.v4 };
                changes.push(Change::AddDestination(service, DestinationConfig::new(address, *port)));
            }
        }
    }
    changes
}

fn web(net: &Topology) -> Result<Vec<http::Server>, Failed> {
    let everywhere = SocketAddr::new([0; 16].into(), 80);
    let start = |server: &lvs_testkit::lab::RealServer| {
        http::Server::start(&server.host, everywhere, server.host.name())
    };
    Ok(net.servers.iter().map(start).collect::<Result<_, _>>()?)
}

fn fetch(net: &Topology, vip: IpAddr) -> Result<String, Failed> {
    Ok(http::get(&net.client, SocketAddr::new(vip, 80), "/", PATIENCE)?.body)
}

fn exact_turns() -> Outcome {
    for offloads in [true, false] {
        let appliance = Appliance::start(offloads, 1, &[80])?;
        let _web = web(&appliance.net)?;
        for vip in [appliance.net.vips.v4, appliance.net.vips.v6] {
            for at in 0..10 {
                // As in IPVS the server added last stands first in the list.
                assert_eq!(fetch(&appliance.net, vip)?, ["server2", "server1"][at % 2], "{vip}, {at}");
            }
        }
        let counted = appliance.stop()?;
        assert_eq!((counted[0].receive_lost, counted[0].transmit_lost), (0, 0));
    }
    Ok(())
}

fn uploads() -> Outcome {
    const BYTES: u64 = 64 << 20;
    for offloads in [true, false] {
        let appliance = Appliance::start(offloads, 1, &[9000])?;
        let net = &appliance.net;
        let everywhere = SocketAddr::new([0; 16].into(), 9000);
        let servers = net.servers.iter().map(|server| bulk::Server::start(&server.host, everywhere));
        let _servers = servers.collect::<Result<Vec<_>, _>>()?;
        for vip in [net.vips.v4, net.vips.v6] {
            let service = SocketAddr::new(vip, 9000);
            let up = bulk::upload(&net.client, service, BYTES, 4 * PATIENCE)?;
            let down = bulk::download(&net.client, service, BYTES, 4 * PATIENCE)?;
            assert_eq!((up.bytes, down.bytes), (BYTES, BYTES));
            eprintln!("64 MiB, offloads {offloads}: up {:.1} Gbit/s", up.gigabits_per_second());
        }
        let [counted] = &appliance.stop()?[..] else { return Err("one worker".into()) };
        // 2 uploads of some 48,000 segments. Merged they are far fewer.
        let merged = counted.received < 60_000;
        assert!(merged == offloads, "{counted:?}");
    }
    Ok(())
}

fn workers() -> Outcome {
    let appliance = Appliance::start(true, 2, &[80, 9000])?;
    let net = &appliance.net;
    let _web = web(net)?;
    let everywhere = SocketAddr::new([0; 16].into(), 9000);
    let servers = net.servers.iter().map(|server| bulk::Server::start(&server.host, everywhere));
    let _servers = servers.collect::<Result<Vec<_>, _>>()?;
    for at in 0..20 {
        assert_eq!(fetch(net, net.vips.v4)?, ["server2", "server1"][at % 2], "{at}");
    }
    // Flows of one client, which one of the workers owns, come by both queues at first.
    for vip in [net.vips.v4, net.vips.v6] {
        for _ in 0..4 {
            let up = bulk::upload(&net.client, SocketAddr::new(vip, 9000), 8 << 20, 2 * PATIENCE)?;
            eprintln!("8 MiB, two workers: up {:.1} Gbit/s", up.gigabits_per_second());
        }
    }
    let counted = appliance.stop()?;
    assert!(counted.iter().all(|worker| worker.received > 0), "both queues are used: {counted:?}");
    Ok(())
}
