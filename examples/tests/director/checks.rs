//! What checks ask, and from where, on real networks.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use lvs_testkit::lab::{Host, Task, http};

use crate::cluster::Cluster;
use crate::health::{file, start, wait_for_reason, wait_for_state, write};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a_page_that_no_longer_fits_its_expression_takes_the_server_down", expression),
    ("checks_from_a_fixed_port_come_from_there_every_time", fixed_port),
];

/// The same for the way of clients' packets and for the server's own address: a page that fits, one that does not, one with what must
/// not be there, and the first one again.
fn expression() -> Outcome {
    for via in ["vip", "rip"] {
        let mut cluster = Cluster::b(1)?;
        let pages = r#"[{ regex = '^load \d{1,2}(\.\d)?, (fine|busy)$', regex_caseless = true, regex_multiline = true },
            { regex = "out of (order|memory)", regex_no_match = true }]"#;
        let check =
            format!("check = [{{ kind = \"http\", via = \"{via}\", url = {pages} }}]\ndamping = false");
        write(&cluster, &file(&cluster, &check.replace("\n            ", " ")))?;
        cluster.stop_web(0);
        let host = Host::clone(&cluster.net.servers[0].host);
        let at: SocketAddr = "[::]:80".parse()?;
        let serve = |text: &str| http::Server::start(&host, at, text);
        let good = serve("<h1>here I am</h1>\nLoad 12.5, FINE\n<p>bye\n")?;
        let director = start(&cluster, "")?;
        wait_for_state(&cluster, 0, "up")?;
        std::thread::sleep(Duration::from_millis(600));
        assert_eq!(director.lines(" is down"), [""; 0], "via {via}");
        drop(good);

        let high = serve("Load 112.5, fine\n")?;
        wait_for_reason(&cluster, r"the body has nothing that fits ^load \d{1,2}(\.\d)?, (fine|busy)$")?;
        wait_for_state(&cluster, 0, "down")?;
        drop(high);
        let broken = serve("load 1, busy\nout of memory\n")?;
        wait_for_reason(&cluster, "the body has what must not be there: out of (order|memory)")?;
        wait_for_state(&cluster, 0, "down")?;
        drop(broken);
        let _good = serve("load 1, busy")?;
        wait_for_state(&cluster, 0, "up")?;
    }
    Ok(())
}

/// Says from which ports connections come; who connects closes.
fn listen(host: &Host) -> Result<(mpsc::Receiver<SocketAddr>, Task<()>), Failed> {
    let listener = host.run(|| TcpListener::bind("0.0.0.0:8080"))?;
    listener.set_nonblocking(true)?;
    let (sender, heard) = mpsc::channel();
    let task = host.spawn(move |stop| {
        let mut open = Vec::new();
        while !stop.requested() {
            match listener.accept() {
                Ok((stream, from)) => {
                    open.push(stream);
                    let _ = sender.send(from);
                }
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    });
    Ok((heard, task))
}

/// Also when the last connection is over but a moment ago.
fn fixed_port() -> Outcome {
    let cluster = Cluster::b(1)?;
    let check = "check = [{ kind = \"tcp\", via = \"rip\", connect_port = 8080, bind_port = 5000 }]";
    write(&cluster, &file(&cluster, check))?;
    let (heard, _server) = listen(&cluster.net.servers[0].host)?;
    let director = start(&cluster, "")?;
    wait_for_state(&cluster, 0, "up")?;
    let deadline = Instant::now() + crate::program::PATIENCE;
    for _ in 0..8 {
        let from = heard.recv_timeout(deadline.saturating_duration_since(Instant::now()))?;
        assert_eq!(from, "192.168.0.208:5000".parse()?);
    }
    wait_for_state(&cluster, 0, "up")?;
    assert_eq!(director.lines(" is down"), [""; 0]);
    Ok(())
}
