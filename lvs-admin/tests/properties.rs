//! Properties of the rules grammar: no bytes disturb it, and what is saved reads back as it was.

mod generators;

use lvs_admin::model::{Model, Service};
use lvs_admin::rules::Warning;
use lvs_admin::{rules, save};
use lvs_core::config::{Change, MarkRule, Timeouts};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use generators::{key, mark_rule, servers, service, timeouts};

/// Whatever the outcome: positions lie inside the file, and messages are one line of text that a terminal
/// only shows.
fn check(file: &[u8]) -> Result<(), TestCaseError> {
    let lines: Vec<&[u8]> = file.split(|&byte| byte == b'\n').collect();
    match rules::load(file) {
        Ok(loaded) => {
            let parsed = rules::parse(file);
            prop_assert_eq!(Ok(&loaded), parsed.as_ref());
            prop_assert!(loaded.iter().all(|rule| (1..=lines.len()).contains(&rule.line)));
        }
        Err(error) => {
            prop_assert!((1..=lines.len()).contains(&error.line()));
            let column = error.column();
            prop_assert!(column.start <= column.end && column.end <= lines[error.line() - 1].len());
            prop_assert!(!error.to_string().contains(|c: char| c.is_control()), "{error}");
            let shown = error.display("f").with_excerpt().to_string();
            prop_assert_eq!(shown.lines().count(), 3, "{}", shown);
            prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown}");
            prop_assert!(shown.ends_with('^'));
        }
    }
    Ok(())
}

/// Words that occur in rules, and some that nearly do.
const WORDS: &str = "-A -E -D -a -e -d -C -Z --set --add-service --add-server -t -u --tcp-service=1.2.3.4:80 -r -w -g -s \
    rr wrr wlc 1.2.3.4:80 1.2.3.4 5.6.7.8 [2001:db8::1]:80 [2001:db8::1] 0 1 900 -1 ipvsadm # -p -i -- - -L -gw2 -at \
    --weight= --weight=x 1.2.3.4:http [ ]: --= -= --mark tcp sctp 1.2.3.4/24 2001:db8::/64 80-90,7 -80 9-1, ,, -f -6 \
    --fwmark-service=7 --sctp-service -M 255.255.255.0 64 -b sh-port flag-1,mh-port -o -x -y --timeout --timeout=5 \
    --slow-start mh sh --pe -p300 --persistent=";

fn word() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    prop_oneof![
        12 => prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ]
}

/// Everything that rules can say.
#[derive(Debug, Clone, PartialEq)]
struct Whole {
    services: Vec<Service>,
    mark_rules: Vec<MarkRule>,
    timeouts: Timeouts,
}

fn configuration() -> impl Strategy<Value = Whole> {
    let services = btree_map(key(), any::<()>(), 0..6).prop_flat_map(move |keys| {
        let services: Vec<_> = keys.into_keys().map(|key| (service(key), servers(key))).collect();
        services.prop_map(|services| {
            let made = services.into_iter().map(|(config, destinations)| Service { config, destinations });
            made.collect()
        })
    });
    (services, vec(mark_rule(), 0..4), timeouts()).prop_map(|(services, mark_rules, timeouts)| Whole {
        services,
        mark_rules,
        timeouts,
    })
}

fn saved(whole: &Whole, style: save::Style) -> String {
    let Whole { services, mark_rules, timeouts } = whole;
    let mut text = String::new();
    let configuration = save::Configuration { services, mark_rules, timeouts: Some(timeouts) };
    save(&mut text, &configuration, style).unwrap();
    text
}

fn loaded(text: &str) -> Whole {
    let mut model = Model::new();
    rules::load_onto(text.as_bytes(), &mut model).unwrap_or_else(|error| panic!("{error}\n{text}"));
    Whole {
        services: model.services().collect(),
        mark_rules: model.mark_rules().to_vec(),
        timeouts: *model.timeouts(),
    }
}

fn sorted(mut whole: Whole) -> Whole {
    for service in &mut whole.services {
        service.destinations.sort_by_key(|server| server.address);
    }
    whole
}

proptest! {
    #[test]
    fn any_bytes_are_safe(file in vec(any::<u8>(), 0..400)) {
        check(&file)?;
    }

    #[test]
    fn nearly_right_rules_are_safe(lines in vec(vec(word(), 0..8), 0..12)) {
        let lines: Vec<Vec<u8>> = lines.into_iter().map(|words| words.join(&b' ')).collect();
        check(&lines.join(&b'\n'))?;
    }

    #[test]
    fn a_saved_configuration_reads_back(whole in configuration()) {
        let text = saved(&whole, save::Style::BACKUP);
        prop_assert_eq!(&loaded(&text), &whole, "{}", text);
        let rules = rules::load(text.as_bytes()).unwrap();
        let odd = |warning: &Warning| !matches!(warning, Warning::SlowStartUnused { .. });
        prop_assert!(!rules.iter().filter_map(|rule| rule.warning.as_ref()).any(odd));
        let added = rules.iter().filter(|rule| matches!(rule.change, Change::AddService(_)));
        prop_assert_eq!(added.count(), whole.services.len());
    }

    #[test]
    fn a_sorted_one_holds_the_same_servers(whole in configuration()) {
        let again = loaded(&saved(&whole, save::Style::default()));
        prop_assert_eq!(sorted(again), sorted(whole));
    }

    /// What ipvsadm could read lacks what ipvsadm has no words for, and nothing else.
    #[test]
    fn the_form_of_ipvsadm_reads_back_without_what_it_lacks(whole in configuration()) {
        let again = loaded(&saved(&whole, save::Style::IPVSADM));
        let mut whole = Whole { mark_rules: Vec::new(), timeouts: Timeouts::default(), ..whole };
        for service in &mut whole.services {
            service.config.timeouts = None;
            service.config.slow_start = None;
            for server in &mut service.destinations {
                *server = server.thresholds(0, 0);
            }
        }
        prop_assert_eq!(sorted(again), sorted(whole));
    }
}
