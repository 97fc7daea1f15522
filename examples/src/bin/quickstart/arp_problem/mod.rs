//! `--scenario arp-problem`: how real servers take the VIP over, and what ends that.
//!
//! ```text
//!   options ─┬─► Kernels   (cluster, director) ─┐
//!            └─► Simulated (simulation) ────────┴─ World ◄──► story ──► Outcome ──► words, json
//!                                                               └────────► words, as it goes on
//! ```
//! | file | what |
//! | --- | --- |
//! | `world` | what the story needs of a network, and the recipes |
//! | `kernels`, `simulated` | the two networks |
//! | `story` | what is done, in order |
//! | `judge` | whether a cluster is balanced or bypassed, and whether a cure is one |
//! | `doctor` | what the doctor is told, and what of its findings counts |
//! | `outcome` | what was shown |
//! | `words` | how it is told |
//!
//! One story over both networks: it knows of neither. It waits for nothing to happen by chance: caches are made to forget, as they
//! do by themselves after some time.

mod doctor;
mod judge;
mod kernels;
mod outcome;
mod simulated;
mod story;
mod words;
mod world;

use lvs_testkit::lab::Interrupt;

use crate::cluster::Cluster;
use crate::evidence::Network;
use crate::failure::Failure;
use crate::layout::Paint;
use crate::options::Options;
use crate::simulated::Simulation;
use crate::{json, print};

use kernels::Kernels;
pub(crate) use outcome::{Outcome, cure_name};
use simulated::Simulated;
use words::Narrator;
pub(crate) use world::Recipe;
use world::World;

/// The story in network namespaces. The process must be in the lab. Answers whether all went as promised.
///
/// # Errors
/// If it could not run.
pub(crate) fn over_kernels(options: &Options, interrupt: &Interrupt) -> Result<bool, Failure> {
    let cluster = Cluster::build(options)?;
    open(&cluster.network, options);
    let mut world = Kernels::start(cluster, options, interrupt)?;
    let outcome = tell(&mut world, options, interrupt)?;
    let network = world.network().clone();
    world.finish()?;
    Ok(conclude(&outcome, &network, options))
}

/// The same inside the process.
///
/// # Errors
/// If it could not run.
pub(crate) fn simulate(options: &Options, interrupt: &Interrupt) -> Result<bool, Failure> {
    let mut simulation = Simulation::build(options)?;
    open(&simulation.network, options);
    simulation.wait_ready()?;
    let mut world = Simulated::new(simulation);
    let outcome = tell(&mut world, options, interrupt)?;
    let network = world.network().clone();
    world.finish()?;
    Ok(conclude(&outcome, &network, options))
}

fn open(network: &Network, options: &Options) {
    if !options.json {
        print(&words::opening(network, options, Paint::for_stdout()));
    }
}

fn tell<W: World>(world: &mut W, options: &Options, interrupt: &Interrupt) -> Result<Outcome, Failure> {
    let mut write = |text: &str| {
        if !options.json {
            print(text);
        }
    };
    let narrator = Narrator::new(Paint::for_stdout(), &mut write);
    let outcome = story::tell(world, options.requests, narrator, &|| interrupt.caught())?;
    if interrupt.caught() { Err(Failure::Interrupted) } else { Ok(outcome) }
}

fn conclude(outcome: &Outcome, network: &Network, options: &Options) -> bool {
    if options.json {
        print(&(json::of_arp_problem(options, network, outcome) + "\n"));
    } else {
        print(&words::ending(outcome, network.simulated, Paint::for_stdout()));
    }
    outcome.passed()
}
