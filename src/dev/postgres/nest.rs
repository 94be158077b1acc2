//! A server's temporary folder, and the sweeping of those that killed runs have left.
//!
//! A living nest is locked by the process that made it. The kernel drops the lock with the
//! process, however that ends, so a nest whose lock can be had is a stale one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::PostgresError;

const PREFIX: &str = "mana-sync-pg-";

/// A temporary folder, removed on drop.
#[derive(Debug)]
pub(super) struct Nest {
    path: PathBuf,
    /// Keeps the lock.
    _lock: File,
}

impl Nest {
    /// Makes a nest in the system's temporary folder, which only its owner may enter.
    pub(super) fn make() -> Result<Self, PostgresError> {
        let parent = std::env::temp_dir();
        loop {
            let path = parent.join(format!("{PREFIX}{:08x}", fastrand::u32(..)));
            match claim(&path) {
                Ok(Some(lock)) => return Ok(Self { path, _lock: lock }),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(PostgresError::at(&path)(error)),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the stale nests. What can't be removed, another user's say, stays.
    pub(super) fn sweep() {
        let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                sweep_one(&entry.path());
            }
        }
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        // What is left behind is swept later.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Makes and locks the folder; `None` where a sweeper came in between and removed it.
fn claim(path: &Path) -> io::Result<Option<File>> {
    fs::DirBuilder::new().mode(0o700).create(path)?;
    let lock = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    lock.lock()?;
    Ok(path.exists().then_some(lock))
}

/// Removes the folder unless somebody holds it. The lock is kept until it is gone.
fn sweep_one(path: &Path) {
    let Ok(folder) = File::open(path) else { return };
    if folder.try_lock().is_ok() && fs::remove_dir_all(path).is_ok() {
        tracing::debug!(path = %path.display(), "swept what a killed run had left");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_nest_is_not_swept_and_a_stale_one_is() {
        let living = Nest::make().unwrap();
        let stale = std::env::temp_dir().join(format!("{PREFIX}stale-{}", std::process::id()));
        fs::create_dir(&stale).unwrap();
        fs::write(stale.join("file"), "text").unwrap();
        Nest::sweep();
        assert!(living.path().exists());
        assert!(!stale.exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }
}
