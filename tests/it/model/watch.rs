//! An open stream, read beside the play.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

use super::log::Step;
use crate::support::{Event, Events};

/// Reads a stream until it is dropped.
#[derive(Debug)]
pub struct Watch {
    came: Arc<Mutex<Vec<Event>>>,
    reading: JoinHandle<()>,
    /// Whatever was sent before this step has been taken.
    pub synced: Step,
    /// The spaces it was told of last.
    pub spaces: Option<Vec<String>>,
}

impl Watch {
    pub fn begin(mut stream: Events, now: Step) -> Self {
        let came = Arc::<Mutex<Vec<Event>>>::default();
        let mine = Arc::clone(&came);
        let reading = tokio::spawn(async move {
            while let Some(event) = stream.next().await {
                mine.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
        });
        Self { came, reading, synced: now, spaces: None }
    }

    /// What came since the last look.
    pub fn look(&self) -> Vec<Event> {
        std::mem::take(&mut self.came.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
