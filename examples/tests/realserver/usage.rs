//! Status, print, JSON, rights and exit codes.

use lvs_core::Subnet;
use lvs_testkit::lab::Host;
use serde_json::Value;

use crate::machine::{Machine, VIP, VIP6};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("status_says_what_is_and_exits_with_it", status),
    ("print_changes_nothing_and_prints_what_start_and_stop_do", print),
    ("without_the_right_nothing_is_changed_and_the_right_is_named", rights),
    ("interfaces_are_checked_and_must_be_named_where_none_is_likely", interfaces),
];

fn status() -> Outcome {
    let machine = Machine::new()?;
    let nothing = machine.run("status")?;
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(3), "not active: nothing was started\n"));
    assert_eq!(machine.run(&format!("status --vip {VIP}"))?.code, Some(3));
    machine.run_well(&format!("start --vip {VIP} --vip {VIP6}"))?;
    let active = machine.run_well("status")?;
    for line in [
        "192.168.0.250: active (on lo, added by start)",
        "fd00:192::250: active (on lo, added by start)",
        "net.ipv4.conf.all.arp_ignore is 1 (start set 1, before 0)",
    ] {
        assert!(active.stdout.lines().any(|it| it == line), "{line} is missing: {active:#?}");
    }
    machine.set("all.arp_announce", 0)?;
    machine.set("eth0.arp_announce", 0)?;
    let leaking = machine.run("status --json")?;
    let object: Value = serde_json::from_str(&leaking.stdout)?;
    assert_eq!((leaking.code, &object["active"]), (Some(3), &Value::Bool(false)), "{leaking:#?}");
    assert_eq!(object["vips"][0]["findings"][0]["id"], "arp-announces", "{object}");
    assert_eq!(object["vips"][1]["active"], true, "{object}");
    machine.run_well("stop")?;
    assert_eq!(machine.run("status")?.code, Some(3));
    Ok(())
}

fn print() -> Outcome {
    let machine = Machine::new()?;
    let before = machine.everything()?;
    let words = format!("start --vip {VIP} --vip {VIP6} --print");
    // Without rights too.
    let printed = machine.run_without_admin(&words)?;
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""), "{printed:#?}");
    before.is_still(&machine.everything()?)?;
    assert!(!machine.state().parent().ok_or("a directory")?.exists(), "not even a directory");
    // What is printed is what has to be done: carried out, start has nothing left to do.
    let commands =
        printed.stdout.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with('#'));
    let mut done = 0;
    for command in commands {
        done += 1;
        carry_out(&machine.host, command)?;
    }
    assert_eq!(done, 6, "{printed:#?}");
    let again = machine.run_well(&words)?;
    assert!(again.stdout.contains("# nothing to do\n"), "{again:#?}");
    machine.run_well(&format!("status --vip {VIP} --vip {VIP6}"))?;
    Ok(())
}

fn carry_out(host: &Host, command: &str) -> Outcome {
    let words: Vec<&str> = command.split(' ').collect();
    match words[..] {
        ["sysctl", "-w", setting] => {
            let (name, value) = setting.split_once('=').ok_or("a value")?;
            host.sysctl(name, value)?;
        }
        ["ip", "address", "add", subnet, "dev", interface] => {
            host.add_address(interface, subnet.parse::<Subnet>()?)?;
        }
        _ => return Err(format!("what is `{command}`?").into()),
    }
    Ok(())
}

fn rights() -> Outcome {
    let machine = Machine::new()?;
    let before = machine.everything()?;
    for words in [format!("start --vip {VIP}"), "stop".to_owned()] {
        let refused = machine.run_without_admin(&words)?;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{refused:#?}");
        for part in ["CAP_NET_ADMIN", "sudo realserver", "--print"] {
            assert!(refused.stderr.contains(part), "{part} is missing: {refused:#?}");
        }
    }
    before.is_still(&machine.everything()?)?;
    // Looking needs none.
    machine.run_well(&format!("start --vip {VIP}"))?;
    let looked = machine.run_without_admin(&format!("check --vip {VIP}"))?;
    assert_eq!((looked.code, looked.stderr.as_str()), (Some(0), ""), "{looked:#?}");
    assert_eq!(machine.run_without_admin("status")?.code, Some(0));
    Ok(())
}

fn interfaces() -> Outcome {
    let machine = Machine::new()?;
    for (words, expected) in [
        ("start --vip 192.168.0.250 --interface eth7", "no such interface; there are: lo, eth0"),
        ("check --vip 192.168.0.250 --interface lo", "no neighbours"),
        ("start", "at least one --vip"),
        ("start --vip 192.168.0.250/32", "without prefix length"),
    ] {
        let ran = machine.run(words)?;
        assert_eq!(ran.code, Some(2), "{ran:#?}");
        assert!(ran.stderr.contains(expected), "{ran:#?}");
    }
    machine.host.remove_route("0.0.0.0/0".parse()?, "192.168.0.15".parse()?)?;
    let lost = machine.run("start --vip 10.1.1.1")?;
    assert_eq!(lost.code, Some(2), "{lost:#?}");
    assert!(lost.stderr.contains("with --interface; there are: lo, eth0"), "{lost:#?}");
    let named = machine.run("start --vip 10.1.1.1 --interface eth0")?;
    assert_eq!(named.code, Some(0), "{named:#?}");
    assert!(
        named.stdout.contains("eth0 (as named)") && named.stderr.contains("no-default-route"),
        "{named:#?}"
    );
    Ok(())
}
