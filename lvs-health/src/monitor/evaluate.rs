//! From checks to servers, from servers to the service, and back to which servers are in.

use lvs_core::Instant;

use super::status::Event;
use super::{Forced, Monitor, ServerState, Standing};
use crate::config::OnDown;
use crate::decision::{Admission, Decision};

impl Monitor {
    /// A check of a server says something new.
    pub(super) fn server_changed(&mut self, now: Instant, number: u32) {
        let server = &self.servers[number];
        let healthy = server.checks.iter().all(|&check| self.checks[check].checker.state().is_up());
        let was_healthy = server.healthy;
        let service = server.service;
        self.servers[number].healthy = healthy;
        if was_healthy && !healthy {
            self.penalise(now, number);
        }
        self.evaluate(now, service);
    }

    /// A server went down: flap damping.
    fn penalise(&mut self, now: Instant, number: u32) {
        let server = &mut self.servers[number];
        let Some(damping) = self.services[server.service].damping else {
            return;
        };
        server.held |= server.penalty.add(now, &damping);
        if server.held {
            self.deadlines.set(self.config.max_checks + number, server.penalty.release_at(&damping));
        }
    }

    /// A held server's time is over.
    pub(super) fn release(&mut self, now: Instant, number: u32) {
        let server = &mut self.servers[number];
        server.held = false;
        let service = server.service;
        self.evaluate(now, service);
    }

    /// Decides anew who is in. O(servers of the service).
    pub(super) fn evaluate(&mut self, now: Instant, number: u32) {
        let service = &self.services[number];
        let sum = |wanted: Standing| {
            let servers = service.servers.iter().map(|&server| &self.servers[server]);
            servers
                .filter(|one| one.standing() == wanted)
                .map(|one| u64::from(one.wanted_weight()))
                .sum::<u64>()
        };
        let serving = sum(Standing::Serving);
        // Damping must not leave a service without any server.
        let held_serve = serving == 0;
        let live = if held_serve { sum(Standing::Held) } else { serving };
        let out_for_sorry = self.weigh(now, number, live);
        for place in 0..=self.services[number].servers.len() {
            let service = &self.services[number];
            let Some(server) = service.servers.get(place).copied().or(service.sorry) else {
                break;
            };
            let one = &mut self.servers[server];
            one.admission = if one.is_sorry {
                one.standing_in = out_for_sorry;
                if out_for_sorry {
                    Admission::In(one.destination.weight)
                } else {
                    Admission::Out(one.on_down)
                }
            } else {
                let serves = match one.standing() {
                    Standing::Serving => true,
                    Standing::Held => held_serve,
                    Standing::Out => false,
                };
                match one.forced {
                    Some(Forced::Maintenance { drain: Some(deadline) }) => {
                        Admission::Out(OnDown::Drain(deadline))
                    }
                    Some(Forced::Maintenance { drain: None }) => Admission::Out(OnDown::Quiesce),
                    _ if serves && !out_for_sorry => Admission::In(one.wanted_weight()),
                    _ => Admission::Out(one.on_down),
                }
            };
            self.enqueue(server);
            self.note_state(now, server);
        }
    }

    /// Looks whether a service has its quorum. Answers whether its sorry server is to stand in.
    fn weigh(&mut self, now: Instant, number: u32, live: u64) -> bool {
        let service = &mut self.services[number];
        let (weight, hysteresis) = (u64::from(service.quorum.weight), u64::from(service.quorum.hysteresis));
        let held =
            if service.quorum_held { live >= weight - hysteresis } else { live >= weight + hysteresis };
        service.live = live;
        let changed = std::mem::replace(&mut service.quorum_held, held) != held;
        let stands_in = !held && service.sorry.is_some();
        if changed {
            let service = service.config.key;
            self.push_event(Event::Quorum { at: now, service, gained: held, weight: live });
        }
        stands_in
    }

    /// Puts a server into the queue it belongs to, if the director has it otherwise than it should.
    pub(super) fn enqueue(&mut self, number: u32) {
        let server = &mut self.servers[number];
        let after = server.applied.after(server.destination, server.admission);
        if after == server.applied {
            return;
        }
        // A server that comes into the list does so in its turn, whatever its weight: order is configuration.
        if matches!(server.admission, Admission::In(_)) || server.applied.weight().is_none() {
            if !std::mem::replace(&mut server.queued_in, true) {
                self.ins.push_back(number);
            }
        } else if !std::mem::replace(&mut server.queued_out, true) {
            self.outs.push_back(number);
        }
    }

    /// The edit of a server that was taken out of a queue, if one is still needed.
    pub(super) fn decide(&mut self, number: u32) -> Option<Decision> {
        let server = self.servers.get_mut(number)?;
        // It may be in both queues, and what it is to be is looked at now: once is enough.
        let lets_in = matches!(server.admission, Admission::In(_)) || server.applied.weight().is_none();
        if server.queued_in {
            server.queued_in = false;
            if !lets_in {
                self.enqueue(number);
                return None;
            }
        } else {
            server.queued_out = false;
        }
        let server = &mut self.servers[number];
        let service = self.services[server.service].config.key;
        let after = server.applied.after(server.destination, server.admission);
        let decision =
            Decision::between(service, server.destination, server.applied, after, server.admission);
        server.applied = after;
        decision
    }

    fn note_state(&mut self, now: Instant, number: u32) {
        let state = self.state_of(&self.servers[number]);
        let server = &mut self.servers[number];
        let before = std::mem::replace(&mut server.state, state);
        if before == state {
            return;
        }
        server.since = now;
        let (service, address) = (server.service, server.destination.address);
        let reason = match state {
            ServerState::Down | ServerState::Held => self.reason(&self.servers[number]).cloned(),
            _ => None,
        };
        let service = self.services[service].config.key;
        self.push_event(Event::Server { at: now, service, address, before, state, reason });
    }
}
