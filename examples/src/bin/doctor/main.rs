//! `doctor`: what is wrong with an LVS/DR network, seen from the director's place.
//!
//! ```text
//! doctor --interface eth0 --dip 192.168.0.208/24 --rules rules.ipvs
//! ```
//! | file | what |
//! | --- | --- |
//! | `options.rs` | the command line |
//! | `plan.rs` | what is to be examined, checked before anything is sent |
//! | `inside.rs` | the host it runs on |
//! | `network.rs` | the examination over packet sockets |
//! | `offloads.rs` | frames that AF_XDP could not carry on |
//! | `report.rs` | what was found, for people and as JSON |
//!
//! It changes nothing. Standard output carries the report, standard error why there is none. Exit status: 0 when nothing
//! is wrong, 1 with findings, 2 when it could not run.

mod inside;
mod network;
mod offloads;
mod options;
mod plan;
mod report;

use std::process::ExitCode;

use lvs_doctor::{Check, Finding};

use crate::options::Options;
use crate::plan::Plan;
use crate::report::Report;

type Error = Box<dyn std::error::Error>;

/// There are findings.
const EXIT_FINDINGS: u8 = 1;
/// It could not run.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let options = Options::from_command_line();
    match examine(&options) {
        Ok(report) => {
            report::print(&if options.json { report.json() } else { report.text() });
            if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FINDINGS) }
        }
        Err(error) => {
            if options.json {
                report::print(&report::refusal(&error.to_string()));
            }
            eprintln!("doctor: {error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Looks at the host first: what is wrong there explains much of what the network shows.
fn examine(options: &Options) -> Result<Report, Error> {
    let plan = Plan::make(options)?;
    let mut report = Report { subject: plan.subject(), ..Report::default() };
    let (findings, checks): (Vec<Finding>, Vec<Check>) = inside::look(&plan);
    report.findings = findings;
    report.checks = checks;
    if plan.is_connected() {
        network::examine(&plan, &mut report)?;
    } else {
        report.note = Some("the network was not examined, since an interface carries no frames".to_owned());
    }
    report.findings.sort_by_key(|finding| (finding.fault.severity(), finding.fault));
    Ok(report)
}
