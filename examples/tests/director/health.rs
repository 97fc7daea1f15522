//! Real servers that fail, each in its own way, while clients fetch: who is told, who is spared, and how soon.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use lvs_testkit::lab::{Host, Task, http};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, Family, in_turn};
use crate::program::{PATIENCE, Program, Start};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("clients_that_retry_once_see_no_error_whatever_fails", faults_under_load),
    ("a_server_in_maintenance_stays_out_of_it_over_a_reload", maintenance),
    ("keepaliveds_checks_and_sorry_server_are_carried_out", keepalived),
    ("checks_over_sockets_need_no_rights", sockets),
    ("a_reload_changes_what_is_checked", reload),
    ("a_reload_takes_over_what_was_edited_by_hand", by_hand),
    ("metrics_and_the_page_show_what_is_wrong", metrics),
    ("a_check_that_cannot_be_carried_out_is_refused_at_the_start", refused_check),
];

pub(crate) const SHORT: Duration = Duration::from_secs(3);
pub(crate) const FILE: &str = "lvs.toml";
pub(crate) const SOCKET: &str = "d.sock";
/// Times of the checks: a fault is noticed within 0.2 + 0.2 + 0.05 + 0.2 s.
pub(crate) const TIMES: &str = "delay_loop = \"200ms\"\nconnect_timeout = \"200ms\"\nretry = 1\ndelay_before_retry = \"50ms\"\nwarmup = 0\n";
/// That, and what a busy machine takes.
const DETECTION: Duration = Duration::from_millis(650 + 500);

/// How long a client waits for a page. A frame that a busy machine loses is sent again after a second.
const FETCH: Duration = Duration::from_millis(1500);

/// A director's file: `rr` over all servers, with these lines for the service.
pub(crate) fn file(cluster: &Cluster, lines: &str) -> String {
    let mut text = format!(
        "[director]\nprobe_addresses = [\"192.168.0.209\"]\n[[interface]]\nname = \"eth0\"\ndips = [\"{}\"]\n\
         [[service]]\ntcp = \"{}\"\nscheduler = \"rr\"\n{TIMES}{lines}\n",
        cluster.net.dips[0][0],
        cluster.web(Family::V4)
    );
    for server in &cluster.net.servers {
        text += &format!("[[service.server]]\naddress = \"{}\"\n", server.addresses.v4);
    }
    text
}

pub(crate) fn write(cluster: &Cluster, text: &str) -> Outcome {
    Ok(std::fs::write(cluster.directory.path().join(FILE), text)?)
}

pub(crate) fn start(cluster: &Cluster, options: &str) -> Result<Program, Failed> {
    let options = format!("--config {FILE} --control {SOCKET} {options}");
    let director = Start::director(&cluster.net.director, cluster.directory.path(), &options).run()?;
    match options.contains("json") {
        true => director.wait_for("\"ready\"", 1, PATIENCE)?,
        false => director.wait_ready()?,
    }
    Ok(director)
}

pub(crate) fn lvsadm(cluster: &Cluster, words: &str) -> Result<Output, Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lvsadm"));
    command.args(words.split_whitespace()).args(["--socket", SOCKET]);
    Ok(command.current_dir(cluster.directory.path()).output()?)
}

/// What `--health --json` says of the first service's servers: address and state.
fn states(cluster: &Cluster) -> Result<Vec<(String, String)>, Failed> {
    let output = lvsadm(cluster, "--health --json")?;
    let found: Value = serde_json::from_slice(&output.stdout)?;
    let servers = found[0]["servers"].as_array().ok_or("no servers")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(servers.iter().map(|server| (text(&server["address"]), text(&server["state"]))).collect())
}

/// Waits until a server is in this state.
pub(crate) fn wait_for_state(cluster: &Cluster, server: usize, state: &str) -> Outcome {
    let address = cluster.net.servers[server].addresses.v4.to_string();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let all = states(cluster)?;
        if all.contains(&(address.clone(), state.to_owned())) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{address} is not {state}: {all:?}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Clients that fetch page after page, each over a connection of its own, and try once more where the first try fails.
struct Load<'a> {
    host: &'a Host,
    service: SocketAddr,
    stop: AtomicBool,
    fetched: AtomicU64,
    /// When first tries failed.
    first: Mutex<Vec<(Instant, String)>>,
    /// What second tries failed of.
    second: Mutex<Vec<String>>,
}

impl Load<'_> {
    fn run(&self) {
        let fetch = || match http::get(self.host, self.service, "/", FETCH) {
            Ok(page) if page.status == 200 => Ok(()),
            Ok(page) => Err(format!("status {}", page.status)),
            Err(error) => Err(error.to_string()),
        };
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = fetch() {
                self.first.lock().unwrap().push((Instant::now(), error));
                if let Err(error) = fetch() {
                    self.second.lock().unwrap().push(error);
                }
            }
            self.fetched.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends [`run`](Self::run) when it is dropped, whatever came between.
    fn ending(&self) -> impl Drop {
        struct Ending<'a>(&'a AtomicBool);
        impl Drop for Ending<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        Ending(&self.stop)
    }

    /// First tries that failed after this.
    fn failed_since(&self, since: Instant) -> Vec<String> {
        let failed = self.first.lock().unwrap();
        failed.iter().filter(|(at, _)| *at > since).map(|(_, error)| error.clone()).collect()
    }
}

/// Answers everybody with status 500, on the address of all.
fn broken_server(host: &Host) -> Result<Task<()>, Failed> {
    let listener = host.run(|| TcpListener::bind("[::]:80"))?;
    listener.set_nonblocking(true)?;
    Ok(host.spawn(move |stop| {
        while !stop.requested() {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    let _ = stream.set_nonblocking(false);
                    let _ = stream.set_read_timeout(Some(SHORT));
                    let _ = stream.read(&mut [0; 1024]);
                    let _ = stream
                        .write_all(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                }
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }))
}

/// A server's web server ends, its VIP goes, its cable is pulled, it answers 500: each time the director says why within its bound,
/// and clients that try twice notice nothing; after that those that try once do not either. Then it comes back.
fn faults_under_load() -> Outcome {
    let mut cluster = Cluster::b(3)?;
    write(&cluster, &file(&cluster, "check = [{ kind = \"http\", url = [\"/\"] }]\ndamping = false"))?;
    // The client's ports come round again before the director has forgotten them.
    // Some were left in the middle: without the other knob who comes from such a port goes to the server that is down, as in IPVS.
    let director = start(&cluster, "--sysctl conn_reuse_mode=3 --sysctl expire_nodest_conn=1")?;
    director.wait_for("rights kept: none", 1, PATIENCE)?;
    let address = cluster.net.servers[0].addresses.v4;
    let vip = cluster.vip(Family::V4);
    wait_for_state(&cluster, 0, "up")?;
    let client = Host::clone(&cluster.net.client);
    let load = Load {
        host: &client,
        service: cluster.web(Family::V4),
        stop: AtomicBool::new(false),
        fetched: AtomicU64::new(0),
        first: Mutex::default(),
        second: Mutex::default(),
    };
    std::thread::scope(|scope| -> Outcome {
        let running = scope.spawn(|| load.run());
        let mut story = || -> Outcome {
            let mut downs = 0;
            let mut is_down = |why: &str, begun: Instant| -> Outcome {
                downs += 1;
                director.wait_for(
                    &format!("{address} of TCP 192.168.0.250:80 is down: "),
                    downs,
                    PATIENCE,
                )?;
                let took = begun.elapsed();
                let said = director.lines(&format!("{address} of TCP 192.168.0.250:80 is down: "));
                let said = said.last().cloned().unwrap_or_default();
                assert!(said.contains(why), "`{why}` is missing: {said}");
                println!("noticed after {} ms: {why}", took.as_millis());
                assert!(took < DETECTION + Duration::from_secs(1), "{took:?}");
                // Who tries now finds nobody that fails. A fetch that began before may still end.
                std::thread::sleep(FETCH + Duration::from_millis(100));
                let since = Instant::now();
                std::thread::sleep(Duration::from_millis(400));
                assert_eq!(load.failed_since(since), [""; 0], "after {why}");
                Ok(())
            };
            let begun = Instant::now();
            cluster.stop_web(0);
            is_down("nothing listens at 192.168.0.250:80", begun)?;
            let broken = broken_server(&cluster.net.servers[0].host)?;
            std::thread::sleep(Duration::from_millis(600));
            broken.stop();
            cluster.restart_web(0)?;
            wait_for_state(&cluster, 0, "up")?;

            let begun = Instant::now();
            cluster.net.servers[0].host.release_vip(vip)?;
            is_down("the VIP 192.168.0.250 is not on lo", begun)?;
            cluster.net.servers[0].host.hold_vip(vip)?;
            wait_for_state(&cluster, 0, "up")?;

            let begun = Instant::now();
            cluster.net.switches[0].set_cable("server1", "eth0", false)?;
            is_down("no answer from 02:00:00:00:00:bc", begun)?;
            cluster.net.switches[0].set_cable("server1", "eth0", true)?;
            wait_for_state(&cluster, 0, "up")?;

            cluster.stop_web(0);
            let begun = Instant::now();
            let broken = broken_server(&cluster.net.servers[0].host)?;
            is_down("", begun)?;
            wait_for_reason(&cluster, "HTTP status 500")?;
            broken.stop();
            cluster.restart_web(0)?;
            wait_for_state(&cluster, 0, "up")
        };
        let result = {
            let _ending = load.ending();
            story()
        };
        running.join().map_err(|_| "the clients panicked")?;
        result
    })?;
    let (fetched, first) = (load.fetched.load(Ordering::Relaxed), load.first.lock().unwrap().len());
    println!("{fetched} pages fetched, {first} of them at the second try");
    assert_eq!(*load.second.lock().unwrap(), [""; 0], "second tries failed");
    assert!(fetched > 500, "only {fetched}");
    let ended = director.stop(Signal::SIGTERM)?;
    assert_eq!(ended.status.code(), Some(0));
    Ok(())
}

pub(crate) fn wait_for_reason(cluster: &Cluster, why: &str) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = String::from_utf8(lvsadm(cluster, "--health")?.stdout)?;
        if said.contains(why) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("`{why}` is missing:\n{said}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// No new connections, the old one goes on; a reload changes nothing of that; then it ends, and the deadline of another is kept.
fn maintenance() -> Outcome {
    let cluster = Cluster::b(2)?;
    write(&cluster, &file(&cluster, "check = [{ kind = \"tcp\" }]"))?;
    let director = start(&cluster, "")?;
    wait_for_state(&cluster, 0, "up")?;
    wait_for_state(&cluster, 1, "up")?;
    let vip = cluster.web(Family::V4);
    let mut kept = http::Client::connect(&cluster.net.client, vip, SHORT)?;
    assert_eq!(kept.get("/", SHORT)?.body, "server2");
    let output = lvsadm(&cluster, "--force maintenance -r 192.168.0.111")?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(cluster.fetch_in_turn(Family::V4, 4)?, in_turn(&["server1"], 4));
    assert_eq!(kept.get("/", SHORT)?.body, "server2");

    write(&cluster, &(file(&cluster, "check = [{ kind = \"tcp\" }]\nslow_start = 5")))?;
    director.signal(Signal::SIGHUP)?;
    director.wait_for("read again", 1, PATIENCE)?;
    wait_for_state(&cluster, 1, "maintenance")?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 4)?, in_turn(&["server1"], 4));
    assert!(lvsadm(&cluster, "--force maintenance -r 192.168.0.111 --deadline 1")?.status.success());
    // The weight is 0 already, so that a drain begins with the server's next turn.
    assert!(lvsadm(&cluster, "--force none -t 192.168.0.250:80 -r 192.168.0.111")?.status.success());
    wait_for_state(&cluster, 1, "up")?;
    let fetched = cluster.fetch_in_turn(Family::V4, 8)?;
    assert!(fetched.contains(&"server2".to_owned()), "{fetched:?}");

    let wrong = lvsadm(&cluster, "--force up -r 192.168.0.77")?;
    assert_eq!(wrong.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("192.168.0.77 is in no service that is checked"));
    Ok(())
}

/// As keepalived.conf says: failed servers leave; when all have, the sorry server answers. The kernel has the DIP here, so the checks
/// are half-open.
fn keepalived() -> Outcome {
    let mut cluster = Cluster::b(3)?;
    let server = |at: usize, check: &str| {
        let address = cluster.net.servers[at].addresses.v4;
        format!("    real_server {address} 80 {{\n        {check} {{ connect_timeout 1 }}\n    }}\n")
    };
    let sorry = cluster.net.servers[2].addresses.v4;
    let conf = format!(
        "virtual_server {} 80 {{\n    lb_algo rr\n    lb_kind DR\n    delay_loop 0.2\n    retry 0\n    warmup 0\n    \
         sorry_server {sorry} 80\n{}{}}}\n",
        cluster.vip(Family::V4),
        server(0, "TCP_CHECK"),
        server(1, "TCP_CHECK")
    );
    std::fs::write(cluster.directory.path().join("k.conf"), conf)?;
    let options = format!("{} --keepalived k.conf --control {SOCKET}", cluster.interfaces(Family::V4));
    let director = Start::director(&cluster.net.director, cluster.directory.path(), &options).run()?;
    director.wait_ready()?;
    wait_for_state(&cluster, 0, "up")?;
    wait_for_state(&cluster, 1, "up")?;
    assert_eq!(states(&cluster)?[2].1, "waiting");
    cluster.stop_web(0);
    director.wait_for("192.168.0.188 of TCP 192.168.0.250:80 is down", 1, PATIENCE)?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 3)?, in_turn(&["server2"], 3));
    cluster.stop_web(1);
    director.wait_for("has lost its quorum", 1, PATIENCE)?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 3)?, in_turn(&["server3"], 3));
    cluster.restart_web(1)?;
    director.wait_for("has its quorum again", 1, PATIENCE)?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 3)?, in_turn(&["server2"], 3));
    Ok(())
}

/// Programs and sockets of the host, made by a director that has given up all rights.
fn sockets() -> Outcome {
    let cluster = Cluster::b(2)?;
    let place = cluster.directory.path().join("up");
    std::fs::write(&place, "")?;
    let checks = format!(
        "check = [{{ kind = \"tcp\", via = \"rip\" }}, {{ kind = \"http\", via = \"rip\", url = [{{ path = \"/\", regex = \"server\" }}] }}, \
         {{ kind = \"command\", command = \"test -e {}\", timeout = \"1s\" }}]",
        place.display()
    );
    write(&cluster, &file(&cluster, &checks))?;
    let director = start(&cluster, "")?;
    director.wait_for("rights kept: none", 1, PATIENCE)?;
    wait_for_state(&cluster, 0, "up")?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 2)?, in_turn(&["server2", "server1"], 2));
    std::fs::remove_file(&place)?;
    wait_for_state(&cluster, 0, "down")?;
    wait_for_reason(&cluster, "exit status 1")?;
    Ok(())
}

/// Checks come and go with the file; servers that lose their checks are as the file says.
fn reload() -> Outcome {
    let mut cluster = Cluster::b(2)?;
    write(&cluster, &file(&cluster, ""))?;
    let director = start(&cluster, "")?;
    let unchecked = lvsadm(&cluster, "--health --json")?;
    assert_eq!(String::from_utf8(unchecked.stdout)?, "[]\n");
    cluster.stop_web(0);
    let vip = cluster.web(Family::V4);
    let mut kept = http::Client::connect(&cluster.net.client, vip, SHORT)?;
    assert_eq!(kept.get("/", SHORT)?.body, "server2");
    write(&cluster, &file(&cluster, "check = [{ kind = \"tcp\" }]"))?;
    assert!(lvsadm(&cluster, "--reload")?.status.success());
    wait_for_state(&cluster, 0, "down")?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 4)?, in_turn(&["server2"], 4));
    // Without checks again: the file's weight counts.
    write(&cluster, &file(&cluster, ""))?;
    let output = lvsadm(&cluster, "--reload")?;
    assert!(output.status.success(), "{output:?}");
    let listing = String::from_utf8(lvsadm(&cluster, "-Ln")?.stdout)?;
    let weights: Vec<_> = listing.lines().filter(|line| line.contains(" Route ")).collect();
    assert!(weights.len() == 2 && weights.iter().all(|line| line.contains("Route   1 ")), "{listing}");
    assert_eq!(kept.get("/", SHORT)?.body, "server2");
    drop(director);
    Ok(())
}

/// The weights of all servers, as `-Ln` lists them: last added first.
fn weights(cluster: &Cluster) -> Result<Vec<(String, String)>, Failed> {
    let listing = String::from_utf8(lvsadm(cluster, "-Ln")?.stdout)?;
    let words =
        listing.lines().filter(|line| line.contains(" Route ")).map(|line| line.split_whitespace().collect());
    Ok(words.map(|words: Vec<&str>| (words[1].to_owned(), words[3].to_owned())).collect())
}

/// The file has the last word about servers that are checked, too: about one that it no longer names when its service begins to be
/// checked, and about a service that was removed by hand.
fn by_hand() -> Outcome {
    let cluster = Cluster::b(3)?;
    let checks = "check = [{ kind = \"tcp\" }]";
    let server = |at: usize| format!("{}:80", cluster.net.servers[at].addresses.v4);
    let two = |text: &str| text.rsplit_once("[[service.server]]").map(|(text, _)| text.to_owned());
    write(&cluster, &file(&cluster, ""))?;
    let director = start(&cluster, "")?;
    assert_eq!(weights(&cluster)?.len(), 3);
    write(&cluster, &two(&file(&cluster, checks)).ok_or("servers")?)?;
    assert!(lvsadm(&cluster, "--reload")?.status.success());
    let expected = [server(1), server(0)].map(|server| (server, "1".to_owned()));
    assert_eq!(weights(&cluster)?, expected);
    wait_for_state(&cluster, 0, "up")?;

    // By hand a server goes out by --force only: its checks would not know of anything else.
    let (service, third) = ("-t 192.168.0.250:80", server(2));
    for edit in [
        format!("-d {service} -r {}", server(0)),
        format!("-e {service} -r {} -w 7", server(1)),
        format!("-a {service} -r {third}"),
        format!("--drain {service} -r {} --deadline 1", server(0)),
    ] {
        let output = lvsadm(&cluster, &edit)?;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(255) && error.contains("lvsadm --force"), "{edit}: {output:?}");
        assert_eq!(weights(&cluster)?, expected);
    }
    assert!(lvsadm(&cluster, "-C")?.status.success());
    assert_eq!(director.lines("edit: -C").len(), 1);
    let output = lvsadm(&cluster, "--reload")?;
    assert!(output.status.success(), "{output:?}");
    let mut found = weights(&cluster)?;
    found.sort();
    assert_eq!(found, [server(1), server(0)].map(|server| (server, "1".to_owned())));
    assert_eq!(cluster.fetch_in_turn(Family::V4, 2)?.len(), 2);
    assert_eq!(director.lines("WARN"), [""; 0]);
    Ok(())
}

/// A page, figures and metrics over HTTP, inside the director's host; and log lines for machines.
fn metrics() -> Outcome {
    let mut cluster = Cluster::b(2)?;
    write(&cluster, &file(&cluster, "check = [{ kind = \"tcp\" }]"))?;
    let director = start(&cluster, "--metrics 9798 --log-format json")?;
    wait_for_state(&cluster, 0, "up")?;
    cluster.stop_web(1);
    wait_for_state(&cluster, 1, "down")?;
    cluster.fetch_in_turn(Family::V4, 5)?;
    // Figures are a quarter of a second old at most, and workers tell theirs as often.
    std::thread::sleep(Duration::from_millis(800));
    let at: SocketAddr = "127.0.0.1:9798".parse()?;
    let get = |path: &str| http::get(&cluster.net.director, at, path, SHORT);
    let text = get("/metrics")?.body;
    for line in [
        "node_ipvs_connections_total 5",
        "lvs_server_up{",
        "local_address=\"192.168.0.250\"",
        "remote_address=\"192.168.0.111\"",
    ] {
        assert!(text.contains(line), "`{line}` is missing:\n{text}");
    }
    let stats: Value = serde_json::from_str(&get("/stats.json")?.body)?;
    let servers = &stats["services"][0]["servers"];
    let states: Vec<_> = servers.as_array().into_iter().flatten().map(|server| &server["health"]).collect();
    assert!(states.contains(&&"up".into()) && states.contains(&&"down".into()), "{stats}");
    assert!(stats.to_string().contains("nothing listens at 192.168.0.250:80"), "{stats}");
    assert!(get("/")?.body.to_lowercase().contains("<!doctype html>"));
    let down = director.lines("\"state\":\"down\"");
    let line: Value = serde_json::from_str(down.first().ok_or("no line says that it is down")?)?;
    assert_eq!((&line["server"], &line["event"]), (&"192.168.0.111".into(), &"server".into()), "{line}");
    assert_eq!(director.stop(Signal::SIGTERM)?.status.code(), Some(0));
    Ok(())
}

fn refused_check() -> Outcome {
    let cluster = Cluster::b(1)?;
    for (check, words) in [
        (
            "kind = \"http\", url = [{ path = \"/\", regex = '(a)\\1' }]",
            "lvs.toml:14: service.check.url.regex: `(a)\\1`: backreferences are not supported; expected an expression",
        ),
        (
            "kind = \"tcp\", bind_port = 5000",
            "192.168.0.188: bind_port 5000: a probe for the VIP chooses its port itself",
        ),
        (
            "kind = \"command\", command = \"true\", user = \"no-such-user\"",
            "192.168.0.188: user \"no-such-user\": commands run as the director's own user and group",
        ),
        ("kind = \"tcp\", delay_loop = \"2d\"", "interval is out of range"),
    ] {
        write(&cluster, &file(&cluster, &format!("check = [{{ {check} }}]")))?;
        let options = format!("--config {FILE}");
        let start = Start::director(&cluster.net.director, cluster.directory.path(), &options);
        crate::usage::refused(start, &[words])?;
    }
    Ok(())
}

/// Over other devices too: a server that loses its VIP is found, and found again.
pub(crate) fn finds_a_lost_vip(cluster: &Cluster, host: &Host, options: &str) -> Outcome {
    let lines = "check = [{ kind = \"http\", url = [\"/\"] }]";
    let text = file(cluster, lines);
    // The interfaces are on the command line here.
    let (before, rest) = text.split_once("[[interface]]").ok_or("an interface")?;
    let (_, service) = rest.split_once("[[service]]").ok_or("a service")?;
    write(cluster, &format!("{before}[[service]]{service}"))?;
    let options = format!("{options} --config {FILE} --control {SOCKET}");
    let director = Start::director(host, cluster.directory.path(), &options).run()?;
    director.wait_ready()?;
    wait_for_state(cluster, 0, "up")?;
    cluster.net.servers[0].host.release_vip(cluster.vip(Family::V4))?;
    director.wait_for(
        "is down: no answer from 02:00:00:00:00:bc: the VIP 192.168.0.250 is not on lo",
        1,
        PATIENCE,
    )?;
    cluster.net.servers[0].host.hold_vip(cluster.vip(Family::V4))?;
    wait_for_state(cluster, 0, "up")?;
    assert_eq!(states(cluster)?[1].1, "up");
    Ok(())
}
