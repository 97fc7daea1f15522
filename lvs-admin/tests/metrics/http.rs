//! The server, and clients that mean no good.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lvs_admin::metrics::{PAGE, Server, ServerOptions, Snapshot};

use crate::invention::{EVIL, snapshot};

/// Longer than any answer should take on a busy machine.
const LONG: Duration = Duration::from_secs(20);

struct Served {
    server: Server,
    /// How many snapshots were taken.
    taken: Arc<AtomicUsize>,
}

fn serve(options: ServerOptions) -> Served {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(listener, options, move || {
        counter.fetch_add(1, Ordering::Relaxed);
        snapshot(3)
    });
    Served { server: server.unwrap(), taken }
}

fn impatient() -> ServerOptions {
    ServerOptions {
        patience: Duration::from_millis(300),
        lifetime: Duration::from_millis(900),
        ..ServerOptions::default()
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

/// What comes back until the server closes.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn ask(served: &Served, method: &str, path: &str, more: &str) -> String {
    let address = served.server.address();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n");
    exchange(address, request.as_bytes())
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("nothing")
}

fn is_well(served: &Served) {
    assert_eq!(status(&ask(served, "GET", "/healthz", "")), "200");
}

#[test]
fn four_paths_and_nothing_else() {
    let served = serve(ServerOptions::default());
    let page = ask(&served, "GET", "/", "");
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: text/html; charset=utf-8") && body == PAGE, "{head}");
    for header in [
        "content-security-policy: default-src 'none'; script-src 'sha256-",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    assert!(!head.contains("access-control") && !head.contains("unsafe-inline"), "{head}");

    let json = ask(&served, "GET", "/stats.json?x=1", "");
    let (head, body) = json.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    let value: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(value["name"], EVIL);
    assert_eq!(value["services"][0]["id"], "TCP 192.0.2.250:80");
    assert_eq!(value["services"][0]["servers"][3]["health"], "down");
    assert_eq!(value["services"][0]["servers"][3]["reason"], EVIL);
    assert_eq!(value["services"][0]["servers"][3]["member"], false);
    assert_eq!(value["warnings"][0]["kind"], "conflict");

    let metrics = ask(&served, "GET", "/metrics", "");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4"));
    assert!(metrics.contains("\nnode_ipvs_connections_total 0\n"));
    for path in ["/metrics/", "/favicon.ico", "//", "/../etc/passwd", "/%2e%2e/", "*"] {
        let status = status(&ask(&served, "GET", path, "")).to_owned();
        assert!(status == "404" || status == "400", "{path}: {status}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"] {
        let answer = ask(&served, method, "/metrics", "Content-Length: 0\r\n");
        assert!(status(&answer) == "405" && answer.contains("allow: GET, HEAD"), "{method}: {answer}");
    }
}

#[test]
fn head_has_the_length_and_no_body() {
    let served = serve(ServerOptions::default());
    for path in ["/", "/healthz", "/nowhere"] {
        let get = ask(&served, "GET", path, "");
        let head = ask(&served, "HEAD", path, "");
        let length = |answer: &str| {
            answer.lines().find_map(|line| line.strip_prefix("content-length: ")).map(str::to_owned)
        };
        assert_eq!((status(&get), length(&get)), (status(&head), length(&head)));
        assert!(head.ends_with("\r\n\r\n") && !get.ends_with("\r\n\r\n"));
    }
}

#[test]
fn other_hosts_names_are_refused() {
    let options = ServerOptions { hosts: vec!["lb1.example.net".into()], ..ServerOptions::default() };
    let served = serve(options);
    let with = |host: &str| {
        let request = format!("GET /stats.json HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        status(&exchange(served.server.address(), request.as_bytes())).to_owned()
    };
    assert_eq!(with("Host: lb1.example.net\r\n"), "200");
    assert_eq!(with("Host: localhost:80\r\n"), "200");
    assert_eq!(with("Host: evil.example\r\n"), "421");
    assert_eq!(with("Host: \u{e9}vil\r\n"), "421");
    assert_eq!(with(""), "400");
    assert_eq!(with("Host: localhost\r\nHost: evil.example\r\n"), "400");
    let whole = b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&exchange(served.server.address(), whole)), "421");
    assert_eq!(status(&exchange(served.server.address(), b"GET / HTTP/1.0\r\n\r\n")), "200");
}

#[test]
fn snapshots_are_shared_by_all_who_ask() {
    let served = serve(ServerOptions { refresh: Duration::ZERO, ..ServerOptions::default() });
    let start = Instant::now();
    for _ in 0..40 {
        assert_eq!(status(&ask(&served, "GET", "/stats.json", "")), "200");
        assert_eq!(status(&ask(&served, "GET", "/metrics", "")), "200");
    }
    let most = start.elapsed().as_millis() / 250 + 1;
    let taken = served.taken.load(Ordering::Relaxed) as u128;
    assert!((1..=most).contains(&taken), "{taken} snapshots, {most} at most");
    // The page alone needs none.
    let other = serve(ServerOptions::default());
    ask(&other, "GET", "/", "");
    assert_eq!(other.taken.load(Ordering::Relaxed), 0);
}

#[test]
fn a_slow_request_is_given_up_and_keeps_nobody_waiting() {
    let served = serve(impatient());
    let mut slow = connect(served.server.address());
    let start = Instant::now();
    let mut closed = false;
    for byte in
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".iter().cycle()
    {
        is_well(&served);
        if slow.write_all(&[*byte]).is_err() {
            closed = true;
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        if start.elapsed() > LONG {
            break;
        }
    }
    assert!(closed, "it may send a byte now and then for ever");
    // One that says nothing at all, and one that stays after its answer.
    for request in ["", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let start = Instant::now();
        exchange(served.server.address(), request.as_bytes());
        assert!(start.elapsed() < LONG / 2, "{request:?} kept its place");
    }
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let served = serve(ServerOptions { max_connections: 1, ..impatient() });
    let mut lazy = connect(served.server.address());
    // Answers of some megabytes: more than the system's buffers take.
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(400);
    lazy.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let _ = lazy.write_all(request.as_bytes());
    // There is one place only: somebody else gets it when it is free again.
    let start = Instant::now();
    is_well(&served);
    assert!(start.elapsed() < LONG / 2);
}

#[test]
fn huge_and_malformed_requests_end_in_an_error() {
    let served = serve(impatient());
    let address = served.server.address();
    let refused = |request: Vec<u8>| {
        let mut stream = connect(address);
        // The server may close before it has all of it.
        let _ = stream.write_all(&request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = status(&answer).to_owned();
        assert!(answer.is_empty() || status.starts_with('4'), "{status}: {answer}");
        is_well(&served);
    };
    let header = |name: &str, value: &str| {
        format!("GET / HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\n\r\n").into_bytes()
    };
    refused(header("X", &"a".repeat(1 << 20)));
    refused(format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(1 << 20)).into_bytes());
    refused(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(2000)).into_bytes());
    refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(100));
    refused(b"GET / HTTP/9.9\r\n\r\n".to_vec());
    refused(b"GET\r\n\r\n".to_vec());
    refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec());
    refused(header("Content-Length", "-1"));
    refused(header("Content-Length", "99999999999999999999999"));
    refused(vec![0; 1 << 16]);
    refused(b"\r\n".repeat(10_000));
}

#[test]
fn a_body_is_not_read() {
    let served = serve(impatient());
    let mut stream = connect(served.server.address());
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
        .unwrap();
    let mut sent = 0_u64;
    let start = Instant::now();
    while start.elapsed() < LONG && stream.write_all(&[b'x'; 1 << 16]).is_ok() {
        sent += 1 << 16;
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(start.elapsed() < LONG, "{sent} bytes of a body went through");
    is_well(&served);
}

#[test]
fn many_connections_are_served_in_turn() {
    let served = serve(ServerOptions { max_connections: 4, ..impatient() });
    let idle: Vec<TcpStream> = (0..100).map(|_| connect(served.server.address())).collect();
    let start = Instant::now();
    is_well(&served);
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    drop(idle);
    let served = Arc::new(serve(ServerOptions::default()));
    let clients: Vec<_> = (0..32)
        .map(|_| {
            let served = Arc::clone(&served);
            std::thread::spawn(move || (0..20).for_each(|_| is_well(&served)))
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn dropping_it_ends_connections_and_frees_the_port() {
    let served = serve(ServerOptions::default());
    let address = served.server.address();
    let mut open = connect(address);
    open.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut some = [0; 16];
    open.read_exact(&mut some).unwrap();
    let start = Instant::now();
    drop(served);
    assert!(start.elapsed() < Duration::from_secs(5));
    let mut rest = Vec::new();
    let _ = open.read_to_end(&mut rest);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_source_that_panics_once_is_asked_again() {
    let mut calls = 0;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(listener, ServerOptions::default(), move || {
        calls += 1;
        assert!(calls > 1, "no figures the first time (this message belongs to the test)");
        Snapshot::default()
    });
    let served = Served { server: server.unwrap(), taken: Arc::default() };
    assert_eq!(ask(&served, "GET", "/stats.json", ""), "");
    assert_eq!(status(&ask(&served, "GET", "/stats.json", "")), "200");
}
