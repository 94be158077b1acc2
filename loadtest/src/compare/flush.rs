//! How long this machine's disk takes to keep a page: what every durable commit waits for.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Outcome;

/// A page of Postgres' log.
const PAGE: [u8; 8192] = [7; 8192];

/// A file on the disk to be measured; removed at the end.
#[derive(Debug)]
pub(super) struct Flush {
    path: PathBuf,
    file: File,
}

impl Flush {
    /// A file beside the log in a Postgres' data folder, as large as it will be.
    pub(super) fn beside(data: &Path) -> Outcome<Self> {
        let path = data.join("loadtest-flush");
        let mut file = File::create(&path)?;
        file.write_all(&PAGE)?;
        file.sync_all()?;
        Ok(Self { path, file })
    }

    /// Writes a page over the last one and waits until the disk has it.
    pub(super) fn once(&mut self) -> Outcome<Duration> {
        let begun = Instant::now();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&PAGE)?;
        self.file.sync_data()?;
        Ok(begun.elapsed())
    }

    /// The median of so many.
    pub(super) fn median(&mut self, times: usize) -> Outcome<Duration> {
        let mut all = (0..times).map(|_| self.once()).collect::<Outcome<Vec<_>>>()?;
        all.sort_unstable();
        all.get(times / 2).copied().ok_or_else(|| "no flush was measured".into())
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        // At the worst it is removed with the folder.
        let _ = fs::remove_file(&self.path);
    }
}
