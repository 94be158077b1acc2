//! Work in groups: what waits is taken together, by a few lanes.
//!
//! A lane takes all that waits and works on it as one. While others work, one more lane gathers
//! what comes until it has enough, the others are done, or a moment has passed: so groups are as
//! large as the load is high, few lanes carry it, and who comes to an idle desk waits for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The longest that a lane gathers while others work.
const MOMENT: Duration = Duration::from_millis(4);

/// Where work waits for its lanes.
#[derive(Debug)]
pub struct Desk<T> {
    queue: Mutex<mpsc::Receiver<T>>,
    working: Working,
    done: Notify,
}

/// How many lanes of a desk are at work. Clones see the same.
#[derive(Debug, Clone, Default)]
pub struct Working(Arc<AtomicUsize>);

impl Working {
    /// Their number at this moment.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// A lane at work; ends with this.
#[derive(Debug)]
pub struct AtWork<'a, T>(&'a Desk<T>);

impl<T> Desk<T> {
    /// A desk for what comes through this queue.
    #[must_use]
    pub fn new(queue: mpsc::Receiver<T>) -> Self {
        Self { queue: Mutex::new(queue), working: Working::default(), done: Notify::new() }
    }

    /// Shows how many of its lanes are at work.
    #[must_use]
    pub fn working(&self) -> Working {
        self.working.clone()
    }

    /// The next group, as many as `has_room` for; `None` when told to stop and nothing waits.
    /// `enough`: with so many, a lane does not wait for others to be done.
    pub async fn next(
        &self,
        enough: usize,
        has_room: impl Fn(&[T]) -> bool,
        stop: &CancellationToken,
    ) -> Option<(Vec<T>, AtWork<'_, T>)> {
        let mut queue = self.queue.lock().await;
        let first = tokio::select! {
            biased;
            first = queue.recv() => first?,
            () = stop.cancelled() => return None,
        };
        // From here on nothing is dropped.
        let moment = Instant::now() + MOMENT;
        let mut group = vec![first];
        loop {
            while has_room(&group) {
                let Ok(next) = queue.try_recv() else { break };
                group.push(next);
            }
            let is_idle = self.working.lanes() == 0;
            if is_idle || group.len() >= enough || !has_room(&group) {
                break;
            }
            tokio::select! {
                next = queue.recv() => match next {
                    Some(next) => group.push(next),
                    None => break,
                },
                () = self.done.notified() => {}
                () = sleep_until(moment) => break,
            }
        }
        self.working.0.fetch_add(1, Ordering::AcqRel);
        Some((group, AtWork(self)))
    }
}

impl<T> Drop for AtWork<'_, T> {
    fn drop(&mut self) {
        self.0.working.0.fetch_sub(1, Ordering::AcqRel);
        self.0.done.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk() -> (mpsc::Sender<u32>, Desk<u32>) {
        let (sender, queue) = mpsc::channel(100);
        (sender, Desk::new(queue))
    }

    async fn next(desk: &Desk<u32>, enough: usize) -> (Vec<u32>, AtWork<'_, u32>) {
        desk.next(enough, |group| group.len() < 8, &CancellationToken::new()).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_to_an_idle_desk_waits_for_nothing() {
        let (sender, desk) = desk();
        sender.try_send(1).unwrap();
        let begun = Instant::now();
        assert_eq!(next(&desk, 4).await.0, [1]);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_gathers_while_another_works_until_that_is_done_or_a_moment_has_passed() {
        let (sender, desk) = desk();
        sender.try_send(1).unwrap();
        let (_, first) = next(&desk, 4).await;
        assert_eq!(desk.working().lanes(), 1);
        sender.try_send(2).unwrap();
        let begun = Instant::now();
        let (group, second) = next(&desk, 4).await;
        assert_eq!((group, begun.elapsed()), (vec![2], MOMENT));
        drop(second);
        sender.try_send(3).unwrap();
        let (group, ()) = tokio::join!(next(&desk, 4), async {
            sender.send(4).await.unwrap();
            drop(first);
        });
        assert_eq!(group.0, [3, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_with_enough_does_not_wait_and_takes_no_more_than_there_is_room_for() {
        let (sender, desk) = desk();
        sender.try_send(0).unwrap();
        let (_, working) = next(&desk, 4).await;
        (1..=10).for_each(|n| sender.try_send(n).unwrap());
        let begun = Instant::now();
        let (group, _) = next(&desk, 4).await;
        assert_eq!(group, (1..=8).collect::<Vec<_>>());
        assert_eq!(begun.elapsed(), Duration::ZERO);
        drop(working);
    }

    #[tokio::test]
    async fn a_desk_that_is_told_to_stop_is_emptied_first() {
        let (sender, desk) = desk();
        let stop = CancellationToken::new();
        stop.cancel();
        sender.try_send(1).unwrap();
        assert!(desk.next(4, |_| true, &stop).await.is_some());
        assert!(desk.next(4, |_| true, &stop).await.is_none());
    }
}
