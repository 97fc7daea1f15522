//! A director with several workers: a thread each, with packet sockets of its own; the main thread says what happens.

use std::num::NonZeroU16;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lvs_core::connection::TableMemory;
use lvs_core::director::{DirectorGroup, GroupMember, TurnBuffers};
use lvs_core::io::{FrameIo, IoStatistics};
use lvs_examples::clock::Clock;
use lvs_examples::words;
use lvs_hugepages::HugePages;
use lvs_io_afpacket::{PacketConfig, PacketIo};

use crate::plan::{self, Plan};
use crate::{Ready, log_frames, print_services};

/// The longest wait of a worker: what others hand to it does not wake its sockets.
const LONGEST_WAIT: Duration = Duration::from_millis(5);
/// How often the main thread looks for something to say.
const LOOK: Duration = Duration::from_millis(20);

/// Runs until told to stop.
pub(crate) fn run(
    plan: Plan,
    workers: NonZeroU16,
    stop: &AtomicBool,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let config = PacketConfig::new(plan.ports.iter().cloned());
    let devices = PacketIo::open_group(&config, workers)?;
    let clock = Clock::start();
    let memory = HugePages::new();
    let (group, members) = DirectorGroup::new(&plan.config, clock.now(), workers, &memory)?;
    group.apply(clock.now(), &plan.changes).map_err(|error| plan::locate(error, &plan.origins))?;
    for (name, line) in plan.interface_names.iter().zip(&plan.description) {
        tracing::info!("{name}: {line}");
    }
    let capacity = group.connection_usage().capacity;
    let (mib, pages) = (memory.bytes() >> 20, memory.pages());
    tracing::info!(
        "{workers} workers; room for {capacity} connections: {mib} MiB of tables in {pages} pages"
    );

    let mut frames = IoStatistics::default();
    let mut failed = false;
    thread::scope(|scope| {
        let threads: Vec<_> = members
            .into_iter()
            .zip(devices)
            .map(|(member, io)| scope.spawn(move || work(member, io, clock, stop)))
            .collect();
        let mut open = Vec::new();
        let mut ready = Ready { announced: false };
        while !stop.load(Ordering::Relaxed) {
            while let Some(event) = group.poll_event() {
                words::log(event, &plan.interface_names);
                ready.look(event, || group.is_announced());
            }
            thread::sleep(LOOK);
        }
        for thread in threads {
            match thread.join() {
                Ok(Ok(io)) => {
                    let counted = io.statistics();
                    open.push(io);
                    frames.received += counted.received;
                    frames.transmitted += counted.transmitted;
                    frames.receive_lost += counted.receive_lost;
                    frames.transmit_lost += counted.transmit_lost;
                }
                Ok(Err(error)) => {
                    tracing::error!("{error}");
                    failed = true;
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    print_services(&group.services(), capacity);
    log_frames(&frames);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Ends all workers when one of them ends, however it does.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The run loop of a worker. Answers its device, still open.
fn work<M: TableMemory>(
    mut member: GroupMember<M>,
    mut io: PacketIo,
    clock: Clock,
    stop: &AtomicBool,
) -> Result<PacketIo, String> {
    let ending = Ending(stop);
    let mut buffers = TurnBuffers::new();
    let mut turns = || -> Result<(), lvs_io_afpacket::IoError> {
        while !stop.load(Ordering::Relaxed) {
            if member.turn(&mut io, &mut buffers, || clock.now())? == 0 {
                let due = member.poll_timeout().map(|due| due.saturating_duration_since(clock.now()));
                io.wait(Some(due.map_or(LONGEST_WAIT, |due| due.min(LONGEST_WAIT))))?;
            }
        }
        Ok(())
    };
    let result = turns();
    drop(ending);
    // The socket stays open until all have ended: the kernel would share out the clients anew among those that are left.
    result.map(|()| io).map_err(|error| error.to_string())
}
