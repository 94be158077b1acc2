//! Bars that show how far a command is, on a terminal only: elsewhere nothing is drawn.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar; it goes away when it is dropped.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Counts up to `total`.
    pub(crate) fn count(what: &str, total: u64) -> Self {
        Self::new(what, total, "{msg:24} {wide_bar} {human_pos}/{human_len}, {eta} left")
    }

    /// Fills by itself within `time`.
    pub(crate) fn time(what: &str, time: Duration) -> Self {
        Self::new(what, time.as_secs().max(1), "{msg:24} {wide_bar} {pos}/{len} s")
    }

    fn new(what: &str, total: u64, template: &str) -> Self {
        let bar = ProgressBar::new(total).with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        Self(bar)
    }

    /// So many more.
    pub(crate) fn add(&self, count: u64) {
        self.0.inc(count);
    }

    /// Stands at so many.
    pub(crate) fn at(&self, count: u64) {
        self.0.set_position(count);
    }

    /// Follows the time until `work` is done.
    pub(crate) async fn beside<T>(self, work: impl Future<Output = T>) -> T {
        let begun = tokio::time::Instant::now();
        let mut beats = tokio::time::interval(Duration::from_millis(250));
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = beats.tick() => self.at(begun.elapsed().as_secs()),
            }
        }
    }

    /// Does something while the bar is out of the way: print, say.
    pub(crate) fn aside(&self, what: impl FnOnce()) {
        self.0.suspend(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
