//! A bar that shows how far a command is, on a terminal only: elsewhere nothing is drawn.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar; it goes away when it is dropped.
#[derive(Debug)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// Counts up to a total, of which it is told later.
    pub(super) fn new(what: &'static str) -> Self {
        let bar = ProgressBar::new(0).with_message(what);
        let template = "{msg:12} {wide_bar} {human_pos}/{human_len}, {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        Self(bar)
    }

    /// Stands at `done` of `total`.
    pub(super) fn at(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// Does something while the bar is out of the way: say something.
    pub(super) fn aside(&self, what: impl FnOnce()) {
        self.0.suspend(what);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
