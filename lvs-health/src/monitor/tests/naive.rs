//! The monitor against a naive model of it.

use super::*;

/// Says what a service must look like, from all that ever happened, and as simply as can be.
#[derive(Default)]
struct Naive {
    /// Results of each server's check.
    up: BTreeMap<IpAddr, bool>,
    row: BTreeMap<IpAddr, u32>,
    forced: BTreeMap<IpAddr, Forced>,
    quorum: bool,
}

impl Naive {
    fn result(&mut self, server: IpAddr, ok: bool, timing: &Timing) {
        let up = self.up.entry(server).or_insert(true);
        let row = self.row.entry(server).or_default();
        *row = if ok == *up { 0 } else { *row + 1 };
        if *row >= if *up { timing.fall } else { timing.rise } {
            *up = ok;
            *row = 0;
        }
    }

    /// The weights in the director, the sorry server's last.
    fn expected(&mut self, config: &ServiceHealth) -> Vec<u32> {
        let serves = |server: &ServerHealth| {
            let address = server.destination.address;
            match self.forced.get(&address) {
                Some(Forced::Up) => true,
                Some(_) => false,
                None => *self.up.get(&address).unwrap_or(&true),
            }
        };
        let weights: Vec<u32> =
            config.servers.iter().map(|one| if serves(one) { one.destination.weight } else { 0 }).collect();
        let live: u32 = weights.iter().sum();
        let Quorum { weight, hysteresis } = config.quorum;
        self.quorum = if self.quorum { live >= weight - hysteresis } else { live >= weight + hysteresis };
        let mut all: Vec<u32> = if self.quorum { weights } else { vec![0; weights.len()] };
        all.push(u32::from(!self.quorum));
        all
    }
}

#[derive(Debug, Clone)]
enum Step {
    Result(u32, bool),
    Force(u32, Option<bool>),
    Maintain(u32),
    Weight(u32, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0u32..5, any::<bool>()).prop_map(|(n, ok)| Step::Result(n, ok)),
        1 => (0u32..5, any::<Option<bool>>()).prop_map(|(n, up)| Step::Force(n, up)),
        1 => (0u32..5).prop_map(Step::Maintain),
        1 => (0u32..5, 1u32..6).prop_map(|(n, weight)| Step::Weight(n, weight)),
    ];
    proptest::collection::vec(step, 0..150)
}

proptest! {
    #[test]
    fn a_monitor_agrees_with_a_naive_one(
        steps in steps(), fall in 1u32..4, rise in 1u32..4, quorum in 1u32..6, hysteresis in 0u32..5, remove in any::<bool>(),
    ) {
        let timing = Timing { fall, rise, ..Timing::default() };
        let mut config = service(5, timing);
        config.quorum = Quorum { weight: quorum, hysteresis: hysteresis.min(quorum - 1) };
        config.sorry = Some(destination(99));
        config.damping = None;
        config.on_down = if remove { OnDown::Remove } else { OnDown::Quiesce };
        let mut world = World::new(std::slice::from_ref(&config));
        let mut naive = Naive { quorum: true, ..Naive::default() };
        for step in steps {
            match step {
                Step::Result(n, ok) => {
                    // Time passes until this server is asked; everybody else keeps his opinion.
                    let check = world.monitor.servers[world.monitor.find(&key(), rip(n)).unwrap()].checks[0];
                    world.now = world.now + Duration::from_secs(2);
                    world.monitor.checks[check].checker.hasten(world.now);
                    world.monitor.deadlines.set(check, world.now);
                    world.monitor.handle_timeout(world.now);
                    while let Some(order) = world.monitor.poll_probe(world.now) {
                        let outcome = match (order.server == rip(n), ok) {
                            (true, true) => Outcome::SUCCESS,
                            (true, false) => Outcome::failure(FailureKind::Refused, "closed"),
                            (false, _) => Outcome::undecided("not asked"),
                        };
                        world.monitor.handle_result(world.now, order.id, outcome);
                    }
                    naive.result(rip(n), ok, &timing);
                }
                Step::Force(n, up) => {
                    let forced = up.map(|up| if up { Forced::Up } else { Forced::Down });
                    world.monitor.force(world.now, &key(), rip(n), forced).unwrap();
                    match forced {
                        Some(forced) => drop(naive.forced.insert(rip(n), forced)),
                        None => drop(naive.forced.remove(&rip(n))),
                    }
                }
                Step::Maintain(n) => {
                    let forced = Forced::Maintenance { drain: None };
                    world.monitor.force(world.now, &key(), rip(n), Some(forced)).unwrap();
                    naive.forced.insert(rip(n), forced);
                }
                Step::Weight(n, weight) => {
                    config.servers[n as usize].destination.weight = weight;
                    world.monitor.configure(world.now, std::slice::from_ref(&config)).unwrap();
                }
            }
            while let Some(decision) = world.monitor.poll_decision() {
                world.apply(decision.change);
            }
            let expected = naive.expected(&config);
            for (place, n) in (0..5).chain([99]).enumerate() {
                let maintained = matches!(naive.forced.get(&rip(n)), Some(Forced::Maintenance { .. }));
                let absent = remove && expected[place] == 0 && !maintained;
                prop_assert_eq!(world.weight(n), (!absent).then_some(expected[place]), "server {}", n);
            }
        }
    }
}
