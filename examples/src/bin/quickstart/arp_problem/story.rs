//! The story: what is done to the network, in order, and what is seen after each step.

use std::time::Duration;

use lvs_core::MacAddr;
use lvs_doctor::Finding as Diagnosis;

use crate::checks::Finding;
use crate::evidence::Network;
use crate::failure::Failure;

use super::doctor;
use super::judge::{self, Measured, Trial};
use super::outcome::Outcome;
use super::words::Narrator;
use super::world::{Recipe, Said, World};

/// A director announces a new VIP three times, a second apart; after so long that is over.
const ANNOUNCING: Duration = Duration::from_millis(2500);
/// How long what was said may take to be heard, and answered by the director.
const HEARING: Duration = Duration::from_millis(50);

/// After so many failures in a step the rest of its requests is not tried, and counts as failed.
const HOPELESS: usize = 3;

/// What makes a real server say that it has the VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// The router has forgotten who has it, and asks everybody. The first answer counts.
    RouterAsks,
    /// The real servers have forgotten their router. Who is to answer a client asks for it, with the VIP as sender.
    ServerAsks,
}

/// Occasions, one of which is enough in any network with the ARP problem. That a real server answers before the director is likely,
/// not certain. That it announces the VIP is certain, and the director takes it back; but not twice within a second, so that
/// the second announcement holds.
const OCCASIONS: [Occasion; 3] = [Occasion::RouterAsks, Occasion::ServerAsks, Occasion::ServerAsks];

/// What came of an occasion.
#[derive(Debug)]
pub(super) struct Happened {
    pub(super) occasion: Occasion,
    pub(super) said: Vec<Said>,
    /// Whom the router takes for the VIP afterwards.
    pub(super) believed: Option<MacAddr>,
}

/// Tells it. `interrupted` says whether to give up.
///
/// # Errors
/// If a step cannot be done, or it is interrupted. That a step shows something else than it should is no error, but in the outcome.
pub(super) fn tell<W: World>(
    world: &mut W,
    requests: u32,
    narrator: Narrator<'_>,
    interrupted: &dyn Fn() -> bool,
) -> Result<Outcome, Failure> {
    let network = world.network().clone();
    let totals = Totals { requests: 0, failed: 0, per_server: vec![0; network.servers.len()] };
    let mut story = Story { world, network, requests, narrator, interrupted, totals };
    let balanced_at_first = story.at_first()?;
    let takeover = story.takeover()?;
    let doctor_finds_it = story.diagnosis()?;
    let mut quiet: Vec<(Recipe, Vec<Diagnosis>)> = Vec::new();
    let mut cures: Vec<Finding> = Vec::new();
    let mut sick = takeover.clone();
    for (at, cure) in Recipe::CURES.into_iter().enumerate() {
        story.narrator.cure(at + 1, cure);
        if at > 0 {
            sick = story.again()?;
        }
        let (finding, diagnoses) = story.cure(cure, &sick)?;
        cures.push(finding);
        quiet.push((cure, diagnoses));
    }
    let lo_recipe_is_no_cure = story.no_cure()?;
    let doctor_is_silent_when_cured = judge::finding(doctor::silent(&quiet));
    let Totals { requests, failed, per_server } = story.totals;
    Ok(Outcome {
        requests,
        failed,
        per_server,
        balanced_at_first,
        takeover: judge::finding(takeover),
        cures: cures.try_into().expect("one finding a cure"),
        lo_recipe_is_no_cure,
        doctor_finds_it,
        doctor_is_silent_when_cured,
    })
}

/// Sums over all requests that were judged.
struct Totals {
    requests: u32,
    failed: u32,
    per_server: Vec<usize>,
}

struct Story<'a, 'n, W> {
    world: &'a mut W,
    network: Network,
    requests: u32,
    narrator: Narrator<'n>,
    interrupted: &'a dyn Fn() -> bool,
    totals: Totals,
}

/// Whether the cluster is bypassed, and why it is said.
type Bypassed = Result<String, String>;

impl<W: World> Story<'_, '_, W> {
    /// The director has just announced the VIP, and the router believes it.
    fn at_first(&mut self) -> Result<Finding, Failure> {
        self.narrator.at_first();
        // An announcement changes what the router knows of an address, and is nothing to a router that knows nothing of it.
        let _ = self.world.fetch();
        self.world.pass(ANNOUNCING);
        let measured = self.measure()?;
        self.narrator.measured(&measured, &self.network);
        Ok(judge::finding(judge::balanced(&measured, &self.network)))
    }

    /// A real server announces the VIP, then real servers answer for it.
    fn takeover(&mut self) -> Result<Bypassed, Failure> {
        self.narrator.takeover(&self.network);
        // Both ways are shown, even where the first is enough.
        let announced = self.give(Occasion::ServerAsks)?;
        self.narrator.happened(&announced, &self.network);
        for occasion in OCCASIONS {
            let happened = self.give(occasion)?;
            self.narrator.happened(&happened, &self.network);
            if self.is_server(happened.believed) {
                break;
            }
        }
        self.narrator.so();
        let measured = self.measure()?;
        self.narrator.bypassed(&measured, &self.network);
        Ok(judge::bypassed(&measured, &self.network))
    }

    /// What the doctor says while the cluster is bypassed.
    fn diagnosis(&mut self) -> Result<Finding, Failure> {
        self.narrator.doctor_comes();
        let findings = self.examine()?;
        self.narrator.diagnosis(&findings, &self.network);
        Ok(judge::finding(doctor::found(&findings, &self.network)))
    }

    /// The cluster is taken over again, now that nothing is done about it.
    fn again(&mut self) -> Result<Bypassed, Failure> {
        self.until_taken()?;
        let measured = self.measure()?;
        let bypassed = judge::bypassed(&measured, &self.network);
        self.narrator.again(&bypassed);
        Ok(bypassed)
    }

    /// Applies a cure to a cluster that is taken over, gives everybody occasion to spoil it, and takes it away again.
    fn cure(&mut self, cure: Recipe, before: &Bypassed) -> Result<(Finding, Vec<Diagnosis>), Failure> {
        self.narrator.typed(cure, &self.network);
        self.world.set(cure, true)?;
        let (claims, taken_in) = self.tempt()?;
        self.narrator.tempted(claims, &self.network);
        let after = self.measure()?;
        self.narrator.measured(&after, &self.network);
        let finding = Trial { recipe: cure, before, after: &after, claims, taken_in }.cures(&self.network);
        let findings = self.examine()?;
        self.narrator.after_cure(cure, &finding, &findings, &self.network);
        self.world.set(cure, false)?;
        Ok((finding, findings))
    }

    /// The recipe about `lo`: with it in force the cluster is taken over like before.
    fn no_cure(&mut self) -> Result<Finding, Failure> {
        let recipe = Recipe::AboutLo;
        self.narrator.no_cure(&self.network);
        let before = self.again()?;
        self.narrator.typed(recipe, &self.network);
        self.world.set(recipe, true)?;
        let claims = self.until_taken()?;
        self.narrator.tempted(claims, &self.network);
        let after = self.measure()?;
        self.narrator.bypassed(&after, &self.network);
        let finding = judge::still_bypassed(&before, &after, &self.network);
        let findings = self.examine()?;
        self.narrator.after_no_cure(&finding, &findings, &self.network);
        self.world.set(recipe, false)?;
        Ok(finding)
    }

    /// Gives occasions until the router takes a real server for the VIP, two rounds at most. Answers how often one claimed it.
    fn until_taken(&mut self) -> Result<usize, Failure> {
        let mut claims = 0;
        for occasion in OCCASIONS.into_iter().chain(OCCASIONS) {
            let happened = self.give(occasion)?;
            claims += self.claims(&happened);
            if self.is_server(happened.believed) {
                break;
            }
        }
        Ok(claims)
    }

    /// Gives every occasion. Answers how often real servers claimed the VIP, and whom but the director the router believed.
    fn tempt(&mut self) -> Result<(usize, Option<MacAddr>), Failure> {
        let (mut claims, mut taken_in) = (0, None);
        for occasion in OCCASIONS {
            let happened = self.give(occasion)?;
            claims += self.claims(&happened);
            taken_in = taken_in.or(happened.believed.filter(|mac| *mac != self.network.director.mac));
        }
        Ok((claims, taken_in))
    }

    /// Gives an occasion, and lets a client come. Whether it gets its page does not matter: who is in charge may change in between.
    fn give(&mut self, occasion: Occasion) -> Result<Happened, Failure> {
        self.go_on()?;
        match occasion {
            Occasion::RouterAsks => self.world.router_forgets()?,
            Occasion::ServerAsks => self.world.servers_forget()?,
        }
        self.world.overheard();
        let _ = self.world.fetch();
        self.world.pass(HEARING);
        Ok(Happened { occasion, said: self.world.overheard(), believed: self.world.router_believes()? })
    }

    /// Lets the client fetch pages, and sees who answers, and what the director has to do with it.
    fn measure(&mut self) -> Result<Measured, Failure> {
        let before = self.world.made()?;
        let mut answered = vec![0; self.network.servers.len()];
        let mut failures: Vec<String> = Vec::new();
        for _ in 0..self.requests {
            self.go_on()?;
            match failures.last() {
                Some(last) if failures.len() >= HOPELESS => failures.push(last.clone()),
                _ => match self.world.fetch() {
                    Ok(answer) => answered[answer.server] += 1,
                    Err(error) => failures.push(error),
                },
            }
        }
        let made = self.world.made()?.iter().zip(before).map(|(after, before)| after - before).collect();
        self.totals.requests += self.requests;
        self.totals.failed += u32::try_from(failures.len()).unwrap_or(u32::MAX);
        self.totals.per_server.iter_mut().zip(&answered).for_each(|(sum, count)| *sum += count);
        let believed = self.world.router_believes()?;
        Ok(Measured { requests: self.requests, answered, failures, made, believed })
    }

    /// How often a real server said that it has the VIP.
    fn claims(&self, happened: &Happened) -> usize {
        happened.said.iter().filter(|said| said.claimed_by(&self.network).is_some()).count()
    }

    fn is_server(&self, mac: Option<MacAddr>) -> bool {
        mac.and_then(|mac| self.network.server_with(mac)).is_some()
    }

    fn examine(&mut self) -> Result<Vec<Diagnosis>, Failure> {
        self.go_on()?;
        let findings = self.world.examine()?;
        // Real servers would go on looking for the address that the doctor has provoked them from, as the VIP, for three seconds.
        self.world.servers_forget()?;
        Ok(findings)
    }

    fn go_on(&self) -> Result<(), Failure> {
        if (self.interrupted)() { Err(Failure::Interrupted) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
