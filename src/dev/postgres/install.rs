//! Where the machine keeps its Postgres.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::PostgresError;

/// The versions looked for, the newest first.
const VERSIONS: [u32; 5] = [18, 17, 16, 15, 14];

/// Finds the folder of Postgres' binaries: `preferred` or nothing where it is given, else what
/// `pg_config` says, else the newest one in the usual places of Debian, Fedora and Homebrew.
///
/// # Errors
/// [`PostgresError::NotFound`] with the folders that were looked at.
pub fn find_bindir(preferred: Option<&Path>) -> Result<PathBuf, PostgresError> {
    let candidates = match preferred {
        Some(path) => vec![path.to_owned()],
        None => said_by_pg_config().into_iter().chain(usual_places()).collect(),
    };
    match candidates.iter().find(|path| is_bindir(path)) {
        Some(path) => std::path::absolute(path).map_err(PostgresError::at(path)),
        None => Err(PostgresError::NotFound { looked_in: candidates }),
    }
}

/// A folder with a client's programs alone will not do.
fn is_bindir(path: &Path) -> bool {
    ["postgres", "initdb", "pg_ctl"].iter().all(|program| path.join(program).is_file())
}

fn said_by_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    (!path.trim().is_empty()).then(|| PathBuf::from(path.trim()))
}

fn usual_places() -> impl Iterator<Item = PathBuf> {
    VERSIONS
        .into_iter()
        .flat_map(|version| {
            [
                format!("/usr/lib/postgresql/{version}/bin"),
                format!("/usr/pgsql-{version}/bin"),
                format!("/opt/homebrew/opt/postgresql@{version}/bin"),
                format!("/usr/local/opt/postgresql@{version}/bin"),
                format!("/home/linuxbrew/.linuxbrew/opt/postgresql@{version}/bin"),
            ]
            .map(PathBuf::from)
        })
        .chain([PathBuf::from("/usr/bin")])
}
