//! Whether a cluster is balanced or bypassed, and whether a recipe has ended the ARP problem; each with the figures it rests on.

use lvs_core::MacAddr;

use crate::checks::Finding;
use crate::evidence::Network;

use super::world::Recipe;

/// What became of some requests in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measured {
    /// How many there were.
    pub(super) requests: u32,
    /// How many of them each real server answered, in their order.
    pub(super) answered: Vec<usize>,
    /// Why the others brought no page.
    pub(super) failures: Vec<String>,
    /// How many connections the director gave to each real server meanwhile.
    pub(super) made: Vec<u64>,
    /// Whom the router takes for the VIP, after them.
    pub(super) believed: Option<MacAddr>,
}

impl Measured {
    fn all_answered(&self) -> Result<(), String> {
        match self.failures.first() {
            Some(first) => Err(format!(
                "{} of {} requests brought no page; the first: {first}",
                self.failures.len(),
                self.requests
            )),
            None => Ok(()),
        }
    }

    pub(super) fn made(&self) -> u64 {
        self.made.iter().sum()
    }
}

/// The router takes the director for the VIP, every connection was made by the director, and who answered is whom it chose.
pub(super) fn balanced(measured: &Measured, network: &Network) -> Result<String, String> {
    let Measured { requests, answered, made, believed, .. } = measured;
    measured.all_answered()?;
    if *believed != Some(network.director.mac) {
        return Err(format!("the router takes {} for the VIP", whom(*believed, network)));
    }
    if measured.made() != u64::from(*requests) {
        return Err(format!("the director made {} connections, of {requests} requests", measured.made()));
    }
    if !answered.iter().map(|count| *count as u64).eq(made.iter().copied()) {
        return Err("who answered is not whom the director chose".to_owned());
    }
    let several = answered.iter().filter(|count| **count > 0).count();
    if several < 2 {
        return Err("one real server answered all requests".to_owned());
    }
    Ok(format!(
        "the router takes the director for the VIP; it made {requests} connections for {requests} requests, to {several} real \
         servers"
    ))
}

/// The router takes a real server for the VIP, which answered everything, and the director made no connection.
pub(super) fn bypassed(measured: &Measured, network: &Network) -> Result<String, String> {
    let Measured { requests, answered, believed, .. } = measured;
    measured.all_answered()?;
    let Some(server) = believed.and_then(|mac| network.server_with(mac)) else {
        return Err(format!("the router takes {} for the VIP", whom(*believed, network)));
    };
    let name = &network.servers[server].card.host;
    if measured.made() > 0 {
        return Err(format!("the director still made {} of {requests} connections", measured.made()));
    }
    if answered[server] != *requests as usize {
        return Err(format!("{name} answered {} of {requests} requests", answered[server]));
    }
    Ok(format!(
        "the router takes {name} for the VIP; it answered all {requests} requests, and the director made no connection"
    ))
}

/// What was seen of a cure.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    pub(super) recipe: Recipe,
    /// The cluster before it.
    pub(super) before: &'a Result<String, String>,
    /// The cluster with it.
    pub(super) after: &'a Measured,
    /// How often real servers said that they have the VIP, although they were given occasion to.
    pub(super) claims: usize,
    /// Who else than the director the router took for the VIP meanwhile.
    pub(super) taken_in: Option<MacAddr>,
}

impl Trial<'_> {
    /// Whether a recipe that should be a cure is one: there was something to cure, and whatever the router and the real servers
    /// forgot, the router took nobody but the director for the VIP.
    pub(super) fn cures(&self, network: &Network) -> Finding {
        finding(self.is_cured(network))
    }

    fn is_cured(&self, network: &Network) -> Result<String, String> {
        if let Err(because) = self.before {
            return Err(nothing_to_cure(because));
        }
        if self.taken_in.is_some() {
            return Err(format!("the router took {} for the VIP", whom(self.taken_in, network)));
        }
        let balanced = balanced(self.after, network)?;
        let claims = times(self.claims);
        match (self.recipe, self.claims) {
            (_, 0) => Ok(format!("{balanced}; no real server claimed the VIP")),
            // They go on; the router does not listen.
            (Recipe::StaticEntry, _) => {
                Ok(format!("{balanced}, although real servers claimed the VIP {claims}"))
            }
            _ => Err(format!("real servers claimed the VIP {claims}")),
        }
    }
}

/// Whether a recipe that is no cure fails: with it in force, the cluster is taken over and bypassed as it was before.
pub(super) fn still_bypassed(
    before: &Result<String, String>,
    after: &Measured,
    network: &Network,
) -> Finding {
    finding(match before {
        Err(because) => Err(nothing_to_cure(because)),
        Ok(_) => bypassed(after, network).map(|because| format!("with it in force, {because}")),
    })
}

fn nothing_to_cure(because: &str) -> String {
    format!("there was nothing to cure: {because}")
}

/// A result as a finding.
pub(super) fn finding(result: Result<String, String>) -> Finding {
    match result {
        Ok(because) => Finding { passed: true, because },
        Err(because) => Finding { passed: false, because },
    }
}

/// Whose Ethernet address it is, in words.
pub(super) fn whom(mac: Option<MacAddr>, network: &Network) -> String {
    let Some(mac) = mac else { return "nobody".to_owned() };
    let Some(card) = network.card_with(mac) else { return format!("an unknown station ({mac})") };
    if mac == network.director.mac { "the director".to_owned() } else { card.host.clone() }
}

/// How often, in words.
pub(super) fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    type Change = fn(&mut Measured);

    fn measured(change: impl FnOnce(&mut Measured)) -> Measured {
        let believed = Some(sample::network(&[1, 1]).director.mac);
        let mut measured =
            Measured { requests: 4, answered: vec![2, 2], failures: Vec::new(), made: vec![2, 2], believed };
        change(&mut measured);
        measured
    }

    #[test]
    fn a_cluster_is_balanced_only_by_the_director() {
        let network = sample::network(&[1, 1]);
        let judge = |change: Change| balanced(&measured(change), &network);
        assert!(judge(|_| {}).unwrap().contains("4 connections for 4 requests, to 2 real servers"));
        let table: [(Change, &str); 6] = [
            (|m| m.failures.push("timed out".to_owned()), "1 of 4 requests brought no page"),
            (|m| m.believed = None, "takes nobody"),
            (|m| m.believed = Some(sample::network(&[1]).servers[0].card.mac), "takes server1"),
            (|m| m.made = vec![1, 2], "made 3 connections, of 4"),
            (|m| m.made = vec![1, 3], "not whom the director chose"),
            (|m| (m.answered, m.made) = (vec![4, 0], vec![4, 0]), "one real server answered all"),
        ];
        for (change, expected) in table {
            let error = judge(change).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    fn taken(change: impl FnOnce(&mut Measured)) -> Measured {
        let mac = sample::network(&[1, 1]).servers[1].card.mac;
        measured(|m| {
            (m.answered, m.made, m.believed) = (vec![0, 4], vec![0, 0], Some(mac));
            change(m);
        })
    }

    #[test]
    fn a_cluster_is_bypassed_if_one_server_gets_all_and_the_director_nothing() {
        let network = sample::network(&[1, 1]);
        let judge = |change: Change| bypassed(&taken(change), &network);
        assert!(judge(|_| {}).unwrap().contains("server2 for the VIP; it answered all 4 requests"));
        let table: [(Change, &str); 4] = [
            (|m| m.failures.push("timed out".to_owned()), "1 of 4 requests brought no page"),
            (|m| m.believed = Some(sample::network(&[1]).director.mac), "takes the director"),
            (|m| m.made = vec![0, 1], "still made 1 of 4"),
            (|m| m.answered = vec![1, 3], "server2 answered 3 of 4"),
        ];
        for (change, expected) in table {
            let error = judge(change).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_cure_needs_something_to_cure_and_quiet_servers_unless_the_router_does_not_listen() {
        let network = sample::network(&[1, 1]);
        let (sick, well) = (Ok("taken over".to_owned()), Err("the router takes the director".to_owned()));
        let after = measured(|_| {});
        let trial = |recipe, claims| Trial { recipe, before: &sick, after: &after, claims, taken_in: None };
        for recipe in Recipe::CURES {
            assert!(trial(recipe, 0).cures(&network).passed, "{recipe:?}");
            let nothing = Trial { before: &well, ..trial(recipe, 0) }.cures(&network);
            assert!(
                !nothing.passed && nothing.because.starts_with("there was nothing to cure"),
                "{nothing:?}"
            );
            let mac = Some(network.servers[0].card.mac);
            assert!(!Trial { taken_in: mac, ..trial(recipe, 0) }.cures(&network).passed, "{recipe:?}");
            let bypassed = taken(|_| {});
            assert!(!Trial { after: &bypassed, ..trial(recipe, 0) }.cures(&network).passed, "{recipe:?}");
        }
        assert!(trial(Recipe::StaticEntry, 3).cures(&network).passed);
        assert!(!trial(Recipe::Sysctl, 1).cures(&network).passed);
        assert!(!trial(Recipe::Arptables, 1).cures(&network).passed);
    }

    #[test]
    fn a_recipe_fails_only_where_the_cluster_is_bypassed_with_it() {
        let network = sample::network(&[1, 1]);
        let (sick, well) = (Ok("taken over".to_owned()), Err("the router takes the director".to_owned()));
        let (cured, not) = (measured(|_| {}), taken(|_| {}));
        assert!(still_bypassed(&sick, &not, &network).passed);
        assert!(!still_bypassed(&sick, &cured, &network).passed);
        assert!(!still_bypassed(&well, &not, &network).passed);
    }
}
