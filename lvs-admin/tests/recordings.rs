//! Listings, saved rules and error messages against those of a real kernel and ipvsadm 1.31.
//!
//! The recordings are those of `lvs-core/tests/fixtures/ipvs`. Every listing in them (those at the end of a scenario and
//! those in between) is read back into values by its columns and printed again; the rules and edits of every scenario are
//! loaded and saved again. The text must come out byte for byte. Left out is what direct routing has no words for: the
//! scenarios with tunnelling servers.

mod recordings {
    pub(crate) mod reader;
    pub(crate) mod store;
}

use std::time::Duration;

use lvs_admin::listing::{self, Columns, Order, Style};
use lvs_admin::model::{Model, Service};
use lvs_admin::{proc, rules, save};
use lvs_core::config::Timeouts;

use self::recordings::reader::{self, records, services};
use self::recordings::store::{Scenario, recorded, scenarios};

#[track_caller]
fn same(scenario: &str, printed: &str, recorded: &str) {
    assert!(printed == recorded, "{scenario}: printed\n{printed}\nrecorded\n{recorded}");
}

/// Prints every recorded listing of a kind again.
fn print_again(kind: &str, least: usize, style: Style) {
    let texts = recorded(kind);
    assert!(texts.len() >= least, "{kind}: only {} texts", texts.len());
    let mut rows = 0;
    for (scenario, text) in texts {
        let services = services(&text, style.columns);
        rows += services.iter().map(|service| 1 + service.destinations.len()).sum::<usize>();
        let mut printed = String::new();
        listing::services(&mut printed, &services, 4096, style).unwrap();
        same(&scenario, &printed, &text);
    }
    assert!(rows > least, "{kind}: only {rows} rows");
}

fn sorted(columns: Columns) -> Style {
    Style { columns, exact: false, order: Order::Sorted }
}

#[test]
fn services_with_their_connections() {
    print_again("ipvsadm -Ln", 300, Style::default());
}

#[test]
fn totals_and_rates() {
    print_again("ipvsadm -Ln --stats", 249, sorted(Columns::Statistics));
    print_again("ipvsadm -Ln --stats --exact", 249, Style { exact: true, ..sorted(Columns::Statistics) });
    print_again("ipvsadm -Ln --rate", 249, sorted(Columns::Rates));
}

#[test]
fn thresholds_and_persistent_connections() {
    print_again("ipvsadm -Ln --thresholds", 275, sorted(Columns::Thresholds));
    print_again("ipvsadm -Ln --persistent-conn", 249, sorted(Columns::PersistentConnections));
}

#[test]
fn connections_and_templates() {
    let texts = recorded("ipvsadm -Lnc");
    assert!(texts.len() >= 300, "only {} texts", texts.len());
    let mut templates = 0;
    for (scenario, text) in texts {
        let records: Vec<_> = text.lines().skip(2).map(records::from_listing).collect();
        templates += records.iter().filter(|record| record.template).count();
        let mut printed = String::new();
        listing::connections(&mut printed, &records).unwrap();
        same(&scenario, &printed, &text);
    }
    assert!(templates > 200, "only {templates} templates");
}

#[test]
fn timeouts() {
    let texts = recorded("ipvsadm -Ln --timeout");
    assert!(texts.len() >= 249, "only {} texts", texts.len());
    for (scenario, text) in texts {
        let values: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [tcp, tcp_fin, udp] = values[..] else { panic!("{scenario}: {values:?}") };
        let seconds = Duration::from_secs;
        let timeouts = Timeouts { tcp: seconds(tcp), tcp_fin: seconds(tcp_fin), udp: seconds(udp) };
        let mut printed = String::new();
        listing::timeouts(&mut printed, &timeouts).unwrap();
        same(&scenario, &printed, &text);
    }
}

#[test]
fn files_of_the_kernel() {
    let texts = recorded("/proc/net/ip_vs");
    assert!(texts.len() >= 330, "only {} texts", texts.len());
    for (scenario, text) in texts {
        let mut printed = String::new();
        proc::services(&mut printed, &reader::kernel_services(&text), 4096).unwrap();
        same(&scenario, &printed, &text);
    }
    let texts = recorded("/proc/net/ip_vs_conn");
    assert!(texts.len() >= 330, "only {} texts", texts.len());
    for (scenario, text) in texts {
        let records: Vec<_> = text.lines().skip(1).map(records::from_kernel).collect();
        let mut printed = String::new();
        proc::connections(&mut printed, &records).unwrap();
        same(&scenario, &printed, &text);
    }
    let texts = recorded("/proc/net/ip_vs_stats");
    assert!(texts.len() >= 330, "only {} texts", texts.len());
    for (scenario, text) in texts {
        let (totals, rates) = reader::kernel_statistics(&text);
        let mut printed = String::new();
        proc::statistics(&mut printed, &totals, &rates).unwrap();
        same(&scenario, &printed, &text);
    }
}

/// The model after the rules and edits of a scenario.
fn played(scenario: &Scenario) -> Model {
    let mut model = Model::new();
    for line in &scenario.commands {
        rules::load_onto(line.as_bytes(), &mut model)
            .unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
    }
    model
}

fn services_of(model: &Model) -> Vec<Service> {
    model.services().collect()
}

/// The rules and edits of a whole scenario, loaded and saved, give what ipvsadm saved at its end; saved completely they
/// load again.
#[test]
fn rules_load_and_save() {
    let scenarios = scenarios();
    assert!(scenarios.len() >= 249, "only {} scenarios", scenarios.len());
    for scenario in scenarios {
        let model = played(&scenario);
        let services = services_of(&model);
        let configuration = save::Configuration { services: &services, mark_rules: &[], timeouts: None };
        let mut printed = String::new();
        save(&mut printed, &configuration, save::Style::IPVSADM).unwrap();
        if let Some(saved) = &scenario.saved {
            same(&scenario.name, &printed, saved);
        }
        let mut complete = String::new();
        save::model(&mut complete, &model).unwrap();
        let mut again = Model::new();
        rules::load_onto(complete.as_bytes(), &mut again).unwrap();
        assert_eq!(services_of(&again), services, "{}", scenario.name);
        assert_eq!(again.timeouts(), model.timeouts());
    }
}

/// One service alone, services in list order, and everything that ipvsadm can list at once: `cli/layout` without its
/// tunnelling and masquerading servers.
#[test]
fn a_configuration_of_everything() {
    let other_methods = |line: &&str| !line.contains("Tunnel") && !line.contains("Masq");
    let text = |kind: &str| -> String {
        let text = recordings::store::layout(kind);
        text.lines().filter(other_methods).flat_map(|line| [line, "\n"]).collect()
    };
    let printed = |kind: &str, style: Style| {
        let mut printed = String::new();
        listing::services(&mut printed, &services(&text(kind), style.columns), 4096, style).unwrap();
        printed
    };
    let kind = "ipvsadm -Ln";
    assert!(text(kind).contains("FWM  2 IPv6 rr persistent 100 mask 64\n"));
    same(kind, &printed(kind, Style::default()), &text(kind));
    // The reader turns the order round, and the listing leaves it so.
    let kind = "ipvsadm -Ln --nosort";
    let style = Style { order: Order::AsGiven, ..Style::default() };
    let mut reversed = services(&text(kind), Columns::Connections);
    reversed.reverse();
    reversed.iter_mut().for_each(|service| service.destinations.reverse());
    let mut unsorted = String::new();
    listing::services(&mut unsorted, &reversed, 4096, style).unwrap();
    same(kind, &unsorted, &text(kind));

    let kind = "ipvsadm -Ln -f 1";
    let mut one = String::new();
    listing::service(&mut one, &services(&text(kind), Columns::Connections)[0], Style::default()).unwrap();
    same(kind, &one, &text(kind));

    let kind = "/proc/net/ip_vs";
    let mut kernel = String::new();
    proc::services(&mut kernel, &reader::kernel_services(&text(kind)), 4096).unwrap();
    same(kind, &kernel, &text(kind));
}

/// What ipvsadm refuses is refused with its words, and what it takes is taken.
#[test]
fn errors_are_those_of_ipvsadm() {
    // Here ipvsadm says less than there is to say: a hint to its help, and a guess at a wrong module.
    let other_words = ["-Q", "-a -t 10.9.0.10:80 -r 224.0.0.1:80 -g"];
    // Only who knows the subnets of interfaces can tell: a director, not a reader of rules.
    let elsewhere = ["-a -t 10.9.0.10:80 -r 10.9.0.255:80 -g"];
    let (mut refused, mut taken) = (0, 0);
    let mut model = Model::new();
    for step in recordings::store::errors() {
        let args = step.args.as_str();
        let result = rules::load_onto(args.as_bytes(), &mut model);
        match result {
            _ if args.contains("--pe") => {
                assert!(result.unwrap_err().to_string().contains("not supported yet"));
            }
            _ if elsewhere.contains(&args) => assert!(step.rc != 0 && result.is_ok()),
            Ok(_) => {
                taken += 1;
                assert_eq!(step.rc, 0, "{args} is taken");
            }
            Err(error) => {
                refused += 1;
                assert_ne!(step.rc, 0, "{args}: {error}");
                let said = error.to_string().contains(step.err.trim_end());
                assert!(said || other_words.contains(&args), "{args}: {error}; ipvsadm: {}", step.err);
            }
        }
    }
    assert!(refused >= 22 && taken >= 5, "{refused} refused, {taken} taken");
}
