//! One of three servers fails, in each way: who is told within which time, and what clients see afterwards.

use std::time::Duration;

use lvs_health::config::{BodyMatch, CheckConfig, HttpProbe, PathMethod, PathProbe, Probe, Timing};
use lvs_health::monitor::{Event, ServerState};
use lvs_testkit::sim::{Answer, Conversation, Host};

use super::world::{World, rip, vip};

/// What frames take on the way, and a page.
const SLACK: Duration = Duration::from_millis(5);

/// Takes connections and requests, and says nothing.
struct Silence;

impl Conversation for Silence {
    fn receive(&mut self, _: &[u8], _: &mut Answer) {}
}

/// Says that it is broken.
struct Broken;

impl Conversation for Broken {
    fn receive(&mut self, _: &[u8], answer: &mut Answer) {
        answer.send(b"HTTP/1.0 500 Oh\r\n\r\n");
        answer.finish();
    }
}

fn timing() -> Timing {
    Timing { interval: Duration::from_secs(1), timeout: Duration::from_millis(500), ..Timing::default() }
}

fn page() -> PathProbe {
    PathProbe::new(PathMethod::Http(HttpProbe {
        body: BodyMatch::Contains(b"1".to_vec()),
        ..HttpProbe::new("/")
    }))
}

fn world(seed: u64, probe: PathProbe, damping: bool) -> World {
    let mut world =
        World::new(seed, 3, |probe| CheckConfig::new(Probe::Path(probe)).timing(timing()), probe, damping);
    world.net.run_for(Duration::from_secs(5));
    world
}

/// How a server fails, how it is mended, and what is said of it meanwhile.
type Fault = (&'static str, fn(&mut World), fn(&mut World), &'static str);

fn serve(host: &mut Host) {
    host.serve_page(80, "11");
}

const FAULTS: [Fault; 6] = [
    ("dies", |world| world.cable(1, false), |world| world.cable(1, true), "no answer from"),
    (
        "loses its VIP",
        |world| assert!(world.server(1).remove_address("lo", vip().ip())),
        |world| world.server(1).hold_vip(vip().ip()),
        "the VIP 10.0.255.250 is not on lo",
    ),
    (
        "refuses",
        |world| world.server(1).stop_listening(80),
        |world| serve(world.server(1)),
        "has the VIP, but nothing listens at 10.0.255.250:80",
    ),
    (
        "hangs",
        |world| world.server(1).listen(80, || Box::new(Silence)),
        |world| serve(world.server(1)),
        "took the connection, but",
    ),
    (
        "answers 500",
        |world| world.server(1).listen(80, || Box::new(Broken)),
        |world| serve(world.server(1)),
        "HTTP status 500",
    ),
    (
        "shows another page",
        |world| world.server(1).serve_page(80, "0"),
        |world| serve(world.server(1)),
        "the text is not in the body",
    ),
];

#[test]
fn each_fault_is_found_in_time_and_so_is_its_end() {
    for seed in 1..=4 {
        let mut world = world(seed, page(), false);
        for server in [0, 1, 2] {
            world.server(server).serve_page(80, &format!("1{server}"));
        }
        world.until(Duration::from_secs(10), 1, ServerState::Up);
        for (name, fail, mend, reason) in FAULTS {
            // At another point of the interval each time.
            world.net.run_for(Duration::from_millis(137 * seed));
            fail(&mut world);
            let took = world.until(Duration::from_secs(60), 1, ServerState::Down);
            assert!(took <= timing().detection_bound() + SLACK, "seed {seed}, {name}: {took:?}");
            assert!(world.reason(1).contains(reason), "seed {seed}, {name}: {}", world.reason(1));
            let pages = world.fetch(6);
            assert_eq!(
                pages.iter().filter(|page| **page == Some(10)).count(),
                3,
                "seed {seed}, {name}: {pages:?}"
            );
            assert_eq!(
                pages.iter().filter(|page| **page == Some(12)).count(),
                3,
                "seed {seed}, {name}: {pages:?}"
            );
            mend(&mut world);
            let took = world.until(Duration::from_secs(60), 1, ServerState::Up);
            assert!(
                took <= timing().recovery_bound() + SLACK,
                "seed {seed}, {name} and comes back: {took:?}"
            );
            let pages = world.fetch(6);
            assert_eq!(
                pages.iter().filter(|page| **page == Some(11)).count(),
                2,
                "seed {seed}, {name}: {pages:?}"
            );
            for server in [0, 2] {
                assert_eq!(world.state(server), ServerState::Up, "seed {seed}, {name}: server {server}");
            }
        }
    }
}

/// Down for two seconds, up for three, again and again. Damping holds it back, and lets it go when it has been well for long enough.
#[test]
fn a_flapping_server_is_held_back_and_comes_back() {
    let mut world = world(5, PathProbe::new(PathMethod::HalfOpen), true);
    let mut held = false;
    for _ in 0..30 {
        world.cable(1, false);
        world.net.run_for(Duration::from_secs(2));
        world.cable(1, true);
        world.net.run_for(Duration::from_secs(3));
        held |= world.state(1) == ServerState::Held;
    }
    assert!(held, "it was never held");
    let came_back = world.net[world.director].events.iter().filter(
        |event| matches!(event, Event::Server { address, state: ServerState::Up, .. } if *address == rip(1)),
    );
    let times = came_back.count();
    assert!(times < 10, "it came back {times} times; without damping it would 30 times");
    assert!(!world.fetch(8).contains(&Some(1)), "who is held serves nobody");
    let took = world.until(Duration::from_secs(3600), 1, ServerState::Up);
    println!("it came back {times} times while it flapped, and was held for another {took:?}");
    assert!(world.fetch(8).contains(&Some(1)));
    for server in [0, 2] {
        assert_eq!(world.state(server), ServerState::Up);
    }
}
