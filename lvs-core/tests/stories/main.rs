//! Whole stories of a director in memory, in virtual time: frames in, frames out, counters.

mod agreement;
mod attacks;
mod conflict;
mod drain;
mod edits;
mod expiry;
mod first_packet;
mod fragments;
mod groups;
mod icmp;
mod interfaces;
mod ipv6;
mod knobs;
mod neighbours;
mod orphans;
mod owner;
mod probes;
mod recorded;
mod records;
mod repeated_syns;
mod routes;
mod service_timeouts;
mod slow_start;
mod statistics;
mod table_full;
mod world;
