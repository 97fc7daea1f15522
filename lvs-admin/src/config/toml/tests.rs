use super::*;
use crate::config::health::{CheckKind, Timing};

const SERVICE: &str = "[[service]]\ntcp = \"192.0.2.10:80\"\n";

fn message(text: &str) -> String {
    match read("f", text.as_bytes()) {
        Ok(loaded) => panic!("taken: {text}\n{loaded:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn an_empty_file_is_the_default() {
    for text in ["", "# nothing\n", "\u{feff}[knobs]\n", "[director]\n[timeouts]\n"] {
        assert_eq!(read("f", text.as_bytes()).unwrap().configuration, super::super::Configuration::default());
    }
    assert_eq!(write(&super::super::Configuration::default()), "");
}

#[test]
fn a_service_gives_its_checks_to_its_servers() {
    let text = format!(
        "{SERVICE}delay_loop = 5\nvirtual_host = \"shop\"\nalpha = true\n\
         check = [{{ kind = \"https\", url = [\"/a\", {{ path = \"/b\", virtual_host = \"b\" }}], retry = 4 }}, {{ kind = \"dns\" }}]\n\
         [[service.server]]\naddress = \"10.0.0.1\"\n\
         [[service.server]]\naddress = \"10.0.0.2\"\ncheck = []\n"
    );
    let loaded = read("f", text.as_bytes()).unwrap();
    let [first, second] = &loaded.configuration.services[0].servers[..] else { panic!("two servers") };
    assert!(second.checks.is_empty());
    let [https, dns] = &first.checks[..] else { panic!("two checks") };
    let CheckKind::Http(http) = &https.kind else { panic!("{https}") };
    let hosts: Vec<_> = http.urls.iter().map(|url| url.virtual_host.as_deref()).collect();
    assert_eq!(hosts, [Some("shop"), Some("b")]);
    let seconds = std::time::Duration::from_secs;
    let timing = Timing {
        delay_loop: seconds(5),
        connect_timeout: seconds(5),
        retry: 4,
        rise: 1,
        delay_before_retry: seconds(3),
        warmup: seconds(5),
    };
    assert_eq!((https.timing, https.alpha), (timing, true));
    assert_eq!((dns.timing.retry, dns.timing.delay_before_retry), (3, seconds(5)));
}

#[test]
fn every_mistake_is_named_with_its_line_and_cure() {
    let server = "[[service.server]]\naddress = \"10.0.0.1\"\n";
    let check = |check: &str| format!("{SERVICE}check = [{{ {check} }}]\n");
    let interface = "[[interface]]\nname = \"eth0\"\ndips = [\"10.0.0.208/24\"]\n";
    let cases = [
        ("a = 1".to_owned(), "f:1: a: there is no such key; expected one of director, interface"),
        ("[directr]".to_owned(), "f:1: directr: there is no such key; expected `director`"),
        ("x = = 1".to_owned(), "f:1: not TOML: "),
        (
            "[director]\nworkers = 0".to_owned(),
            "f:2: director.workers: 0 is not usable; expected a whole number from 1 to 1024",
        ),
        (
            "[director]\nmax_connections = 3".to_owned(),
            "f:2: director.max_connections: 3 is not usable; expected a whole number from 64 to 1073741824",
        ),
        ("[director]\nio = 3".to_owned(), "f:2: director.io: 3 is not usable; expected a text in quotes"),
        (
            "[director]\nprobe_addresses = [\"10.0.0.1\", \"10.0.0.2\"]".to_owned(),
            "f:2: director.probe_addresses: \"10.0.0.2\" is not usable; expected unicast",
        ),
        (
            "[knobs]\nsloppy = 1".to_owned(),
            "f:2: knobs.sloppy: there is no such knob; expected one of conn_reuse_mode",
        ),
        (
            "[knobs]\nslopy_tcp = 1".to_owned(),
            "f:2: knobs.slopy_tcp: there is no such knob; expected `sloppy_tcp`",
        ),
        (
            "[knobs]\nsync_ports = 1".to_owned(),
            "f:2: knobs.sync_ports: the kernel has it, this director has not",
        ),
        (
            "[knobs]\ndrop_entry = true".to_owned(),
            "f:2: knobs.drop_entry: true is not usable; expected 0 (off) or 3 (on)",
        ),
        (
            "[timeouts]\ntcp = \"0s\"".to_owned(),
            "f:2: timeouts.tcp: \"0s\" is not usable; expected a time of more than 0",
        ),
        ("[timeouts]\ntcp = 2678401".to_owned(), "f:2: timeouts.tcp: 2678401 is not usable"),
        ("[neighbours]\nx = \"02:00:00:00:00:0b\"".to_owned(), "f:2: neighbours.x: the key is no address"),
        (
            "[neighbours]\n\"10.0.0.1\" = \"ff:ff:ff:ff:ff:ff\"".to_owned(),
            "f:2: neighbours.10.0.0.1: \"ff:ff:ff:ff:ff:ff\" is not usable; expected the Ethernet address of a single",
        ),
        (
            format!("{interface}[neighbours]\n\"10.1.0.1\" = \"02:00:00:00:00:0b\""),
            "f:5: neighbours.10.1.0.1: no interface's subnet holds this address",
        ),
        ("[[interface]]\nname = \"eth0\"".to_owned(), "f:1: interface.dips: it is missing; expected dips = "),
        (
            format!("{interface}gateways = [\"10.1.0.1\"]"),
            "f:4: interface.gateways: 10.1.0.1 is in no subnet of this interface",
        ),
        (
            format!("{interface}vlan = 4095"),
            "f:4: interface.vlan: 4095 is not usable; expected a VLAN id from 1 to 4094",
        ),
        (format!("{interface}vlan = \"5.0\""), "f:4: interface.vlan: \"5.0\" is not usable"),
        (format!("{interface}{interface}"), "f:4: interface: eth0 is there twice"),
        ("[[service]]\nscheduler = \"rr\"".to_owned(), "f:1: service: it has no address and no mark"),
        (format!("{SERVICE}udp = \"192.0.2.10:80\""), "f:3: service.udp: the service has tcp already"),
        (
            "[[service]]\ntcp = \"192.0.2.10\"".to_owned(),
            "f:2: service.tcp: \"192.0.2.10\" is not usable; expected \"VIP:PORT\"",
        ),
        ("[[service]]\ntcp = \"[fe80::1%3]:80\"".to_owned(), "f:2: service.tcp: "),
        (
            "[[service]]\ntcp = \"192.0.2.10:0\"".to_owned(),
            "f:1: service: Zero port specified for non-persistent service: TCP 192.0.2.10:0; expected a port, or persistence",
        ),
        (format!("{SERVICE}{SERVICE}"), "f:3: service: Service already exists: TCP 192.0.2.10:80"),
        (format!("{SERVICE}one_packet = true"), "f:3: service.one_packet: One-Packet Scheduling"),
        (
            format!("{SERVICE}scheduler = \"rrr\""),
            "f:3: service.scheduler: \"rrr\" is not usable; expected one of rr, wrr",
        ),
        (
            format!("{SERVICE}flags = [\"sh-port\"]"),
            "f:3: service.flags: \"sh-port\" is no flag of the scheduler wlc",
        ),
        (format!("{SERVICE}persistence_mask = \"255.0.0.0\""), "f:1: service.persistence: it is missing"),
        (
            format!("{SERVICE}persistence = 5\npersistence_mask = \"0.0.0.0\""),
            "f:4: service.persistence_mask: the persistence mask",
        ),
        (
            format!("{SERVICE}slow_start = \"25h\""),
            "f:3: service.slow_start: the slow start takes longer than a day",
        ),
        (
            format!("{SERVICE}quorum = 2\nhysteresis = 2"),
            "f:4: service.hysteresis: 2 is not usable; expected a number below the quorum, which is 2",
        ),
        (format!("{SERVICE}sorry_server = \"::1\""), "f:3: service.sorry_server: Different address family"),
        (format!("{SERVICE}sorry_server_inhibit = true"), "f:1: service.sorry_server: it is missing"),
        (format!("{SERVICE}[[service.server]]\nweight = 1"), "f:3: service.server.address: it is missing"),
        (
            format!("{SERVICE}{server}{server}"),
            "f:5: service.server: Destination already exists: real server 10.0.0.1 of TCP 192.0.2.10:80; expected each real server once",
        ),
        (
            format!("{SERVICE}{server}weight = -1"),
            "f:5: service.server.weight: -1 is not usable; expected a whole number from 0 to 2147483647",
        ),
        (
            format!("{SERVICE}{server}wieght = 1"),
            "f:5: service.server.wieght: there is no such key; expected `weight`",
        ),
        (
            format!("{SERVICE}{server}upper_threshold = 1\nlower_threshold = 2"),
            "f:3: service.server: the lower threshold is above the upper one",
        ),
        (
            format!("{interface}{SERVICE}[[service.server]]\naddress = \"10.1.0.1\""),
            "f:6: no interface leads to 10.1.0.1",
        ),
        (format!("{interface}{SERVICE}sorry_server = \"10.1.0.1\""), "f:4: no interface leads to 10.1.0.1"),
        (
            format!("[director]\nmax_services = 1\n{SERVICE}[[service]]\nmark = 1"),
            "f:5: service: no room for another service: raise the director's max_services",
        ),
        (
            format!(
                "[director]\nmax_destinations = 1\n{SERVICE}{server}[[service.server]]\naddress = \"10.0.0.2\""
            ),
            "f:7: service.server: no room for another real server",
        ),
        (check("retry = 1"), "f:3: service.check.kind: it is missing"),
        (
            format!("[[service]]\nmark = 1\ncheck = [{{ kind = \"tcp\" }}]\n{server}"),
            "f:4: service.server: a check has no port to ask, as FWM 1 has none; expected connect_port",
        ),
        (check("kind = \"htp\""), "f:3: service.check.kind: \"htp\" is not usable; expected `http`"),
        (check("kind = \"tcp\", url = [\"/\"]"), "f:3: service.check.url: there is no such key"),
        (
            check("kind = \"http\", url = []"),
            "f:3: service.check.url: a list is not usable; expected 1 to 64 pages",
        ),
        (
            check("kind = \"http\", url = [\"/a b\"]"),
            "f:3: service.check.url: \"/a b\" is not usable; expected a text without spaces",
        ),
        (
            check("kind = \"http\", url = [\"/\\r\\nx\"]"),
            "f:3: service.check.url: \"/\u{fffd}\u{fffd}x\" is not usable; expected a text without control",
        ),
        (
            check("kind = \"http\", url = [{ status = [1000] }]"),
            "f:3: service.check.url.status: 1000 is not usable; expected a number from 0 to 999",
        ),
        (
            check("kind = \"http\", url = [{ digest = \"00\" }]"),
            "f:3: service.check.url.digest: \"00\" is not usable; expected an MD5 sum",
        ),
        (
            check("kind = \"http\", url = [{ regex_caseless = true }]"),
            "f:3: service.check.url.regex: it is missing",
        ),
        (
            check("kind = \"http\", url = [{ regex = 'a(?=b)' }]"),
            "f:3: service.check.url.regex: `a(?=b)`: look-around, including look-ahead and look-behind, is not supported; expected an \
             expression without look-around, backreferences",
        ),
        (
            check("kind = \"http\", url = [\"/\", { regex = '(a', regex_no_match = true }]"),
            "f:3: service.check.url.regex: `(a`: unclosed group; expected an expression",
        ),
        (
            check("kind = \"http\", url = [{ regex = '((a{99}){99}){99}' }]"),
            "f:3: service.check.url.regex: `((a{99}){99}){99}`: it takes more than 32 KiB when compiled; expected fewer signs",
        ),
        (
            check("kind = \"http\", http_version = 1.1"),
            "f:3: service.check.http_version: 1.1 is not usable; expected one of \"1.0\"",
        ),
        (check("kind = \"http\", sni = \"a\""), "f:3: service.check.sni: there is no such key"),
        (check("kind = \"udp\", payload = \"0g\""), "f:3: service.check.payload: \"0g\" is not usable"),
        (
            check("kind = \"udp\", min_reply_length = 3"),
            "f:3: service.check.min_reply_length: no answer is asked for",
        ),
        (
            check("kind = \"udp\", require_reply = true, min_reply_length = 256"),
            "f:3: service.check.min_reply_length: 256 is not usable; expected at most max_reply_length",
        ),
        (
            check("kind = \"dns\", type = \"PTR\""),
            "f:3: service.check.type: \"PTR\" is not usable; expected one of A, AAAA",
        ),
        (check("kind = \"command\""), "f:3: service.check.command: it is missing"),
        (check("kind = \"tcp\", connect_port = 0"), "f:3: service.check.connect_port: 0 is not usable"),
        ("service = 3".to_owned(), "f:1: service: 3 is not usable; expected a list"),
        ("service = [3]".to_owned(), "f:1: service: 3 is not usable; expected a table"),
        (
            "[[mark_rule]]\nmark = 1\nprotocol = \"tcp\"\nports = [80]".to_owned(),
            "f:1: mark_rule.destination: it is missing",
        ),
        (
            "[[mark_rule]]\nmark = 0\nprotocol = \"tcp\"\nports = [80]\ndestination = \"192.0.2.0/24\""
                .to_owned(),
            "f:2: mark_rule.mark: 0 is not usable",
        ),
        (
            "[[mark_rule]]\nmark = 1\nprotocol = \"icmp\"\nports = [80]\ndestination = \"192.0.2.0/24\""
                .to_owned(),
            "f:3: mark_rule.protocol: \"icmp\" is not usable",
        ),
        (
            "[[mark_rule]]\nmark = 1\nprotocol = \"tcp\"\nports = [\"9-8\"]\ndestination = \"192.0.2.0/24\""
                .to_owned(),
            "f:4: mark_rule.ports: \"9-8\" is not usable",
        ),
    ];
    for (text, expected) in &cases {
        let message = message(text);
        assert!(message.starts_with(expected), "{text}\ngives     {message}\ninstead of {expected}");
        assert!(message.contains("; expected "), "{message}");
    }
}

#[test]
fn bytes_that_are_no_text_are_named() {
    let error = read("f", b"a = 1\n\xff").unwrap_err();
    assert_eq!(error.to_string(), "f:2: a byte is not UTF-8; expected text in UTF-8");
    let error = read("f", &vec![b'#'; MAX_BYTES + 1]).unwrap_err();
    assert!(error.to_string().starts_with("f:1: the file is too long"), "{error}");
}

#[test]
fn knobs_take_numbers_words_and_switches() {
    let text = "[knobs]\nsloppy_tcp = true\ndrop_entry = 3\non_miss = \"hash\"\namemthresh = 1024\n";
    let loaded = read("f", text.as_bytes()).unwrap();
    let knobs = loaded.configuration.knobs;
    assert!(knobs.sloppy_tcp && knobs.drop_entry);
    let notices: Vec<_> = loaded.notices.iter().map(ToString::to_string).collect();
    assert_eq!(notices.len(), 1);
    assert!(notices[0].starts_with("f:5: knobs.amemthresh: amemthresh has no effect"), "{notices:?}");
}

/// The example has every key, and the defaults it names are the defaults.
#[test]
fn the_example_is_read_and_its_comments_are_true() {
    let text = include_str!("../../../../examples/etc/lvs.toml");
    let loaded = read("lvs.toml", text.as_bytes()).unwrap();
    assert!(loaded.notices.is_empty(), "{:?}", loaded.notices);
    let configuration = loaded.configuration;
    assert_eq!(configuration.services.len(), 3);
    let again = read("again", write(&configuration).as_bytes()).unwrap().configuration;
    assert_eq!(again, configuration);

    // A default that is switched on changes nothing. Two are no defaults but show what can be said.
    let no_defaults = ["#vlan = 5", "#slow_start", "#\"192.168.0.188\""];
    let uncommented: String = text
        .lines()
        .map(|line| {
            let bare = line.trim_start();
            let is_value = bare.starts_with('#') && !bare.starts_with("# ") && bare.contains(" = ");
            let switch_on = is_value && !no_defaults.iter().any(|one| bare.starts_with(one));
            format!("{}\n", if switch_on { bare.trim_start_matches('#') } else { line })
        })
        .collect();
    assert_eq!(read("on", uncommented.as_bytes()).unwrap().configuration, configuration);
    assert!(uncommented.matches("\nmax_").count() == 6, "{uncommented}");
    for key in service::KEYS {
        let known = text.contains(&format!("\n{key} = ")) || text.contains(&format!("\n#{key} = "));
        let elsewhere = ["sctp", "ipv6", "server"].contains(key);
        assert!(known || elsewhere, "{key} is not shown");
    }
}
