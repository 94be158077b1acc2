//! `mana-sync completions`: what completes commands in a shell.

use clap::{Args, Command, ValueEnum};
use clap_complete::{Shell, generate};

/// For which shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// The program's name, and one that bash's generator makes no two names of.
const PROGRAM: &str = "mana-sync";
const PLAIN: &str = "mana_sync";

/// The script that completes `cli`.
#[must_use]
pub fn script(args: &CompletionsArgs, cli: Command) -> String {
    match args.shell {
        Shell::Bash => {
            let script = generated(Shell::Bash, cli.name(PLAIN), PLAIN);
            script.replace(&format!(" {PLAIN}\n"), &format!(" {PROGRAM}\n"))
        }
        Shell::Fish => generated(Shell::Fish, cli, PROGRAM) + &shells(),
        shell => generated(shell, cli, PROGRAM),
    }
}

fn generated(shell: Shell, mut cli: Command, name: &str) -> String {
    let mut script = Vec::new();
    generate(shell, &mut cli, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The argument of this command, for fish: its generator passes over all that are no options.
fn shells() -> String {
    let names: Vec<_> = Shell::value_variants().iter().map(ToString::to_string).collect();
    let names = names.join(" ");
    format!(
        "complete -c {PROGRAM} -n \"__fish_mana_sync_using_subcommand completions\" -f -a \"{names}\"\n"
    )
}
