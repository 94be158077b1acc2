//! Signals to processes of this run, by their ids.

use rustix::process::{Pid, kill_process};

pub(crate) use rustix::process::Signal;

use crate::Outcome;

/// Sends a signal to a process.
pub(crate) fn send(pid: u32, signal: Signal) -> Outcome {
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let id = id.ok_or_else(|| format!("{pid} is no process"))?;
    Ok(kill_process(id, signal)?)
}
