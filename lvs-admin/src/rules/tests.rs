//! Whole lines and files: what they mean, what is wrong with them, and how it is said.

use std::time::Duration;

use lvs_core::config::{ChangeError, DestinationConfig, SchedulerKind, ServiceConfig};

use super::*;

fn service() -> ServiceKey {
    ServiceKey::tcp("192.0.2.10".parse().unwrap(), 80)
}

fn server(last: u8) -> DestinationConfig {
    DestinationConfig::new(IpAddr::from([192, 0, 2, last]), 80)
}

#[track_caller]
fn one(line: &str) -> Change {
    match parse(line.as_bytes()).unwrap().as_slice() {
        [Rule { line: 1, change, warning: None }] => *change,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn every_command_in_every_spelling() {
    let added = Change::AddService(ServiceConfig::new(service(), SchedulerKind::RoundRobin));
    for line in [
        "-A -t 192.0.2.10:80 -s rr",
        "ipvsadm -A -t 192.0.2.10:80 -s rr",
        "-A -s rr -t 192.0.2.10:80",
        "-At 192.0.2.10:80 -srr",
        "--add-service --tcp-service 192.0.2.10:80 --scheduler rr",
        "--add-service --tcp-service=192.0.2.10:80 --scheduler=rr # the shop",
        "  -A\t-t=192.0.2.10:80  -s=rr \r",
    ] {
        assert_eq!(one(line), added, "{line}");
    }
    let udp = ServiceKey::udp("2001:db8::10".parse().unwrap(), 53);
    let config = ServiceConfig::new(udp, SchedulerKind::WeightedRoundRobin);
    assert_eq!(one("-E -u [2001:db8::10]:53 -s wrr"), Change::EditService(config));
    assert_eq!(one("--delete-service --udp-service [2001:db8::10]:53"), Change::RemoveService(udp));

    let add = |weight| Change::AddDestination(service(), server(1).weight(weight));
    assert_eq!(one("-a -t 192.0.2.10:80 -r 192.0.2.1"), add(1));
    assert_eq!(one("-a -t 192.0.2.10:80 -r 192.0.2.1:80 -g -w 0"), add(0));
    assert_eq!(one("-at 192.0.2.10:80 -gw2147483647 -r192.0.2.1"), add(2_147_483_647));
    let long = "--add-server --tcp-service 192.0.2.10:80 --real-server 192.0.2.1 --gatewaying --weight 3";
    assert_eq!(one(long), add(3));
    let edit = Change::EditDestination(service(), server(1).weight(5));
    assert_eq!(one("-e -t 192.0.2.10:80 -r 192.0.2.1 -w 5"), edit);
    let remove = Change::RemoveDestination { service: service(), address: server(1).address, port: 80 };
    assert_eq!(one("--delete-server -t 192.0.2.10:80 -r 192.0.2.1"), remove);

    assert_eq!(one("-C"), Change::Clear);
    assert_eq!(one("--clear"), Change::Clear);
    assert_eq!(one("-Z"), Change::ZeroStatistics(None));
    assert_eq!(one("--zero -t 192.0.2.10:80"), Change::ZeroStatistics(Some(service())));
}

#[test]
fn a_timeout_of_zero_keeps_the_one_before() {
    let seconds = Duration::from_secs;
    let rules = parse(b"--set 0 60 0\n--set 10 0 2678400\n").unwrap();
    let first = Timeouts { tcp: seconds(900), tcp_fin: seconds(60), udp: seconds(300) };
    let second = Timeouts { tcp: seconds(10), tcp_fin: seconds(60), udp: seconds(2_678_400) };
    assert_eq!(rules[0].change, Change::SetTimeouts(first));
    assert_eq!(rules[1].change, Change::SetTimeouts(second));

    let mut model = Model::new();
    model.apply(&Change::SetTimeouts(second)).unwrap();
    let rules = load_onto(b"--set 0 0 1", &mut model).unwrap();
    assert_eq!(rules[0].change, Change::SetTimeouts(Timeouts { udp: seconds(1), ..second }));
    assert_eq!(model.timeouts().udp, seconds(1));
}

#[test]
fn another_port_becomes_the_services_with_a_warning() {
    let file = b"-A -t 192.0.2.10:80 -s rr\n-a -t 192.0.2.10:80 -r 192.0.2.1:8080\n\
                 -e -t 192.0.2.10:80 -r 192.0.2.1:81 -w 2\n-d -t 192.0.2.10:80 -r 192.0.2.1:0\n";
    let rules = load(file).unwrap();
    assert_eq!(rules[1].change, Change::AddDestination(service(), server(1)));
    assert_eq!(
        rules[1].warning.unwrap().to_string(),
        "line 2: real server 192.0.2.1:8080 is served on port 80, the service's, not on 8080: direct routing \
         leaves the packet as it is and cannot map ports",
    );
    assert_eq!(
        rules[1].warning.unwrap().display("r").to_string(),
        rules[1].warning.unwrap().to_string().replace("line 2", "r:2"),
    );
    let given = |rule: &Rule| match rule.warning {
        Some(Warning::PortIgnored { given, used: 80, .. }) => Some(given),
        _ => None,
    };
    assert_eq!(rules.iter().map(given).collect::<Vec<_>>(), [None, Some(8080), Some(81), Some(0)]);
}

/// The line, and the message about it, for a service made on the line before.
const MISTAKES: &[(&str, &str)] = &[
    ("hello", "`hello` is not a command; expected -A, -E, -D, -a, -e, -d, -C, -Z or --set"),
    ("-t 192.0.2.10:80", "`-t` is not a command; expected -A, -E, -D, -a, -e, -d, -C, -Z or --set"),
    ("-Q", "unknown option -Q; expected -A, -E, -D, -a, -e, -d, -C, -Z or --set"),
    ("-A --port 80", "unknown option --port; expected -t, -u or -s"),
    ("-C -Q", "unknown option -Q; expected nothing more"),
    ("-A -D", "-D is a second command, after -A; expected one command a line"),
    ("-A -t", "-t has no value; expected -t VIP:PORT"),
    ("-a --gatewaying=yes", "--gatewaying takes no value; expected --gatewaying alone"),
    ("-C all", "`all` belongs to no option; expected options only, each beginning with a dash"),
    (
        "-L -n",
        "-L changes nothing and has no place in a rules file; expected a command that changes something, \
         such as -A or -a",
    ),
    ("-C -t 192.0.2.10:80", "-t does not belong to -C; expected -C alone"),
    ("-D -t 192.0.2.10:80 -s rr", "-s does not belong to -D; expected -t or -u"),
    ("-d -t 192.0.2.10:80 -r 192.0.2.1 -g", "-g does not belong to -d; expected -t, -u or -r"),
    (
        "-a -x 5 -w 1 -w 2 -t 1.2.3.4:5",
        "-x (connection limits) is not supported yet; expected a real server without -x and -y",
    ),
    ("-a -w 1 --weight 2", "--weight is given twice; expected --weight once"),
    ("-D -t 192.0.2.10:80 -u 192.0.2.10:80", "-t and -u exclude each other; expected -t or -u"),
    ("-D", "-D names no service; expected -t VIP:PORT or -u VIP:PORT"),
    ("-a -t 192.0.2.10:80", "-a names no real server; expected -r RIP"),
    (
        "-A -t 192.0.2.10:81",
        "-A names no scheduler, and the one that this stands for (wlc) is not supported yet; \
         expected -s rr or -s wrr",
    ),
    ("-A -t 192.0.2.10:81 -s best", "there is no scheduler `best`; expected -s rr or -s wrr"),
    ("-A -t 192.0.2.10:81 -s sh", "the scheduler sh is not supported yet; expected -s rr or -s wrr"),
    (
        "-A -t 192.0.2.10 -s rr",
        "the service has no port; expected a port from 1 to 65535 after the address (0 needs -p, which is \
         not supported yet)",
    ),
    (
        "-A -t www:80 -s rr",
        "`www` is a host name, and names are not looked up; expected an address in numbers, as in \
         192.0.2.10:80 or [2001:db8::10]:80",
    ),
    (
        "-a -t 192.0.2.10:80 -r 192.0.2.1 -w -1",
        "`-1` is not a weight; expected a number from 0 to 2147483647",
    ),
    (
        "--set 1 2",
        "--set needs three time-outs and has 2; expected --set TCP TCPFIN UDP in seconds, 0 to leave one \
         as it is",
    ),
    ("--set 1 2 3 4", "`4` belongs to no option; expected options only, each beginning with a dash"),
    (
        "--set 1 2 2678401",
        "`2678401` is not a time-out; expected seconds from 0 (leave as it is) to 2678400 (31 days)",
    ),
    (
        "-A -t 192.0.2.10:80 -s wrr",
        "Service already exists: TCP 192.0.2.10:80; expected one -A for a service, or -E to change it",
    ),
    (
        "-E -t 192.0.2.10:81 -s rr",
        "No such service: TCP 192.0.2.10:81; expected an -A for this service on an earlier line",
    ),
    (
        "-Z -u 192.0.2.10:80",
        "No such service: UDP 192.0.2.10:80; expected an -A for this service on an earlier line",
    ),
    (
        "-a -t 192.0.2.10:81 -r 192.0.2.1",
        "Service not defined: TCP 192.0.2.10:81; expected an -A for this service on an earlier line",
    ),
    (
        "-d -t 192.0.2.10:80 -r 192.0.2.1",
        "No such destination: real server 192.0.2.1:80 of TCP 192.0.2.10:80; expected an -a for this real \
         server on an earlier line",
    ),
    (
        "-a -t 192.0.2.10:80 -r [2001:db8::1]",
        "Different address family is allowed only for tunneling servers: real server [2001:db8::1]:80 of TCP \
         192.0.2.10:80; expected both addresses IPv4 or both IPv6",
    ),
    (
        "-a -t 192.0.2.10:80 -r 224.0.0.1",
        "the real server's address is not unicast: real server 224.0.0.1:80 of TCP 192.0.2.10:80; expected \
         the address of a single host",
    ),
    (
        "-A -t 255.255.255.255:80 -s rr",
        "the service's address is not unicast: TCP 255.255.255.255:80; expected the address of a single host",
    ),
];

#[test]
fn mistakes_are_named_with_their_cure() {
    for (line, message) in MISTAKES {
        let file = format!("# made first\n-A -t 192.0.2.10:80 -s rr\n{line}\n-C\n");
        let error = load(file.as_bytes()).unwrap_err();
        assert_eq!(error.display("rules.ipvs").to_string(), format!("rules.ipvs:3: {message}"));
        assert_eq!(error.to_string(), format!("line 3: {message}"));
    }
}

/// What ipvsadm has and this stage has not is told from what nobody has.
#[test]
fn everything_else_of_ipvsadm_is_not_supported_yet() {
    let (service, server) = ("-A -t 192.0.2.10:80 -s rr", "-a -t 192.0.2.10:80 -r 192.0.2.1");
    let services = ["-p", "-p 300", "--persistent", "-M 24", "--netmask=255.255.255.0", "--pe sip"];
    let services = services.into_iter().chain(["-o", "--ops", "-b sh-port", "--sched-flags sh-port", "-6"]);
    let servers = ["-i", "--ipip", "-m", "--masquerading", "-x 1", "-y 1", "--u-threshold=1"];
    let servers = servers.into_iter().chain(["--tun-type gue", "--tun-port 1", "--tun-csum", "--tun-nocsum"]);
    let mut lines: Vec<String> = services.map(|option| format!("{service} {option}")).collect();
    lines.extend(servers.map(|option| format!("{server} {option}")));
    lines.extend(
        ["-A -f 1 -s rr", "-A --fwmark-service=1", "-D --sctp-service 192.0.2.10:80"].map(String::from),
    );
    lines.extend(["--start-daemon master --syncid 1", "--stop-daemon backup"].map(String::from));
    for name in ["lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"] {
        lines.push(format!("-A -t 192.0.2.10:80 -s {name}"));
    }
    for line in lines {
        let error = parse(line.as_bytes()).unwrap_err();
        assert!(matches!(error.problem(), Problem::NotSupportedYet { .. }), "{line}: {error}");
        assert!(error.to_string().contains(" is not supported yet; expected "), "{line}: {error}");
    }
}

#[test]
fn carets_stand_under_the_mistake() {
    let shown = |line: &str| parse(line.as_bytes()).unwrap_err().display("f").with_excerpt().to_string();
    let below = |line: &str| shown(line).split_once('\n').unwrap().1.to_owned();
    assert_eq!(
        below("-A -t 192.0.2.10:http -s rr # ü"),
        "  -A -t 192.0.2.10:http -s rr # ü\n                   ^^^^",
    );
    assert_eq!(below("\t-A -gQ"), "   -A -gQ\n        ^");
    assert_eq!(below("-A -g\x1b"), "  -A -g\u{fffd}\n       ^");
    assert_eq!(below("-A -t ü -Q"), format!("  -A -t ü -Q\n{:11}^", ""));
    let long = format!("{}-Q{}", " ".repeat(1000), "x".repeat(1000));
    assert_eq!(below(&long).lines().map(|line| line.chars().count()).max(), Some(2 + 96));
}

#[test]
fn carets_of_an_empty_value() {
    let error = parse(b"-A -t 192.0.2.10: -s rr").unwrap_err();
    assert_eq!(*error.column(), 17..17);
    let text = error.display("f").with_excerpt().to_string();
    assert_eq!(text.lines().nth(2), Some("                   ^"));
}

#[test]
fn blank_lines_comments_and_line_ends_do_not_disturb_the_count() {
    let file = b"\xef\xbb\xbf# a\r\n\r\n  \t\n-C\r\nipvsadm\n ipvsadm -C#x\n";
    let error = load(file).unwrap_err();
    assert_eq!((error.line(), error.column().clone()), (6, 11..12));
    assert_eq!(load(b"\xef\xbb\xbf# a\r\n\r\n  \t\n-C # \xff\x00\r\nipvsadm # nothing").unwrap().len(), 1);
    assert_eq!(load(b"").unwrap(), []);
}

#[test]
fn long_lines_and_long_files_are_refused() {
    let mut line = vec![b' '; MAX_LINE_BYTES];
    line[0] = b'#';
    assert_eq!(load(&line).unwrap(), []);
    line.push(b'\r');
    assert_eq!(load(&line).unwrap(), []);
    line.push(b'\r');
    assert_eq!(load(&line).unwrap_err().problem(), &Problem::LineTooLong);

    let mut lines = vec![b'\n'; MAX_LINES];
    assert_eq!(load(&lines).unwrap(), []);
    lines.push(b'#');
    let error = load(&lines).unwrap_err();
    assert_eq!((error.problem(), error.line()), (&Problem::TooManyLines, MAX_LINES + 1));
}

#[test]
fn the_error_of_the_core_is_its_source() {
    let error = load(b"-D -t 192.0.2.10:80").unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.downcast_ref::<ChangeError>(), Some(&ChangeError::NoSuchService));
}

#[test]
fn a_clear_line_makes_room_for_the_same_names() {
    let file = b"-A -t 192.0.2.10:80 -s rr\n-C\n-A -t 192.0.2.10:80 -s rr\n-D -t 192.0.2.10:80\n";
    let again = [&file[..], file].concat();
    assert_eq!(load(&again).unwrap().len(), 8);
}
