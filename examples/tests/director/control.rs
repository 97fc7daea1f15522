//! The control socket: edits and listings of a running director while clients use it.

use std::path::Path;
use std::time::Duration;

use lvs_admin::control::{CallError, Client, Reply, Request};
use lvs_testkit::lab::http;

use crate::cluster::{Cluster, Family};
use crate::program::{PATIENCE, Start};
use crate::usage::refused;
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("edits_reach_a_running_director_and_leave_other_connections_alone", edits),
    ("a_thousand_edits_a_second_disturb_no_client", many_edits),
    ("a_vip_of_the_hosts_kernel_is_refused_while_running_too", local_vip),
    ("other_users_cannot_open_the_control_socket", other_users),
    ("a_control_socket_that_is_taken_is_an_error", taken),
];

const SHORT: Duration = Duration::from_secs(3);

/// The director with a control socket there.
fn director<'a>(cluster: &'a Cluster, path: &Path) -> Start<'a> {
    cluster.director(Family::V4, &format!("--control {}", path.display()))
}

/// The web service on all real servers.
fn rules(cluster: &Cluster) -> String {
    cluster.rules("-t", Family::V4, 80, "rr", &[])
}

/// A connection that stays open keeps its server while servers come and go, and new ones follow the edits.
fn edits() -> Outcome {
    let cluster = Cluster::b(3)?;
    let vip = cluster.web(Family::V4);
    let rip = |n: usize| cluster.net.servers[n].addresses.v4;
    cluster.write_rules(&format!("-A -t {vip} -s rr\n-a -t {vip} -r {}\n", rip(0)))?;
    let path = cluster.directory.path().join("d.sock");
    let director = director(&cluster, &path).run()?;
    director.wait_ready()?;
    let mut client = Client::connect(&path)?;
    let mut kept = http::Client::connect(&cluster.net.client, vip, SHORT)?;
    assert_eq!(kept.get("/", SHORT)?.body, "server1");

    client.rules(&format!("-a -t {vip} -r {}\n-a -t {vip} -r {}\n", rip(1), rip(2)))?;
    // A line of the log says what was done, whole.
    director.wait_for(&format!("edit: -a -t {vip} -r {}", rip(1)), 1, SHORT)?;
    client.rules(&format!("-e -t {vip} -r {} -w 2 -x 100000 -y 90000\n", rip(1)))?;
    director.wait_for(&format!("edit: -e -t {vip} -r {} -w 2 -x 100000 -y 90000", rip(1)), 1, SHORT)?;
    client.rules(&format!("-e -t {vip} -r {} -w 1\n", rip(1)))?;
    let fetch = || http::get(&cluster.net.client, vip, "/", SHORT).map(|page| page.body);
    let mut seen: Vec<String> = (0..3).map(|_| fetch()).collect::<Result<_, _>>()?;
    seen.sort();
    assert_eq!(seen, ["server1", "server2", "server3"]);
    assert_eq!(kept.get("/", SHORT)?.body, "server1");

    // A drained server gets nothing new, keeps what it has, and loses that at the deadline.
    client.done(&Request::Drain { service: key(vip), server: rip(0), deadline: 1 })?;
    for _ in 0..4 {
        assert_ne!(fetch()?, "server1");
    }
    assert_eq!(kept.get("/", SHORT)?.body, "server1");
    std::thread::sleep(Duration::from_millis(1200));
    assert!(kept.get("/", SHORT).is_err(), "the deadline is over");

    client.rules(&format!("-d -t {vip} -r {}\n-d -t {vip} -r {}\n", rip(0), rip(1)))?;
    for _ in 0..3 {
        assert_eq!(fetch()?, "server3");
    }
    let (services, _) = client.services()?;
    assert_eq!(services[0].destinations.len(), 1);
    let mut connections = 0;
    client.connections(|_| -> Result<(), CallError> {
        connections += 1;
        Ok(())
    })?;
    assert!(connections >= 10, "only {connections}");
    Ok(())
}

/// One connection that goes on, and new ones, while weights and servers of another service change all the time.
fn many_edits() -> Outcome {
    let cluster = Cluster::b(2)?;
    let vip = cluster.web(Family::V4);
    cluster.write_rules(&rules(&cluster))?;
    let path = cluster.directory.path().join("d.sock");
    // The client's ports come round again before the director has forgotten them.
    let options = format!("--control {} --sysctl conn_reuse_mode=3", path.display());
    let director = cluster.director(Family::V4, &options).run()?;
    director.wait_ready()?;
    let mut client = Client::connect(&path)?;
    let other = format!("{}:81", vip.ip());
    let rip = cluster.net.servers[0].addresses.v4;
    client.rules(&format!("-A -t {other} -s wlc\n-a -t {other} -r {rip}\n"))?;
    let edits = std::thread::spawn(move || -> Result<u32, CallError> {
        let begun = std::time::Instant::now();
        let mut count = 0;
        while begun.elapsed() < Duration::from_secs(10) {
            client.rules(&format!("-e -t {other} -r {rip} -w {}\n", count % 7))?;
            count += 1;
            // A thousand a second.
            std::thread::sleep(Duration::from_millis(u64::from(count)).saturating_sub(begun.elapsed()));
        }
        Ok(count)
    });
    let mut kept = http::Client::connect(&cluster.net.client, vip, SHORT)?;
    let first = kept.get("/", SHORT)?.body;
    let (mut fetched, mut last) = (0, String::new());
    while !edits.is_finished() {
        assert_eq!(kept.get("/", SHORT)?.body, first);
        let page = http::get(&cluster.net.client, vip, "/", SHORT)?.body;
        assert_ne!(page, last, "round robin goes on");
        last = page;
        fetched += 1;
    }
    let count = edits.join().map_err(|_| "the editing thread panicked")??;
    println!("{count} edits in 10 s, {fetched} pages meanwhile");
    assert!(count >= 4000 && fetched >= 20, "{count} edits, {fetched} pages");
    Ok(())
}

fn local_vip() -> Outcome {
    let cluster = Cluster::b(1)?;
    let vip = cluster.web(Family::V4);
    cluster.write_rules(&rules(&cluster))?;
    let path = cluster.directory.path().join("d.sock");
    let director = director(&cluster, &path).run()?;
    director.wait_ready()?;
    let second = "192.168.0.251".parse()?;
    cluster.net.director.hold_vip(second)?;
    let mut client = Client::connect(&path)?;
    let error = client.rules(&format!("-A -t {second}:80 -s rr")).unwrap_err().to_string();
    assert!(error.contains("ip address del 192.168.0.251 dev lo"), "{error}");
    assert!(matches!(client.call(&Request::Timeouts)?, Reply::Timeouts(_)));
    assert_eq!(http::get(&cluster.net.client, vip, "/", SHORT)?.body, "server1");
    Ok(())
}

/// The folder lets everybody in; the socket does not. Where there is no other user to be, only its mode can be looked at.
fn other_users() -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let cluster = Cluster::b(1)?;
    cluster.write_rules(&rules(&cluster))?;
    let folder = cluster.directory.path();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    let path = folder.join("d.sock");
    let director = director(&cluster, &path).run()?;
    director.wait_ready()?;
    assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
    // A copy that others may run, wherever the build's folder is.
    let lvsadm = folder.join("lvsadm");
    std::fs::copy(env!("CARGO_BIN_EXE_lvsadm"), &lvsadm)?;
    let mut command = std::process::Command::new(&lvsadm);
    command.arg("-Ln").arg("--socket").arg(&path).current_dir("/");
    assert_eq!(command.output()?.status.code(), Some(0));
    match command.uid(NOBODY).gid(NOBODY).output() {
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(1) && error.contains("Permission denied"), "{output:?}");
        }
        Err(error) => println!("SKIPPED, a user that may not open it: {error}"),
    }
    Ok(())
}

fn taken() -> Outcome {
    let cluster = Cluster::b(1)?;
    cluster.write_rules(&rules(&cluster))?;
    let path = cluster.directory.path().join("d.sock");
    let first = director(&cluster, &path).run()?;
    first.wait_for("control socket: ", 1, PATIENCE)?;
    refused(director(&cluster, &path), &["--control", "a director listens there already"])?;
    let ended = first.stop(nix::sys::signal::Signal::SIGTERM)?;
    assert!(ended.status.success() && !path.exists());
    Ok(())
}

fn key(service: std::net::SocketAddr) -> lvs_admin::json::Key {
    lvs_core::config::ServiceKey::tcp(service.ip(), service.port()).into()
}
