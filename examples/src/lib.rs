//! What the programs in this folder share: a clock, a seed, the run loop of a director on real interfaces, and
//! the words for what happens in it.

pub mod clock;
pub mod run;
pub mod words;
