//! What creeps: memory, connections and latency of the first quarter of a soak against the last.

use std::time::Duration;

use serde::Serialize;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::aim::Aim;
use crate::mixed::figures::Figures;
use crate::procfs;
use crate::stats::{Latencies, float, quantile};

/// Samples of a soak at most: what lies between them grows with its length.
const SAMPLES: u32 = 2_000;

/// What the fleet holds at a moment.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Sample {
    seconds: f64,
    /// Resident memory of all nodes.
    memory_mib: f64,
    /// Files and sockets that the nodes hold open.
    files: f64,
    /// Connections to the database.
    connections: f64,
}

/// A figure of the first quarter and of the last.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Drift {
    pub(super) what: &'static str,
    first: f64,
    last: f64,
}

impl Drift {
    /// One line of the table.
    pub(super) fn row(&self) -> String {
        let change = 100.0 * (self.last / self.first - 1.0);
        let change = if change.is_finite() { format!("{change:+.0} %") } else { String::new() };
        format!("{:<28} {:>9.1} {:>9.1} {change:>8}", self.what, self.first, self.last)
    }
}

/// Takes samples until told to stop; none where the nodes are somewhere else.
pub(super) async fn watch(aim: &Aim, time: Duration, stop: &CancellationToken) -> Vec<Sample> {
    let (begun, mut samples) = (Instant::now(), Vec::new());
    let every = (time / SAMPLES).max(Duration::from_secs(1));
    let pids = aim.pids();
    let Some(url) = aim.admin_url().filter(|_| !pids.is_empty()) else { return samples };
    let Ok(mut database) = PgConnection::connect(&url).await else { return samples };
    while stop.run_until_cancelled(sleep(every)).await.is_some() {
        let memory = pids.iter().filter_map(|pid| procfs::memory(*pid).ok());
        let bytes: u64 = memory.map(|memory| memory.resident).sum();
        let files = pids.iter().filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")).ok());
        let files: usize = files.map(Iterator::count).sum();
        let connections: i64 =
            sqlx::query_scalar("select count(*) from pg_stat_activity where usename = 'mana_sync'")
                .fetch_one(&mut database)
                .await
                .unwrap_or(0);
        samples.push(Sample {
            seconds: begun.elapsed().as_secs_f64(),
            memory_mib: float(bytes) / f64::from(1 << 20),
            files: float(files as u64),
            connections: float(connections.unsigned_abs()),
        });
    }
    samples
}

/// The quarters of the samples and of the figures, compared.
pub(super) fn compare(samples: &[Sample], quarters: &[Figures]) -> Vec<Drift> {
    let quarter = (samples.len() / 4).max(1).min(samples.len());
    let (first, last) = (samples.get(..quarter), samples.get(samples.len() - quarter..));
    let mut all = Vec::new();
    if let (Some(first), Some(last)) = (first, last)
        && !samples.is_empty()
    {
        let mut add = |what, value: fn(&Sample) -> f64| {
            all.push(Drift { what, first: mean(first, value), last: mean(last, value) });
        };
        add("node memory, MiB", |sample| sample.memory_mib);
        add("node files and sockets", |sample| sample.files);
        add("database connections", |sample| sample.connections);
    }
    if let (Some(first), Some(last)) = (quarters.first(), quarters.last())
        && quarters.len() > 1
    {
        let mut add = |what, latencies: fn(&Figures) -> &Latencies, q| {
            let ms = |one: &Figures| quantile(latencies(one), q).as_secs_f64() * 1000.0;
            all.push(Drift { what, first: ms(first), last: ms(last) });
        };
        add("pull p50, ms", |one| &one.pulls, 0.5);
        add("pull p99, ms", |one| &one.pulls, 0.99);
        add("push p50, ms", |one| &one.pushes, 0.5);
        add("push p99, ms", |one| &one.pushes, 0.99);
        add("first stream byte p99, ms", |one| &one.streams, 0.99);
    }
    all
}

fn mean(samples: &[Sample], value: fn(&Sample) -> f64) -> f64 {
    samples.iter().map(value).sum::<f64>() / float(samples.len() as u64)
}

/// The points of a plot.
pub(super) fn points(samples: &[Sample]) -> [Vec<(f64, f64)>; 2] {
    let line = |value: fn(&Sample) -> f64| {
        samples.iter().map(|sample| (sample.seconds, value(sample))).collect::<Vec<_>>()
    };
    [line(|sample| sample.memory_mib), line(|sample| sample.files)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_quarter_stands_against_the_first() {
        let sample = |memory_mib| Sample { seconds: 0.0, memory_mib, files: 7.0, connections: 0.0 };
        let samples: Vec<_> = [10.0, 10.0, 99.0, 99.0, 99.0, 99.0, 15.0, 15.0].map(sample).into();
        let drift = compare(&samples, &[]);
        let rows: Vec<String> = drift.iter().map(Drift::row).collect();
        assert_eq!(rows.len(), 3);
        assert!(rows.first().unwrap().ends_with("10.0      15.0    +50 %"), "{rows:?}");
        assert!(compare(&[], &[]).is_empty());
    }
}
