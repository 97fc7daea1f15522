//! The commands and options of `ipvsadm` 1.31, as data.
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

/// What a name on the command line stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Command(&'static CommandSpec, &'static str),
    Option(&'static OptionSpec, &'static str),
}

/// What the letter of a short option stands for.
pub(super) fn short(letter: u8) -> Option<Named> {
    let is = |name: &Option<&'static str>| name.is_some_and(|name| name.as_bytes()[1] == letter);
    named(|spec| spec.short.filter(|_| is(&spec.short)), |spec| spec.short.filter(|_| is(&spec.short)))
}

/// What a long name stands for, given with its two dashes. As in ipvsadm names cannot be abbreviated.
pub(super) fn long(name: &[u8]) -> Option<Named> {
    named(
        |spec| Some(spec.long).filter(|long| long.as_bytes() == name),
        |spec| Some(spec.long).filter(|long| long.as_bytes() == name),
    )
}

fn named(
    command: impl Fn(&'static CommandSpec) -> Option<&'static str>,
    option: impl Fn(&'static OptionSpec) -> Option<&'static str>,
) -> Option<Named> {
    let commands = COMMANDS.iter().filter_map(|spec| Some(Named::Command(spec, command(spec)?)));
    let options = OPTIONS.iter().filter_map(|spec| Some(Named::Option(spec, option(spec)?)));
    commands.chain(options).next()
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

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
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

static COMMANDS: [CommandSpec; 17] = [
    command(Command::AddService, Some("-A"), "--add-service", Standing::Supported),
    command(Command::EditService, Some("-E"), "--edit-service", Standing::Supported),
    command(Command::DeleteService, Some("-D"), "--delete-service", Standing::Supported),
    command(Command::AddServer, Some("-a"), "--add-server", Standing::Supported),
    command(Command::EditServer, Some("-e"), "--edit-server", Standing::Supported),
    command(Command::DeleteServer, Some("-d"), "--delete-server", Standing::Supported),
    command(Command::Clear, Some("-C"), "--clear", Standing::Supported),
    command(Command::Zero, Some("-Z"), "--zero", Standing::Supported),
    command(Command::Set, None, "--set", Standing::Supported),
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

const PERSISTENCE: Standing = not_yet("persistence", "a service without -p, -M and --pe");
const LIMITS: Standing = not_yet("connection limits", "a real server without -x and -y");
const TUNNEL: Standing = not_yet("tunnelling", "-g (direct routing) or nothing, which means the same");
const MARKS: Standing = not_yet("firewall marks", "-t VIP:PORT or -u VIP:PORT");
/// Options of commands that are no rules themselves: never reached with a command that is one.
const LISTING: Standing = Standing::NotARule;

static OPTIONS: [OptionSpec; 41] = [
    option(
        Slot::Service,
        Some("-t"),
        "--tcp-service",
        Value::Required("VIP:PORT"),
        WITH_SERVICE,
        Standing::Supported,
    ),
    option(
        Slot::Service,
        Some("-u"),
        "--udp-service",
        Value::Required("VIP:PORT"),
        WITH_SERVICE,
        Standing::Supported,
    ),
    option(
        Slot::Service,
        None,
        "--sctp-service",
        Value::Required("VIP:PORT"),
        WITH_SERVICE,
        not_yet("SCTP", "-t VIP:PORT or -u VIP:PORT"),
    ),
    option(Slot::Service, Some("-f"), "--fwmark-service", Value::Required("MARK"), WITH_SERVICE, MARKS),
    option(Slot::Ipv6, Some("-6"), "--ipv6", Value::None, WITH_SERVICE, MARKS),
    option(Slot::Scheduler, Some("-s"), "--scheduler", Value::Required("NAME"), SERVICE, Standing::Supported),
    option(Slot::Persistence, Some("-p"), "--persistent", Value::Optional, SERVICE, PERSISTENCE),
    option(Slot::Netmask, Some("-M"), "--netmask", Value::Required("MASK"), SERVICE, PERSISTENCE),
    option(Slot::PersistenceEngine, None, "--pe", Value::Required("NAME"), SERVICE, PERSISTENCE),
    option(
        Slot::SchedulerFlags,
        Some("-b"),
        "--sched-flags",
        Value::Required("FLAGS"),
        SERVICE,
        not_yet("scheduler flags", "a service without -b"),
    ),
    option(
        Slot::OnePacket,
        Some("-o"),
        "--ops",
        Value::None,
        SERVICE,
        not_yet("one-packet scheduling", "a service without -o"),
    ),
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
    option(
        Slot::Forwarding,
        Some("-m"),
        "--masquerading",
        Value::None,
        SERVER,
        not_yet("NAT", "-g (direct routing) or nothing, which means the same"),
    ),
    option(Slot::Weight, Some("-w"), "--weight", Value::Required("NUMBER"), SERVER, Standing::Supported),
    option(Slot::UpperThreshold, Some("-x"), "--u-threshold", Value::Required("NUMBER"), SERVER, LIMITS),
    option(Slot::LowerThreshold, Some("-y"), "--l-threshold", Value::Required("NUMBER"), SERVER, LIMITS),
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
            let found = long(spec.long.as_bytes());
            assert!(matches!(found, Some(Named::Command(it, _)) if it.command == spec.command), "{spec:?}");
        }
        for spec in &OPTIONS {
            assert_eq!(long(spec.long.as_bytes()), Some(Named::Option(spec, spec.long)));
            if let Some(name) = spec.short {
                assert_eq!(short(name.as_bytes()[1]), Some(Named::Option(spec, name)));
            }
        }
        assert_eq!(long(b"--weigh"), None, "names cannot be abbreviated");
        assert_eq!(short(b'Q'), None);
    }

    #[test]
    fn messages_name_what_is_supported_only() {
        assert_eq!(command_names(), "-A, -E, -D, -a, -e, -d, -C, -Z or --set");
        assert_eq!(option_names(Command::AddServer), "-t, -u, -r, -g or -w");
        assert_eq!(option_names(Command::Clear), "");
    }
}
