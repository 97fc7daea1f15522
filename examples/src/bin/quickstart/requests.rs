//! The client: fetches the page again and again, one request after the other, each over a new connection.

use std::time::Duration;

use crate::evidence::{Answer, Request};
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// After so many failures in a row nothing is to be expected of the rest.
const HOPELESS: usize = 2;

/// Lets `once` fetch the page `count` times, and shows each outcome to `each` as it comes. What is not tried any more
/// after failures in a row is in the answer as failed.
///
/// # Errors
/// If a signal comes.
pub(crate) fn fetch(
    count: u32,
    interrupt: &Interrupt,
    mut once: impl FnMut() -> (Duration, Result<Answer, String>),
    mut each: impl FnMut(&Request),
) -> Result<Vec<Request>, Failure> {
    let mut requests: Vec<Request> = Vec::new();
    for number in 1..=count {
        if interrupt.caught() {
            return Err(Failure::Interrupted);
        }
        let failed_lately = requests.iter().rev().take_while(|request| request.outcome.is_err()).count();
        let request = if failed_lately >= HOPELESS {
            let outcome = Err("not tried, because those before it failed".to_owned());
            Request { number, took: Duration::ZERO, outcome }
        } else {
            let (took, outcome) = once();
            Request { number, took, outcome }
        };
        each(&request);
        requests.push(request);
    }
    Ok(requests)
}
