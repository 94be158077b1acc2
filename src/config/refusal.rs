//! From the command line and the environment to settings, or to one sentence that says why not.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Args, Command, FromArgMatches, Parser};

use super::{Config, ConfigError};

/// Why the program ends before it began.
#[derive(Debug)]
pub enum Stop {
    /// It was asked for its help or version.
    Asked(clap::Error),
    /// It can't go on, for what this sentence says.
    Refused(String),
}

impl Stop {
    /// Prints why, and says how to exit: 0 where that was asked for, else 2.
    #[must_use]
    pub fn exit(self) -> ExitCode {
        match self {
            // Who closed the other end does not want to read it.
            Self::Asked(answer) => {
                let _ = answer.print();
                ExitCode::SUCCESS
            }
            Self::Refused(sentence) => {
                eprintln!("{sentence}");
                ExitCode::from(2)
            }
        }
    }
}

impl From<ConfigError> for Stop {
    fn from(error: ConfigError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// Reads a command line, and the environment where a flag is not given. A variable that is set
/// to nothing counts as unset.
///
/// # Errors
/// [`Stop`] where help was asked for, or something is wrong.
pub fn parse<P: Parser>(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<P, Stop> {
    let mut command = map_args(P::command(), &|arg| match arg.get_env() {
        Some(name) if is_set(name) && variable(name).is_none() => unset(arg),
        _ => arg.hide_env_values(true),
    });
    if let Some(name) = unreadable(&command) {
        return Err(Stop::Refused(format!("{name} is not set to UTF-8 text.")));
    }
    command
        .try_get_matches_from_mut(arguments)
        .and_then(|matches| P::from_arg_matches(&matches))
        .map_err(|error| stop(error, &P::command()))
}

impl Config {
    /// Reads flags (no program's name before them), and nothing of the environment.
    ///
    /// # Errors
    /// [`Stop`] where something is wrong.
    pub fn from_flags(
        flags: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, Stop> {
        let settings = || Self::augment_args(Command::new("mana-sync").no_binary_name(true));
        map_args(settings(), &unset)
            .try_get_matches_from(flags)
            .and_then(|matches| Self::from_arg_matches(&matches))
            .map_err(|error| stop(error, &settings()))
    }
}

fn stop(error: clap::Error, command: &Command) -> Stop {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Stop::Asked(error),
        _ => Stop::Refused(explain(&error, command)),
    }
}

/// What `error` means, in one sentence that names the variable.
#[must_use]
pub fn explain(error: &clap::Error, command: &Command) -> String {
    let flags = strings(error, ContextKind::InvalidArg);
    let setting = flags.first().map(|flag| (name(command, flag), find(command, flag)));
    let value = strings(error, ContextKind::InvalidValue);
    match (error.kind(), setting, value.first()) {
        (ErrorKind::MissingRequiredArgument, Some(_), _) => {
            let names: Vec<_> = flags.iter().map(|flag| name(command, flag)).collect();
            format!("{} must be set.", names.join(" and "))
        }
        (ErrorKind::ValueValidation, Some((name, arg)), Some(value)) => {
            let wrong = std::error::Error::source(error)
                .map_or_else(|| "is not a value that it can have".to_owned(), ToString::to_string);
            let hidden = arg.is_none_or(Arg::is_hide_env_values_set)
                || value.contains("://") && value.contains('@');
            let value = if hidden { "what is given".to_owned() } else { format!("{value:?}") };
            format!("{name}: {value} {wrong}.")
        }
        (ErrorKind::InvalidValue, Some((name, _)), Some(value)) if !value.is_empty() => {
            let known = strings(error, ContextKind::ValidValue).join(" or ");
            format!("{name}: {value:?} is not {known}.")
        }
        (
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand,
            ..,
        ) => {
            let names: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
            format!("A command must be given: {} (or --help).", names.join(", "))
        }
        _ => {
            let text = error.to_string();
            let first = text.strip_prefix("error: ").unwrap_or(&text);
            let first = first.split("\n\n").next().unwrap_or(first).trim_end();
            format!("{}.", first.split_whitespace().collect::<Vec<_>>().join(" "))
        }
    }
}

/// An environment variable, unless it is unset or empty.
pub(super) fn variable(name: impl AsRef<OsStr>) -> Option<OsString> {
    value(name.as_ref()).filter(|value| !value.to_string_lossy().trim().is_empty())
}

fn is_set(name: &OsStr) -> bool {
    value(name).is_some()
}

fn value(name: &OsStr) -> Option<OsString> {
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
    std::env::var_os(name)
}

/// The argument without its variable.
fn unset(arg: Arg) -> Arg {
    arg.env(None::<&'static str>)
}

/// The command with all arguments, its subcommands' too, changed by `change`.
fn map_args(command: Command, change: &dyn Fn(Arg) -> Arg) -> Command {
    command.mut_args(change).mut_subcommands(|command| map_args(command, change))
}

/// The first variable that is set to what is no text.
fn unreadable(command: &Command) -> Option<String> {
    let bad = |name: &OsStr| variable(name).is_some_and(|value| value.to_str().is_none());
    let mut own = command.get_arguments().filter_map(Arg::get_env);
    let own = own.find(|name| bad(name)).map(|name| name.to_string_lossy().into_owned());
    own.or_else(|| command.get_subcommands().find_map(unreadable))
}

/// The argument that clap calls `--flag <VALUE>`.
fn find<'a>(command: &'a Command, flag: &str) -> Option<&'a Arg> {
    let long = flag.strip_prefix("--")?.split([' ', '=']).next();
    let mut own = command.get_arguments();
    own.find(|arg| arg.get_long() == long)
        .or_else(|| command.get_subcommands().find_map(|command| find(command, flag)))
}

/// The variable of the argument that clap calls `flag`, else that.
fn name(command: &Command, flag: &str) -> String {
    let variable = find(command, flag).and_then(Arg::get_env);
    variable.map_or_else(|| flag.to_owned(), |name| name.to_string_lossy().into_owned())
}

fn strings(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}
