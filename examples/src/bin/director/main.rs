//! `director`: an LVS/DR director on real networks.
//!
//! ```text
//! director --interface eth0 --dip 192.168.0.208/24 --gateway 192.168.0.15 --rules rules.ipvs
//! ```
//! | file | what |
//! | --- | --- |
//! | `options.rs` | the command line |
//! | `source.rs` | the file that says what to balance |
//! | `setup.rs` | what is to be run, checked before anything starts |
//! | `privileges.rs` | rights, given up once the devices are open |
//! | `workers.rs` | the run loops |
//! | `taken.rs` | the addresses that come to AF_XDP sockets |
//! | `health` | the checks of real servers |
//! | `control.rs` | the socket by which `lvsadm` edits and lists |
//! | `reload.rs` | the file read again while it runs, and what that would do |
//! | `metrics.rs` | what can be seen over HTTP |
//! | `service_manager.rs` | systemd, if it started this |
//! | `ask.rs` | `director check` and `director plan` |
//!
//! Standard output carries the final listing only, standard error the log. Exit status: 0 after SIGINT or SIGTERM, 1
//! when the device fails while running, 2 for wrong usage, a wrong file or missing rights. SIGHUP reads the file again.

mod ask;
mod control;
mod health;
mod metrics;
mod options;
mod privileges;
mod reload;
mod service_manager;
mod setup;
mod source;
mod taken;
mod workers;

use std::io::{IsTerminal, Write};
use std::num::NonZeroU16;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lvs_admin::listing::{self, Columns, Order, Style};
use lvs_admin::metrics::Journal;
use lvs_core::Event;
use lvs_core::io::IoStatistics;
use lvs_core::listing::ServiceListing;
use lvs_examples::backend::{Io, open_taps, open_xdp, open_xdp_group};
use lvs_io_afpacket::{PacketConfig, PacketIo};
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::options::{Command, LogFormat, Options};
use crate::setup::Setup;

/// What went wrong before the director ran.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let options = match Command::from_command_line() {
        Command::Run(options) => *options,
        Command::Check(source) => return ask::check(&source),
        Command::Plan { source, socket, json } => return ask::plan(&source, socket, json),
    };
    let journal = metrics::journal();
    start_log(options.log_format, journal.clone());
    let setup = match Setup::make(&options) {
        Ok(setup) => setup,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    for warning in &setup.warnings {
        tracing::warn!("{warning}");
    }
    match start_and_run(setup, options, journal) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn start_log(format: LogFormat, journal: Journal) {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            // The fields of an event are for machines: its message says the same in words.
            let message_only = debug_fn(|writer, field, value| match field.name() {
                "message" => write!(writer, "{value:?}"),
                _ => Ok(()),
            });
            log.with_ansi(std::io::stderr().is_terminal())
                .with_target(false)
                .fmt_fields(message_only)
                .finish()
                .with(metrics::Copy(journal))
                .init();
        }
        LogFormat::Json => log
            .json()
            .flatten_event(true)
            .with_target(false)
            .with_current_span(false)
            .finish()
            .with(metrics::Copy(journal))
            .init(),
    }
}

/// What others ask of this process.
struct Signals {
    /// SIGINT or SIGTERM came.
    stop: Arc<AtomicBool>,
    /// SIGHUP came.
    hangup: Arc<AtomicBool>,
    /// The latest lines of the log, for whoever looks.
    journal: Journal,
}

impl Signals {
    fn listen(journal: Journal) -> std::io::Result<Self> {
        let signals = Self { stop: Arc::default(), hangup: Arc::default(), journal };
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&signals.stop))?;
        }
        signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&signals.hangup))?;
        Ok(signals)
    }
}

/// Runs until told to stop. An error means that it did not get to run.
fn start_and_run(
    setup: Setup,
    options: Options,
    journal: Journal,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let signals = Signals::listen(journal)?;
    match setup.io {
        Io::Afpacket => {
            let config = PacketConfig::new(setup.ports.iter().cloned());
            let devices = match setup.workers {
                NonZeroU16::MIN => vec![PacketIo::open(&config)?],
                workers => PacketIo::open_group(&config, workers)?,
            };
            workers::run(devices, setup, options, &signals)
        }
        Io::Xdp => {
            let (ports, interfaces, addresses) = (&setup.ports, &setup.config.interfaces, &setup.addresses);
            let devices = match setup.workers {
                NonZeroU16::MIN => vec![open_xdp(ports, interfaces, addresses)?],
                workers => open_xdp_group(ports, interfaces, addresses, workers)?,
            };
            workers::run(devices, setup, options, &signals)
        }
        Io::Tap => run_on_taps(setup, options, &signals),
    }
}

/// Runs on TAP devices, and puts back what it did to them.
fn run_on_taps(
    setup: Setup,
    options: Options,
    signals: &Signals,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (devices, ends) = open_taps(&setup.taps, setup.workers)?;
    let names: Vec<String> = setup.taps.iter().map(|tap| tap.name.clone()).collect();
    let code = workers::run(devices, setup, options, signals);
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
            tracing::info!(event = "ready", "ready");
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
