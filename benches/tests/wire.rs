//! `wire` on real kernels, but short: that every frame is accounted for and that the program prints what it should, not
//! how fast it is. Where namespaces are not allowed every test is marked ignored, aloud.

use std::process::ExitCode;

use libtest_mimic::Arguments;

#[cfg(target_os = "linux")]
mod on_linux {
    use std::process::Command;
    use std::time::Duration;

    use libtest_mimic::{Failed, Trial};
    use lvs_benches::wire::{Io, account};
    use lvs_testkit::lab;
    use serde_json::Value;

    type Test = (&'static str, fn() -> Result<(), Failed>);

    pub(crate) fn trials() -> Vec<Trial> {
        let entered = lab::enter();
        if let Err(refused) = &entered {
            eprintln!("SKIPPED, all tests of wire: {refused}");
        }
        let tests: [Test; 3] = [
            ("every_frame_is_accounted_for", every_frame_is_accounted_for),
            ("every_frame_over_a_tap_is_accounted_for", every_frame_over_a_tap_is_accounted_for),
            ("json_lines_are_as_documented", json_lines_are_as_documented),
        ];
        let trial = |(name, test)| Trial::test(name, test).with_ignored_flag(entered.is_err());
        tests.into_iter().map(trial).collect()
    }

    fn every_frame_is_accounted_for() -> Result<(), Failed> {
        let counted = account(Io::Afpacket, 20_000, Duration::from_millis(300))?;
        assert!((2000..10_000).contains(&counted.sent), "{counted:?}");
        assert_eq!((counted.offered, counted.forwarded), (counted.sent, counted.sent));
        Ok(())
    }

    fn every_frame_over_a_tap_is_accounted_for() -> Result<(), Failed> {
        if let Err(error) = std::fs::File::open("/dev/net/tun") {
            eprintln!("SKIPPED, wire over TAP devices: /dev/net/tun {error}");
            return Ok(());
        }
        let counted = account(Io::Tap, 20_000, Duration::from_millis(300))?;
        assert!((2000..10_000).contains(&counted.sent), "{counted:?}");
        // The frame with which the bridge gets to know the real server comes by another card.
        assert_eq!((counted.offered, counted.forwarded), (counted.sent, counted.sent));
        Ok(())
    }

    fn json_lines_are_as_documented() -> Result<(), Failed> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wire"));
        command.args(["--io", "afpacket", "--json", "--rounds", "1", "--time", "50"]);
        let output = command.output()?;
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout)?;
        let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let expected = [
            &["baseline_mpps", "case", "frame_bytes", "io", "lossless_mpps", "lost_percent", "mpps"][..],
            &["case", "gbit_s", "io", "retransmits"],
        ];
        assert_eq!(lines.len(), expected.len(), "{text}");
        for (line, expected) in lines.iter().zip(expected) {
            let mut names: Vec<&String> = line.as_object().ok_or("no object")?.keys().collect();
            names.sort();
            assert_eq!(names, expected);
            assert_eq!(line["io"], "afpacket");
        }
        for (line, figure) in [(0, "mpps"), (0, "baseline_mpps"), (1, "gbit_s")] {
            assert!(lines[line][figure].as_f64() > Some(0.0), "nothing got through: {text}");
        }
        let said = String::from_utf8(output.stderr)?;
        assert!(said.contains("lvs wire on ") && said.contains("frames come from "), "{said}");
        Ok(())
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One after the other: they use the same two processors.
    arguments.test_threads = Some(1);
    #[cfg(target_os = "linux")]
    let trials = on_linux::trials();
    #[cfg(not(target_os = "linux"))]
    let trials = Vec::<libtest_mimic::Trial>::new();
    libtest_mimic::run(&arguments, trials).exit_code()
}
