//! Carries plans out, and takes back what was begun and cannot be finished.

use std::io;

use crate::plan::{Plan, Step};
use crate::state::{Setting, Started, State};

/// What plans are carried out on: a kernel with its state file, or a model of one.
pub(crate) trait System {
    fn apply(&mut self, step: &Step) -> io::Result<()>;
    fn save(&mut self, state: &State) -> io::Result<()>;
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Steps that were taken and hold.
    pub(crate) done: Vec<Step>,
    /// Steps that were taken back.
    pub(crate) undone: Vec<Step>,
    /// What went wrong, in sentences. If there is nothing, all is done.
    pub(crate) failures: Vec<String>,
    /// The error of the first failure, for those who look for missing rights.
    pub(crate) error: Option<io::Error>,
}

impl Outcome {
    fn fail(&mut self, what: String, error: io::Error) {
        self.failures.push(format!("{what}: {error}"));
        self.error.get_or_insert(error);
    }
}

/// All of it or nothing. The state is written first: whatever ends this program, `stop` knows what may have been done.
pub(crate) fn start(system: &mut impl System, plan: &Plan, former: &State) -> Outcome {
    let mut outcome = Outcome::default();
    if plan.state != *former
        && let Err(error) = system.save(&plan.state)
    {
        outcome.fail("nothing was changed, since what was before cannot be remembered".to_owned(), error);
        return outcome;
    }
    for step in &plan.steps {
        if let Err(error) = system.apply(step) {
            outcome.fail(step.command(), error);
            roll_back(system, &mut outcome, former);
            return outcome;
        }
        outcome.done.push(step.clone());
    }
    outcome
}

fn roll_back(system: &mut impl System, outcome: &mut Outcome, former: &State) {
    let mut stuck = Vec::new();
    while let Some(step) = outcome.done.pop() {
        let inverse = step.inverse();
        match system.apply(&inverse) {
            Ok(()) => outcome.undone.push(step),
            Err(error) => {
                outcome.fail(format!("not taken back: {}", inverse.command()), error);
                stuck.push(step);
                // An address that stays needs its settings.
                if matches!(inverse, Step::Remove(vip) if vip.is_ipv4()) {
                    break;
                }
            }
        }
    }
    stuck.extend(outcome.done.drain(..).rev());
    stuck.reverse();
    outcome.done = stuck;
    // With something left, the new state stays: `stop` undoes what it finds.
    if outcome.done.is_empty()
        && let Err(error) = system.save(former)
    {
        outcome.fail("the former state could not be written".to_owned(), error);
    }
}

/// As much as can be done, in an order that is safe at every moment; the rest stays in the state.
pub(crate) fn stop(system: &mut impl System, plan: &Plan, former: &State) -> Outcome {
    let mut outcome = Outcome::default();
    let mut state = plan.state.clone();
    for step in &plan.steps {
        let holds_vip = state.vips.iter().any(|started| started.vip.is_ipv4());
        if holds_vip && matches!(step, Step::Set { .. }) {
            keep(step, former, &mut state);
            outcome.failures.push(format!("not done, since a VIP is still there: {}", step.command()));
            continue;
        }
        match system.apply(step) {
            Ok(()) => outcome.done.push(step.clone()),
            Err(error) => {
                keep(step, former, &mut state);
                outcome.fail(step.command(), error);
            }
        }
    }
    if state != *former
        && let Err(error) = system.save(&state)
    {
        outcome.fail("the state could not be written".to_owned(), error);
    }
    outcome
}

/// Goes on remembering what a step would have undone.
fn keep(step: &Step, former: &State, state: &mut State) {
    match step {
        Step::Set { interface, key, .. } => {
            let same = |it: &&Setting| it.interface == *interface && it.key == *key;
            state.settings.extend(former.settings.iter().find(same).cloned());
        }
        Step::Add(vip) | Step::Remove(vip) => state.vips.push(Started { vip: *vip, added: true }),
    }
}
