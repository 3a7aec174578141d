//! The engine's clock, random numbers and tasks, on monoio.

use crate::http::all_run;
use crate::unix_time::now_ms;
use ringbolt_engine::node::{Environment, LocalTask};
use std::time::Instant;

/// The clock, random numbers and tasks of one core, for the engine.
pub struct CoreEnvironment {
    start: Instant,
}

impl CoreEnvironment {
    /// Makes the environment of a core. Fails if the system gives no random numbers, so that later
    /// calls may rely on them.
    pub fn new() -> Result<Self, getrandom::Error> {
        getrandom::u64()?;
        Ok(Self { start: Instant::now() })
    }
}

impl Environment for CoreEnvironment {
    fn wall_clock_ms(&self) -> u64 {
        now_ms()
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn random_u64(&self) -> u64 {
        match getrandom::u64() {
            Ok(number) => number,
            // Identities are made from these numbers: going on with a guessable or repeated one
            // would be worse.
            Err(error) => panic!("the system gave random numbers at start, and now fails with {error}"),
        }
    }

    fn spawn(&self, task: LocalTask) {
        monoio::spawn(task);
    }

    fn sleep(&self, milliseconds: u64) -> LocalTask {
        Box::pin(monoio::time::sleep(std::time::Duration::from_millis(milliseconds)))
    }

    /// monoio puts a task that wakes itself before all others, and looks at sockets and timers only when no task is
    /// ready.
    fn yield_now(&self) -> LocalTask {
        Box::pin(all_run())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    /// Returns in which order two tasks ran that give way after each step.
    fn order(yields: impl Fn() -> LocalTask + Clone + 'static) -> String {
        let mut runtime =
            monoio::RuntimeBuilder::<monoio::FusionDriver>::new().enable_timer().build().unwrap();
        let order = Rc::new(RefCell::new(String::new()));
        runtime.block_on(async {
            let task = |name: char| {
                let (order, yields) = (order.clone(), yields.clone());
                monoio::spawn(async move {
                    for _ in 0..4 {
                        order.borrow_mut().push(name);
                        yields().await;
                    }
                })
            };
            let (one, other) = (task('a'), task('b'));
            one.await;
            other.await;
        });
        order.take()
    }

    /// A checkpoint that gave way in this way kept all requests of its core waiting until its end.
    #[test]
    fn who_yields_lets_all_others_run() {
        let environment = Rc::new(CoreEnvironment::new().unwrap());
        assert_eq!(order(move || environment.yield_now()), "abababab");
    }

    #[test]
    fn who_yields_again_and_again_lets_timers_through() {
        let environment = CoreEnvironment::new().unwrap();
        let mut runtime =
            monoio::RuntimeBuilder::<monoio::FusionDriver>::new().enable_timer().build().unwrap();
        let was_heard = runtime.block_on(async {
            let heard = Rc::new(Cell::new(false));
            let by_timer = heard.clone();
            monoio::spawn(async move {
                monoio::time::sleep(std::time::Duration::from_millis(3)).await;
                by_timer.set(true);
            });
            let began = Instant::now();
            while !heard.get() && began.elapsed().as_secs() < 20 {
                environment.yield_now().await;
            }
            heard.get()
        });
        assert!(was_heard);
    }
}
