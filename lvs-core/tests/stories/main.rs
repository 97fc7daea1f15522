//! Whole stories of a director in memory, in virtual time: frames in, frames out, counters.

mod first_packet;
mod world;
