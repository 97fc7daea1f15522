//! How the story is told: chapters, with what was typed, what was said on the wire and what came of it.

use std::fmt::Write as _;

use lvs_core::MacAddr;
use lvs_doctor::{Fault, Finding as Diagnosis};

use crate::checks::Finding;
use crate::evidence::{Network, Server};
use crate::layout::{Paint, bar, labelled, wrap};
use crate::map;
use crate::options::Options;

use super::doctor::{FAULTS, servers_with};
use super::judge::{Measured, times, whom};
use super::outcome::Outcome;
use super::story::{Happened, Occasion};
use super::world::{REQUEST, Recipe, Said};

/// Messages that are shown of one occasion.
const MOST_SAID: usize = 6;
/// The longest bar.
const BAR: usize = 30;
/// Columns before what belongs to a step.
const MARGIN: usize = 5;
const WIDTH: usize = crate::layout::WIDTH - 2;

/// Title and map: what is known before the first step.
pub(super) fn opening(network: &Network, options: &Options, paint: Paint) -> String {
    let count = network.servers.len();
    let title = format!(
        "The ARP problem of LVS direct routing: {count} real servers, scheduler {}, I/O {}",
        options.scheduler,
        options.io().name()
    );
    let boxes = if network.simulated {
        "Each box is simulated inside this program, with a TCP/IP stack of its own, in virtual time."
    } else {
        "Each box is a network namespace with a TCP/IP stack of its own. All of it goes with this program."
    };
    let trouble = format!(
        "Director and real servers all hold the VIP {}. Only the director may answer for it; but these real servers have the \
         kernel's default sysctls, arp_ignore=0 and arp_announce=0.",
        network.virtual_service.ip()
    );
    let explanation = format!("{boxes} {trouble}");
    format!(
        "{}\n{}{}",
        paint.strong(&title),
        paint.heading("NETWORK", &explanation),
        map::draw(network, paint)
    )
}

/// Tells the steps as they are done.
pub(super) struct Narrator<'a> {
    paint: Paint,
    write: &'a mut dyn FnMut(&str),
}

impl<'a> Narrator<'a> {
    /// Hands each piece of text to `write`.
    pub(super) fn new(paint: Paint, write: &'a mut dyn FnMut(&str)) -> Self {
        Self { paint, write }
    }

    fn heading(&mut self, title: &str, explanation: &str) {
        (self.write)(&self.paint.heading(title, explanation));
    }

    fn sentence(&mut self, text: &str) {
        for line in wrap(text, WIDTH - 2) {
            (self.write)(&format!("  {line}\n"));
        }
    }

    fn detail(&mut self, text: &str) {
        (self.write)(&format!("{:MARGIN$}{}\n", "", text.trim_end()));
    }

    pub(super) fn at_first(&mut self) {
        self.heading(
            "1  AT FIRST THE DIRECTOR BALANCES",
            "It has just started and announced the VIP three times, a second apart; the router believes it.",
        );
    }

    /// Who answered, what the director made, and whom the router believes.
    pub(super) fn measured(&mut self, measured: &Measured, network: &Network) {
        self.believes(measured.believed, network);
        let requests = measured.requests;
        for (server, count) in network.servers.iter().zip(&measured.answered) {
            let (host, address) = (&server.card.host, server.address().to_string());
            let bar = bar(*count, requests as usize, BAR);
            self.detail(&format!("{host:<9} {address:<15} {count:>4} of {requests} requests  {bar}"));
        }
        if let Some(first) = measured.failures.first() {
            let text = format!("{} of {requests} requests failed: {first}", measured.failures.len());
            self.detail(&self.paint.bad(&text));
        }
        self.detail(&format!("director  {:>20} new connections", measured.made()));
    }

    /// The same, of a cluster that should be bypassed.
    pub(super) fn bypassed(&mut self, measured: &Measured, network: &Network) {
        self.measured(measured, network);
        if measured.made() == 0 {
            let text = "The director's counters stand still: THE CLUSTER IS BYPASSED.";
            (self.write)(&format!("  {}\n", self.paint.bad(text)));
        }
    }

    /// Leads from a takeover to what follows from it.
    pub(super) fn so(&mut self) {
        self.sentence("What comes of that:");
    }

    fn believes(&mut self, believed: Option<MacAddr>, network: &Network) {
        let vip = network.virtual_service.ip();
        let text = match believed {
            Some(mac) => format!("router    believes that {vip} is at {mac}, {}", whom(believed, network)),
            None => format!("router    knows nobody who has {vip}"),
        };
        let right = believed == Some(network.director.mac);
        let text = if right { self.paint.good(&text) } else { self.paint.bad(&text) };
        self.detail(&text);
    }

    pub(super) fn takeover(&mut self, network: &Network) {
        let vip = network.virtual_service.ip();
        let text = format!(
            "Linux answers ARP for every address it has, also for {vip} on lo; and it asks with the source address of the packet \
             that waits, which is {vip} when a client is answered. Neither happens as long as everybody knows everybody. But \
             caches forget: within minutes, or as here by `ip neighbour del`."
        );
        self.heading("2  A REAL SERVER TAKES THE VIP OVER", &text);
    }

    /// An occasion, and what was said.
    pub(super) fn happened(&mut self, happened: &Happened, network: &Network) {
        let vip = network.virtual_service.ip();
        self.sentence(&match happened.occasion {
            Occasion::RouterAsks => {
                format!("The router forgets who has {vip}, and a client comes. Of several answers the first counts:")
            }
            Occasion::ServerAsks => format!(
                "The real servers forget their router, and a client comes. Who is to answer it looks for the router, as {vip}, \
                 and whoever hears that learns from it:"
            ),
        });
        for said in happened.said.iter().take(MOST_SAID) {
            self.said(said, network);
        }
        let hidden = happened.said.len().saturating_sub(MOST_SAID);
        if hidden > 0 {
            self.detail(&self.paint.dim(&format!("... and {hidden} more")));
        }
        self.believes(happened.believed, network);
        let announced = happened.said.iter().any(|said| said.is_question_of_vip(network));
        if announced && happened.believed == Some(network.director.mac) {
            self.sentence(
                "The director has heard it and has taken the VIP back. But it does so not more than once a second, and does not \
                 hear at all what is answered to the router alone.",
            );
        }
        (self.write)("\n");
    }

    fn said(&mut self, said: &Said, network: &Network) {
        let Said { from, to, arp } = said;
        let name =
            |mac: MacAddr| network.card_with(mac).map_or_else(|| mac.to_string(), |card| card.host.clone());
        let to = if to.is_multicast() { "everybody".to_owned() } else { name(*to) };
        let text = match arp.operation {
            REQUEST if arp.sender == arp.target => format!("{} is at {}", arp.sender, arp.sender_mac),
            REQUEST => format!("who has {}? tell {}", arp.target, arp.sender),
            _ => format!("{} is at {}", arp.sender, arp.sender_mac),
        };
        let line = format!("{:<9} to {to:<10} {text}", name(*from));
        let line = if said.claimed_by(network).is_some() { self.paint.bad(&line) } else { line };
        self.detail(&line);
    }

    pub(super) fn doctor_comes(&mut self) {
        self.heading(
            "3  WHAT THE DOCTOR SAYS",
            "The examination of the program `doctor`, with frames of its own, from the director's place while the director runs.",
        );
    }

    /// What was found, kind by kind, with the evidence and the cure of the first of each.
    pub(super) fn diagnosis(&mut self, findings: &[Diagnosis], network: &Network) {
        let mut shown: Vec<Fault> = Vec::new();
        for finding in findings {
            if shown.contains(&finding.fault) {
                continue;
            }
            shown.push(finding.fault);
            let (severity, fault) = (finding.fault.severity().name(), finding.fault);
            let whose = names(&servers_with(fault, findings, network), network);
            self.detail(&self.paint.bad(format!("{severity} {fault}: {whose}").trim_end_matches(": ")));
            self.labelled("evidence", &finding.evidence);
        }
        match findings.iter().find(|finding| FAULTS.contains(&finding.fault)) {
            Some(finding) => {
                for (at, line) in finding.cure.iter().enumerate() {
                    self.labelled(if at == 0 { "cure" } else { "" }, line);
                }
            }
            None if findings.is_empty() => self.detail(&self.paint.good("nothing is wrong")),
            None => {}
        }
    }

    fn labelled(&mut self, label: &str, text: &str) {
        (self.write)(&labelled(MARGIN + 2, 10, label, text));
    }

    /// The chapter of a cure.
    pub(super) fn cure(&mut self, number: usize, cure: Recipe) {
        let (title, explanation) = match cure {
            Recipe::StaticEntry => (
                "A STATIC ENTRY ON THE ROUTER",
                "The router is told by hand who has the VIP, and neither asks nor learns any more. The real servers stay as they \
                 are: every other machine of the segment is still misled, and a director that takes over needs another entry.",
            ),
            Recipe::Sysctl => (
                "SYSCTLS ON THE REAL SERVERS",
                "arp_ignore=1: only for addresses of the interface on which a question comes in it is answered, and the VIP is on \
                 lo. arp_announce=2: a question carries the best address of the interface by which it leaves.",
            ),
            Recipe::Arptables => (
                "A PACKET FILTER FOR ARP ON THE REAL SERVERS",
                "Questions for the VIP are not heard, and own questions carry the RIP where they would carry the VIP. The first \
                 rule is often given alone; it stops the answers, but not the announcements.",
            ),
            Recipe::AboutLo => return,
        };
        self.heading(&format!("{}  CURE {number}: {title}", number + 3), explanation);
    }

    /// What is typed where, to apply a recipe.
    pub(super) fn typed(&mut self, recipe: Recipe, network: &Network) {
        let (vip, mac) = (network.virtual_service.ip(), network.director.mac);
        let card = &network.router_inside.interface;
        let lines = match recipe {
            Recipe::StaticEntry => {
                vec![format!("ip neighbour replace {vip} lladdr {mac} dev {card} nud permanent")]
            }
            Recipe::Sysctl => {
                let values = [("arp_ignore", 1), ("arp_announce", 2)];
                [sysctls("all", &values), sysctls("eth0", &values)].concat()
            }
            Recipe::Arptables => vec![
                format!("arptables -A INPUT -d {vip} -j DROP"),
                format!("arptables -A OUTPUT -s {vip} -j mangle --mangle-ip-s RIP"),
            ],
            Recipe::AboutLo => sysctls("lo", &[("arp_ignore", 0), ("arp_announce", 1), ("arp_filter", 1)]),
        };
        let place = if recipe == Recipe::StaticEntry { "the router" } else { "each real server" };
        self.sentence(&format!("On {place}:"));
        for line in &lines {
            self.detail(&format!("# {}", self.paint.strong(line)));
        }
    }

    /// That the cluster was taken over again before a recipe, or not.
    pub(super) fn again(&mut self, bypassed: &Result<String, String>) {
        self.sentence(&match bypassed {
            Ok(because) => format!("With nothing done about it, the VIP is taken over again: {because}."),
            Err(because) => {
                format!("With nothing done about it, the VIP is not taken over again: {because}.")
            }
        });
    }

    /// How often real servers claimed the VIP when they had occasion to.
    pub(super) fn tempted(&mut self, claims: usize, network: &Network) {
        let vip = network.virtual_service.ip();
        let claims = match claims {
            0 => format!("No real server claims {vip}"),
            _ => format!("Real servers claim {vip} {}", times(claims)),
        };
        self.sentence(&format!(
            "Now the router forgets again who has {vip}, and the real servers forget the router; clients come. {claims}:"
        ));
    }

    /// Whether a cure was one, and what the doctor says to it.
    pub(super) fn after_cure(
        &mut self,
        cure: Recipe,
        finding: &Finding,
        diagnoses: &[Diagnosis],
        network: &Network,
    ) {
        self.doctor(diagnoses, network);
        if cure == Recipe::StaticEntry && !diagnoses.is_empty() {
            self.sentence(
                "It is right: the real servers go on as before. What the router was told it cannot see.",
            );
        }
        let text = if finding.passed { "CURED" } else { "NOT CURED" };
        let line = format!("{text}: {}.", finding.because);
        self.verdict(&line, finding.passed);
    }

    pub(super) fn no_cure(&mut self, network: &Network) {
        let vip = network.virtual_service.ip();
        let text = format!(
            "Some guides set these on lo. But the question for {vip} comes in on eth0, and the kernel takes the larger value of \
             `all` and eth0; what lo has counts for nothing. Nor would arp_announce=1 help elsewhere: {vip} lies in the subnet \
             of eth0, and passes."
        );
        self.heading("7  A RECIPE THAT IS NO CURE", &text);
    }

    /// Whether the recipe that is no cure failed, and what the doctor says to it.
    pub(super) fn after_no_cure(&mut self, finding: &Finding, diagnoses: &[Diagnosis], network: &Network) {
        self.doctor(diagnoses, network);
        let text = if finding.passed { "NO CURE" } else { "UNEXPECTED" };
        self.verdict(&format!("{text}: {}.", finding.because), finding.passed);
    }

    fn verdict(&mut self, text: &str, passed: bool) {
        for line in wrap(text, WIDTH - 2) {
            let line = if passed { self.paint.good(&line) } else { self.paint.bad(&line) };
            (self.write)(&format!("  {line}\n"));
        }
    }

    /// The doctor's findings, in a line.
    fn doctor(&mut self, diagnoses: &[Diagnosis], network: &Network) {
        let mut kinds: Vec<Fault> = diagnoses.iter().map(|finding| finding.fault).collect();
        kinds.dedup();
        let found: Vec<String> = kinds
            .into_iter()
            .map(|fault| match names(&servers_with(fault, diagnoses, network), network) {
                whose if whose.is_empty() => fault.to_string(),
                whose => format!("{fault} ({whose})"),
            })
            .collect();
        let found = if found.is_empty() { "nothing is wrong".to_owned() } else { found.join(", ") };
        self.sentence(&format!("The doctor: {found}."));
    }
}

fn sysctls(place: &str, values: &[(&str, u8)]) -> Vec<String> {
    values.iter().map(|(name, value)| format!("sysctl -w net.ipv4.conf.{place}.{name}={value}")).collect()
}

/// The names of some real servers: `server1, server2`, or how many where there are more than four.
fn names(places: &[usize], network: &Network) -> String {
    if places.len() > 4 {
        return format!("{} real servers", places.len());
    }
    let name = |server: &Server| server.card.host.clone();
    places.iter().map(|at| name(&network.servers[*at])).collect::<Vec<_>>().join(", ")
}

/// The checks and the last lines.
pub(super) fn ending(outcome: &Outcome, simulated: bool, paint: Paint) -> String {
    let mut text = paint.heading("CHECKS", "");
    for (name, finding) in outcome.all() {
        let lines = labelled(10, 29, name, &finding.because);
        let mark = if finding.passed { paint.good("passed") } else { paint.bad("FAILED") };
        // The label's indentation makes place for the mark.
        let _ = write!(text, "  {mark}  {}", lines.trim_start());
    }
    let failed = outcome.all().iter().filter(|(_, finding)| !finding.passed).count();
    if failed > 0 {
        let line = format!("{failed} of {} checks failed.", outcome.all().len());
        return text + &format!("\n{}\n", paint.bad(&line));
    }
    let more = if simulated {
        "More: --io afpacket for real kernels, --servers 4, --pcap DIR, --json; docs/arp-problem.md"
    } else {
        "More: --io sim without any rights, --servers 4, --pcap DIR, --json; docs/arp-problem.md"
    };
    let all = format!("All {} checks passed.", outcome.all().len());
    text + &format!("\n{}\n{}\n", paint.good(&all), paint.dim(more))
}
