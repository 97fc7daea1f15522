//! The report for people: parts of text, in the order in which they can be told.

use std::net::SocketAddr;

use lvs_admin::listing;

use crate::checks::Findings;
use crate::evidence::{Evidence, Network, Request};
use crate::expected;
use crate::hops;
use crate::hops_view;
use crate::layout::{Paint, WIDTH, bar, labelled};
use crate::map;
use crate::options::Options;

/// Rows of requests that are shown before the rest is summed up.
pub(crate) const MOST_ROWS: u32 = 20;
/// Rows of the connection listing.
const MOST_CONNECTIONS: usize = 8;

/// What the boxes of the map are.
const NAMESPACES: &str =
    "Each box is a network namespace with a TCP/IP stack of its own. All of it goes with this program.";
const SIMULATED: &str = "Each box is simulated inside this program, with a TCP/IP stack of its own, in virtual time \
    (0.1 ms a link). Only the director is the same code as on a real network.";

/// Title and map: what is known before the first request.
pub(crate) fn opening(network: &Network, options: &Options, paint: Paint) -> String {
    let count = network.servers.len();
    let servers = if count == 1 { "1 real server".to_owned() } else { format!("{count} real servers") };
    let title = format!(
        "LVS direct routing: {servers}, scheduler {}, I/O {}",
        options.scheduler,
        options.io().name()
    );
    let mut text = format!("{}\n", paint.strong(&title));
    text += &paint.heading("NETWORK", if network.simulated { SIMULATED } else { NAMESPACES });
    text += &map::draw(network, paint);
    let VipUrl(url) = VipUrl::of(network.virtual_service);
    let explanation =
        format!("The client fetches {url} again and again, each time over a new TCP connection.");
    text += &paint.heading("REQUESTS", &explanation);
    let lanes = Lanes::new(network).heading();
    let head = format!(
        "  {:>5}  {:<15}  {:<15} {lanes}   {:<22} {:>7}",
        "no", "from", "answered by", "page", "took"
    );
    text + &format!("{}\n", paint.dim(head.trim_end()))
}

/// A lane a real server, in which a mark shows who answered; narrow where there are many.
struct Lanes {
    count: usize,
    gap: &'static str,
}

impl Lanes {
    const fn new(network: &Network) -> Self {
        let count = network.servers.len();
        Self { count, gap: if count <= 12 { " " } else { "" } }
    }

    /// The numbers of the servers, or from where to where they go.
    fn heading(&self) -> String {
        let width = self.count * (1 + self.gap.len());
        match self.count {
            ..=9 => (1..=self.count).map(|number| format!("{}{number}", self.gap)).collect(),
            last => format!("{:<width$}", format!("{}1 to {last}", self.gap)),
        }
    }

    fn marks(&self, server: usize) -> String {
        (0..self.count).map(|at| format!("{}{}", self.gap, if at == server { "●" } else { "·" })).collect()
    }
}

/// The URL of the page.
struct VipUrl(String);

impl VipUrl {
    fn of(service: SocketAddr) -> Self {
        match service.port() {
            80 => Self(format!("http://{}/", service.ip())),
            port => Self(format!("http://{}:{port}/", service.ip())),
        }
    }
}

/// The row of a request.
pub(crate) fn row(request: &Request, network: &Network, paint: Paint) -> String {
    let number = request.number;
    let answer = match &request.outcome {
        Ok(answer) => answer,
        Err(error) => {
            let error: String = error.chars().take(WIDTH - 17).collect();
            return format!("  {number:>5}  {}\n", paint.bad(&format!("failed: {error}")));
        }
    };
    let server = &network.servers[answer.server];
    let lanes = Lanes::new(network).marks(answer.server);
    let (client, address) = (answer.client.to_string(), server.address().to_string());
    let took = format!("{:.1} ms", request.took.as_secs_f64() * 1000.0);
    format!(
        "  {number:>5}  {client:<15}  {address:<15} {}   {:<22} {took:>7}\n",
        paint.good(&lanes),
        server.page
    )
}

/// Everything after the last request.
pub(crate) fn rest(evidence: &Evidence, findings: &Findings, paint: Paint) -> String {
    let mut text = remaining(evidence, paint);
    text += &summary(evidence, paint);
    let whence = if evidence.network.simulated {
        "From the frames on the simulated links."
    } else {
        "From frames really captured."
    };
    text += &paint.heading(
        "ONE REQUEST, HOP BY HOP",
        &format!(
            "{whence} Look at TTL, id and checksums: the router changes the packet (hop 1 to hop 2), the director \
             must not (hop 2 to hop 3). It rewrites the Ethernet addresses around it."
        ),
    );
    text += &match hops::follow(evidence) {
        Some(followed) => hops_view::draw(&followed, &evidence.network, paint),
        None => "  No request was answered, so there is none to follow.\n".to_owned(),
    };
    text += &listings(evidence, paint);
    text + &checks(findings, paint)
}

/// What stands for the rows that were not shown.
fn remaining(evidence: &Evidence, paint: Paint) -> String {
    let hidden = evidence.requests.len().saturating_sub(MOST_ROWS as usize);
    if hidden == 0 {
        return String::new();
    }
    format!("{}\n", paint.dim(&format!("    ...  and {hidden} more, counted below")))
}

fn summary(evidence: &Evidence, paint: Paint) -> String {
    let network = &evidence.network;
    let mut text = paint.heading("PER REAL SERVER", "");
    let due = due(evidence);
    let answered = evidence.per_server();
    let most = answered.iter().chain(&due).copied().max().unwrap_or_default();
    for ((server, count), due) in network.servers.iter().zip(answered).zip(due) {
        let (host, address, weight) = (&server.card.host, server.address().to_string(), server.weight);
        let bar = bar(count, most, BAR);
        let bar = if count == due { paint.good(&bar) } else { paint.bad(&bar) };
        let line =
            format!("  {host:<9} {address:<15}  weight {weight}  {count:>5} answered, {due:>5} due  {bar}");
        text += line.trim_end();
        text.push('\n');
    }
    let failed = evidence.failed();
    if failed > 0 {
        text += &format!("{}\n", paint.bad(&format!("  {:<36}{failed:>5} failed", "")));
    }
    text
}

/// The longest bar.
const BAR: usize = 30;

/// How many answers the scheduler has in store for each real server.
fn due(evidence: &Evidence) -> Vec<usize> {
    let network = &evidence.network;
    let (client, count) = (network.client.address.address(), evidence.requests.len());
    let mut due = vec![0; network.servers.len()];
    for at in expected::servers(evidence.scheduler, network, client, count).into_iter().flatten() {
        due[at] += 1;
    }
    due
}

fn listings(evidence: &Evidence, paint: Paint) -> String {
    let mut text = paint.heading("THE DIRECTOR'S LISTINGS", "In the layout of ipvsadm -Ln and ipvsadm -Lnc.");
    let mut listed = String::new();
    // Writing to a String cannot fail.
    let _ =
        listing::services(&mut listed, &evidence.services, evidence.table_size, listing::Style::default());
    listed.push('\n');
    let _ = listing::connections(&mut listed, evidence.connections.iter().take(MOST_CONNECTIONS));
    for line in listed.lines() {
        let line = format!("  {line}");
        text += line.trim_end();
        text.push('\n');
    }
    let hidden = evidence.connections.len().saturating_sub(MOST_CONNECTIONS);
    if hidden > 0 {
        text += &format!("{}\n", paint.dim(&format!("  ... and {hidden} more")));
    }
    text
}

fn checks(findings: &Findings, paint: Paint) -> String {
    let mut text = paint.heading("CHECKS", "");
    for (name, finding) in findings.all() {
        let lines = labelled(10, 27, name, &finding.because);
        let mark = if finding.passed { paint.good("passed") } else { paint.bad("FAILED") };
        // The label's indentation makes place for the mark.
        text += &format!("  {mark}  {}", lines.trim_start());
    }
    text
}

/// The last lines.
pub(crate) fn ending(findings: &Findings, simulated: bool, paint: Paint) -> String {
    let failed = findings.all().iter().filter(|(_, finding)| !finding.passed).count();
    if failed > 0 {
        return format!("\n{}\n", paint.bad(&format!("{failed} of 5 checks failed.")));
    }
    let more = if simulated {
        "More: --servers 4 --scheduler wrr, --io afpacket for real kernels, --pcap DIR, --json, --help"
    } else {
        "More: --servers 4 --scheduler wrr, --keep to look around, --pcap DIR, --json, --help"
    };
    format!("\n{}\n{}\n", paint.good("All 5 checks passed."), paint.dim(more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use clap::Parser;

    /// The whole report of a run.
    fn report(servers: usize, count: usize, spoil: impl Fn(&mut Evidence)) -> String {
        let mut evidence = sample::evidence(servers, count);
        spoil(&mut evidence);
        let findings = Findings::of(&evidence);
        let paint = Paint::off();
        let mut text = opening(&evidence.network, &Options::parse_from(["quickstart"]), paint);
        for request in evidence.requests.iter().take(MOST_ROWS as usize) {
            text += &row(request, &evidence.network, paint);
        }
        text + &rest(&evidence, &findings, paint) + &ending(&findings, evidence.network.simulated, paint)
    }

    #[test]
    fn no_line_is_longer_than_100_columns() {
        for servers in 1..=16 {
            for line in report(servers, 40, |_| {}).lines() {
                assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
                assert_eq!(line, line.trim_end(), "no blanks at the end");
            }
        }
    }

    #[test]
    fn nor_where_things_went_wrong() {
        let error = "some very long reason ".repeat(20);
        let text = report(16, 30, |evidence| {
            for request in &mut evidence.requests {
                request.outcome = Err(error.clone());
            }
        });
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.contains("30 failed") && text.contains("2 of 5 checks failed."), "{text}");
        assert!(text.contains("there is none to follow"), "{text}");
    }

    #[test]
    fn a_simulated_network_is_called_one() {
        let (real, simulated) =
            (report(2, 3, |_| {}), report(2, 3, |evidence| evidence.network.simulated = true));
        assert!(simulated.lines().all(|line| line.chars().count() <= WIDTH), "{simulated}");
        for words in ["namespace", "really captured", "--keep"] {
            assert!(real.contains(words) && !simulated.contains(words), "{words}: {simulated}");
        }
        assert!(simulated.contains("simulated inside this program") && !real.contains("simulated"), "{real}");
    }

    #[test]
    fn a_report_tells_the_whole_story() {
        let text = report(2, 25, |_| {});
        for part in [
            "http://192.168.0.250/",
            "and 5 more, counted below",
            "server1   192.168.0.188    weight 1     12 answered,    12 due",
            "   2 router ─▶ director    02:00:00:00:00:0f  02:00:00:00:00:d0   63  20001",
            "  = hop 2",
            "so it is the turn of server1 (192.168.0.188)",
            "  -> 192.168.0.188:80             Route   1      0          10",
            "TCP 01:59  FIN_WAIT    110.0.0.1:40000    192.168.0.250:80   192.168.0.111:80",
            "All 5 checks passed.",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }
}
