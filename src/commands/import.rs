//! `mana-sync import`: the log of the server that came before.

use std::time::Instant;

use clap::Args;

use super::bar::Bar;
use crate::config::{DatabaseUrl, DatabaseUrls};
use crate::protocol::Cursor;
use crate::store::{ImportError, Imported, StartError, Store, import};

/// From where to where.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// URL of the old server's database, as a role that row-level security does not apply to. It is
    /// only read.
    #[arg(long, env = "OLD_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    from: DatabaseUrl,
    /// Keeps rows out of their spaces' feeds until their author is verified as a member. Without
    /// it they enter where they stand, since the old server showed them to the members.
    #[arg(long)]
    verify_spaces: bool,
    /// Where they go.
    #[command(flatten)]
    database: DatabaseUrls,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// This database can't be prepared.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The rows can't be taken over.
    #[error("{0}. Nothing was imported")]
    Import(#[from] ImportError),
}

/// Prepares the database, takes all rows of the old one over, and says what came.
///
/// # Errors
/// [`Failure`], a sentence.
pub async fn run(args: &ImportArgs) -> Result<(), Failure> {
    let into = args.database.listen_url().reveal();
    Store::prepare(into).await?;
    let begun = Instant::now();
    let bar = Bar::new("importing");
    let from = args.from.reveal();
    let imported =
        import(from, into, args.verify_spaces, |done, total| bar.at(done, total)).await?;
    drop(bar);
    let Imported { rows, users, moved, stamps: (first, last), clock } = imported;
    let seconds = begun.elapsed().as_secs_f64();
    println!("Imported {rows} changes of {users} users in {seconds:.1} s, and read them back.");
    if rows > 0 {
        println!(
            "They lie from {} to {}; {moved} of them moved, since another had their time.",
            Cursor::at(first),
            Cursor::at(last)
        );
    }
    println!(
        "The clock stands at {}, beyond all cursors of the old server. Start the nodes.",
        Cursor::at(clock)
    );
    Ok(())
}
