//! Whole stories of a director in memory, in virtual time: frames in, frames out, counters.

mod attacks;
mod conflict;
mod edits;
mod expiry;
mod first_packet;
mod icmp;
mod interfaces;
mod ipv6;
mod knobs;
mod neighbours;
mod owner;
mod recorded;
mod records;
mod statistics;
mod table_full;
mod world;
