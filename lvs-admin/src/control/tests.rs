use std::io::{BufRead, BufReader, Read, Write};
use std::num::NonZeroU16;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant as SystemTime};

use lvs_core::connection::HeapMemory;
use lvs_core::director::DirectorGroup;
use lvs_core::observe::Observer as _;
use lvs_core::{DirectorConfig, Instant, InterfaceConfig, MacAddr, PortId};

use super::*;
use crate::config::forecast::Forecast;
use crate::config::{Configuration, ServerOrder, difference};
use crate::json::{Key, Plan, PlanKind};

const RULES: &str = "-A -t 192.168.0.250:80 -s wrr -p 360\n\
                     -a -t 192.168.0.250:80 -r 192.168.0.188 -w 2 -x 100 -y 50\n\
                     -a -t 192.168.0.250:80 -r 192.168.0.111\n";

/// A director with a control socket in a directory of its own.
struct Bench {
    group: DirectorGroup,
    server: Server,
    directory: tempfile::TempDir,
}

fn config() -> DirectorConfig {
    let eth0 =
        InterfaceConfig::new(PortId(0), MacAddr([2, 0, 0, 0, 0, 1]), "192.168.0.208/24".parse().unwrap());
    let mut config = DirectorConfig::new(vec![eth0], [7; 32]);
    config.max_connections = 4096;
    config
}

/// Those of [`RULES`].
fn changes() -> Vec<lvs_core::Change> {
    crate::rules::load(RULES.as_bytes()).unwrap().iter().map(|rule| rule.change).collect()
}

impl Bench {
    fn new() -> Self {
        Self::with_file(None)
    }

    fn with_file(file: Option<Box<dyn File>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = config();
        let two = NonZeroU16::new(2).unwrap();
        let (group, _) = DirectorGroup::new(&config, Instant::ZERO, two, &HeapMemory).unwrap();
        let handler = GroupHandler::new(group.clone(), || Instant::ZERO, "0.0.0-test");
        let handler = match file {
            Some(file) => handler.with_file(file),
            None => handler,
        };
        let server = Server::start(&directory.path().join("lvs/d.sock"), Arc::new(handler)).unwrap();
        Self { group, server, directory }
    }

    fn client(&self) -> Client {
        Client::connect(self.server.path()).unwrap()
    }

    fn raw(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.server.path()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        BufReader::new(stream)
    }
}

fn say(stream: &mut BufReader<UnixStream>, line: &[u8]) -> String {
    stream.get_mut().write_all(line).unwrap();
    let mut answer = String::new();
    stream.read_line(&mut answer).unwrap();
    answer
}

#[test]
fn rules_are_carried_out_listed_and_saved() {
    let bench = Bench::new();
    let mut client = bench.client();
    let Ok(Reply::Hello { protocol, director, workers, usage }) = client.call(&Request::Hello) else {
        panic!("no greeting");
    };
    assert_eq!((protocol, director.as_str(), workers, usage.capacity), (1, "0.0.0-test", 2, 4096));
    assert!(client.rules(RULES).unwrap().is_empty());
    let notes = client.rules("-a -t 192.168.0.250:80 -r 192.168.0.1:8080").unwrap();
    assert!(notes[0].contains("8080"), "{notes:?}");
    let (services, size) = client.services().unwrap();
    assert_eq!((services.clone(), size), (bench.group.services(), 4096));
    assert_eq!(services[0].destinations.len(), 3);
    let Ok(Reply::Rules(saved)) = client.call(&Request::Save) else { panic!("nothing saved") };
    assert!(saved.contains("-x 100 -y 50"), "{saved}");
    let again = Bench::new();
    again.client().rules(&saved).unwrap();
    assert_eq!(again.client().services().unwrap().0, services);
}

/// Follows, or refuses to, and counts how often it was told.
struct Counting {
    follows: bool,
    before: AtomicU32,
    after: AtomicU32,
}

impl Follower for Counting {
    fn before(&self, changes: &[lvs_core::Change]) -> Result<(), String> {
        self.before.fetch_add(changes.len() as u32, Ordering::Relaxed);
        if self.follows { Ok(()) } else { Err("no room".to_owned()) }
    }

    fn after(&self, changes: &[lvs_core::Change]) {
        self.after.fetch_add(changes.len() as u32, Ordering::Relaxed);
    }
}

#[test]
fn an_edit_that_cannot_be_followed_is_refused_and_taken_back() {
    let (group, _) = DirectorGroup::new(&config(), Instant::ZERO, NonZeroU16::MIN, &HeapMemory).unwrap();
    for follows in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let follower = Arc::new(Counting { follows, before: 0.into(), after: 0.into() });
        let handler = GroupHandler::new(group.clone(), || Instant::ZERO, "0.0.0-test");
        let handler = handler.with_follower(Arc::clone(&follower) as _);
        let server = Server::start(&directory.path().join("d.sock"), Arc::new(handler)).unwrap();
        let result = Client::connect(server.path()).unwrap().rules(RULES);
        let told = (follower.before.load(Ordering::Relaxed), follower.after.load(Ordering::Relaxed));
        assert_eq!((told, group.services().len()), ((3, 3), usize::from(follows)));
        match result {
            Ok(_) => assert!(follows),
            Err(CallError::Refused(refusal)) => {
                assert_eq!((refusal.text.as_str(), follows), ("no room", false));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn all_lines_or_none() {
    let bench = Bench::new();
    let mut client = bench.client();
    let text = format!("{RULES}-a -t 192.168.0.250:80 -r 192.168.0.111\n");
    let Err(CallError::Refused(refusal)) = client.rules(&text) else { panic!("a server twice is taken") };
    assert_eq!((refusal.fault, refusal.line), (Fault::Refused, Some(4)));
    assert!(refusal.text.contains("Destination already exists"), "{refusal}");
    assert!(bench.group.services().is_empty());
    let Err(CallError::Refused(refusal)) = client.rules("-A -t 192.168.0.250:80 -s fast") else {
        panic!("an unknown scheduler is taken");
    };
    assert_eq!((refusal.fault, refusal.line), (Fault::Malformed, Some(1)));
}

#[test]
fn many_services_come_in_portions() {
    let bench = Bench::new();
    let text: String = (1..=200).map(|port| format!("-A -t 192.168.0.250:{port} -s rr\n")).collect();
    bench.client().rules(&text).unwrap();
    let (services, _) = bench.client().services().unwrap();
    assert_eq!(services.len(), 200);
}

#[test]
fn knobs_timeouts_drains_and_counters() {
    let bench = Bench::new();
    let mut client = bench.client();
    client.rules(RULES).unwrap();
    client.done(&Request::SetKnob { setting: "conn_reuse_mode=2".to_owned() }).unwrap();
    assert_eq!(bench.group.knobs().conn_reuse_mode, 2);
    let Ok(Reply::Knobs(knobs)) = client.call(&Request::Knobs) else { panic!("no knobs") };
    assert!(knobs.contains(&Knob { name: "conn_reuse_mode".to_owned(), value: "2".to_owned() }));
    let refused = client.done(&Request::SetKnob { setting: "conn_reuse_mode=9".to_owned() });
    assert!(refused.unwrap_err().to_string().contains("from 0 to 3"));

    client.rules("--set 800 0 0").unwrap();
    let Ok(Reply::Timeouts(timeouts)) = client.call(&Request::Timeouts) else { panic!("no time-outs") };
    assert_eq!((timeouts.tcp, timeouts.tcp_fin, timeouts.udp), (800, 120, 300));

    let service: Key = bench.group.services()[0].config.key.into();
    let drain = |server: &str| Request::Drain { service, server: server.parse().unwrap(), deadline: 30 };
    client.done(&drain("192.168.0.188")).unwrap();
    let weights: Vec<u32> =
        bench.group.services()[0].destinations.iter().map(|server| server.config.weight).collect();
    assert_eq!(weights, [1, 0]);
    assert_eq!(client.done(&drain("192.168.0.9")).unwrap_err().to_string(), "No such destination");

    let Ok(Reply::Statistics(counted)) = client.call(&Request::Statistics) else { panic!("no counters") };
    assert_eq!((counted["frames"], counted["dropped_truncated"]), (0, 0));
    let mut seen = 0;
    client
        .connections(|_| -> Result<(), CallError> {
            seen += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, 0);
}

/// A file that changes nothing the first time and is wrong the second.
struct Twice(AtomicU32);

impl File for Twice {
    fn reload(&self) -> Result<Vec<String>, String> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(vec!["nothing changed".to_owned()]),
            _ => Err("rules.ipvs:3: no".to_owned()),
        }
    }

    fn plan(&self, configuration: Configuration) -> Result<Plan, String> {
        let difference = difference(&Configuration::default(), &configuration, ServerOrder::Kept);
        Ok(Plan::new(&difference, &Forecast::new(&Configuration::default(), &configuration)))
    }
}

#[test]
fn a_reload_is_the_programs_business() {
    let bench = Bench::new();
    let error = bench.client().done(&Request::Reload).unwrap_err();
    assert!(error.to_string().contains("without a file"), "{error}");
    let bench = Bench::with_file(Some(Box::new(Twice(AtomicU32::new(0)))));
    assert_eq!(bench.client().done(&Request::Reload).unwrap(), ["nothing changed"]);
    assert_eq!(bench.client().done(&Request::Reload).unwrap_err().to_string(), "rules.ipvs:3: no");
}

#[test]
fn a_plan_travels_as_toml() {
    let plan = |bench: &Bench, text: &str| {
        bench
            .client()
            .call(&Request::Plan { configuration: text.to_owned() })
            .map_err(|error| error.to_string())
    };
    assert!(plan(&Bench::new(), "").unwrap_err().contains("without a file"));
    let bench = Bench::with_file(Some(Box::new(Twice(AtomicU32::new(0)))));
    let text = "[timeouts]\nudp = 10\n[director]\nworkers = 2\n";
    let Ok(Reply::Plan(plan_of_it)) = plan(&bench, text) else { panic!("no plan") };
    let kinds: Vec<_> = plan_of_it.edits.iter().map(|edit| edit.kind).collect();
    assert_eq!(kinds, [PlanKind::Changed, PlanKind::Restart]);
    let lines = "~ time-outs: udp 300s -> 10s\n\
                 ! director.workers 1 -> 2: takes a restart, and stays as it is until then\n";
    assert_eq!(plan_of_it.to_string(), lines);
    let error = plan(&bench, "[director]\nwrokers = 2\n").unwrap_err();
    assert!(error.starts_with("configuration:2: director.wrokers: "), "{error}");
}

#[test]
fn a_program_has_its_say_before_an_edit() {
    let bench = Bench::new();
    let check = |changes: &[lvs_core::Change]| match changes.len() {
        1 => Ok(()),
        more => Err(format!("{more} at a time")),
    };
    let handler = GroupHandler::new(bench.group.clone(), || Instant::ZERO, "").with_check(Box::new(check));
    let server = Server::start(&bench.directory.path().join("other"), Arc::new(handler)).unwrap();
    let mut client = Client::connect(server.path()).unwrap();
    assert_eq!(client.rules(RULES).unwrap_err().to_string(), "3 at a time");
    assert!(bench.group.services().is_empty());
    client.rules("-A -t 192.168.0.250:80 -s rr").unwrap();
}

#[test]
fn nonsense_is_answered_and_the_conversation_goes_on() {
    let bench = Bench::new();
    let mut stream = bench.raw();
    for (line, expected) in [
        (&b"hello\n"[..], "no JSON"),
        (b"\n", "no JSON"),
        (b"[1]\n", "expected a JSON object"),
        (b"{\"do\":\"hello\"}\n", "the field lvs is missing"),
        (b"{\"lvs\":2,\"do\":\"hello\"}\n", "version 2 of the protocol is not spoken here, only 1"),
        (b"{\"lvs\":1}\n", "missing field `do`"),
        (b"{\"lvs\":1,\"do\":\"explode\"}\n", "unknown variant `explode`"),
        (b"{\"lvs\":1,\"do\":\"rules\",\"text\":1}\n", "expected a string"),
        (b"\xff\xfe\n", "no JSON"),
    ] {
        let answer = say(&mut stream, line);
        assert!(answer.starts_with("{\"error\":{") && answer.contains(expected), "{answer}");
    }
    assert!(say(&mut stream, b"{\"lvs\":1,\"do\":\"hello\"}\n").starts_with("{\"ok\":{\"hello\":"));
    // Two requests in one write are two requests, and one in two writes is one.
    stream.get_mut().write_all(b"{\"lvs\":1,\"do\":\"timeouts\"}\n{\"lvs\":1,").unwrap();
    let mut answer = String::new();
    stream.read_line(&mut answer).unwrap();
    assert!(answer.contains("\"tcp\":900"));
    assert!(say(&mut stream, b"\"do\":\"knobs\"}\n").contains("sloppy_tcp"));
}

#[test]
fn half_a_request_disturbs_nobody_and_is_given_up() {
    let bench = Bench::new();
    let mut slow = bench.raw();
    slow.get_mut().write_all(b"{\"lvs\":1,").unwrap();
    let begun = SystemTime::now();
    assert_eq!(bench.client().services().unwrap().0, []);
    assert!(begun.elapsed() < Duration::from_secs(4));
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty() && begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn so_many_clients_and_no_more() {
    let bench = Bench::new();
    let mut clients: Vec<_> = (0..MAX_CLIENTS).map(|_| bench.raw()).collect();
    for client in &mut clients {
        assert!(say(client, b"{\"lvs\":1,\"do\":\"timeouts\"}\n").starts_with("{\"ok\""));
    }
    let error = bench.client().call(&Request::Hello).unwrap_err();
    assert!(matches!(&error, CallError::Refused(refusal) if refusal.fault == Fault::Busy), "{error}");
    drop(clients.pop());
    let deadline = SystemTime::now() + Duration::from_secs(10);
    while bench.client().call(&Request::Hello).is_err() {
        assert!(SystemTime::now() < deadline, "no seat became free");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_socket_is_the_owners_and_goes_with_the_server() {
    let bench = Bench::new();
    let path: PathBuf = bench.server.path().to_owned();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let handler = || Arc::new(GroupHandler::new(bench.group.clone(), || Instant::ZERO, ""));
    assert!(matches!(Server::start(&path, handler()), Err(ServerError::InUse(_))));
    drop(bench.server);
    assert!(!path.exists());
    let error = Client::connect(&path).unwrap_err();
    assert!(error.to_string().contains("--control"), "{error}");

    // What an ended director left is replaced; what is no socket is left alone.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(Server::start(&path, handler()).unwrap());
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(Server::start(&path, handler()), Err(ServerError::NoSocket(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    drop(bench.directory);
}

/// A director with live traces: its socket, and what its first worker is watched by.
fn traced(bench: &Bench) -> (Server, Witness, Arc<Tracer>) {
    let tracer = Tracer::new();
    let handler = GroupHandler::new(bench.group.clone(), || Instant::ZERO, "");
    let handler = Arc::new(handler.with_tracer(Arc::clone(&tracer)));
    let server = Server::start(&bench.directory.path().join("traced"), handler).unwrap();
    (server, tracer.witness(Some(0)), tracer)
}

fn counted_traces(server: &Server) -> u64 {
    let Ok(Reply::Statistics(counted)) = Client::connect(server.path()).unwrap().call(&Request::Statistics)
    else {
        panic!("no counters")
    };
    counted["traces"]
}

fn wait_for_traces(server: &Server, count: u64) {
    let deadline = SystemTime::now() + Duration::from_secs(10);
    while counted_traces(server) != count {
        assert!(SystemTime::now() < deadline, "never {count} traces");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_trace_is_told_until_its_client_goes() {
    let bench = Bench::new();
    bench.client().rules(RULES).unwrap();
    let (server, mut witness, _) = traced(&bench);
    assert_eq!(counted_traces(&server), 0);
    let mut told = Vec::new();
    let client = Client::connect(server.path()).unwrap();
    let result = client.trace("protocol=tcp connection=new", None, |traced| -> Result<_, CallError> {
        if traced.frames.is_empty() {
            assert_eq!(counted_traces(&server), 1);
            for port in [80, 81] {
                let vip = format!("192.168.0.250:{port}").parse().unwrap();
                let mut bytes = lvs_testkit::frames::tcp("110.0.0.1:4000".parse().unwrap(), vip)
                    .flags(lvs_testkit::frames::TcpFlags::SYN)
                    .macs(MacAddr([2, 0, 0, 0, 0, 9]), MacAddr([2, 0, 0, 0, 0, 1]))
                    .build();
                let mut frame = lvs_core::Frame::new(&mut bytes, PortId(0));
                let mut alone = lvs_core::Director::new(config(), Instant::ZERO).unwrap();
                alone.apply(Instant::ZERO, &changes()).unwrap();
                let _ = alone.handle_frame_observed(Instant::ZERO, &mut frame, &mut witness);
            }
        }
        told.extend(traced.frames);
        Ok(if told.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    });
    result.unwrap();
    let [frame] = &told[..] else { panic!("{told:?}") };
    let is = &frame.explained;
    assert_eq!((is.frame, is.worker, is.connection.as_str()), (1, Some(0), "new"));
    assert_eq!(is.service.as_deref(), Some("TCP 192.168.0.250:80"));
    assert!(is.why.contains("is a virtual service, and a SYN may open a connection"), "{is:?}");
    let labels: Vec<&str> = frame.lines.iter().map(|(label, _)| label.as_str()).collect();
    assert_eq!(labels, ["connection", "service", "servers", "scheduler", "held", "verdict"]);
    wait_for_traces(&server, 0);
    assert!(!witness.watches(Instant::ZERO));
}

#[test]
fn traces_that_cannot_be_had_are_refused() {
    let bench = Bench::new();
    let trace = |server: &Server, filter: &str| {
        let client = Client::connect(server.path()).unwrap();
        let result = client.trace(filter, None, |_| Ok::<_, CallError>(ControlFlow::Break(())));
        match result {
            Err(CallError::Refused(refusal)) => Some((refusal.fault, refusal.text)),
            other => other.map(|()| None).unwrap(),
        }
    };
    let (fault, _) = trace(&bench.server, "").unwrap();
    assert_eq!(fault, Fault::Unavailable);
    let (server, _, tracer) = traced(&bench);
    let (fault, text) = trace(&server, "verdict=lost").unwrap();
    assert_eq!(fault, Fault::Malformed);
    assert!(text.starts_with("filter: verdict=lost: `lost` is no verdict"), "{text}");
    let others: Vec<Trace> =
        (0..MAX_TRACES).map(|_| tracer.watch(crate::explain::Filter::default()).unwrap()).collect();
    let (fault, text) = trace(&server, "").unwrap();
    assert!(fault == Fault::Busy && text.contains("4 traces run already"), "{text}");
    drop(others);
    assert_eq!(trace(&server, ""), None);
}

/// A trace holds up no end of the director, and one that nobody reads ends.
#[test]
fn a_trace_ends_with_the_server_and_when_the_time_is_over() {
    let bench = Bench::new();
    let (server, _, _) = traced(&bench);
    let client = Client::connect(server.path()).unwrap();
    let begun = SystemTime::now();
    let until = Some(begun + Duration::from_millis(300));
    client.trace("", until, |_| Ok::<_, CallError>(ControlFlow::Continue(()))).unwrap();
    let time = begun.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&time), "{time:?}");
    let mut stream = BufReader::new(UnixStream::connect(server.path()).unwrap());
    stream.get_ref().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let begins = "{\"ok\":{\"traced\":{\"frames\":[],\"untold\":0,\"unlooked\":0}}}\n";
    assert_eq!(say(&mut stream, b"{\"lvs\":1,\"do\":\"trace\"}\n"), begins);
    // It has said its last word and still listens.
    stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    wait_for_traces(&server, 1);
    let begun = SystemTime::now();
    drop(server);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "{\"error\":{\"fault\":\"ended\",\"text\":\"the director has ended\"}}\n");
}

/// What the fuzz target is given at its start, and pieces of it.
#[test]
fn any_lines_are_carried_out_or_refused() {
    let any = |bytes: &[u8]| {
        fuzzing::lines(bytes);
        fuzzing::command_lines(bytes);
    };
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/control");
    let mut count = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        any(&bytes);
        for end in (0..bytes.len()).step_by(7) {
            any(&bytes[..end]);
            let mut other = bytes.clone();
            other[end] ^= 0x41;
            any(&other);
        }
        count += 1;
    }
    assert!(count >= 9, "the corpus is missing");
}
