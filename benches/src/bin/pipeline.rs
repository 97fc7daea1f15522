//! `pipeline`: what a frame costs in the director, beside a plain load balancer over a hash map, without any device.
//!
//! ```text
//! cargo run --release -p lvs-benches --bin pipeline [-- --json] [--max-flows N]
//! ```
//! Figures go to standard output, what is said about them in JSON mode to standard error.

use std::process::ExitCode;

use clap::Parser;
use lvs_benches::counting::Counting;
use lvs_benches::machine::Machine;
use lvs_benches::pipeline::{self, Case, Options};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Measures what a frame costs in the director, in memory, beside a plain load balancer over a hash map.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// The most flows at one time; 10000000 adds the largest case, which takes 2 GB of memory
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    max_flows: u32,
    /// How many rounds of each case; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Frames a round
    #[arg(long, value_name = "N", default_value_t = 1 << 21, value_parser = clap::value_parser!(u64).range(64..=1 << 30))]
    frames: u64,
    /// Only these cases
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    only: Vec<Case>,
    /// Keep this process from using transparent huge pages
    #[arg(long)]
    no_huge_pages: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.no_huge_pages
        && let Err(error) = no_huge_pages()
    {
        eprintln!("--no-huge-pages: {error}");
        return ExitCode::from(2);
    }
    let say = |text: &str| {
        if arguments.json {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
    };
    let Arguments { json, max_flows, rounds, frames, only, .. } = arguments;
    say(&format!("lvs pipeline on {}", Machine::look()));
    say(&format!(
        "one core, batches of 64 in a ring of 4096 buffers of 2 KiB, flows in random order; nanoseconds a frame, \
         median of {rounds} rounds of {frames} frames; a goal is for the machine it was set on, no promise\n"
    ));
    if cfg!(debug_assertions) {
        say("This is not a release build: the figures mean nothing.\n");
    }
    let print = |figure: &lvs_benches::report::Figure| {
        if json { println!("{}", figure.json()) } else { println!("{figure}") }
    };
    pipeline::run(&Options { max_flows, rounds, frames, only }, print, say);
    ExitCode::SUCCESS
}

#[cfg(target_os = "linux")]
fn no_huge_pages() -> Result<(), nix::Error> {
    nix::sys::prctl::set_thp_disable(true)
}

#[cfg(not(target_os = "linux"))]
fn no_huge_pages() -> Result<(), &'static str> {
    Err("only on Linux; elsewhere none are asked for")
}
