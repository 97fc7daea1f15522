//! What a frame costs: the parts of the benchmarks and of the programs `pipeline` and `wire`.
//!
//! | module | what |
//! | --- | --- |
//! | [`traffic`] | flows, and the frames they send |
//! | [`ring`] | buffers as a network card has them, and the loop that is timed |
//! | [`subject`] | the director that is measured |
//! | [`baseline`] | a plain load balancer over a hash map, to compare with |
//! | [`attack`] | frames of people who wish the director ill |
//! | [`counting`] | an allocator that counts |
//! | [`pipeline`] | the cases of the program `pipeline` |
//! | [`report`] | figures as JSON lines and as tables with bars |
//! | [`machine`] | what it ran on |
//! | `wire` (Linux) | the cases of the program `wire` |
//!
//! Nothing here is a library for others: it may change with the core. It uses only what the core shows to everybody,
//! so that any version of it can be measured.
#![deny(unsafe_code)]

pub mod attack;
pub mod baseline;
pub mod counting;
pub mod machine;
pub mod pipeline;
pub mod report;
pub mod ring;
pub mod subject;
pub mod traffic;
#[cfg(target_os = "linux")]
pub mod wire;
