//! Whom the server runs as: Postgres refuses to be root.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

use super::PostgresError;

/// A user of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// Whom to run the server as; `None` is whoever runs this process. `own` is a folder that
    /// this process has made, which tells whether it is root.
    pub(super) fn choose(own: &Path) -> Result<Option<Self>, PostgresError> {
        let made = fs::metadata(own).map_err(PostgresError::at(own))?;
        if made.uid() != 0 {
            return Ok(None);
        }
        let passwd = Path::new("/etc/passwd");
        let users = fs::read_to_string(passwd).map_err(PostgresError::at(passwd))?;
        let found = Self::named("postgres", &users).or_else(|| Self::named("nobody", &users));
        found.map(Some).ok_or(PostgresError::NoAccount)
    }

    /// The user `name` in the text of `/etc/passwd`.
    fn named(name: &str, users: &str) -> Option<Self> {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(name) {
                return None;
            }
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self { uid, gid })
        })
    }

    /// Makes the account the owner of `path` and of all below it. Links are not followed.
    pub(super) fn own(self, path: &Path) -> Result<(), PostgresError> {
        let at = |path| PostgresError::at(path);
        let what = fs::symlink_metadata(path).map_err(at(path))?;
        if (what.uid(), what.gid()) != (self.uid, self.gid) {
            lchown(path, Some(self.uid), Some(self.gid)).map_err(at(path))?;
        }
        if what.is_dir() {
            for entry in fs::read_dir(path).map_err(at(path))? {
                self.own(&entry.map_err(at(path))?.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:7::/:\npostgres:x:101:104:,,,:/:\n";
        assert_eq!(Account::named("postgres", users), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(Account::named("nobody", users), None);
    }
}
