//! Who may run it: an ordinary user, and what it says where nobody may.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::geteuid;

use crate::arp_problem::tells;
use crate::program::{CHECKS, Outcome, PROGRAM, REFUSED, object, run_well};

/// Why the program cannot work on this machine, if it cannot.
pub(crate) fn refusal(command: &mut Command) -> Option<String> {
    // Without a choice it would run the simulated network.
    let output = command.args(["--json", "--requests", "1", "--io", "afpacket"]).output().ok()?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code() == Some(2) && message.contains(REFUSED)).then_some(message)
}

/// Why AF_XDP cannot be used on this machine, if it cannot.
pub(crate) fn xdp_refusal() -> Option<String> {
    let output = Command::new(PROGRAM).args(["--json", "--requests", "1", "--io", "xdp"]).output().ok()?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    let refused = message.contains("AF_XDP needs") || message.contains("the kernel lacks");
    (output.status.code() == Some(2) && refused).then_some(message)
}

/// The same for somebody without rights.
pub(crate) fn user_refusal() -> Option<String> {
    let (mut command, _directory) = as_ordinary_user().ok()?;
    refusal(&mut command)
}

/// The program as somebody without rights starts it, and what must live as long.
fn as_ordinary_user() -> std::io::Result<(Command, tempfile::TempDir)> {
    pub(crate) const NOBODY: u32 = 65_534;
    let mut command = Command::new(PROGRAM);
    let directory = tempfile::tempdir()?;
    if geteuid().is_root() {
        // The build directory may be closed to others.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let copy = directory.path().join("quickstart");
        fs::copy(PROGRAM, &copy)?;
        command = Command::new(copy);
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
    }
    Ok((command, directory))
}

pub(crate) fn ordinary_user() -> Outcome {
    let (mut command, _directory) = as_ordinary_user()?;
    let object = run_well(command.arg("--json"))?;
    assert_eq!(object["io"], "afpacket");
    Ok(())
}

pub(crate) fn ordinary_user_arp_problem() -> Outcome {
    let (mut command, _directory) = as_ordinary_user()?;
    tells(&mut command, "afpacket").map(drop)
}

pub(crate) fn arp_problem_where_refused() -> Outcome {
    tells(&mut without_rights(&[PROGRAM]), "sim").map(drop)
}

/// A command in which neither root's rights nor user namespaces are to be had: root of a user namespace that
/// forbids further ones, without any capability.
fn without_rights(arguments: &[&str]) -> Command {
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && \
                  exec setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", script, "sh"]).args(arguments);
    command
}

pub(crate) fn can_refuse() -> bool {
    let output = without_rights(&["sh", "-c", "unshare --net true || echo refused"]).output();
    output.is_ok_and(|output| output.stdout == b"refused\n")
}

pub(crate) fn where_refused() -> Outcome {
    for io in ["afpacket", "xdp"] {
        refused_with(&["--io", io], io)?;
    }
    // The simulated network has no hosts to enter.
    refused_with(&["--keep"], "afpacket")
}

/// With these options it says that it could not run, and why.
fn refused_with(options: &[&str], io: &str) -> Outcome {
    let command = [&[PROGRAM], options].concat();
    let output = without_rights(&[&command[..], &["--json"]].concat()).output()?;
    assert_eq!(output.status.code(), Some(2));
    let object = object(&output)?;
    assert_eq!((&object["ok"], &object["io"]), (&false.into(), &io.into()));
    assert_eq!((&object["requests"], &object["failed"]), (&20.into(), &20.into()));
    for check in CHECKS {
        assert_eq!(object["checks"][check], false, "{object}");
    }
    let error = object["error"].as_str().ok_or("an error")?;
    assert!(error.contains(REFUSED) && error.contains("user.max_user_namespaces is 0"), "{error}");
    assert!(error.contains("To allow it: sysctl -w user.max_user_namespaces="), "{error}");

    let plain = without_rights(&command).output()?;
    assert_eq!((plain.status.code(), plain.stdout.len()), (Some(2), 0));
    assert_eq!(String::from_utf8(plain.stderr)?, format!("quickstart: {error}\n"), "one message");
    Ok(())
}

pub(crate) fn simulates_where_refused() -> Outcome {
    let output = without_rights(&[PROGRAM, "--json", "--requests", "5"]).output()?;
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{message}");
    let object = object(&output)?;
    assert_eq!((&object["ok"], &object["io"]), (&true.into(), &"sim".into()));
    for check in CHECKS {
        assert_eq!(object["checks"][check], true, "{object}");
    }
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(
        message.starts_with(
            "quickstart: namespaces are not allowed here (user.max_user_namespaces is 0); \
             running the simulated network instead. To allow them: sysctl -w user.max_user_namespaces="
        ),
        "{message}"
    );
    // Who asks for it is told nothing.
    let asked = without_rights(&[PROGRAM, "--json", "--requests", "5", "--io", "sim"]).output()?;
    assert_eq!((asked.status.code(), asked.stderr.len()), (Some(0), 0));
    assert_eq!(asked.stdout, output.stdout);
    Ok(())
}
