//! What a director shows of itself.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::Director;
use super::common::Common;
use crate::addr::MacAddr;
use crate::config::ServiceKey;
use crate::connection::TableMemory;
use crate::listing::{ConnectionUsage, DestinationListing, Rates, ServiceListing, Statistics};
use crate::service::{Lane, Service};
use crate::statistics::{BatchSizes, DirectorStatistics};
use crate::time::Instant;

/// How often rates are estimated.
const PERIOD: Duration = Duration::from_secs(2);

/// Estimates rates: every two seconds a quarter of the way to what was counted meanwhile.
pub(super) struct Estimator {
    due: Instant,
    /// By destination number: totals at the last time, and rates in 1/1024 per second.
    samples: Vec<Sample>,
    /// Whether any rate is not zero.
    fading: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    last: Statistics,
    rate: Rates,
}

/// Rates are kept with ten fractional bits, or slow ones would never leave zero.
const FRACTION: u32 = 10;

impl Estimator {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now + PERIOD, samples: Vec::new(), fading: false }
    }

    /// When the next estimate is due; never while nothing moves.
    pub(super) fn next(&self, moving: bool) -> Option<Instant> {
        (moving || self.fading).then_some(self.due)
    }

    /// Begins anew for a destination that has counted so much. Takes memory for destinations that it does not know yet.
    pub(super) fn restart(&mut self, destination: u32, last: Statistics) {
        let at = destination as usize;
        if self.samples.len() <= at {
            self.samples.resize(at + 1, Sample::default());
        }
        self.samples[at] = Sample { last, rate: Rates::default() };
    }
}

impl<M: TableMemory> Common<M> {
    pub(super) fn listing_of(&self, service: &Service, counted_since: &[Lane]) -> ServiceListing {
        let mut statistics = service.removed;
        let mut rates = Rates::default();
        let mut destinations = Vec::with_capacity(service.servers().len());
        for server in service.servers() {
            let id = server.destination;
            let mut counted = self.destinations.statistics(id);
            if let Some(lane) = counted_since.get(id as usize) {
                counted.in_packets += lane.packets;
                counted.in_bytes += lane.bytes;
            }
            let rate = self.rates_of(id);
            statistics.add(&counted);
            rates.add(&rate);
            let (load, rest) = (self.destinations.load(id), self.destinations.get(id));
            destinations.push(DestinationListing {
                config: rest.config,
                active: load.active,
                inactive: load.inactive,
                persistent: rest.persistent,
                overloaded: rest.overloaded,
                effective_weight: server.weight,
                statistics: counted,
                rates: rate.rounded(),
            });
        }
        ServiceListing { config: service.config, statistics, rates: rates.rounded(), destinations }
    }

    fn rates_of(&self, id: u32) -> Rates {
        self.estimator.samples.get(id as usize).map_or_else(Rates::default, |sample| sample.rate)
    }

    /// Whether the rates are to be brought up to date.
    pub(super) fn estimate_is_due(&self) -> bool {
        self.now >= self.estimator.due
    }

    /// Brings the rates up to date. All workers should have reported.
    pub(super) fn estimate_rates(&mut self) {
        self.estimator.due = self.now + PERIOD;
        // Forgotten destinations too: their rates have to fade, or there would be something to do for ever.
        let mut fading = false;
        for (id, sample) in (0..).zip(&mut self.estimator.samples) {
            let total = self.destinations.totals(id);
            sample.rate.approach(&sample.last, &total, PERIOD);
            sample.last = total;
            fading |= sample.rate != Rates::default();
        }
        self.estimator.fading = fading;
    }
}

impl<M: TableMemory> Director<M> {
    /// All virtual services with their servers, in no particular order.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceListing> {
        let services = self.common.services.iter();
        services.map(|(_, service)| self.common.listing_of(service, &self.worker.lanes)).collect()
    }

    /// One virtual service with its servers.
    #[must_use]
    pub fn service(&self, key: ServiceKey) -> Option<ServiceListing> {
        let service = self.common.services.get(self.common.services.id(key)?)?;
        Some(self.common.listing_of(service, &self.worker.lanes))
    }

    /// What the director has counted.
    #[must_use]
    pub fn statistics(&self) -> DirectorStatistics {
        let mut statistics = self.worker.statistics;
        statistics.neighbour_answers_lost = self.common.neighbours.lost_answers();
        statistics.templates_full = self.common.templates_full;
        statistics
    }

    /// How many frames came at a time.
    #[must_use]
    pub const fn batch_sizes(&self) -> BatchSizes {
        self.worker.batch_sizes
    }

    /// How full the connection table is.
    #[must_use]
    pub fn connection_usage(&self) -> ConnectionUsage {
        let connections = &self.worker.connections;
        let (used, capacity) = connections.usage();
        ConnectionUsage { connections: connections.len(), used, capacity }
    }

    /// The Ethernet address by which a server is reached (its own or its gateway's), if it is known.
    #[must_use]
    pub fn next_hop_mac(&self, service: ServiceKey, destination: SocketAddr) -> Option<MacAddr> {
        let common = &self.common;
        let service = common.services.get(common.services.id(service)?)?;
        let place = service.place_of(destination.ip(), destination.port())?;
        let lane = common.destinations.lane(service.servers()[place].destination);
        common.neighbours.mac(lane.neighbour()?)
    }
}

impl Rates {
    /// A quarter of the way from here to what was counted between `last` and `total` in `period`. With fraction.
    fn approach(&mut self, last: &Statistics, total: &Statistics, period: Duration) {
        let seconds = period.as_secs().max(1);
        let towards = |rate: &mut u64, last: u64, total: u64| {
            let new = (total.saturating_sub(last) << FRACTION) / seconds;
            *rate = if new >= *rate { *rate + (new - *rate) / 4 } else { *rate - (*rate - new).div_ceil(4) };
        };
        towards(&mut self.connections, last.connections, total.connections);
        towards(&mut self.in_packets, last.in_packets, total.in_packets);
        towards(&mut self.in_bytes, last.in_bytes, total.in_bytes);
    }

    /// Adds rates with fraction.
    const fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.in_packets += other.in_packets;
        self.in_bytes += other.in_bytes;
    }

    /// Without fraction, rounded.
    const fn rounded(mut self) -> Self {
        const HALF: u64 = 1 << (FRACTION - 1);
        self.connections = (self.connections + HALF) >> FRACTION;
        self.in_packets = (self.in_packets + HALF) >> FRACTION;
        self.in_bytes = (self.in_bytes + HALF) >> FRACTION;
        self
    }
}
