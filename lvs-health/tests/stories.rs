//! Stories in virtual time: a director with its checks, real servers with TCP stacks, a client; and what goes wrong with them.
//!
//! ```text
//!   client ─┐
//!           ├─ switch ── server 0, server 1, ...      each can die, hang, refuse, lose its VIP, answer 500, flap
//!   Checked ┘            (director, monitor and prober in one node, as in a program's run loop)
//! ```
//! A seed decides all chance; it is printed, and a failed test shows it.

#[path = "stories/faults.rs"]
mod faults;
#[path = "stories/thousand.rs"]
mod thousand;
#[path = "stories/world.rs"]
mod world;
