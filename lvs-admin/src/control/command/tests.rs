//! What command lines mean, and what is said of those that mean nothing.

use super::*;

fn read(line: &str) -> Result<CommandLine, UsageError> {
    CommandLine::read(line.split_whitespace())
}

fn command(line: &str) -> Command {
    let read = read(line).unwrap();
    assert_eq!(CommandLine::read(read.words()).as_ref(), Ok(&read), "{line}");
    read.command
}

fn wrong(line: &str) -> String {
    read(line).expect_err(line).to_string()
}

#[test]
fn its_own_words_are_taken_out_wherever_they_stand() {
    let line = read("--json -L -n --socket /run/x --stats").unwrap();
    assert_eq!(line.command, Command::Ipvsadm(["-L", "-n", "--stats"].map(str::to_owned).to_vec()));
    assert!(line.json);
    assert_eq!(line.socket, Some("/run/x".into()));
    assert_eq!(read("-L --socket=/run/y").unwrap().socket, Some("/run/y".into()));
    assert_eq!((wrong("-L --socket"), wrong("-L --socket=")).0, "--socket needs a path");
    // A path is bytes.
    let path = OsStr::from_bytes(b"/run/\xff");
    let joined = OsStr::from_bytes(b"--socket=/run/\xff");
    for words in [vec![OsStr::new("--socket"), path], vec![joined]] {
        assert_eq!(CommandLine::read(words).unwrap().socket, Some(path.into()));
    }
}

#[test]
fn commands_that_ipvsadm_does_not_have() {
    assert_eq!(command("--sysctl"), Command::Knobs(None));
    assert_eq!(command("--sysctl sloppy_tcp"), Command::Knobs(Some("sloppy_tcp".to_owned())));
    assert_eq!(command("--sysctl sloppy_tcp=1"), Command::SetKnob("sloppy_tcp=1".to_owned()));
    assert_eq!(command("--counters"), Command::Counters);
    assert_eq!(command("--reload --json"), Command::Reload);
    assert_eq!(command("--health"), Command::Health);
    let service = ServiceKey::tcp("192.168.0.250".parse().unwrap(), 80);
    let server: IpAddr = "192.168.0.188".parse().unwrap();
    let drained = Command::Drain { service, server, deadline: 30 };
    assert_eq!(command("--drain -t 192.168.0.250:80 -r 192.168.0.188 --deadline 30"), drained);
    assert_eq!(command("--drain --deadline=30 -t 192.168.0.250:80 -r 192.168.0.188:80"), drained);
    let forced = |state, service, server, deadline| Command::Force { service, server, state, deadline };
    assert_eq!(
        command("--force maintenance -r 192.168.0.188 --deadline 9"),
        forced(ForcedState::Maintenance, None, server, Some(9))
    );
    assert_eq!(
        command("--force none -t 192.168.0.250:80 -r 192.168.0.188"),
        forced(ForcedState::None, Some(service), server, None)
    );
    let v6 = "fd00::188".parse().unwrap();
    assert_eq!(
        command("--force down -f 7 -6 -r [fd00::188]"),
        forced(ForcedState::Down, Some(ServiceKey::mark_v6(7)), v6, None)
    );
    assert_eq!(command("--force up -r fd00::188"), forced(ForcedState::Up, None, v6, None));
}

#[test]
fn traces() {
    let trace = |filter: &str, count, seconds| Command::Trace {
        filter: filter.to_owned(),
        count: NonZeroU64::new(count),
        seconds,
    };
    assert_eq!(command("--trace"), trace("", 0, None));
    assert_eq!(
        command("--trace protocol=tcp --count 3 port=80 --seconds=60"),
        trace("protocol=tcp port=80", 3, Some(60))
    );
    // Quoted, so that a shell leaves the ! alone.
    let quoted = CommandLine::read(["--trace", " verdict=drop  !reason=own_frame "]).unwrap().command;
    assert_eq!(quoted, trace("verdict=drop !reason=own_frame", 0, None));
    for help in ["--trace help", "--trace --help", "--trace port=80 -h"] {
        assert_eq!(command(help), Command::TraceHelp, "{help}");
    }
    assert_eq!(command("--trace").request(), Some(Request::Trace { filter: String::new() }));
}

/// A message names the word and the cure.
#[test]
fn what_cannot_be_read_is_named() {
    for (line, words) in [
        ("--trace colour=red", "--trace colour=red: `colour` is no key; expected one of address, source, "),
        ("--trace colour=red", "; see lvsadm --trace help"),
        ("--trace tcp", "--trace tcp: expected KEY=VALUE with one of the keys address, "),
        ("--trace --cuont 3", "`--cuont`; there are --count N, --seconds N, "),
        ("--trace --count 0", "--count 0: expected a number of frames from 1 on"),
        ("--trace --count", "--count needs a number of frames"),
        ("--trace --seconds 0", "--seconds 0: expected seconds from 1 to 2678400"),
        ("--trace --seconds 18446744073709551615", "expected seconds from 1 to 2678400"),
        ("--trace --seconds 1 --seconds 2", "--seconds is given twice"),
        ("--force", "expected --force up|down|maintenance|none"),
        ("--force sideways -r 192.168.0.188", "`sideways` is no state of a server; expected --force up|"),
        ("--force up", "expected --force up|"),
        ("--force down", "--force down: -r RIP is missing; expected --force up|"),
        ("--force down --deadline 5", "--force down: -r RIP is missing"),
        ("--force up -r nobody", "-r nobody: expected the real server's address"),
        ("--force up -t 192.168.0.250:80", "--force up: -r RIP is missing"),
        ("--force up -r 192.168.0.188:80", "the real server's address without a port"),
        ("--health now", "--health: `now` is one word too many"),
        ("--counters now", "--counters: `now`"),
        ("--sysctl a=1 b=2", "--sysctl: `b=2` is one word too many"),
        ("--drain -t 192.168.0.250:80 -r 192.168.0.188", "--deadline is missing; expected --drain"),
        ("--drain -t 192.168.0.250:80 --deadline 5", "expected --drain -t VIP:PORT -r RIP"),
        (
            "--drain --deadline x -t 192.168.0.250:80 -r 192.168.0.188",
            "--deadline x: expected seconds from 0",
        ),
        ("--drain -t 192.168.0.250:80 -r 192.168.0.188 -w 2 --deadline 5", "expected --drain"),
    ] {
        let said = wrong(line);
        assert!(said.contains(words), "{line}: {said}");
    }
}

/// Text that a terminal would act upon, and more of it than anybody reads.
#[test]
fn messages_are_short_and_harmless() {
    let long = "\u{1b}[31m".repeat(10_000);
    for words in [
        vec!["--trace", &long],
        vec!["--trace", "--count", &long],
        vec!["--health", &long],
        vec!["--sysctl", "a", &long],
        vec!["--force", &long],
        vec!["--force", "up", "-r", &long],
        vec!["--drain", &long, "--deadline", "1"],
        vec!["--drain", "--deadline", &long],
    ] {
        let said = CommandLine::read(&words).unwrap_err().to_string();
        assert!(said.len() < 1000 && !said.contains('\u{1b}'), "{said}");
    }
}

fn called(line: &str, look_up: impl FnMut(Name<'_>) -> Option<String>) -> Result<Call, String> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    call(&words, look_up).map_err(|error| error.to_string())
}

#[test]
fn names_become_numbers_where_they_stand() {
    let long = format!("web.{}.example", "n".repeat(60));
    let known = |name: Name<'_>| match name {
        Name::Host("t" | "vip") => Some("192.168.0.250".to_owned()),
        Name::Host("six") => Some("[fd00::1]".to_owned()),
        Name::Host(name) if name == long => Some("192.168.0.251".to_owned()),
        Name::Port("http" | "p") => Some("80".to_owned()),
        _ => None,
    };
    for (line, means) in [
        ("-A -t vip:http -s rr", "-A -t 192.168.0.250:80 -s rr"),
        // The name is part of what stands before it, too.
        ("-A -tt:http -s rr", "-A -t192.168.0.250:80 -s rr"),
        ("-A --tcp-service=vip:p", "-A --tcp-service=192.168.0.250:80"),
        ("-a -t vip:http -r six:p", "-a -t 192.168.0.250:80 -r [fd00::1]:80"),
        (&format!("-A -u {long}:53"), "-A -u 192.168.0.251:53"),
    ] {
        // Families that do not fit are the director's to refuse.
        let call = called(line, known);
        assert_eq!(call, Ok(Call::Edit(means.to_owned())), "{line}");
    }
    assert!(called("-A -t nobody:80", known).unwrap_err().contains("`nobody` is a host name"));
}

/// Whatever a name stands for, it ends.
#[test]
fn a_name_that_stands_for_itself_is_asked_for_so_often_and_no_more() {
    let mut asked = 0;
    let result = called("-A -t a:b -s rr", |name| {
        asked += 1;
        match name {
            Name::Host(name) | Name::Port(name) => Some(name.to_owned()),
        }
    });
    assert!(result.is_err() && asked == 10, "{asked}");
}
