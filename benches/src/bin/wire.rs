//! `wire`: frames through real kernels, beside a plain forwarder, in network namespaces that it makes.
//!
//! ```text
//! cargo run --release -p lvs-benches --bin wire -- --io afpacket [--json]
//! ```
//! Figures go to standard output, what is said about them in JSON mode to standard error. Exit status: 0, 1 if something
//! failed on the way, 2 for wrong usage or missing rights.

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("wire needs network namespaces: it runs on Linux only");
    std::process::ExitCode::from(2)
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::process::ExitCode;
    use std::time::Duration;

    use clap::Parser;
    use lvs_benches::machine::Machine;
    use lvs_benches::wire::{self, Case, Figure, Io, Options};
    use lvs_testkit::lab;

    /// Measures frames a second and TCP uploads through the director, in network namespaces of its own, beside a plain
    /// forwarder.
    #[derive(Debug, Parser)]
    #[command(version, max_term_width = 100)]
    struct Arguments {
        /// How frames come in and go out
        #[arg(long, value_name = "BACKEND")]
        io: Io,
        /// One JSON object a line instead of a table
        #[arg(long)]
        json: bool,
        /// Rounds of director and plain forwarder in turns; the median counts
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
        rounds: u32,
        /// How long each measurement takes, in milliseconds
        #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
        time: u64,
        /// Length of the frames in bytes, 60 to 1514
        #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u16).range(60..=1514))]
        frame_bytes: u16,
        /// Only these cases
        #[arg(long, value_name = "CASE", value_delimiter = ',')]
        only: Vec<Case>,
    }

    pub(crate) fn main() -> ExitCode {
        let Arguments { io, json, rounds, time, frame_bytes, only } = Arguments::parse();
        if let Err(refused) = lab::enter() {
            eprintln!("{refused}");
            return ExitCode::from(2);
        }
        let say = |text: &str| if json { eprintln!("{text}") } else { println!("{text}") };
        say(&format!("lvs wire on {}", Machine::look()));
        say(&format!(
            "one core forwards, another sends; median of {rounds} rounds of {time} ms; on veth the receiver's work is done \
             by the forwarder's core; a goal is for the machine it was set on, no promise"
        ));
        if cfg!(debug_assertions) {
            say("This is not a release build: the figures mean nothing.");
        }
        let time = Duration::from_millis(time);
        let options = Options { io, rounds, time, frame_bytes: usize::from(frame_bytes), only };
        let print =
            |figure: &Figure| if json { println!("{}", figure.json()) } else { println!("\n{figure}") };
        match wire::run(&options, print, say) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        }
    }
}
