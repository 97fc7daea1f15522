//! What the story has shown, and whether that is what it promises.

use crate::checks::Finding;

use super::world::Recipe;

/// All that was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// How many requests were judged.
    pub(crate) requests: u32,
    /// How many of them brought no page.
    pub(crate) failed: u32,
    /// How many of them each real server answered, in their order.
    pub(crate) per_server: Vec<usize>,
    /// At first the director balances.
    pub(crate) balanced_at_first: Finding,
    /// Then the router takes a real server for the VIP, and the director gets nothing any more.
    pub(crate) takeover: Finding,
    /// Each cure ended that, in the order of [`Recipe::CURES`].
    pub(crate) cures: [Finding; 3],
    /// The recipe about `lo` did not.
    pub(crate) lo_recipe_is_no_cure: Finding,
    /// The doctor has found that while nothing was done about it.
    pub(crate) doctor_finds_it: Finding,
    /// It has found nothing of it while the real servers kept quiet.
    pub(crate) doctor_is_silent_when_cured: Finding,
}

/// What a cure is called in JSON and in the list of checks.
pub(crate) const fn cure_name(cure: Recipe) -> &'static str {
    match cure {
        Recipe::StaticEntry => "static_entry",
        Recipe::Sysctl => "sysctl",
        Recipe::Arptables => "arptables",
        Recipe::AboutLo => "about_lo",
    }
}

impl Outcome {
    /// All findings with their names, in the order of the story.
    pub(crate) const fn all(&self) -> [(&'static str, &Finding); 8] {
        let [first, second, third] = &self.cures;
        let [a, b, c] = Recipe::CURES;
        [
            ("balanced_at_first", &self.balanced_at_first),
            ("takeover", &self.takeover),
            ("doctor_finds_it", &self.doctor_finds_it),
            (cure_name(a), first),
            (cure_name(b), second),
            (cure_name(c), third),
            ("doctor_is_silent_when_cured", &self.doctor_is_silent_when_cured),
            ("lo_recipe_is_no_cure", &self.lo_recipe_is_no_cure),
        ]
    }

    /// Whether all is as the story promises.
    pub(crate) fn passed(&self) -> bool {
        self.all().iter().all(|(_, finding)| finding.passed)
    }
}
