//! What a process costs, read from `/proc`: the seconds of CPU it used, and the memory that is its
//! own.
//!
//! Invariant: sums only grow while their processes are the same ones, so that the difference of
//! two is what happened in between.

use std::fs;
use std::time::Duration;

use crate::Outcome;
use crate::stats::float;

/// Linux tells times in hundredths of a second, on every architecture we build for.
const TICK: Duration = Duration::from_millis(10);

/// The fields of `/proc/<pid>/stat` that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// Ticks of the process itself, in user space and in the kernel.
    own: u64,
    /// Ticks of its children that have ended and were waited for.
    children: u64,
}

fn parse(stat: &str) -> Option<Stat> {
    // The second field is a name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: ticks(11)? + ticks(12)?,
        children: ticks(13)? + ticks(14)?,
    })
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The CPU seconds that a process has used.
pub(crate) fn cpu(pid: u32) -> Outcome<f64> {
    let stat = stat(pid).ok_or_else(|| format!("process {pid} is gone"))?;
    Ok(seconds(stat.own))
}

/// The CPU seconds of several processes together.
pub(crate) fn cpu_of(pids: &[u32]) -> Outcome<f64> {
    pids.iter().map(|pid| cpu(*pid)).sum()
}

/// The CPU seconds of a process and of all children it has or had: a Postgres, an nginx.
pub(crate) fn family_cpu(parent: u32) -> Outcome<f64> {
    // The children first: one that ends meanwhile is counted twice rather than not at all, and
    // only in a race of microseconds.
    let living: u64 = children(parent).iter().filter_map(|pid| stat(*pid)).map(|s| s.own).sum();
    let stat = stat(parent).ok_or_else(|| format!("process {parent} is gone"))?;
    Ok(seconds(living + stat.own + stat.children))
}

/// The processes whose parent is this one.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == parent))
        .collect()
}

fn seconds(ticks: u64) -> f64 {
    float(ticks) * TICK.as_secs_f64()
}

/// What a process holds in memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Memory {
    /// All its resident pages.
    pub(crate) resident: u64,
    /// Those that no other process shares.
    pub(crate) private: u64,
}

/// What a process holds in memory.
pub(crate) fn memory(pid: u32) -> Outcome<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let bytes = |name: &str| {
        let line = rollup.lines().find(|line| line.starts_with(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    };
    Ok(Memory {
        resident: bytes("Rss:"),
        private: bytes("Private_Clean:") + bytes("Private_Dirty:"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let line = "7 (a) b (c)) S 3 7 7 0 -1 4194560 1 0 0 0 11 22 33 44 20 0 1 0 5 6 7";
        assert_eq!(parse(line), Some(Stat { parent: 3, own: 33, children: 77 }));
        assert_eq!(parse("7 (a"), None);
    }

    #[test]
    fn this_process_costs_something() {
        let here = std::process::id();
        assert!(cpu(here).is_ok() && family_cpu(here).is_ok());
        assert!(memory(here).is_ok_and(|memory| memory.private > 0 && memory.resident > 0));
        assert!(children(here).is_empty());
    }
}
