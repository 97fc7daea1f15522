//! `--scenario arp-problem`: how real servers take the VIP over, and what ends that.
//!
//! ```text
//!   options ─┬─► Kernels   (kernels::arp_problem) ─┐
//!            └─► Simulated (simulation) ───────────┴─ World ◄──► story ──► Outcome ──► words, json
//!                                                               └────────► words, as it goes on
//! ```
//! | file | what |
//! | --- | --- |
//! | `world` | what the story needs of a network, and the recipes |
//! | `simulated` | the network inside the process; the one of kernels is in `kernels::arp_problem` |
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
mod outcome;
mod simulated;
mod story;
mod words;
mod world;

use crate::evidence::Network;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::layout::Paint;
use crate::options::Options;
use crate::simulated::Simulation;
use crate::{json, print};

#[cfg(target_os = "linux")]
pub(crate) use doctor::config as doctor_config;
pub(crate) use outcome::{Outcome, cure_name};
use simulated::Simulated;
use words::Narrator;
#[cfg(target_os = "linux")]
pub(crate) use world::Said;
pub(crate) use world::{Recipe, World};

/// The story, in a network that `start` makes ready and `finish` ends. Answers whether all went as promised.
///
/// # Errors
/// If it could not run.
pub(crate) fn perform<W: World>(
    network: &Network,
    start: impl FnOnce() -> Result<W, Failure>,
    finish: impl FnOnce(W) -> Result<(), Failure>,
    options: &Options,
    interrupt: &Interrupt,
) -> Result<bool, Failure> {
    open(network, options);
    let mut world = start()?;
    let outcome = tell(&mut world, options, interrupt)?;
    finish(world)?;
    Ok(conclude(&outcome, network, options))
}

/// The story inside the process.
///
/// # Errors
/// If it could not run.
pub(crate) fn simulate(options: &Options, interrupt: &Interrupt) -> Result<bool, Failure> {
    let mut simulation = Simulation::build(options)?;
    let network = simulation.network.clone();
    let start = || simulation.wait_ready().map(|()| Simulated::new(simulation));
    perform(&network, start, Simulated::finish, options, interrupt)
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
