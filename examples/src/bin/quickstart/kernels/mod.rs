//! The quickstart over real kernels: each host is a network namespace with its own TCP/IP stack.
//!
//! | file | what |
//! | --- | --- |
//! | `cluster` | the network, web servers, a capture at each hop |
//! | `director` | the director's thread in its host |
//! | `client` | a page fetched |
//! | `arp_problem` | what `--scenario arp-problem` needs of this network |
//! | `keep` | what to say of a cluster that stays up |

mod arp_problem;
mod client;
mod cluster;
mod director;
mod keep;

use std::time::Duration;

use lvs_testkit::lab;
pub(crate) use lvs_testkit::lab::Refused;

use crate::evidence::{self, Evidence, Request};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::layout::Paint;
use crate::options::{Options, Scenario};
use crate::{judge, open, print, requests, show};

use arp_problem::Kernels;
use cluster::Cluster;
use director::RunningDirector;

/// This process is in namespaces of its own.
pub(crate) struct Entered(());

/// Moves this process into namespaces of its own.
///
/// # Errors
/// Why they are not allowed, with the cure.
pub(crate) fn enter() -> Result<Entered, Refused> {
    lab::enter().map(Entered)
}

/// Builds, runs, judges and shows. Answers whether all went as it should.
///
/// # Errors
/// If it could not run.
pub(crate) fn perform(_: Entered, options: &Options, interrupt: &Interrupt) -> Result<bool, Failure> {
    let cluster = Cluster::build(options)?;
    match options.scenario {
        None => balance(cluster, options, interrupt),
        Some(Scenario::ArpProblem) => {
            let network = cluster.network.clone();
            let start = || Kernels::start(cluster, options, interrupt);
            crate::arp_problem::perform(&network, start, Kernels::finish, options, interrupt)
        }
    }
}

/// The run that is checked.
fn balance(cluster: Cluster, options: &Options, interrupt: &Interrupt) -> Result<bool, Failure> {
    open(&cluster.network, options);
    let captures = cluster.record(options.pcap.as_deref())?;
    let director = RunningDirector::start(&cluster.topology.director, &cluster.network, options);
    director.wait_ready(&cluster.network, interrupt)?;
    let once = || client::fetch_once(&cluster.topology.client, &cluster.network);
    let requests = requests::fetch(options.requests, interrupt, once, show(&cluster.network, options))?;
    // The last acknowledgements are still on their way when the last page is there.
    captures.settle(cluster.network.virtual_service, Duration::from_secs(2));
    let evidence = gather(&cluster, &director, captures, options, requests)?;
    let passed = judge(&evidence, options, interrupt)?;
    if options.keep {
        let text = keep::invitation(&cluster.topology, &cluster.network, Paint::for_stdout());
        // Stdout is the object's alone.
        if options.json {
            eprint!("{text}");
        } else {
            print(&text);
        }
        while !interrupt.wait(Duration::from_secs(3600)) {}
    }
    Ok(passed)
}

/// Ends the captures and asks everybody what he knows.
fn gather(
    cluster: &Cluster,
    director: &RunningDirector,
    captures: cluster::Captures,
    options: &Options,
    requests: Vec<Request>,
) -> Result<Evidence, Failure> {
    let mut snapshot = director.snapshot()?;
    let recordings = captures.stop()?;
    let network = cluster.network.clone();
    evidence::sort_by_request(&mut snapshot.connections, &requests);
    let vip = network.virtual_service.ip();
    let router = cluster.topology.router.as_ref();
    let held = router.map(|router| router.neighbour(vip)).transpose()?.flatten();
    Ok(Evidence {
        network,
        scheduler: options.scheduler,
        requests,
        recordings,
        decisions: snapshot.decisions,
        services: snapshot.services,
        connections: snapshot.connections,
        table_size: snapshot.table_size,
        router_believes: held.and_then(|neighbour| neighbour.mac),
    })
}
