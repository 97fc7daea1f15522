//! Stories and properties of the whole module, in virtual time.

extern crate std;

mod network;
mod properties;
mod stories;
mod stories_ipv6;
