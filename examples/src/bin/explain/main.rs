//! `explain`: what a director would do with the frames of a capture, and why.
//!
//! ```text
//!   options, rules ─┐
//!   capture ─► survey ─► plan ─► director ◄─ capture, in its own time ─► player ─► text or JSON, --out
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `options` | the command line |
//! | `survey` | a first look through the capture: who is who |
//! | `plan` | rules and survey made into a director |
//! | `player` | the capture played to it, and what came of each frame |
//! | `show`, `json` | how that looks |
//!
//! It reads files and writes one, if asked to. It opens no socket and needs no rights.

mod json;
mod options;
mod plan;
mod player;
mod show;
mod survey;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use lvs_examples::layout::Paint;
use lvs_testkit::capture::{CaptureError, CaptureFormat, CaptureReader, CaptureWriter};

use options::Options;
use plan::Plan;
use player::{Explained, Output, Player};
use show::Totals;
use survey::Survey;

/// The capture could not be read, or not to its end.
const UNREADABLE: u8 = 1;
/// Wrong usage or rules.
const USAGE: u8 = 2;

/// Why it ends before it has begun.
enum Failure {
    Capture(String),
    Usage(String),
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(fault)) => {
            eprintln!("explain: {}: {fault}", options.capture.display());
            ExitCode::from(UNREADABLE)
        }
        Err(Failure::Capture(text)) => {
            eprintln!("explain: {text}");
            ExitCode::from(UNREADABLE)
        }
        Err(Failure::Usage(text)) => {
            eprintln!("explain: {text}");
            ExitCode::from(USAGE)
        }
    }
}

/// Explains all that can be read. Answers what is wrong with the rest.
fn run(options: &Options) -> Result<Option<CaptureError>, Failure> {
    let rules = plan::Rules::read(&options.rules).map_err(Failure::Usage)?;
    // What cannot be read there cannot be read the second time either, and is reported then.
    let survey = Survey::of(open(&options.capture)?, &rules);
    let plan = Plan::make(options, rules, &survey).map_err(Failure::Usage)?;
    let reader = open(&options.capture)?;
    let output = options.out.as_deref().map(|path| create(path, options, plan.ports())).transpose()?;
    let paint = Paint::for_stdout();
    let notes: Vec<&str> = plan.notes.iter().map(String::as_str).collect();
    if options.json {
        notes.iter().for_each(|note| eprintln!("explain: {note}"));
    } else {
        print(&show::opening(&notes, paint));
    }
    let mut totals = Totals::default();
    let mut player = Player::new(plan, output).map_err(Failure::Usage)?;
    let mut fault = None;
    for packet in reader {
        let packet = match packet {
            Ok(packet) => packet,
            Err(error) => {
                fault = Some(error);
                break;
            }
        };
        let explained = player.play(&packet).map_err(Failure::Usage)?;
        totals.count(&explained);
        if options.filter.matches(&explained.explanation) {
            tell(&explained, options, paint);
        }
    }
    player.finish().map_err(Failure::Usage)?;
    if !options.json {
        print(&totals.text(paint));
    }
    Ok(fault)
}

fn tell(explained: &Explained, options: &Options, paint: Paint) {
    let text = if options.json { json::line(explained) } else { show::frame(explained, paint) };
    print(&text);
}

fn open(path: &Path) -> Result<CaptureReader<BufReader<File>>, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| Failure::Capture(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    CaptureReader::new(BufReader::new(file)).map_err(|error| unreadable(&error))
}

fn create(path: &Path, options: &Options, ports: u16) -> Result<Output, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::Usage(format!("--out {}: {error}", path.display()));
    let same = |a: &Path, b: &Path| a.canonicalize().ok().is_some_and(|a| Some(a) == b.canonicalize().ok());
    if same(path, &options.capture) || same(path, &options.rules) {
        return Err(wrong(&"this is the capture or the rules, which it would replace"));
    }
    let format = match path.extension().is_some_and(|extension| extension == "pcapng") {
        true => CaptureFormat::Pcapng,
        false => CaptureFormat::Pcap,
    };
    let file = File::create(path).map_err(|error| wrong(&error))?;
    CaptureWriter::new(BufWriter::new(file), format, ports).map_err(|error| wrong(&error))
}

/// Writes to stdout. When the reader has gone (`| head`) there is nobody left to explain anything to.
fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        let gone = error.kind() == io::ErrorKind::BrokenPipe;
        std::process::exit(if gone { 0 } else { i32::from(USAGE) });
    }
}
