//! What stop leaves: the host as it was, to the last setting, and what others did in between.

use std::fs;

use lvs_core::Subnet;

use crate::machine::{Machine, VIP, VIP6};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("start_start_stop_leaves_exactly_the_former_state", start_start_stop),
    ("settings_stay_until_the_last_vip_goes", one_after_the_other),
    ("values_that_are_safe_are_not_touched", safe_values),
    ("changes_of_others_in_between_are_left_alone", foreign_changes),
    ("a_vip_that_was_there_before_stays", there_before),
    ("a_start_that_fails_leaves_nothing", failing_start),
    ("a_state_of_an_earlier_boot_is_not_put_back", earlier_boot),
    ("a_state_that_is_no_state_stops_everything", no_state),
];

fn start_start_stop() -> Outcome {
    let machine = Machine::new()?;
    let before = machine.everything()?;
    let start = format!("start --vip {VIP} --vip {VIP6}");
    let first = machine.run_well(&start)?;
    for line in [
        "interfaces towards the director: eth0 (by default route or subnet)",
        "net.ipv4.conf.all.arp_ignore: 0 -> 1",
        "net.ipv4.conf.eth0.arp_announce: 0 -> 2",
        "lo: 192.168.0.250/32 added",
        "lo: fd00:192::250/128 added",
    ] {
        assert!(first.stdout.lines().any(|it| it == line), "{line} is missing: {first:#?}");
    }
    let started = machine.everything()?;
    assert!(started != before);
    let second = machine.run_well(&start)?;
    assert!(!second.stdout.contains("->") && !second.stdout.contains("added"), "{second:#?}");
    assert_eq!(second.stdout.matches("already").count(), 6, "{second:#?}");
    started.is_still(&machine.everything()?)?;
    machine.run_well("stop")?;
    before.is_still(&machine.everything()?)?;
    assert!(!machine.state().exists());
    let again = machine.run_well("stop")?;
    assert_eq!(again.stdout, "nothing was started: nothing to undo\n");
    before.is_still(&machine.everything()?)?;
    Ok(())
}

fn one_after_the_other() -> Outcome {
    let machine = Machine::new()?;
    let before = machine.everything()?;
    machine.run_well(&format!("start --vip {VIP}"))?;
    machine.run_well("start --vip 192.168.0.251 --interface eth0")?;
    let stopped = machine.run_well(&format!("stop --vip {VIP}"))?;
    assert!(stopped.stdout.contains("the settings stay"), "{stopped:#?}");
    assert_eq!((machine.value("eth0.arp_ignore")?, machine.value("all.arp_announce")?), (1, 2));
    machine.run_well("stop --vip 192.168.0.251 --interface eth0")?;
    before.is_still(&machine.everything()?)?;
    Ok(())
}

fn safe_values() -> Outcome {
    let machine = Machine::new()?;
    machine.set("all.arp_announce", 2)?;
    machine.set("eth0.arp_ignore", 2)?;
    // Of the kernel's answers 3 is none that helps.
    machine.set("all.arp_ignore", 3)?;
    let before = machine.everything()?;
    let started = machine.run_well(&format!("start --vip {VIP}"))?;
    assert!(started.stdout.contains("net.ipv4.conf.all.arp_announce is 2 already"), "{started:#?}");
    assert!(started.stdout.contains("net.ipv4.conf.all.arp_ignore: 3 -> 1"), "{started:#?}");
    assert_eq!((machine.value("eth0.arp_ignore")?, machine.value("all.arp_ignore")?), (2, 1));
    machine.run_well("stop")?;
    before.is_still(&machine.everything()?)?;
    Ok(())
}

fn foreign_changes() -> Outcome {
    let machine = Machine::new()?;
    let before = machine.everything()?;
    let other: Subnet = "192.168.0.251/32".parse()?;
    machine.run_well(&format!("start --vip {VIP} --vip {}", other.address()))?;
    machine.set("all.arp_ignore", 2)?;
    machine.set("eth0.arp_announce", 0)?;
    machine.host.remove_address("lo", other)?;
    machine.host.add_address("lo", "10.99.0.1/32".parse()?)?;
    let stopped = machine.run_well("stop")?;
    for line in [
        "net.ipv4.conf.all.arp_ignore was changed to 2 since start, which set 1 (before: 0): left alone",
        "net.ipv4.conf.eth0.arp_announce is 0 already, as before start",
        "192.168.0.251/32 is not on lo any more",
        "lo: 192.168.0.250/32 removed",
    ] {
        assert!(stopped.stdout.lines().any(|it| it == line), "{line} is missing: {stopped:#?}");
    }
    assert_eq!(machine.value("all.arp_ignore")?, 2);
    // What others did is all that is left.
    machine.set("all.arp_ignore", 0)?;
    machine.host.remove_address("lo", "10.99.0.1/32".parse()?)?;
    before.is_still(&machine.everything()?)?;
    Ok(())
}

fn there_before() -> Outcome {
    let machine = Machine::new()?;
    machine.host.hold_vip(VIP.parse()?)?;
    let before = machine.everything()?;
    let started = machine.run_well(&format!("start --vip {VIP}"))?;
    assert!(started.stdout.contains("192.168.0.250/32 is on lo already"), "{started:#?}");
    assert_eq!(machine.value("all.arp_ignore")?, 1, "it has to be quiet all the same");
    let stopped = machine.run_well("stop")?;
    assert!(stopped.stdout.contains("was there before start: it stays"), "{stopped:#?}");
    before.is_still(&machine.everything()?)?;
    Ok(())
}

fn failing_start() -> Outcome {
    let machine = Machine::new()?;
    machine.run_well(&format!("start --vip {VIP}"))?;
    machine.set("eth0.arp_ignore", 0)?;
    let (before, state) = (machine.everything()?, fs::read(machine.state())?);
    // With rights, but over another network: the kernel lets the machine's root change settings and refuses the address,
    // and refuses others everything.
    let Some(ran) = machine.run_as_stranger("start --vip 192.168.0.251")? else { return Ok(()) };
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    assert!(ran.stderr.contains("the user namespace that this network belongs to"), "{ran:#?}");
    let taken_back = "taken back: net.ipv4.conf.eth0.arp_ignore: 0 -> 1";
    assert_eq!(
        ran.stderr.contains(taken_back),
        ran.stderr.contains("ip address add 192.168.0.251/32"),
        "{ran:#?}"
    );
    before.is_still(&machine.everything()?)?;
    assert_eq!(fs::read(machine.state())?, state);

    fs::remove_file(machine.state())?;
    fs::create_dir_all(machine.state().join("in the way"))?;
    let ran = machine.run("stop")?;
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    let ran = machine.run("start --vip 192.168.0.251")?;
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    assert!(ran.stderr.contains("realserver.json: "), "{ran:#?}");
    before.is_still(&machine.everything()?)?;
    Ok(())
}

fn earlier_boot() -> Outcome {
    let machine = Machine::new()?;
    machine.run_well(&format!("start --vip {VIP}"))?;
    let text = fs::read_to_string(machine.state())?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    fs::write(machine.state(), text.replace(boot.trim(), "an-earlier-one"))?;
    let before = machine.everything()?;
    let stopped = machine.run("stop")?;
    assert_eq!(stopped.code, Some(0), "{stopped:#?}");
    assert!(stopped.stderr.contains("of an earlier boot"), "{stopped:#?}");
    before.is_still(&machine.everything()?)?;
    assert!(!machine.state().exists(), "and it is gone");
    Ok(())
}

fn no_state() -> Outcome {
    let machine = Machine::new()?;
    machine.run_well(&format!("start --vip {VIP}"))?;
    let before = machine.everything()?;
    fs::write(machine.state(), "{}")?;
    for words in ["stop", "start --vip 192.168.0.251", "status"] {
        let ran = machine.run(words)?;
        assert_eq!(ran.code, Some(2), "{ran:#?}");
        assert!(ran.stderr.contains("not a state of this program"), "{ran:#?}");
    }
    before.is_still(&machine.everything()?)?;
    Ok(())
}
