//! Whole lines and files: what they mean, what is wrong with them, and how it is said.

use std::time::Duration;

use lvs_core::config::{
    ChangeError, ClientMask, DestinationConfig, MarkRule, PortRange, PortRanges, Protocol, SchedulerFlags,
    SchedulerKind, ServiceConfig,
};

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

    let limited = Change::AddDestination(service(), server(1).weight(2).thresholds(100, 50));
    assert_eq!(one("-a -t 192.0.2.10:80 -r 192.0.2.1 -w 2 -x 100 -y 50"), limited);
    let limits = "--u-threshold=100 --l-threshold 50 --weight 2 --real-server=192.0.2.1";
    assert_eq!(one(&format!("--add-server -t 192.0.2.10:80 {limits}")), limited);

    assert_eq!(one("-C"), Change::Clear);
    assert_eq!(one("--clear"), Change::Clear);
    assert_eq!(one("-Z"), Change::ZeroStatistics(None));
    assert_eq!(one("--zero -t 192.0.2.10:80"), Change::ZeroStatistics(Some(service())));
}

#[test]
fn services_of_every_kind() {
    let added = |line: &str| match one(line) {
        Change::AddService(config) => config,
        other => panic!("{line}: {other:?}"),
    };
    let seconds = Duration::from_secs;
    let vip = "192.0.2.10".parse().unwrap();
    let wlc = |key| ServiceConfig::new(key, SchedulerKind::WeightedLeastConnection);
    let tcp = wlc(service());
    assert_eq!(added("-A -t 192.0.2.10:80"), tcp);
    assert_eq!(one("-E -t 192.0.2.10:80"), Change::EditService(tcp));
    assert_eq!(added("-A --sctp-service 192.0.2.10:5000"), wlc(ServiceKey::sctp(vip, 5000)));
    assert_eq!(added("-A -f 7"), wlc(ServiceKey::mark(7)));
    assert_eq!(added("-A -6 --fwmark-service=4294967295"), wlc(ServiceKey::mark_v6(u32::MAX)));

    let mask = |bits| ClientMask::V4(bits);
    assert_eq!(added("-A -t 192.0.2.10:80 -p"), tcp.persistent(seconds(360), mask(u32::MAX)));
    let all_ports = wlc(ServiceKey::tcp(vip, 0)).persistent(seconds(360), mask(u32::MAX));
    assert_eq!(added("-A -t 192.0.2.10 -p"), all_ports);
    assert_eq!(added("-A -p -t 192.0.2.10:0"), all_ports);
    let line = "-A -t 192.0.2.10:80 -M 255.255.255.0 -p 2678400";
    assert_eq!(added(line), tcp.persistent(seconds(2_678_400), mask(0xffff_ff00)));
    let v6 = wlc(ServiceKey::mark_v6(1)).persistent(seconds(1), ClientMask::V6(64));
    assert_eq!(added("-A -f 1 -6 --persistent=1 --netmask=64"), v6);

    let udp = ServiceConfig { one_packet: true, ..wlc(ServiceKey::udp(vip, 53)) };
    assert_eq!(added("-A -u 192.0.2.10:53 -o"), udp);
    assert_eq!(added("-A -f 1 --ops"), ServiceConfig { one_packet: true, ..wlc(ServiceKey::mark(1)) });

    let flags = SchedulerFlags::FALLBACK.with(SchedulerFlags::PORT);
    let config = ServiceConfig { scheduler: SchedulerKind::Maglev, flags, ..tcp };
    assert_eq!(added("-A -t 192.0.2.10:80 -b mh-port,mh-fallback -s mh"), config);
    assert_eq!(added("-A -t 192.0.2.10:80 -s mh --sched-flags flag-1,flag-2,flag-1"), config);
    let third = ServiceConfig { flags: SchedulerFlags::THIRD, ..tcp };
    assert_eq!(added("-A -t 192.0.2.10:80 -b flag-3"), third);

    let timeouts = Some(Timeouts { tcp: seconds(7), tcp_fin: seconds(8), udp: seconds(9) });
    let config = ServiceConfig { timeouts, slow_start: Some(seconds(60)), ..tcp };
    assert_eq!(added("-A --timeout 7 8 9 -t 192.0.2.10:80 --slow-start 60"), config);
    assert_eq!(added("-A --timeout=7 8 9 -t 192.0.2.10:80 --slow-start=60"), config);
}

#[test]
fn servers_of_marks_have_no_port() {
    let server = DestinationConfig::new("192.0.2.1".parse().unwrap(), 0);
    assert_eq!(one("-a -f 1 -r 192.0.2.1"), Change::AddDestination(ServiceKey::mark(1), server));
    assert_eq!(
        one("-e -f 1 -r 192.0.2.1:0 -w 3"),
        Change::EditDestination(ServiceKey::mark(1), server.weight(3))
    );
    let v6 = DestinationConfig::new("2001:db8::1".parse().unwrap(), 0);
    assert_eq!(one("-a -f 1 -6 -r [2001:db8::1]"), Change::AddDestination(ServiceKey::mark_v6(1), v6));
    let removed =
        Change::RemoveDestination { service: ServiceKey::mark(1), address: server.address, port: 0 };
    assert_eq!(one("-d -f 1 -r 192.0.2.1"), removed);
    assert_eq!(one("-D -f 1"), Change::RemoveService(ServiceKey::mark(1)));
    assert_eq!(one("-Z -f 1 -6"), Change::ZeroStatistics(Some(ServiceKey::mark_v6(1))));
}

#[test]
fn rules_that_mark_packets() {
    let range = |first, last| PortRange { first, last };
    let rule = MarkRule {
        mark: 1,
        protocol: Protocol::Tcp,
        destination: "192.0.2.10/32".parse().unwrap(),
        ports: PortRanges::new(&[range(21, 21), range(10_000, 20_000)]).unwrap(),
    };
    assert_eq!(one("--mark 1 tcp 192.0.2.10/32 21,10000-20000"), Change::AddMarkRule(rule));
    assert_eq!(one("ipvsadm --mark 1 tcp 192.0.2.10 21,10000-20000 # ftp"), Change::AddMarkRule(rule));
}

#[test]
fn what_has_no_effect_is_said() {
    let warning = |line: &str| match parse(line.as_bytes()).unwrap().as_slice() {
        [Rule { warning: Some(warning), .. }] => warning.to_string(),
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(
        warning("-A -t 192.0.2.10:80 -M 255.255.255.0"),
        "line 1: -M has no effect without -p: only persistence groups clients by a mask",
    );
    let line = "-A -t 192.0.2.10:80 -s rr --slow-start 5";
    assert_eq!(
        warning(line),
        "line 1: --slow-start has no effect with the scheduler rr, to which all weights are equal",
    );
    assert_eq!(
        warning("-a -f 1 -r 192.0.2.1:80"),
        "line 1: real server 192.0.2.1:80 is served on the port that the client asks for, not on 80: direct routing \
         leaves the packet as it is and cannot map ports",
    );
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
    ("hello", "`hello` is not a command; expected -A, -E, -D, -a, -e, -d, -C, -Z, --set or --mark"),
    ("-t 192.0.2.10:80", "`-t` is not a command; expected -A, -E, -D, -a, -e, -d, -C, -Z, --set or --mark"),
    ("-Q", "-Q: unknown option; expected -A, -E, -D, -a, -e, -d, -C, -Z, --set or --mark"),
    (
        "-A --port 80",
        "--port: unknown option; expected -t, -u, --sctp-service, -f, -6, -s, -p, -M, -b, -o, --timeout or \
         --slow-start",
    ),
    ("-C -Q", "-Q: unknown option; expected nothing more"),
    ("-A -D", "-D is a second command, after -A; expected one command a line"),
    ("-A -t", "-t has no value; expected -t VIP:PORT"),
    ("-a --gatewaying=yes", "--gatewaying takes no value; expected --gatewaying alone"),
    ("-C all", "`all` belongs to no option; expected options only, each beginning with a dash"),
    (
        "-L -n",
        "-L changes nothing and has no place in a rules file; expected a command that changes something, \
         such as -A or -a",
    ),
    ("-C -t 192.0.2.10:80", "Illegal 'service-address' option with the 'flush' command; expected -C alone"),
    (
        "-D -t 192.0.2.10:80 -s rr",
        "Illegal 'scheduler' option with the 'delete-service' command; expected -t, -u, --sctp-service, -f or -6",
    ),
    (
        "-d -t 192.0.2.10:80 -r 192.0.2.1 -g",
        "Illegal 'gatewaying' option with the 'delete-server' command; expected -t, -u, --sctp-service, -f, -6 or -r",
    ),
    (
        "-a -t 192.0.2.10:80 -r 192.0.2.1 --timeout 1 2 3",
        "Illegal 'timeout' option with the 'add-server' command; expected -t, -u, --sctp-service, -f, -6, -r, -g, \
         -w, -x or -y",
    ),
    (
        "-a -i -w 1 -w 2 -t 1.2.3.4:5",
        "-i (tunnelling) is not supported yet; expected -g (direct routing) or nothing, which means the same",
    ),
    ("-a -w 1 --weight 2", "--weight is given twice; expected --weight once"),
    ("-D -t 192.0.2.10:80 -u 192.0.2.10:80", "-t and -u exclude each other; expected -t or -u"),
    ("-D -t 192.0.2.10:80 -f 1", "-t and -f exclude each other; expected -t or -f"),
    (
        "-D",
        "You need to supply the 'service-address' option for the 'delete-service' command; expected -t VIP:PORT, \
         -u VIP:PORT, --sctp-service VIP:PORT or -f MARK",
    ),
    (
        "-Z -6",
        "You need to supply the 'service-address' option for the 'zero' command; expected -t VIP:PORT, -u VIP:PORT, \
         --sctp-service VIP:PORT or -f MARK",
    ),
    (
        "-a -t 192.0.2.10:80",
        "You need to supply the 'real-server' option for the 'add-server' command; expected -r RIP",
    ),
    (
        "-A -t 192.0.2.10:81 -s best",
        "Scheduler or persistence engine not found: `best`; expected -s rr, -s wrr, -s lc, -s wlc, -s lblc, \
         -s lblcr, -s dh, -s sh, -s sed, -s nq, -s fo, -s ovf, -s mh or -s twos",
    ),
    (
        "-A -t 192.0.2.10 -s rr",
        "Zero port specified for non-persistent service: TCP 192.0.2.10:0; expected a port from 1 to 65535 after \
         the address, or -p",
    ),
    (
        "-A -t 192.0.2.10:81 -o",
        "One-Packet Scheduling is only for UDP virtual services: TCP 192.0.2.10:81; expected -u VIP:PORT or \
         -f MARK, or no -o",
    ),
    (
        "-A -t 192.0.2.10:81 -6",
        "-6 tells the family of a firewall mark, and this service has an address; expected -f MARK -6, or the \
         address alone",
    ),
    ("-A -f 0", "invalid fwmark value `0' specified; expected a number from 1 to 4294967295"),
    (
        "-A -t 192.0.2.10:81 -p 0",
        "invalid timeout value `0' specified; expected seconds from 1 to 2678400 (31 days)",
    ),
    (
        "-A -t 192.0.2.10:81 -p -M 24",
        "`24` is not a mask of IPv4; expected an IPv4 mask but 0.0.0.0, as in 255.255.255.0",
    ),
    ("-A -f 1 -6 -M 0", "`0` is not a mask of IPv6; expected a prefix length from 1 to 128"),
    (
        "-A -t 192.0.2.10:81 -s mh -b mh-port,port",
        "invalid scheduler flag `port'; expected sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2 or \
         flag-3, with commas between them",
    ),
    (
        "-A -t 192.0.2.10:81 -s sh -b mh-port",
        "mh-port is no flag of the scheduler sh; expected sh-fallback, sh-port, flag-1, flag-2 or flag-3",
    ),
    ("-A -f 1 -b sh-port", "sh-port is no flag of the scheduler wlc; expected flag-1, flag-2 or flag-3"),
    (
        "-A -f 1 --timeout 1 2",
        "--timeout option requires 3 timeout values, not 2; expected --timeout TCP TCPFIN UDP in seconds",
    ),
    (
        "-A -f 1 --timeout 1 0 3",
        "invalid timeout value `0' specified; expected seconds from 1 to 2678400 (31 days)",
    ),
    (
        "-A -f 1 --slow-start 0",
        "`0` is not the length of a slow start; expected seconds from 1 to 86400 (a day)",
    ),
    ("-A -f 1 --pe sip", "--pe (persistence engines) is not supported yet; expected a service without --pe"),
    (
        "--mark 1 tcp 192.0.2.10/32",
        "--mark needs a mark, a protocol, addresses and ports, and 3 of the four are there; expected --mark N \
         tcp|udp|sctp PREFIX PORT[-PORT][,...]",
    ),
    ("--mark 0 tcp ::/0 80", "invalid fwmark value `0' specified; expected a number from 1 to 4294967295"),
    ("--mark 1 TCP ::/0 80", "`TCP` is not a protocol; expected tcp, udp or sctp"),
    (
        "--mark 1 tcp www 80",
        "`www` is not an address with its prefix length; expected ADDRESS/LENGTH, as in 192.0.2.10/32 or \
         2001:db8::10/128",
    ),
    (
        "--mark 1 tcp ::/0 80,http",
        "`http` is neither a port nor a range of ports; expected numbers from 0 to 65535, as in 80,443 or \
         10000-20000",
    ),
    (
        "--mark 1 tcp ::/0 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
        "the rule has too many ranges of ports; expected at most 16 of them",
    ),
    (
        "--mark 1 tcp ::/0 80 81",
        "`81` belongs to no option; expected options only, each beginning with a dash",
    ),
    ("--mark 1 tcp ::/0 80 -w 2", "Illegal 'weight' option with the 'mark' command; expected --mark alone"),
    (
        "-A -t www:80 -s rr",
        "illegal virtual server address[:port] specified: `www` is a host name, and names are not looked up; \
         expected an address in numbers, as in 192.0.2.10:80 or [2001:db8::10]:80",
    ),
    (
        "-a -t 192.0.2.10:80 -r 192.0.2.1:http",
        "illegal real server address[:port] specified: `http` is the name of a port, and names are not looked up; \
         expected a number from 0 to 65535",
    ),
    (
        "-a -t 192.0.2.10:80 -r 192.0.2.1 -w -1",
        "illegal weight specified: `-1`; expected a number from 0 to 2147483647",
    ),
    (
        "-a -t 192.0.2.10:80 -r 192.0.2.1 -x many",
        "`many` is not a number of connections; expected a number from 0 (no limit) to 4294967295",
    ),
    (
        "-a -t 192.0.2.10:80 -r 192.0.2.1 -x 1 -y 2",
        "Numerical result out of range: the lower threshold is above the upper one: real server 192.0.2.1:80 of TCP \
         192.0.2.10:80; expected a -y that is not above -x",
    ),
    (
        "--set 1 2",
        "--set option requires 3 timeout values, not 2; expected --set TCP TCPFIN UDP in seconds, 0 to leave one \
         as it is",
    ),
    ("--set 1 2 3 4", "`4` belongs to no option; expected options only, each beginning with a dash"),
    (
        "--set 1 2 2678401",
        "invalid timeout value `2678401' specified; expected seconds from 0 (leave as it is) to 2678400 (31 days)",
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
    ("-D -f 7 -6", "No such service: FWM 7 IPv6; expected an -A for this service on an earlier line"),
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

/// What ipvsadm has and direct routing has not is told from what nobody has.
#[test]
fn everything_else_of_ipvsadm_is_not_supported_yet() {
    let server = "-a -t 192.0.2.10:80 -r 192.0.2.1";
    let servers = ["-i", "--ipip", "-m", "--masquerading", "--tun-type gue", "--tun-port 1", "--tun-csum"];
    let mut lines: Vec<String> = servers.map(|option| format!("{server} {option}")).into();
    lines.extend(["-A -t 192.0.2.10:80 --pe sip", "-A -t 192.0.2.10:80 -p --pe=sip"].map(String::from));
    lines.extend(["--start-daemon master --syncid 1", "--stop-daemon backup"].map(String::from));
    for line in lines {
        let error = parse(line.as_bytes()).unwrap_err();
        assert!(matches!(error.problem(), Problem::NotSupportedYet { .. }), "{line}: {error}");
        assert!(error.to_string().contains(" is not supported yet; expected "), "{line}: {error}");
    }
    for line in ["-R", "-S -n", "-Ln", "-L --timeout", "-L --stats -f 1", "-h", "--version"] {
        let error = parse(line.as_bytes()).unwrap_err();
        assert!(matches!(error.problem(), Problem::NotARule { .. }), "{line}: {error}");
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
    assert_eq!(below("-A -f 1 -s mh -b a,mh-port"), "  -A -f 1 -s mh -b a,mh-port\n                   ^");
    assert_eq!(below("--mark 1 tcp ::/0 80,x,9"), format!("  --mark 1 tcp ::/0 80,x,9\n{:23}^", ""));
    assert_eq!(below("-A -u 1.2.3.4 -o -s rr"), "  -A -u 1.2.3.4 -o -s rr\n        ^^^^^^^");
    assert_eq!(below("-A -t 1.2.3.4:5 -o"), format!("  -A -t 1.2.3.4:5 -o\n{:19}^", ""));
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
