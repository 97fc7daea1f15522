//! `director`: an LVS/DR director on real networks.
//!
//! ```text
//! director --interface eth0 --dip 192.168.0.208/24 --gateway 192.168.0.15 --rules rules.ipvs
//! ```
//! | file | what |
//! | --- | --- |
//! | `options.rs` | the command line |
//! | `plan.rs` | what is to be run, checked before anything starts |
//! | `workers.rs` | the run loops |
//! | `control.rs` | the socket by which `lvsadm` edits and lists |
//!
//! Standard output carries the final listing only, standard error the log. Exit status: 0 after SIGINT or SIGTERM, 1
//! when the device fails while running, 2 for wrong usage, wrong rules or missing rights.

mod control;
mod options;
mod plan;
mod workers;

use std::io::{IsTerminal, Write};
use std::num::NonZeroU16;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lvs_admin::listing::{self, Columns, Order, Style};
use lvs_core::Event;
use lvs_core::io::IoStatistics;
use lvs_core::listing::ServiceListing;
use lvs_examples::backend::{Io, open_taps, open_xdp, open_xdp_group};
use lvs_io_afpacket::{PacketConfig, PacketIo};

use crate::options::Options;
use crate::plan::Plan;

/// What went wrong before the director ran.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let options = Options::from_command_line();
    start_log();
    let plan = match Plan::make(&options) {
        Ok(plan) => plan,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
    match start_and_run(plan) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn start_log() {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Runs until told to stop. An error means that it did not get to run.
fn start_and_run(plan: Plan) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    match plan.io {
        Io::Afpacket => {
            let config = PacketConfig::new(plan.ports.iter().cloned());
            let devices = match plan.workers {
                NonZeroU16::MIN => vec![PacketIo::open(&config)?],
                workers => PacketIo::open_group(&config, workers)?,
            };
            workers::run(devices, plan, &stop)
        }
        Io::Xdp => {
            let (ports, interfaces, addresses) = (&plan.ports, &plan.config.interfaces, &plan.addresses);
            let devices = match plan.workers {
                NonZeroU16::MIN => vec![open_xdp(ports, interfaces, addresses)?],
                workers => open_xdp_group(ports, interfaces, addresses, workers)?,
            };
            workers::run(devices, plan, &stop)
        }
        Io::Tap => run_on_taps(plan, &stop),
    }
}

/// Runs on TAP devices, and puts back what it did to them.
fn run_on_taps(plan: Plan, stop: &AtomicBool) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (devices, ends) = open_taps(&plan.taps, plan.workers)?;
    let names: Vec<String> = plan.taps.iter().map(|tap| tap.name.clone()).collect();
    let code = workers::run(devices, plan, stop);
    for (name, end) in names.iter().zip(ends) {
        // Devices that were made here have gone with their descriptors.
        for step in end.undo() {
            tracing::info!("{name}: put back: {step}");
        }
    }
    code
}

/// Says `ready` once all VIPs are announced.
struct Ready {
    announced: bool,
}

impl Ready {
    fn look(&mut self, event: Event, is_announced: impl Fn() -> bool) {
        if !self.announced && matches!(event, Event::Announced { .. }) && is_announced() {
            self.announced = true;
            tracing::info!("ready");
        }
    }
}

fn log_frames(frames: &IoStatistics) {
    let IoStatistics { received, transmitted, receive_lost, transmit_lost } = frames;
    tracing::info!(
        "{received} frames received, {transmitted} sent; lost: {receive_lost} before they were read, \
         {transmit_lost} on the way out"
    );
}

fn print_services(services: &[ServiceListing], size: u32) {
    let style = Style { columns: Columns::Statistics, exact: false, order: Order::Sorted };
    let mut text = String::new();
    if listing::services(&mut text, services, size, style).is_ok() {
        // Whoever closed the pipe does not want it.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
}
