//! The commands and options of `ipvsadm` 1.31 and a director's own, as data.
//!
//! All of them stand here, also those that no director carries out yet: a rule that uses one is told apart
//! from a rule with a spelling mistake. To support one is to change its [`Standing`] here and to give it a
//! meaning in `command.rs`.

/// What a line does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    AddService,
    EditService,
    DeleteService,
    Clear,
    AddServer,
    EditServer,
    DeleteServer,
    Zero,
    Set,
    Mark,
    Restore,
    Save,
    List,
    StartDaemon,
    StopDaemon,
    Help,
    Version,
}

/// What an option sets. A rule has at most one option a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Service,
    Ipv6,
    Scheduler,
    Persistence,
    Netmask,
    PersistenceEngine,
    SchedulerFlags,
    OnePacket,
    Timeouts,
    SlowStart,
    Server,
    Forwarding,
    Weight,
    UpperThreshold,
    LowerThreshold,
    TunnelType,
    TunnelPort,
    TunnelChecksum,
    ListingKind,
    ListingColumns,
    Numeric,
    Exact,
    Sorting,
    MulticastInterface,
    SyncId,
    SyncMaxLength,
    MulticastGroup,
    MulticastPort,
    MulticastTtl,
}

/// Whether an option takes a value, and how the value is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    None,
    Required(&'static str),
    /// Taken from the next word unless that begins with a dash.
    Optional,
    /// Three of them, as after `--set`.
    ThreeTimeouts,
}

/// What becomes of a command or option in a rules file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Supported,
    /// Part of ipvsadm's grammar; no director carries it out yet.
    NotYet {
        meaning: &'static str,
        instead: &'static str,
    },
    /// A command that shows or saves something.
    NotARule,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct CommandSpec {
    pub(super) command: Command,
    pub(super) short: Option<&'static str>,
    pub(super) long: &'static str,
    pub(super) standing: Standing,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct OptionSpec {
    pub(super) slot: Slot,
    pub(super) short: Option<&'static str>,
    pub(super) long: &'static str,
    pub(super) value: Value,
    /// The commands it belongs to.
    pub(super) commands: &'static [Command],
    pub(super) standing: Standing,
}

impl CommandSpec {
    /// What ipvsadm's messages call it.
    pub(super) fn called(&self) -> &'static str {
        match self.command {
            Command::Clear => "flush",
            _ => self.long.trim_start_matches('-'),
        }
    }
}

impl OptionSpec {
    /// What ipvsadm's messages call it.
    pub(super) fn called(&self) -> &'static str {
        match self.slot {
            Slot::Service => "service-address",
            _ => self.long.trim_start_matches('-'),
        }
    }
}

/// What a name on the command line stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Command(&'static CommandSpec, &'static str),
    Option(&'static OptionSpec, &'static str),
}

/// What the letter of a short option stands for.
pub(super) fn short(letter: u8) -> Option<Named> {
    let is = |name: &Option<&'static str>| name.is_some_and(|name| name.as_bytes()[1] == letter);
    named(None, |spec| spec.short.filter(|_| is(&spec.short)), |spec| spec.short.filter(|_| is(&spec.short)))
}

/// What a long name stands for after a command, given with its two dashes. As in ipvsadm names cannot be
/// abbreviated.
pub(super) fn long(name: &[u8], command: Option<Command>) -> Option<Named> {
    named(
        command,
        |spec| Some(spec.long).filter(|long| long.as_bytes() == name),
        |spec| Some(spec.long).filter(|long| long.as_bytes() == name),
    )
}

/// Of several options with the same name the one that belongs to the command counts.
fn named(
    after: Option<Command>,
    command: impl Fn(&'static CommandSpec) -> Option<&'static str>,
    option: impl Fn(&'static OptionSpec) -> Option<&'static str>,
) -> Option<Named> {
    let mut commands = COMMANDS.iter().filter_map(|spec| Some(Named::Command(spec, command(spec)?)));
    let options = || OPTIONS.iter().filter_map(|spec| Some((spec, option(spec)?)));
    let belongs = |spec: &OptionSpec| after.is_some_and(|after| spec.commands.contains(&after));
    commands.next().or_else(|| {
        let found = options().find(|(spec, _)| belongs(spec)).or_else(|| options().next());
        found.map(|(spec, name)| Named::Option(spec, name))
    })
}

/// The supported commands, for messages: `-A, -E, ... or --set`.
pub(super) fn command_names() -> String {
    let supported = COMMANDS.iter().filter(|spec| spec.standing == Standing::Supported);
    listed(supported.map(|spec| spec.short.unwrap_or(spec.long)))
}

/// The supported options of a command, for messages; empty if it has none.
pub(super) fn option_names(command: Command) -> String {
    let supported = OPTIONS
        .iter()
        .filter(|spec| spec.standing == Standing::Supported && spec.commands.contains(&command));
    listed(supported.map(|spec| spec.short.unwrap_or(spec.long)))
}

pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

const fn command(
    command: Command,
    short: Option<&'static str>,
    long: &'static str,
    standing: Standing,
) -> CommandSpec {
    CommandSpec { command, short, long, standing }
}

const SYNC: Standing = Standing::NotYet {
    meaning: "connection synchronisation",
    instead: "a file without --start-daemon and --stop-daemon",
};

static COMMANDS: [CommandSpec; 18] = [
    command(Command::AddService, Some("-A"), "--add-service", Standing::Supported),
    command(Command::EditService, Some("-E"), "--edit-service", Standing::Supported),
    command(Command::DeleteService, Some("-D"), "--delete-service", Standing::Supported),
    command(Command::AddServer, Some("-a"), "--add-server", Standing::Supported),
    command(Command::EditServer, Some("-e"), "--edit-server", Standing::Supported),
    command(Command::DeleteServer, Some("-d"), "--delete-server", Standing::Supported),
    command(Command::Clear, Some("-C"), "--clear", Standing::Supported),
    command(Command::Zero, Some("-Z"), "--zero", Standing::Supported),
    command(Command::Set, None, "--set", Standing::Supported),
    command(Command::Mark, None, "--mark", Standing::Supported),
    command(Command::Restore, Some("-R"), "--restore", Standing::NotARule),
    command(Command::Save, Some("-S"), "--save", Standing::NotARule),
    command(Command::List, Some("-L"), "--list", Standing::NotARule),
    command(Command::List, Some("-l"), "--list", Standing::NotARule),
    command(Command::Help, Some("-h"), "--help", Standing::NotARule),
    command(Command::Version, Some("-v"), "--version", Standing::NotARule),
    command(Command::StartDaemon, None, "--start-daemon", SYNC),
    command(Command::StopDaemon, None, "--stop-daemon", SYNC),
];

const fn option(
    slot: Slot,
    short: Option<&'static str>,
    long: &'static str,
    value: Value,
    commands: &'static [Command],
    standing: Standing,
) -> OptionSpec {
    OptionSpec { slot, short, long, value, commands, standing }
}

const fn not_yet(meaning: &'static str, instead: &'static str) -> Standing {
    Standing::NotYet { meaning, instead }
}

/// Where a service address may stand.
const WITH_SERVICE: &[Command] = &[
    Command::AddService,
    Command::EditService,
    Command::DeleteService,
    Command::AddServer,
    Command::EditServer,
    Command::DeleteServer,
    Command::Zero,
    Command::List,
];
const SERVICE: &[Command] = &[Command::AddService, Command::EditService];
const ANY_SERVER: &[Command] = &[Command::AddServer, Command::EditServer, Command::DeleteServer];
const SERVER: &[Command] = &[Command::AddServer, Command::EditServer];
const LIST: &[Command] = &[Command::List];
const LIST_OR_SAVE: &[Command] = &[Command::List, Command::Save];
const START: &[Command] = &[Command::StartDaemon];
const START_OR_STOP: &[Command] = &[Command::StartDaemon, Command::StopDaemon];

const TUNNEL: Standing = not_yet("tunnelling", "-g (direct routing) or nothing, which means the same");
const NAT: Standing = not_yet("NAT", "-g (direct routing) or nothing, which means the same");
const ENGINE: Standing = not_yet("persistence engines", "a service without --pe");
const ENDPOINT: Value = Value::Required("VIP:PORT");
const MARK: Value = Value::Required("MARK");
const FLAGS: Value = Value::Required("FLAG[,FLAG]");
const NUMBER: Value = Value::Required("NUMBER");
/// Options of commands that are no rules themselves: never reached with a command that is one.
const LISTING: Standing = Standing::NotARule;

static OPTIONS: [OptionSpec; 43] = [
    option(Slot::Service, Some("-t"), "--tcp-service", ENDPOINT, WITH_SERVICE, Standing::Supported),
    option(Slot::Service, Some("-u"), "--udp-service", ENDPOINT, WITH_SERVICE, Standing::Supported),
    option(Slot::Service, None, "--sctp-service", ENDPOINT, WITH_SERVICE, Standing::Supported),
    option(Slot::Service, Some("-f"), "--fwmark-service", MARK, WITH_SERVICE, Standing::Supported),
    option(Slot::Ipv6, Some("-6"), "--ipv6", Value::None, WITH_SERVICE, Standing::Supported),
    option(Slot::Scheduler, Some("-s"), "--scheduler", Value::Required("NAME"), SERVICE, Standing::Supported),
    option(Slot::Persistence, Some("-p"), "--persistent", Value::Optional, SERVICE, Standing::Supported),
    option(Slot::Netmask, Some("-M"), "--netmask", Value::Required("MASK"), SERVICE, Standing::Supported),
    option(Slot::PersistenceEngine, None, "--pe", Value::Required("NAME"), SERVICE, ENGINE),
    option(Slot::SchedulerFlags, Some("-b"), "--sched-flags", FLAGS, SERVICE, Standing::Supported),
    option(Slot::OnePacket, Some("-o"), "--ops", Value::None, SERVICE, Standing::Supported),
    option(Slot::Timeouts, None, "--timeout", Value::ThreeTimeouts, SERVICE, Standing::Supported),
    option(Slot::SlowStart, None, "--slow-start", Value::Required("SECONDS"), SERVICE, Standing::Supported),
    option(
        Slot::Server,
        Some("-r"),
        "--real-server",
        Value::Required("RIP"),
        ANY_SERVER,
        Standing::Supported,
    ),
    option(Slot::Forwarding, Some("-g"), "--gatewaying", Value::None, SERVER, Standing::Supported),
    option(Slot::Forwarding, Some("-i"), "--ipip", Value::None, SERVER, TUNNEL),
    option(Slot::Forwarding, Some("-m"), "--masquerading", Value::None, SERVER, NAT),
    option(Slot::Weight, Some("-w"), "--weight", NUMBER, SERVER, Standing::Supported),
    option(Slot::UpperThreshold, Some("-x"), "--u-threshold", NUMBER, SERVER, Standing::Supported),
    option(Slot::LowerThreshold, Some("-y"), "--l-threshold", NUMBER, SERVER, Standing::Supported),
    option(Slot::TunnelType, None, "--tun-type", Value::Required("TYPE"), SERVER, TUNNEL),
    option(Slot::TunnelPort, None, "--tun-port", Value::Required("PORT"), SERVER, TUNNEL),
    option(Slot::TunnelChecksum, None, "--tun-nocsum", Value::None, SERVER, TUNNEL),
    option(Slot::TunnelChecksum, None, "--tun-csum", Value::None, SERVER, TUNNEL),
    option(Slot::TunnelChecksum, None, "--tun-remcsum", Value::None, SERVER, TUNNEL),
    option(Slot::ListingKind, Some("-c"), "--connection", Value::None, LIST, LISTING),
    option(Slot::ListingKind, None, "--timeout", Value::None, LIST, LISTING),
    option(Slot::ListingKind, None, "--daemon", Value::None, LIST, LISTING),
    option(Slot::ListingColumns, None, "--stats", Value::None, LIST, LISTING),
    option(Slot::ListingColumns, None, "--rate", Value::None, LIST, LISTING),
    option(Slot::ListingColumns, None, "--thresholds", Value::None, LIST, LISTING),
    option(Slot::ListingColumns, None, "--persistent-conn", Value::None, LIST, LISTING),
    option(Slot::ListingColumns, None, "--tun-info", Value::None, LIST, LISTING),
    option(Slot::Numeric, Some("-n"), "--numeric", Value::None, LIST_OR_SAVE, LISTING),
    option(Slot::Exact, None, "--exact", Value::None, LIST, LISTING),
    option(Slot::Sorting, None, "--sort", Value::None, LIST, LISTING),
    option(Slot::Sorting, None, "--nosort", Value::None, LIST, LISTING),
    option(Slot::MulticastInterface, None, "--mcast-interface", Value::Required("NAME"), START, SYNC),
    option(Slot::SyncId, None, "--syncid", Value::Required("NUMBER"), START_OR_STOP, SYNC),
    option(Slot::SyncMaxLength, None, "--sync-maxlen", Value::Required("BYTES"), START, SYNC),
    option(Slot::MulticastGroup, None, "--mcast-group", Value::Required("ADDRESS"), START, SYNC),
    option(Slot::MulticastPort, None, "--mcast-port", Value::Required("PORT"), START, SYNC),
    option(Slot::MulticastTtl, None, "--mcast-ttl", Value::Required("HOPS"), START, SYNC),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_stands_for_one_thing() {
        for spec in &COMMANDS {
            let found = long(spec.long.as_bytes(), None);
            assert!(matches!(found, Some(Named::Command(it, _)) if it.command == spec.command), "{spec:?}");
        }
        for spec in &OPTIONS {
            let found = long(spec.long.as_bytes(), spec.commands.first().copied());
            assert_eq!(found, Some(Named::Option(spec, spec.long)));
            if let Some(name) = spec.short {
                assert_eq!(short(name.as_bytes()[1]), Some(Named::Option(spec, name)));
            }
        }
        assert_eq!(long(b"--weigh", None), None, "names cannot be abbreviated");
        assert_eq!(short(b'Q'), None);
    }

    #[test]
    fn messages_name_what_is_supported_only() {
        assert_eq!(command_names(), "-A, -E, -D, -a, -e, -d, -C, -Z, --set or --mark");
        assert_eq!(option_names(Command::AddServer), "-t, -u, --sctp-service, -f, -6, -r, -g, -w, -x or -y");
        assert_eq!(option_names(Command::Clear), "");
    }
}
