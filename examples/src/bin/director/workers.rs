//! The director at work: a thread for each worker, with a device of its own; the main thread says what happens, and the control
//! socket's threads edit and list.

use std::num::NonZeroU16;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use lvs_admin::control::{Follower, GroupHandler, Tracer, Witness};
use lvs_core::connection::TableMemory;
use lvs_core::director::{DirectorGroup, GroupMember, TurnBuffers};
use lvs_core::io::{FrameIo, IoStatistics};
use lvs_examples::backend::Io;
use lvs_examples::clock::Clock;
use lvs_examples::{run, words};
use lvs_hugepages::HugePages;
use lvs_io_afpacket::PacketIo;
use lvs_io_tap::TapIo;
use lvs_io_xdp::{AddressControl, XdpIo};

use crate::health::{self, Health, Outbox};
use crate::metrics::{self, Devices, Metrics};
use crate::options::Options;
use crate::reload::LiveFile;
use crate::service_manager::ServiceManager;
use crate::setup::{self, Setup};
use crate::taken::Taken;
use crate::{Ready, Signals, control, log_frames, print_services, privileges};

/// The longest wait of a worker that others cannot wake: what they hand to it waits so long.
const LONGEST_WAIT: Duration = Duration::from_millis(5);
/// And of one that is alone: what an edit gives it to ask and to announce waits so long.
const LONGEST_WAIT_ALONE: Duration = Duration::from_millis(20);
/// And of one that they can: the end of the program is not noticed sooner.
const LONGEST_WAIT_WOKEN: Duration = Duration::from_millis(100);
/// How often a worker tells how many frames it has seen, for the metrics.
const PUBLISH: Duration = Duration::from_millis(250);
/// How often the main thread looks for something to say.
const LOOK: Duration = Duration::from_millis(20);

/// What a worker gets its frames from.
pub(crate) trait Device: FrameIo + Send {
    /// What ends a wait of this device from another thread, if anything does.
    fn waker(&self) -> Option<Waker>;

    /// What says which addresses come to this device, if that is to be said.
    fn addresses(&self) -> Option<AddressControl> {
        None
    }
}

/// The kernel gives frames to their owner, so that little is handed over.
impl Device for PacketIo {
    fn waker(&self) -> Option<Waker> {
        None
    }
}

/// The card chooses who gets a frame, so that much is handed over.
impl Device for XdpIo {
    fn waker(&self) -> Option<Waker> {
        Some(Self::waker(self))
    }

    fn addresses(&self) -> Option<AddressControl> {
        Some(self.address_control())
    }
}

/// The kernel spreads flows over queues by a hash of its own; whoever waits for what others hand over looks again soon.
impl Device for TapIo {
    fn waker(&self) -> Option<Waker> {
        None
    }
}

/// Runs until told to stop, with a worker for each device. No other thread runs yet.
pub(crate) fn run<I: Device>(
    devices: Vec<I>,
    setup: Setup,
    options: Options,
    signals: &Signals,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let workers = u16::try_from(devices.len()).ok().and_then(NonZeroU16::new).ok_or("no workers")?;
    let listener = options.metrics.as_deref().map(metrics::listen).transpose()?;
    let pings = health::has_ping(&setup.loaded.configuration);
    let kept = privileges::keep_only(&privileges::needed(setup.io, pings));
    let kept = kept.map_err(|error| format!("giving up rights: {error}"))?;
    let devices_seen = Arc::new(Devices::new(&setup.ports, devices.len()));
    let clock = Clock::start();
    let memory = HugePages::new();
    let (group, members) = DirectorGroup::new(&setup.config, clock.now(), workers, &memory)?;
    let changes = setup.changes();
    let control = devices.iter().find_map(Device::addresses);
    let taken = control.map(|control| Taken::new(group.clone(), control, setup.addresses.clone()));
    let taken = taken.map(|taken| Arc::new(taken) as Arc<dyn Follower>);
    group.apply(clock.now(), &changes).map_err(|error| setup::locate(&setup.loaded, &changes, error))?;
    if let Some(taken) = &taken {
        taken.before(&changes)?;
    }
    for (name, line) in setup.interface_names.iter().zip(&setup.description) {
        tracing::info!("{name}: {line}");
    }
    let capacity = group.connection_usage().capacity;
    let (mib, pages) = (memory.bytes() >> 20, memory.pages());
    let team = if workers > NonZeroU16::MIN { format!("{workers} workers; ") } else { String::new() };
    tracing::info!("{team}room for {capacity} connections: {mib} MiB of tables in {pages} pages");
    tracing::info!("{kept}");
    let seed = u64::from_ne_bytes(*run::seed()?.first_chunk().ok_or("a seed")?);
    let health = Health::new(group.clone(), clock, &setup.monitored, seed, setup.io == Io::Xdp)?;
    let health = Arc::new(health);
    let wanted = options.control.clone();
    let tracer = Tracer::new();
    let handler = {
        let (interfaces, loaded) = (setup.config.interfaces.clone(), setup.loaded.configuration.clone());
        let check = control::edit_check(&setup);
        let file =
            LiveFile::new(group.clone(), clock, options, interfaces, check, loaded, Arc::clone(&health));
        let file = file.with_follower(taken.clone());
        let handler = GroupHandler::new(group.clone(), move || clock.now(), env!("CARGO_PKG_VERSION"));
        let handler = handler.with_check(control::hand_check(&setup, Arc::clone(&health)));
        let handler = handler.with_file(Box::new(file)).with_tracer(Arc::clone(&tracer));
        let handler = handler.with_health(Arc::clone(&health) as _);
        let handler = handler.with_teller(Box::new(|line| tracing::info!(event = "edit", "edit: {line}")));
        Arc::new(match taken {
            Some(taken) => handler.with_follower(taken),
            None => handler,
        })
    };
    let served = listener.map(|listener| {
        tracing::info!("metrics: http://{}/", listener.local_addr()?);
        let (group, health, devices) = (group.clone(), Arc::clone(&health), Arc::clone(&devices_seen));
        let (journal, interfaces) = (signals.journal.clone(), setup.interface_names.clone());
        Metrics { group, health, devices, journal, interfaces }.serve(listener)
    });
    let served = served.transpose().map_err(|error| format!("--metrics: {error}"))?;
    let control = control::start(&wanted, Arc::clone(&handler) as _)?;
    let service_manager = ServiceManager::ready();
    let stop = &*signals.stop;

    let mut frames = IoStatistics::default();
    let mut failed = false;
    thread::scope(|scope| {
        let threads: Vec<_> = members
            .into_iter()
            .zip(devices)
            .map(|(member, io)| {
                let outbox = (member.place() == 0).then(|| health.outbox());
                let devices = &*devices_seen;
                let witness = tracer.witness((workers > NonZeroU16::MIN).then(|| member.place()));
                scope.spawn(move || work(member, io, workers, clock, outbox, devices, witness, stop))
            })
            .collect();
        let checks = scope.spawn(|| health.run());
        let mut open = Vec::new();
        let mut ready = Ready { announced: false };
        let mut tell = || {
            while let Some(event) = group.poll_event() {
                words::log(event, &setup.interface_names);
                devices_seen.look(event, &setup.interface_names, &signals.journal);
                ready.look(event, || group.is_announced());
            }
        };
        let died = watch(
            stop,
            || checks.is_finished(),
            || {
                tell();
                if signals.hangup.swap(false, Ordering::Relaxed) {
                    // It says in the log how it went.
                    service_manager.reloading(|| drop(handler.reload()));
                }
                service_manager.alive();
            },
        );
        if let Err(reason) = died {
            tracing::error!("{reason}");
            failed = true;
        }
        stop.store(true, Ordering::Relaxed);
        service_manager.stopping();
        health.stop();
        // A panic of it has been told where it happened.
        let _ = checks.join();
        tell();
        for thread in threads {
            let (io, result) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let counted = io.statistics();
            // The devices stay open until all have ended: the kernel would share out the clients anew among those that are left,
            // or answer them itself.
            open.push(io);
            frames.received += counted.received;
            frames.transmitted += counted.transmitted;
            frames.receive_lost += counted.receive_lost;
            frames.transmit_lost += counted.transmit_lost;
            if let Err(error) = result {
                tracing::error!("{error}");
                failed = true;
            }
        }
    });
    drop((control, served));
    print_services(&group.services(), capacity);
    log_frames(&frames);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Looks after what runs until it is told to stop.
///
/// # Errors
/// Why it ends without having been told. The panic of a thread has been told where it happened.
fn watch(
    stop: &AtomicBool,
    checks_have_ended: impl Fn() -> bool,
    mut look: impl FnMut(),
) -> Result<(), &'static str> {
    while !stop.load(Ordering::Relaxed) {
        look();
        // Servers that fail from now on would go on serving.
        if checks_have_ended() {
            return Err("the thread of the health checks has ended");
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Ends all workers when one of them ends, however it does.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The run loop of a worker. Answers its device, still open, and how it went.
#[expect(clippy::too_many_arguments, reason = "all that a worker shares with others")]
fn work<M: TableMemory, I: Device>(
    mut member: GroupMember<M>,
    mut io: I,
    workers: NonZeroU16,
    clock: Clock,
    outbox: Option<&Outbox>,
    devices: &Devices,
    mut witness: Witness,
    stop: &AtomicBool,
) -> (I, Result<(), String>) {
    let _ending = Ending(stop);
    let waker = io.waker();
    let longest = match waker {
        _ if workers == NonZeroU16::MIN => LONGEST_WAIT_ALONE,
        Some(_) => LONGEST_WAIT_WOKEN,
        None => LONGEST_WAIT,
    };
    if let Some(waker) = waker {
        if let Some(outbox) = outbox {
            outbox.set_waker(waker.clone());
        }
        member.set_waker(waker);
    }
    let mut buffers = TurnBuffers::new();
    let (worker, mut published) = (member.place(), clock.now());
    let mut turns = || -> Result<(), I::Error> {
        while !stop.load(Ordering::Relaxed) {
            let received = member.turn_observed(&mut io, &mut buffers, || clock.now(), &mut witness)?;
            for letter in outbox.map(Outbox::take).unwrap_or_default() {
                io.transmit(letter.port, &letter.meta, &letter.bytes)?;
            }
            let now = clock.now();
            if now.saturating_duration_since(published) >= PUBLISH {
                published = now;
                devices.publish(worker, io.statistics());
            }
            if received == 0 {
                io.flush()?;
                let due = member.poll_timeout().map(|due| due.saturating_duration_since(clock.now()));
                io.wait(Some(due.map_or(longest, |due| due.min(longest))))?;
            }
        }
        Ok(())
    };
    let result = turns().map_err(|error| error.to_string());
    (io, result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_director_whose_checks_have_died_ends_with_the_reason() {
        let (stop, go) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let checks = scope.spawn(|| {
                while !go.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                panic!("provoked by a test");
            });
            let mut rounds = 0;
            let ended = watch(
                &stop,
                || checks.is_finished(),
                || {
                    rounds += 1;
                    go.store(rounds > 2, Ordering::Relaxed);
                },
            );
            assert_eq!(ended, Err("the thread of the health checks has ended"));
            assert!(rounds > 2, "as long as they live it goes on");
            assert!(checks.join().is_err());
        });
    }

    #[test]
    fn a_director_that_is_told_to_stop_ends_without_one() {
        let stop = AtomicBool::new(false);
        let mut rounds = 0;
        let ended = watch(
            &stop,
            || false,
            || {
                rounds += 1;
                stop.store(rounds == 3, Ordering::Relaxed);
            },
        );
        assert_eq!((ended, rounds), (Ok(()), 3));
    }
}
