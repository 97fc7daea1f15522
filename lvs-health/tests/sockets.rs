//! Probes over sockets against real servers on the loopback interface.
#![cfg(all(target_os = "linux", feature = "sockets"))]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lvs_core::config::ServiceKey;
use lvs_health::config::{
    BodyMatch, CommandProbe, DnsProbe, HttpProbe, Probe, SocketMethod, SocketProbe, UdpProbe, UdpReply,
};
#[cfg(feature = "regex")]
use lvs_health::config::{Pattern, PatternOptions};
use lvs_health::sockets::{SocketConfig, SocketProber};
use lvs_health::{Failure, FailureKind, Outcome, ProbeId, ProbeOrder};

const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn order(serial: u64, target: SocketAddr, method: SocketMethod, timeout: Duration) -> ProbeOrder {
    ProbeOrder {
        id: ProbeId::new(0, serial),
        service: ServiceKey::tcp("192.0.2.1".parse().unwrap(), 80),
        server: target.ip(),
        probe: Arc::new(Probe::Socket(SocketProbe { port: Some(target.port()), ..SocketProbe::new(method) })),
        timeout,
    }
}

fn wait_for(prober: &mut SocketProber) -> (ProbeId, Outcome) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if let Some(found) = prober.poll_outcome() {
            return found;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("no outcome");
}

fn probe_within(target: SocketAddr, method: SocketMethod, timeout: Duration) -> Outcome {
    let mut prober = SocketProber::spawn(SocketConfig::new(1), || {}).unwrap();
    prober.start(order(1, target, method, timeout));
    wait_for(&mut prober).1
}

fn probe(target: SocketAddr, method: SocketMethod) -> Outcome {
    probe_within(target, method, Duration::from_secs(5))
}

fn failure(outcome: Outcome) -> Failure {
    if let Outcome::Failure(failure) = outcome { failure } else { panic!("{outcome:?}") }
}

/// A server that answers each connection with these bytes once it has read something, and closes.
fn serve(at: IpAddr, answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind((at, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            let mut buffer = [0; 1024];
            if connection.read(&mut buffer).unwrap_or(0) > 0 {
                let _ = connection.write_all(&answer);
            }
        }
    });
    address
}

/// A port that nobody listens at.
fn closed() -> SocketAddr {
    TcpListener::bind((LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// A listener whose owner never takes or answers anything.
fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn page(body: BodyMatch) -> SocketMethod {
    SocketMethod::Http(HttpProbe { body, ..HttpProbe::new("/") })
}

#[test]
fn tcp_and_http() {
    let good = serve(LOCALHOST, b"HTTP/1.0 200 OK\r\n\r\nwawawaw".to_vec());
    assert_eq!(probe(good, SocketMethod::Tcp), Outcome::SUCCESS);
    assert_eq!(probe(good, page(BodyMatch::Contains(b"wawa".to_vec()))), Outcome::SUCCESS);
    assert_eq!(failure(probe(good, page(BodyMatch::Md5([0; 16])))).kind, FailureKind::Content);
    let bad = serve(LOCALHOST, b"HTTP/1.0 503 Busy\r\n\r\n".to_vec());
    assert_eq!(failure(probe(bad, page(BodyMatch::Any))).text(), "HTTP status 503, which is not a good one");
    for method in [SocketMethod::Tcp, page(BodyMatch::Any)] {
        assert_eq!(failure(probe(closed(), method)).kind, FailureKind::Refused);
    }
    let (_listener, quiet) = silent();
    let start = Instant::now();
    let slow = failure(probe_within(quiet, page(BodyMatch::Any), Duration::from_millis(200)));
    assert_eq!(slow.kind, FailureKind::Slow, "{slow}");
    assert!(start.elapsed() >= Duration::from_millis(200));
    let large = [b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &vec![b'x'; 3_000_000]].concat();
    assert_eq!(
        failure(probe(serve(LOCALHOST, large), page(BodyMatch::Md5([0; 16])))).kind,
        FailureKind::Content
    );
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        let v6 = serve(Ipv6Addr::LOCALHOST.into(), b"HTTP/1.0 200 OK\r\n\r\n".to_vec());
        assert_eq!(probe(v6, page(BodyMatch::Any)), Outcome::SUCCESS);
    }
    let bound = SocketProbe {
        port: Some(good.port()),
        source: "127.0.0.9".parse().ok(),
        ..SocketProbe::new(SocketMethod::Tcp)
    };
    let mut prober = SocketProber::spawn(SocketConfig::new(1), || {}).unwrap();
    prober.start(ProbeOrder {
        probe: Arc::new(Probe::Socket(bound)),
        ..order(1, good, SocketMethod::Tcp, Duration::from_secs(5))
    });
    assert_eq!(wait_for(&mut prober).1, Outcome::SUCCESS);
}

/// The outcome of a probe from this port.
fn probe_from(port: u16, target: SocketAddr, method: SocketMethod) -> Outcome {
    let bound = SocketProbe {
        port: Some(target.port()),
        source_port: NonZeroU16::new(port),
        ..SocketProbe::new(method.clone())
    };
    let mut prober = SocketProber::spawn(SocketConfig::new(1), || {}).unwrap();
    prober.start(ProbeOrder {
        probe: Arc::new(Probe::Socket(bound)),
        ..order(1, target, method, Duration::from_secs(5))
    });
    wait_for(&mut prober).1
}

/// A port of no socket: as far as can be known, nobody else takes it meanwhile.
fn free_port() -> u16 {
    TcpListener::bind((LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn probes_come_from_the_port_they_are_given_again_and_again() {
    let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let target = listener.local_addr().unwrap();
    let (port, (sender, heard)) = (free_port(), std::sync::mpsc::channel());
    thread::spawn(move || {
        while let Ok((mut connection, from)) = listener.accept() {
            sender.send(from.port()).unwrap();
            let mut request = [0; 1024];
            if matches!(connection.read(&mut request), Ok(read) if read > 0) {
                // Kept open, so that the prober is the one who closes first.
                connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
                let _ = connection.read(&mut request);
            }
        }
    });
    for _ in 0..3 {
        assert_eq!(probe_from(port, target, SocketMethod::Tcp), Outcome::SUCCESS);
        let found = probe_from(port, target, page(BodyMatch::Contains(b"ok".to_vec())));
        assert_eq!(found, Outcome::SUCCESS, "at once after another: no TIME-WAIT");
    }
    assert_eq!(heard.iter().take(6).collect::<Vec<_>>(), [port; 6]);

    let server = UdpSocket::bind((LOCALHOST, 0)).unwrap();
    let target = server.local_addr().unwrap();
    let (sender, heard) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok((read, from)) = server.recv_from(&mut buffer) {
            // As a name server: the question, marked as an answer.
            buffer[2] |= 0x80;
            server.send_to(&buffer[..read], from).unwrap();
            sender.send(from.port()).unwrap();
        }
    });
    let udp = UdpProbe { payload: b"abc".to_vec(), reply: UdpReply::Any };
    for method in [SocketMethod::Udp(udp), SocketMethod::Dns(DnsProbe::default())] {
        for _ in 0..2 {
            assert_eq!(probe_from(port, target, method.clone()), Outcome::SUCCESS, "{method:?}");
            assert_eq!(heard.recv(), Ok(port));
        }
    }
}

#[test]
fn two_probes_from_one_port_to_one_server_blame_nobody() {
    let (_listener, quiet) = silent();
    let probe = SocketProbe {
        port: Some(quiet.port()),
        source_port: NonZeroU16::new(free_port()),
        ..SocketProbe::new(page(BodyMatch::Any))
    };
    let probe = Arc::new(Probe::Socket(probe));
    let mut prober = SocketProber::spawn(SocketConfig::new(1), || {}).unwrap();
    for serial in [1, 2] {
        let order = order(serial, quiet, SocketMethod::Tcp, Duration::from_millis(300));
        prober.start(ProbeOrder { probe: probe.clone(), ..order });
    }
    let (second, outcome) = wait_for(&mut prober);
    assert!(second == ProbeId::new(0, 2) && matches!(outcome, Outcome::Undecided(_)), "{outcome:?}");
    assert_eq!(failure(wait_for(&mut prober).1).kind, FailureKind::Slow);
}

#[cfg(feature = "regex")]
#[test]
fn a_page_fits_an_expression_or_does_not() {
    let load = serve(LOCALHOST, b"HTTP/1.0 200 OK\r\n\r\n<p>Load: 12.5 %</p>\n".to_vec());
    let fits = |expression: &str, wanted| {
        let pattern = Pattern::new(expression, PatternOptions::default()).unwrap();
        probe(load, page(BodyMatch::Pattern { pattern, wanted }))
    };
    assert_eq!(fits(r"Load: \d{1,2}\.\d %</p>$", true), Outcome::SUCCESS);
    assert_eq!(fits("[Ee]rror", false), Outcome::SUCCESS);
    assert_eq!(failure(fits(r"Load: \d{3}", true)).text(), r"the body has nothing that fits Load: \d{3}");
    assert_eq!(failure(fits("[Ll]oad", false)).kind, FailureKind::Content);
}

/// A page on which a search for `a.{300}b` never gets to know its way: at each byte it stands at other places of the expression.
#[cfg(feature = "regex")]
fn laborious_page() -> (BodyMatch, Vec<u8>) {
    let options = PatternOptions { dotall: true, ..PatternOptions::default() };
    let pattern = Pattern::new("a.{300}b", options).unwrap();
    let mut random = 1u64;
    let page = std::iter::repeat_with(|| {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        if random >> 63 == 0 { b'a' } else { b'c' }
    });
    let page = b"HTTP/1.0 200 OK\r\n\r\n".iter().copied().chain(page.take(256 * 1024)).collect();
    (BodyMatch::Pattern { pattern, wanted: false }, page)
}

#[test]
#[cfg(feature = "regex")]
fn a_page_that_is_laborious_to_search_keeps_no_other_server_waiting() {
    let (body, answer) = laborious_page();
    let hostile = serve(LOCALHOST, answer);
    let (_listener, good) = silent();
    let mut prober = SocketProber::spawn(SocketConfig::new(1), || {}).unwrap();
    for serial in 100..104 {
        prober.start(order(serial, hostile, page(body.clone()), Duration::from_secs(20)));
    }
    let mut over = 0;
    let mut longest = Duration::ZERO;
    for serial in 1..100 {
        let start = Instant::now();
        prober.start(order(serial, good, SocketMethod::Tcp, Duration::from_secs(5)));
        loop {
            let (id, outcome) = wait_for(&mut prober);
            assert_eq!(outcome, Outcome::SUCCESS);
            if id == ProbeId::new(0, serial) {
                break;
            }
            over += 1;
        }
        longest = longest.max(start.elapsed());
        thread::sleep(Duration::from_millis(2));
    }
    assert!(longest < Duration::from_millis(150), "{longest:?}");
    while over < 4 {
        assert_eq!(wait_for(&mut prober).1, Outcome::SUCCESS, "it was searched to its end");
        over += 1;
    }
}

/// More than one turn reads, with a text at its end.
fn long_page() -> (BodyMatch, Vec<u8>) {
    let page = [b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &vec![b'x'; 3_000_000], b"the end"].concat();
    (BodyMatch::Contains(b"the end".to_vec()), page)
}

fn long(body: BodyMatch) -> HttpProbe {
    HttpProbe { body, body_limit: 4 << 20, ..HttpProbe::new("/") }
}

#[test]
fn a_long_page_is_read_to_its_end() {
    let (body, answer) = long_page();
    let server = serve(LOCALHOST, answer);
    assert_eq!(probe(server, SocketMethod::Http(long(body))), Outcome::SUCCESS);
}

#[test]
fn a_prober_whose_thread_has_ended_says_so() {
    let mut prober = SocketProber::spawn(SocketConfig::new(1), || panic!("the caller's own fault")).unwrap();
    assert!(!prober.has_ended());
    prober.start(order(1, closed(), SocketMethod::Tcp, Duration::from_secs(5)));
    let start = Instant::now();
    while !prober.has_ended() {
        assert!(start.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(failure(wait_for(&mut prober).1).kind, FailureKind::Refused, "it was told before");
    prober.start(order(2, closed(), SocketMethod::Tcp, Duration::from_secs(5)));
    let (id, outcome) = wait_for(&mut prober);
    assert!(id == ProbeId::new(0, 2) && matches!(outcome, Outcome::Undecided(_)), "{outcome:?}");
}

#[test]
fn many_dead_servers_wait_beside_each_other() {
    let (_listener, quiet) = silent();
    let woken = Arc::new(AtomicUsize::new(0));
    let counter = woken.clone();
    let config = SocketConfig { max_in_flight: 60, ..SocketConfig::new(1) };
    let mut prober = SocketProber::spawn(config, move || {
        counter.fetch_add(1, Ordering::Relaxed);
    })
    .unwrap();
    let start = Instant::now();
    for serial in 0..60 {
        prober.start(order(serial, quiet, page(BodyMatch::Any), Duration::from_millis(500)));
    }
    for _ in 0..60 {
        assert!(matches!(wait_for(&mut prober).1, Outcome::Failure(_)));
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(woken.load(Ordering::Relaxed) >= 60);
}

/// A UDP server that answers every datagram by a rule.
fn answer_by(rule: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((read, from)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = rule(&buffer[..read]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    address
}

#[test]
fn udp_and_dns() {
    let udp = |reply| SocketMethod::Udp(UdpProbe { payload: b"ping".to_vec(), reply });
    let echo = answer_by(|bytes| Some(bytes.to_vec()));
    assert_eq!(probe(echo, udp(UdpReply::Begins(b"pi".to_vec()))), Outcome::SUCCESS);
    assert_eq!(failure(probe(echo, udp(UdpReply::Begins(b"x".to_vec())))).kind, FailureKind::Content);
    let mute = answer_by(|_| None);
    let short = Duration::from_millis(150);
    assert_eq!(probe_within(mute, udp(UdpReply::NotNeeded), short), Outcome::SUCCESS);
    assert_eq!(failure(probe_within(mute, udp(UdpReply::Any), short)).kind, FailureKind::NoAnswer);
    let closed = UdpSocket::bind((LOCALHOST, 0)).unwrap().local_addr().unwrap();
    assert_eq!(failure(probe(closed, udp(UdpReply::NotNeeded))).kind, FailureKind::Refused);
    let dns = || SocketMethod::Dns(DnsProbe { name: "www.example".into(), record_type: 1 });
    let name_server = |code: u8| {
        answer_by(move |query| {
            let mut answer = query.to_vec();
            answer[2] = 0x81;
            answer[3] = code;
            Some(answer)
        })
    };
    assert_eq!(probe(name_server(0), dns()), Outcome::SUCCESS);
    assert!(failure(probe(name_server(2), dns())).text().contains("SERVFAIL"));
    // An echo is no answer.
    assert_eq!(failure(probe_within(echo, dns(), short)).kind, FailureKind::NoAnswer);
}

#[test]
fn ping_says_what_right_is_missing_or_hears_its_echo() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        match probe_within(address.parse().unwrap(), SocketMethod::Ping, Duration::from_secs(2)) {
            Outcome::Success { .. } => {}
            Outcome::Undecided(why) => {
                println!("skipped: {address}: {why}");
                assert!(
                    why.text().contains("CAP_NET_RAW") || why.text().contains("could not be carried out"),
                    "{why}"
                );
            }
            Outcome::Failure(why) if address.starts_with('[') && why.kind == FailureKind::Unreachable => {
                println!("skipped: {address}: {why}");
            }
            other => panic!("{address}: {other:?}"),
        }
    }
}

fn command(script: &str, dynamic_weight: bool) -> SocketMethod {
    let arguments = ["/bin/sh", "-c", script].map(String::from).to_vec();
    SocketMethod::Command(CommandProbe { arguments, dynamic_weight })
}

#[test]
fn commands_speak_by_their_exit_status() {
    let any = SocketAddr::new(LOCALHOST, 1);
    assert_eq!(probe(any, command("exit 0", false)), Outcome::SUCCESS);
    assert_eq!(
        failure(probe(any, command("echo disk full >&2; exit 1", false))).text(),
        "exit status 1: disk full"
    );
    assert_eq!(failure(probe(any, command("exit 7", false))).kind, FailureKind::Command);
    assert_eq!(probe(any, command("exit 7", true)), Outcome::Success { weight: Some(5) });
    assert_eq!(probe(any, command("exit 2", true)), Outcome::Success { weight: Some(0) });
    assert_eq!(failure(probe(any, command("exit 1", true))).kind, FailureKind::Command);
    assert!(failure(probe(any, command("kill -9 $$", false))).text().starts_with("ended by signal 9"));
    let flood = failure(probe(any, command("head -c 3000000 /dev/zero | tr '\\0' x; exit 1", false)));
    assert!(flood.text().len() <= 512 && flood.text().starts_with("exit status 1: xxx"));
    let absent = SocketMethod::Command(CommandProbe {
        arguments: vec!["/no/such/program".into()],
        dynamic_weight: false,
    });
    assert!(matches!(probe(any, absent), Outcome::Undecided(_)));
}

#[test]
fn a_command_out_of_time_is_killed_with_all_it_started() {
    let any = SocketAddr::new(LOCALHOST, 1);
    // The shell's child says its number, and would outlive the shell.
    let script = command("sleep 300 & echo $!; wait", false);
    let found = failure(probe_within(any, script, Duration::from_millis(400)));
    assert!(found.text().starts_with("did not end in 400ms and was killed: "), "{found}");
    let child = found.text().rsplit(' ').next().unwrap();
    let gone = || match std::fs::read_to_string(format!("/proc/{child}/stat")) {
        Err(_) => true,
        Ok(stat) => stat.contains(") Z "),
    };
    let start = Instant::now();
    while !gone() {
        assert!(start.elapsed() < Duration::from_secs(5), "process {child} still runs");
        thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(all(feature = "https", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod https {
    use graviola::hashing::Sha256;
    use graviola::signing::ecdsa::{P256, SigningKey};
    use lvs_health::config::{TlsProbe, Trust};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

    use super::*;

    struct Key(SigningKey<P256>, Vec<u8>);

    impl Key {
        fn generate() -> Self {
            let key = SigningKey::<P256>::generate().unwrap();
            let mut buffer = [0; 256];
            let spki = key.to_spki_der(&mut buffer).unwrap();
            // An uncompressed point ends it.
            let point = spki[spki.len() - 65..].to_vec();
            Self(key, point)
        }
    }

    impl rcgen::PublicKeyData for Key {
        fn der_bytes(&self) -> &[u8] {
            &self.1
        }

        fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
            &rcgen::PKCS_ECDSA_P256_SHA256
        }
    }

    impl rcgen::SigningKey for Key {
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
            let mut buffer = [0; 128];
            Ok(self.0.sign_asn1::<Sha256>(&[message], &mut buffer).unwrap().to_vec())
        }
    }

    /// An HTTPS server with a certificate for `www.test`, and that certificate.
    fn serve_tls(answer: &'static [u8]) -> (SocketAddr, Vec<u8>) {
        let key = Key::generate();
        let mut params = rcgen::CertificateParams::new(vec!["www.test".into()]).unwrap();
        params.serial_number = Some(1u64.into());
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![1; 20]);
        let certificate: CertificateDer<'static> = params.self_signed(&key).unwrap().der().clone();
        let mut buffer = [0; 256];
        let private = PrivatePkcs8KeyDer::from(key.0.to_pkcs8_der(&mut buffer).unwrap().to_vec());
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.clone()], PrivateKeyDer::Pkcs8(private))
                .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else { return };
                let session = rustls::ServerConnection::new(config.clone()).unwrap();
                let mut stream = rustls::StreamOwned::new(session, connection);
                let mut buffer = [0; 1024];
                if stream.read(&mut buffer).unwrap_or(0) > 0 {
                    let _ = stream.write_all(answer);
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        });
        (address, certificate.to_vec())
    }

    #[test]
    fn a_long_page_is_read_to_its_end() {
        let (body, answer) = long_page();
        let (address, _) = serve_tls(answer.leak());
        let method = SocketMethod::Https(long(body), TlsProbe::new(Trust::NotChecked));
        assert_eq!(probe(address, method), Outcome::SUCCESS);
    }

    fn method(host: Option<&str>, trust: Trust) -> SocketMethod {
        let body = BodyMatch::Contains(b"haha".to_vec());
        let http = HttpProbe { host: host.map(Into::into), body, ..HttpProbe::new("/") };
        SocketMethod::Https(http, TlsProbe::new(trust))
    }

    #[test]
    fn a_certificate_is_checked_or_said_not_to_be() {
        let (address, certificate) = serve_tls(b"HTTP/1.0 200 OK\r\n\r\nhahahaha");
        let own = || Trust::Authorities(vec![certificate.clone()]);
        assert_eq!(probe(address, method(Some("www.test"), own())), Outcome::SUCCESS);
        assert_eq!(probe(address, method(None, Trust::NotChecked)), Outcome::SUCCESS);
        for (host, trust) in [(Some("other.test"), own()), (None, own()), (Some("www.test"), Trust::WebRoots)]
        {
            let found = failure(probe(address, method(host, trust)));
            assert_eq!(found.kind, FailureKind::Tls, "{found}");
            assert!(found.text().contains("certificate"), "{found}");
        }
        let (bad, _) = serve_tls(b"HTTP/1.0 500 Oops\r\n\r\n");
        assert_eq!(failure(probe(bad, method(None, Trust::NotChecked))).kind, FailureKind::Status);
        let plain = serve(LOCALHOST, b"HTTP/1.0 200 OK\r\n\r\nhahahaha".to_vec());
        assert_eq!(failure(probe(plain, method(None, Trust::NotChecked))).kind, FailureKind::Tls);
    }
}
