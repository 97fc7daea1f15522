//! The program `explain`, run on captures that are made here.

mod captures;
mod program;

use std::fs;

use captures::{Sample, mac_of, rip, syn};
use lvs_testkit::capture::{CaptureFormat, CaptureReader};
use lvs_testkit::frames::{self, Summary, TcpFlags, mac, socket};
use program::{Run, explain, explain_with};
use serde_json::Value;

#[test]
fn every_frame_has_an_object_with_all_facts() {
    let mut sample = Sample::new(CaptureFormat::Pcap);
    sample.add(0, captures::arp_question());
    sample.add(1_000, captures::arp_answer());
    sample.add(2_000, captures::server_answer(188));
    sample.add(3_000, syn("110.0.0.1:40000").build());
    sample.add(4_000, syn("110.0.0.1:40001").build());
    sample.add(5_000, syn("110.0.0.1:40000").flags(TcpFlags::ACK).build());
    sample.add(
        6_000,
        captures::to_director(frames::tcp(socket("110.0.0.1:7"), socket("192.168.0.250:81"))).build(),
    );
    sample.add(7_000, captures::from_director(syn("110.0.0.1:40000")).build());
    let run = explain(&sample, &["--json"]);
    assert_eq!((run.status, run.stderr_without_notes().as_str()), (0, ""));
    let objects = run.objects();
    assert_eq!(objects.len(), 8);
    let keys =
        ["frame", "time", "what", "service", "connection", "server", "why", "verdict", "reason", "out"];
    for (n, object) in (1..).zip(&objects) {
        let found: Vec<&String> = object.as_object().unwrap().keys().collect();
        assert!(keys.iter().all(|key| found.iter().any(|found| found == key)) && found.len() == keys.len());
        assert_eq!(object["frame"], n);
    }
    assert_eq!(objects[3]["time"], 1_700_000_000.003);
    let question = &objects[0];
    assert_eq!(
        (&question["verdict"], &question["out"][0]["src_mac"]),
        (&"transmit".into(), &captures::OWN.into())
    );
    assert_eq!(objects[2]["verdict"], "pass", "its Ethernet address is fixed from the start");
    let [first, second, third] = [&objects[3], &objects[4], &objects[5]];
    assert_eq!(first["what"], "TCP SYN 110.0.0.1:40000 > 192.168.0.250:80, 54 bytes");
    assert_eq!((&first["service"], &first["connection"]), (&"TCP 192.168.0.250:80".into(), &"new".into()));
    // Last added first; 188 told its Ethernet address itself, 111 has one made of its address.
    assert_eq!((&first["server"], &second["server"]), (&rip(111).into(), &rip(188).into()));
    let out = serde_json::json!([{ "dst_mac": mac_of(111), "src_mac": captures::OWN, "bytes": 54 }]);
    assert_eq!(first["out"], out);
    assert_eq!(second["out"][0]["dst_mac"], "02:00:00:00:00:bc");
    assert!(
        second["why"]
            .as_str()
            .unwrap()
            .ends_with("rr: the last pick was 192.168.0.111; so it is the turn of 192.168.0.188")
    );
    assert_eq!((&third["connection"], &third["server"]), (&"known".into(), &rip(111).into()));
    assert_eq!(third["why"], "known, to 192.168.0.111; state SYN_RECV becomes ESTABLISHED");
    let refused = &objects[6];
    assert_eq!((&refused["verdict"], &refused["reason"]), (&"drop".into(), &"no_service".into()));
    assert_eq!((&refused["server"], &refused["out"][0]["dst_mac"]), (&Value::Null, &captures::ROUTER.into()));
    assert_eq!(objects[7]["reason"], "own_frame");
    let note = "192.168.0.111: no --mac, and no ARP or NDP in the capture tells its Ethernet address; taken as 02:00:c0:a8:00:6f";
    assert!(run.stderr.contains(note), "{}", run.stderr);
    assert!(run.stderr.contains("02:00:00:00:00:d0: it says once in the capture that it has a VIP"));
}

#[test]
fn both_formats_give_the_same_explanations_and_text_says_the_same() {
    let mut outputs = Vec::new();
    for format in [CaptureFormat::Pcap, CaptureFormat::Pcapng] {
        let mut sample = Sample::new(format);
        sample.add(0, syn("110.0.0.1:40000").build());
        sample.add(500, syn("110.0.0.1:40000").flags(TcpFlags::ACK).build());
        outputs.push((explain(&sample, &["--json"]).stdout, explain(&sample, &[]).stdout));
    }
    assert_eq!(outputs[0], outputs[1]);
    let text = &outputs[0].1;
    for part in [
        "note  the director's Ethernet address is 02:00:00:00:00:d0: most frames for the VIPs are sent to it\n      (2)",
        "    1    0.000000  TCP SYN 110.0.0.1:40000 > 192.168.0.250:80, 54 bytes",
        "      scheduler    rr: it begins with the first of them; so it is the turn of 192.168.0.111",
        "      verdict      transmit, to 02:00:c0:a8:00:6f from 02:00:00:00:00:d0",
        "    2    0.000500  TCP ACK 110.0.0.1:40000 > 192.168.0.250:80, 54 bytes",
        "      connection   known, to 192.168.0.111; state SYN_RECV becomes ESTABLISHED",
        "2 frames, 2 left because of them: 2 transmit",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colours where nobody sees them");
}

#[test]
fn time_passes_as_in_the_capture() {
    let mut sample = Sample::new(CaptureFormat::Pcap);
    sample.add(0, syn("110.0.0.1:40000").build());
    // A connection that is being opened is remembered for 60 s; a day later nothing of it is left.
    sample.add(86_400_000_000, syn("110.0.0.1:40000").flags(TcpFlags::ACK).build());
    let objects = explain(&sample, &["--json"]).objects();
    assert_eq!((&objects[1]["reason"], &objects[1]["connection"]), (&"not_syn".into(), &"none".into()));
}

#[test]
fn what_leaves_is_written_with_its_time() {
    for name in ["out.pcap", "out.pcapng"] {
        let mut sample = Sample::new(CaptureFormat::Pcap);
        sample.add(0, syn("110.0.0.1:40000").build());
        sample.add(
            2_500,
            captures::to_director(frames::tcp(socket("110.0.0.1:7"), socket("192.168.0.250:81"))).build(),
        );
        let out = sample.folder.path().join(name);
        let run = explain(&sample, &["--out", out.to_str().unwrap()]);
        assert_eq!(run.status, 0, "{}", run.stderr);
        let file = fs::read(&out).unwrap();
        let packets: Vec<_> = CaptureReader::new(&file[..]).unwrap().map(Result::unwrap).collect();
        let tcp: Vec<_> =
            packets.iter().filter(|p| Summary::of(&p.bytes).unwrap().sockets().is_some()).collect();
        let [forwarded, reset] = &tcp[..] else { panic!("{tcp:?}") };
        let mut expected = syn("110.0.0.1:40000").build();
        expected[..6].copy_from_slice(&mac(&mac_of(111)).0);
        expected[6..12].copy_from_slice(&mac(captures::OWN).0);
        assert_eq!(forwarded.bytes, expected, "12 bytes are rewritten and the others are as they came");
        assert_eq!(
            (forwarded.time.as_micros(), reset.time.as_micros()),
            (1_700_000_000_000_000, 1_700_000_000_002_500)
        );
        assert!(packets.len() > 2, "the announcements of the VIP leave, too");
    }
}

#[test]
fn a_capture_that_is_cut_off_is_explained_as_far_as_it_goes() {
    for format in [CaptureFormat::Pcap, CaptureFormat::Pcapng] {
        let mut sample = Sample::new(format);
        sample.add(0, syn("110.0.0.1:40000").build());
        sample.add(1, syn("110.0.0.1:40001").build());
        sample.cut = 10;
        let run = explain(&sample, &["--json"]);
        assert_eq!((run.status, run.objects().len()), (1, 1), "{}", run.stderr);
        assert!(
            run.stderr.contains("after packet 1: the file is cut off in the middle of"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn what_is_no_capture_is_said_to_be_none() {
    let sample = Sample::new(CaptureFormat::Pcap);
    let run = explain_with(&sample, &["--json"], "192.168.0.208/24", b"GIF89a...");
    assert_eq!((run.status, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("this is no capture: it begins with 47 49 46 38"), "{}", run.stderr);
    let run = explain_with(&sample, &[], "192.168.0.208/24", b"");
    assert!(run.status == 1 && run.stderr.contains("the file is empty"), "{}", run.stderr);
    let missing =
        Run::of(&["--rules", sample.rules().to_str().unwrap(), "--dip", "10.0.0.1/8", "/nowhere/x.pcap"]);
    assert!(missing.status == 1 && missing.stderr.contains("/nowhere/x.pcap: "), "{}", missing.stderr);
}

#[test]
fn wrong_rules_and_options_end_with_2_and_the_place() {
    let mut sample = Sample::new(CaptureFormat::Pcap);
    sample.add(0, syn("110.0.0.1:40000").build());
    let with_rules = |rules: &str| {
        let mut sample = Sample::new(CaptureFormat::Pcap);
        sample.rules_text = rules.to_owned();
        explain(&sample, &[])
    };
    for (run, expected) in [
        (
            with_rules("-A -t 192.168.0.250:80 -s fast\n"),
            "rules.ipvs:1: Scheduler or persistence engine not found: `fast`",
        ),
        (
            with_rules("-A -t 192.168.0.250:80\n-a -t 192.168.0.250:80 -r 10.9.9.9\n"),
            "rules.ipvs:2: nothing leads to 10.9.9.9",
        ),
        (explain(&sample, &["--mac", "192.168.0.111"]), "expected RIP=MAC"),
        (explain(&sample, &["--filter", "verdict=lost"]), "`lost` is no verdict"),
        (explain(&sample, &["--sysctl", "no_such=1"]), "--sysctl there is no knob"),
        (
            explain(&sample, &["--interface-mac", "01:00:5e:00:00:01"]),
            "is not the address of a single station",
        ),
        (explain(&sample, &["--out", sample.capture().to_str().unwrap()]), "which it would replace"),
        (explain(&sample, &["--out", "/nowhere/out.pcap"]), "--out /nowhere/out.pcap: "),
        (Run::of(&["capture.pcap"]), "--rules"),
        (Run::of(&["--rules", "/nowhere/rules", "--dip", "10.0.0.1/8", "x"]), "--rules /nowhere/rules: "),
    ] {
        assert_eq!(run.status, 2, "{}", run.stderr);
        assert!(run.stderr.contains(expected), "{}\nexpected {expected}", run.stderr);
    }
    assert!(fs::read(sample.capture()).unwrap().len() > 60, "the capture is still there");
}

#[test]
fn ethernet_addresses_come_from_options_the_capture_or_the_address() {
    let mut sample = Sample::new(CaptureFormat::Pcap);
    sample.add(0, syn("110.0.0.1:1").build());
    sample.add(10, captures::server_answer(111));
    sample.add(20, syn("110.0.0.1:2").build());
    sample.add(30, captures::moved(111));
    sample.add(40, syn("110.0.0.1:1").flags(TcpFlags::ACK).build());
    let run = explain(&sample, &["--json", "--mac", "192.168.0.188=02:00:00:00:77:77"]);
    let to: Vec<String> = run
        .objects()
        .iter()
        .filter_map(|object| Some(object["out"].get(0)?["dst_mac"].as_str()?.to_owned()))
        .collect();
    assert_eq!(to, ["02:00:00:00:00:6f", "02:00:00:00:77:77", "02:00:00:00:99:99"]);
    assert!(run.stdout.contains("192.168.0.111 is at 02:00:00:00:99:99 from now on"));
    assert!(!run.stderr.contains("no --mac"), "{}", run.stderr);
    // With another address for the director none of it is its business.
    let other = explain(&sample, &["--json", "--interface-mac", "02:00:00:00:00:aa"]);
    assert!(other.objects().iter().all(|object| object["out"].as_array().unwrap().is_empty()));
}

#[test]
fn vlans_pieces_snapped_packets_and_segments_before_the_cut() {
    let mut sample = Sample::new(CaptureFormat::Pcapng);
    sample.add(0, syn("110.0.0.1:40000").vlan(10).build());
    let whole = syn("110.0.0.1:40000").flags(TcpFlags::ACK).vlan(10).payload(&[7; 1000]).build();
    sample.add_cut(10, &whole, 100);
    sample.add(20, syn("110.0.0.1:40000").flags(TcpFlags::ACK).vlan(10).payload(&[7; 9000]).build());
    sample.add(30, syn("110.0.0.2:40000").build());
    let out = sample.folder.path().join("out.pcap");
    let run = explain(&sample, &["--json", "--out", out.to_str().unwrap()]);
    let objects = run.objects();
    assert!(run.stderr.contains("the director is in VLAN 10"), "{}", run.stderr);
    assert_eq!(objects[0]["what"], "TCP SYN 110.0.0.1:40000 > 192.168.0.250:80, VLAN 10, 58 bytes");
    assert_eq!((&objects[0]["verdict"], &objects[1]["connection"]), (&"transmit".into(), &"known".into()));
    assert!(
        objects[1]["why"]
            .as_str()
            .unwrap()
            .contains("100 of its 1058 bytes are in the capture (snap length)")
    );
    assert_eq!((&objects[2]["verdict"], &objects[2]["out"][0]["bytes"]), (&"transmit".into(), &9058.into()));
    assert!(objects[3]["why"].as_str().unwrap().contains("no interface on this port and VLAN"));
    let file = fs::read(&out).unwrap();
    let packets = CaptureReader::new(&file[..]).unwrap().map(Result::unwrap);
    assert!(packets.into_iter().any(|packet| packet.missing() == 958 && packet.bytes.len() == 100));
}

#[test]
fn a_held_frame_says_so_and_leaves_with_the_one_it_waited_for() {
    let mut sample = Sample::new(CaptureFormat::Pcap);
    sample.rules_text = sample.rules_text.replace("-t", "-u");
    let whole = captures::to_director(
        frames::udp(socket("110.0.0.1:40000"), socket("192.168.0.250:80")).payload(&[5; 2000]),
    );
    let pieces = whole.fragments(1000);
    sample.add(0, pieces[1].clone());
    sample.add(10, pieces[0].clone());
    let objects = explain(&sample, &["--json"]).objects();
    assert_eq!((&objects[0]["verdict"], &objects[0]["out"]), (&"transmit".into(), &serde_json::json!([])));
    assert!(
        objects[0]["why"].as_str().unwrap().contains("the director keeps a copy"),
        "{}",
        objects[0]["why"]
    );
    assert_eq!(objects[1]["out"].as_array().unwrap().len(), 2);
}

#[test]
fn the_arp_problem_is_named() {
    let mut sample = Sample::new(CaptureFormat::Pcap);
    sample.add(0, captures::arp_answer());
    sample.add(1, captures::arp_answer());
    sample.add(2, captures::claim("02:00:00:00:00:bc"));
    let run = explain(&sample, &["--json"]);
    assert!(
        run.stderr
            .contains("02:00:00:00:00:bc says so too, once: if it is a real server, this is the ARP problem")
    );
    assert!(
        run.stdout.contains("02:00:00:00:00:bc claims 192.168.0.250, which is the director's"),
        "{}",
        run.stdout
    );
}

#[test]
fn a_filter_shows_some_frames_and_plays_all() {
    let mut sample = Sample::new(CaptureFormat::Pcap);
    sample.add(0, syn("110.0.0.1:40000").build());
    sample.add(1, syn("110.0.0.1:40001").build());
    let objects = explain(&sample, &["--json", "--filter", "server=192.168.0.188"]).objects();
    assert_eq!((objects.len(), &objects[0]["frame"]), (1, &2.into()));
}
