//! The director's file: TOML and keepalived.conf, read at the start and again while it runs; `check` and `plan`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use libtest_mimic::Failed;
use lvs_admin::control::Client;
use lvs_testkit::lab::http;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, Family, in_turn};
use crate::program::{DIRECTOR, PATIENCE, Program, Start};
use crate::usage::refused;
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a_reload_under_load_touches_only_what_differs", reload_under_load),
    ("a_toml_file_says_everything_and_sighup_reads_it_again", toml),
    ("a_keepalived_conf_is_balanced_and_reloaded", keepalived),
    ("a_wrong_file_changes_nothing_and_is_named", wrong_reload),
    ("check_and_plan_say_what_a_file_is_and_would_do", check_and_plan),
    ("a_running_director_keeps_no_rights", rights),
    ("files_that_do_not_go_together_are_refused", out_of_place),
];

const SHORT: Duration = Duration::from_secs(3);
const LVSADM: &str = env!("CARGO_BIN_EXE_lvsadm");
const TOML: &str = "lvs.toml";
const SOCKET: &str = "d.sock";

/// The interfaces and the web service with `rr` on these servers, each with a weight.
fn toml_text(cluster: &Cluster, servers: &[(usize, u32)]) -> String {
    let mut text = String::new();
    for (at, [v4, _]) in cluster.net.dips.iter().enumerate() {
        text += &format!("[[interface]]\nname = \"eth{at}\"\ndips = [\"{v4}\"]\n");
        if let (0, Some(gateway)) = (at, &cluster.net.gateway) {
            text += &format!("gateways = [\"{}\"]\n", gateway.v4);
        }
    }
    text += &format!("[[service]]\ntcp = \"{}\"\nscheduler = \"rr\"\n", cluster.web(Family::V4));
    for (server, weight) in servers {
        let address = cluster.net.servers[*server].addresses.v4;
        text += &format!("[[service.server]]\naddress = \"{address}\"\nweight = {weight}\n");
    }
    text
}

fn write(cluster: &Cluster, name: &str, text: &str) -> Outcome {
    Ok(fs::write(cluster.directory.path().join(name), text)?)
}

fn start(cluster: &Cluster, options: &str) -> Result<Program, Failed> {
    let options = format!("{options} --control {SOCKET}");
    let director = Start::director(&cluster.net.director, cluster.directory.path(), &options).run()?;
    director.wait_ready()?;
    Ok(director)
}

/// A command of ours in the director's directory.
fn run(cluster: &Cluster, program: &str, words: &str) -> Result<Output, Failed> {
    let mut command = Command::new(program);
    Ok(command.args(words.split_whitespace()).current_dir(cluster.directory.path()).output()?)
}

fn lvsadm(cluster: &Cluster, words: &str) -> Result<Output, Failed> {
    run(cluster, LVSADM, &format!("{words} --socket {SOCKET}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// While a client fetches page after page and holds a connection, servers come, go and change by reloads. No fetch fails, and the
/// held connection, whose server stays throughout, goes on.
fn reload_under_load() -> Outcome {
    let cluster = Cluster::b(3)?;
    write(&cluster, TOML, &toml_text(&cluster, &[(0, 1), (1, 1)]))?;
    let _director = start(&cluster, &format!("--config {TOML} --sysctl conn_reuse_mode=3"))?;
    let vip = cluster.web(Family::V4);
    // rr begins with the server that was added last.
    let mut kept = http::Client::connect(&cluster.net.client, vip, SHORT)?;
    assert_eq!(kept.get("/", SHORT)?.body, "server2");
    let directory = cluster.directory.path().to_owned();
    let steps: Vec<String> = (0..40)
        .map(|step| match step % 5 {
            0 => toml_text(&cluster, &[(0, 1), (1, 1), (2, 1)]),
            1 => toml_text(&cluster, &[(0, 5), (1, 1), (2, 1)]),
            // A server that leaves ends its connections: it gets no new ones first, and has time to end those it has.
            2 => toml_text(&cluster, &[(0, 0), (1, 1), (2, 0)]),
            3 => toml_text(&cluster, &[(1, 1)]),
            _ => toml_text(&cluster, &[(0, 1), (1, 1)]),
        })
        .collect();
    let edits = std::thread::spawn(move || -> Result<usize, String> {
        let mut client = Client::connect(&directory.join(SOCKET)).map_err(|error| error.to_string())?;
        let mut said = 0;
        for step in &steps {
            fs::write(directory.join(TOML), step).map_err(|error| error.to_string())?;
            let notes =
                client.done(&lvs_admin::control::Request::Reload).map_err(|error| error.to_string())?;
            said += notes.len();
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(said)
    });
    let mut fetched = 0;
    while !edits.is_finished() {
        assert_eq!(kept.get("/", SHORT)?.body, "server2");
        http::get(&cluster.net.client, vip, "/", SHORT)?;
        fetched += 1;
    }
    let said = edits.join().map_err(|_| "the reloading thread panicked")??;
    println!("40 reloads, {said} edits, {fetched} pages meanwhile");
    assert!(said >= 40 && fetched > 20, "{said} edits, {fetched} pages");
    Ok(())
}

fn toml() -> Outcome {
    let cluster = Cluster::b(3)?;
    let mut text_of_it = toml_text(&cluster, &[(0, 1), (1, 1)]);
    text_of_it += "[knobs]\nsloppy_tcp = 1\n[timeouts]\nudp = \"7s\"\n[director]\nmax_connections = 128\n";
    write(&cluster, TOML, &text_of_it)?;
    let director = start(&cluster, &format!("--config {TOML}"))?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 4)?, in_turn(&["server2", "server1"], 4));
    assert_eq!(text(&lvsadm(&cluster, "--sysctl sloppy_tcp")?.stdout), "net.ipv4.vs.sloppy_tcp = 1\n");
    assert_eq!(text(&lvsadm(&cluster, "-L --timeout")?.stdout), "Timeout (tcp tcpfin udp): 900 120 7\n");
    assert!(text(&lvsadm(&cluster, "-Ln")?.stdout).contains("(size=128)"));

    // Edits by hand are undone by the file; what takes a restart is said.
    assert!(lvsadm(&cluster, "--sysctl sloppy_tcp=0")?.status.success());
    let again = toml_text(&cluster, &[(1, 1), (2, 1)]) + "[knobs]\nsloppy_tcp = 1\n[director]\nworkers = 2\n";
    write(&cluster, TOML, &again)?;
    director.signal(Signal::SIGHUP)?;
    director.wait_for("read again", 1, PATIENCE)?;
    director.wait_for("director.workers 1 -> 2: takes a restart", 1, PATIENCE)?;
    for line in ["~ knobs: sloppy_tcp 0 -> 1", "- server 192.168.0.188:80", "udp 7s -> 300s"] {
        director.wait_for(line, 1, PATIENCE)?;
    }
    assert_eq!(cluster.fetch_in_turn(Family::V4, 4)?, in_turn(&["server3", "server2"], 4));
    director.signal(Signal::SIGHUP)?;
    director.wait_for("read again", 2, PATIENCE)?;
    director.wait_for("director.workers 1 -> 2", 2, PATIENCE)?;
    let ended = director.stop(Signal::SIGTERM)?;
    assert_eq!(ended.status.code(), Some(0));
    // The second time nothing but that differed.
    assert_eq!(ended.lines("reload: ~ ").len(), 2, "{:#?}", ended.log);
    Ok(())
}

fn keepalived() -> Outcome {
    let cluster = Cluster::b(2)?;
    let server = |at: usize| {
        let address = cluster.net.servers[at].addresses.v4;
        format!("    real_server {address} 80 {{\n        weight 1\n    }}\n")
    };
    let conf = |servers: &str| {
        let vip = cluster.vip(Family::V4);
        format!(
            "! as keepalived reads it\nvrrp_instance VI_1 {{\n    state MASTER\n}}\ninclude servers.d/*.conf\n\
             virtual_server {vip} 80 {{\n    lb_algo rr\n    lb_kind DR\n{servers}}}\n"
        )
    };
    write(&cluster, "keepalived.conf", &conf(&server(0)))?;
    let options = format!("{} --keepalived keepalived.conf", cluster.interfaces(Family::V4));
    let director = start(&cluster, &options)?;
    assert!(director.lines("WARN").iter().any(|line| line.contains("keepalived.conf:2: vrrp_instance")));
    assert_eq!(cluster.fetch_in_turn(Family::V4, 2)?, in_turn(&["server1"], 2));
    write(&cluster, "keepalived.conf", &conf(&(server(0) + &server(1))))?;
    let output = lvsadm(&cluster, "--reload")?;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("+ server 192.168.0.111:80 of TCP 192.168.0.250:80: weight 1"), "{said}");
    assert_eq!(cluster.fetch_in_turn(Family::V4, 4)?, in_turn(&["server2", "server1"], 4));
    Ok(())
}

fn wrong_reload() -> Outcome {
    let cluster = Cluster::b(2)?;
    let rules = cluster.rules("-t", Family::V4, 80, "rr", &[]);
    cluster.write_rules(&rules)?;
    // Without a router that would lead everywhere.
    let director = start(&cluster, "--interface eth0 --dip 192.168.0.208/24 --rules rules.ipvs")?;
    let vip = cluster.web(Family::V4);
    let wrong: [(String, &str); 3] = [
        (format!("{rules}-a -t {vip} -r 192.168.0.300\n"), "rules.ipvs:4: "),
        (format!("{rules}-a -t {vip} -r 10.9.9.9\n"), "rules.ipvs:4: no --interface leads to 10.9.9.9"),
        // The kernel of the director's host answers for it.
        ("-A -t 127.0.0.1:80 -s rr\n".to_owned(), "127.0.0.1 is held by this host's kernel, on lo"),
    ];
    for (rules, words) in wrong {
        cluster.write_rules(&rules)?;
        let output = lvsadm(&cluster, "--reload")?;
        let error = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(255), ""), "{error}");
        assert!(error.contains(words), "`{words}` is missing: {error}");
        director.signal(Signal::SIGHUP)?;
        director.wait_for(&format!("reload: {words}"), 2, PATIENCE)?;
    }
    fs::remove_file(cluster.directory.path().join("rules.ipvs"))?;
    let output = lvsadm(&cluster, "--reload")?;
    assert!(text(&output.stderr).contains("--rules rules.ipvs: No such file"), "{output:?}");
    assert_eq!(cluster.fetch_in_turn(Family::V4, 2)?, in_turn(&["server2", "server1"], 2));
    Ok(())
}

fn check_and_plan() -> Outcome {
    let cluster = Cluster::b(3)?;
    write(&cluster, TOML, &toml_text(&cluster, &[(0, 1), (1, 1)]))?;
    let output = run(&cluster, DIRECTOR, &format!("check --config {TOML}"))?;
    let said = (output.status.code(), text(&output.stdout), text(&output.stderr));
    let good = "lvs.toml: good: 1 interface, 1 service, 2 real servers, 0 health checks\n";
    assert_eq!(said, (Some(0), good.to_owned(), String::new()));
    write(&cluster, "wrong.toml", "[[service]]\ntcp = \"192.168.0.250:80\"\nsheduler = \"rr\"\n")?;
    let output = run(&cluster, DIRECTOR, "check --config wrong.toml")?;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("wrong.toml:3: service.sheduler: there is no such key"));
    let with_probes = |address: &str| {
        let text = toml_text(&cluster, &[(0, 1)]);
        format!("{text}[director]\nprobe_addresses = [\"{address}\"]\n")
    };
    // What a start would refuse is wrong, too; and the file that we ship is good.
    let checked = "[[service]]\ntcp = \"192.168.0.250:80\"\ncheck = [{ kind = \"http\", url = [{ path = \"/\", regex = \"a(?=b)\" }] }]\n\
                   [[service.server]]\naddress = \"192.168.0.188\"\n";
    for (text_of_it, words) in [
        (
            checked.to_owned(),
            "wrong.toml:3: service.check.url.regex: `a(?=b)`: look-around, including look-ahead",
        ),
        (
            checked
                .replace("regex = \"a(?=b)\"", "path = \"/\"")
                .replace(", path = \"/\" }", " }")
                .replace("kind", "delay_loop = \"2d\", kind"),
            "interval is out of range",
        ),
        ("[director]\nio = \"pcap\"\n".to_owned(), "expected afpacket, xdp or tap"),
        (
            "[[service]]\ntcp = \"192.168.0.250:80\"\n[[service.server]]\naddress = \"192.168.0.250\"\n"
                .to_owned(),
            "wrong.toml:3: 192.168.0.250 is a VIP of this file",
        ),
        (with_probes("10.0.0.1"), "--probe-address 10.0.0.1: it lies in no subnet of an interface"),
        (with_probes("192.168.0.15"), "--probe-address 192.168.0.15: a gateway has it"),
        (with_probes("192.168.0.188"), "--probe-address 192.168.0.188: a real server has it"),
        (with_probes("192.168.0.250"), "--probe-address 192.168.0.250: it is a VIP"),
    ] {
        write(&cluster, "wrong.toml", &text_of_it)?;
        let output = run(&cluster, DIRECTOR, "check --config wrong.toml")?;
        assert_eq!(output.status.code(), Some(1), "{text_of_it}: {output:?}");
        assert!(text(&output.stderr).contains(words), "`{words}` is missing: {output:?}");
    }
    write(
        &cluster,
        "quorum.toml",
        "[[service]]\ntcp = \"192.168.0.250:80\"\nquorum = 9\ncheck = [{ kind = \"tcp\" }]\n[[service.server]]\naddress = \"192.168.0.188\"\n",
    )?;
    let output = run(&cluster, DIRECTOR, "check --config quorum.toml")?;
    assert!(text(&output.stderr).contains("quorum 9: all real servers together weigh 1"), "{output:?}");
    write(&cluster, "shipped.toml", include_str!("../../etc/lvs.toml"))?;
    let output = run(&cluster, DIRECTOR, "check --config shipped.toml")?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = run(&cluster, DIRECTOR, "check --config nowhere.toml")?;
    assert_eq!(output.status.code(), Some(2));
    let output = run(&cluster, DIRECTOR, "check")?;
    assert_eq!(output.status.code(), Some(2), "a file is needed");

    let plan =
        |file: &str, options: &str| run(&cluster, DIRECTOR, &format!("plan --config {file} {options}"));
    assert_eq!(plan(TOML, &format!("--socket {SOCKET}"))?.status.code(), Some(2), "no director runs");
    let _director = start(&cluster, &format!("--config {TOML}"))?;
    let vip = cluster.web(Family::V4);
    let mut kept = Vec::new();
    for _ in 0..4 {
        let mut client = http::Client::connect(&cluster.net.client, vip, SHORT)?;
        client.get("/", SHORT)?;
        kept.push(client);
    }
    let output = plan(TOML, &format!("--socket {SOCKET}"))?;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "nothing differs\nTCP 192.168.0.250:80: connections: 4 stay, 0 end\n");

    write(&cluster, "new.toml", &toml_text(&cluster, &[(1, 4), (2, 1)]))?;
    let output = plan("new.toml", &format!("--socket {SOCKET} --json"))?;
    let found: Value = serde_json::from_slice(&output.stdout)?;
    let kinds: Vec<_> = found["edits"].as_array().into_iter().flatten().map(|edit| &edit["kind"]).collect();
    assert_eq!(kinds, ["added", "changed", "removed"], "{found}");
    let service = &found["services"][0];
    assert_eq!((&service["stay"], &service["end"], &service["move"]), (&2.into(), &2.into(), &0.into()));
    // Nothing was done.
    assert_eq!(
        text(&plan(TOML, &format!("--socket {SOCKET}"))?.stdout).lines().next(),
        Some("nothing differs")
    );

    // What the host would refuse is refused, and says why.
    write(&cluster, "local.toml", &toml_text(&cluster, &[(1, 1)]).replace("192.168.0.250", "127.0.0.1"))?;
    let output = plan("local.toml", &format!("--socket {SOCKET}"))?;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("refused: 127.0.0.1 is held by this host's kernel"), "{output:?}");
    Ok(())
}

/// What the kernel says of the process, and what its socket's mode is.
fn rights() -> Outcome {
    let cluster = Cluster::b(1)?;
    write(&cluster, TOML, &toml_text(&cluster, &[(0, 1)]))?;
    let director = start(&cluster, &format!("--config {TOML}"))?;
    director.wait_for("rights kept: none; no new ones", 1, PATIENCE)?;
    for task in fs::read_dir(format!("/proc/{}/task", director.id()))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim_start_matches(':').trim().to_owned()).unwrap_or_default()
        };
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(set).trim_start_matches('0'), "", "{set} of {}", field("Name"));
        }
        assert_eq!(field("NoNewPrivs"), "1");
    }
    let socket = fs::metadata(cluster.directory.path().join(SOCKET))?;
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    assert_eq!(cluster.fetch(Family::V4)?, "server1");
    Ok(())
}

fn out_of_place() -> Outcome {
    let cluster = Cluster::b(1)?;
    write(&cluster, TOML, &toml_text(&cluster, &[(0, 1)]))?;
    write(&cluster, "bare.toml", "[[service]]\ntcp = \"192.168.0.250:80\"\n")?;
    write(&cluster, "odd.toml", &format!("[director]\nio = \"pcap\"\n{}", toml_text(&cluster, &[(0, 1)])))?;
    cluster.write_rules(&cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    let place: &Path = cluster.directory.path();
    let interface = "--interface eth0 --dip 192.168.0.208/24";
    let table: [(String, &[&str]); 5] = [
        (
            format!("--config {TOML} {interface}"),
            &["--config lvs.toml names interfaces, and so does --interface"],
        ),
        (
            "--config bare.toml".to_owned(),
            &["--config bare.toml names no interface; add [[interface]] to it"],
        ),
        (format!("--config {TOML} --rules rules.ipvs"), &["cannot be used with"]),
        ("--config odd.toml".to_owned(), &["director.io: \"pcap\"; expected afpacket, xdp or tap"]),
        ("--rules rules.ipvs".to_owned(), &["--interface", "--dip"]),
    ];
    for (options, words) in table {
        refused(Start::director(&cluster.net.director, place, &options), words)?;
    }
    Ok(())
}
