//! What the node says of its work: log lines, and the recorder behind `/metrics`.
//!
//! Both belong to the process, not to a node: tests run several nodes in one process, so starting
//! them again is no error.

#[cfg(feature = "otel")]
mod otel;

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use clap::ValueEnum;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};
use url::Url;

use crate::metrics::{self, Kind, Unit};

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object a line, for programs.
    Json,
}

/// Bounds of a latency's buckets, in seconds.
const SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Bounds of a size's buckets.
const SIZES: [f64; 13] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0];

/// Log lines that may wait to be written.
const MAX_LINES: usize = 16_384;

/// Counts lines that were not written.
static LOST_LINES: OnceLock<ErrorCounter> = OnceLock::new();

/// How often what histograms gathered is put into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Reads filter directives such as `info,mana_sync::relay=debug`.
///
/// # Errors
/// [`ParseError`] where one of them is none.
pub fn filter(directives: &str) -> Result<EnvFilter, ParseError> {
    let filter = EnvFilter::try_new(directives)?;
    // It tells every message, tokens included, at the finest level.
    Ok(filter.add_directive("tungstenite=info".parse()?))
}

/// Sends log lines to standard error from now on, unless somebody has set up logging before. A
/// thread writes them, so that nobody waits for who reads them; lines that find its queue full are
/// lost, and counted. Traces go to `collector`, where this build can. What is returned is to be kept
/// until the end: dropped, it writes what is left.
///
/// # Errors
/// [`LogError`].
pub fn start_logging(
    directives: &str,
    format: LogFormat,
    collector: Option<&Url>,
) -> Result<Logging, LogError> {
    let filter = filter(directives)?;
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(MAX_LINES)
        .thread_name("log")
        .finish(std::io::stderr());
    let lost = writer.error_counter();
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(writer);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    #[cfg(feature = "otel")]
    let traces = collector.map(otel::Traces::start).transpose()?;
    let all = tracing_subscriber::registry();
    #[cfg(feature = "otel")]
    let all = all.with(traces.as_ref().map(otel::Traces::layer));
    // An error says that logging is set up already.
    if all.with(lines.with_filter(filter)).try_init().is_ok() {
        LOST_LINES.set(lost).ok();
    }
    #[cfg(not(feature = "otel"))]
    if collector.is_some() {
        tracing::warn!("a collector is named, but this build sends no traces (feature otel)");
    }
    Ok(Logging {
        #[cfg(feature = "otel")]
        _traces: traces,
        _lines: guard,
    })
}

/// Writes log lines, and sends traces, as long as it lives.
pub struct Logging {
    #[cfg(feature = "otel")]
    _traces: Option<otel::Traces>,
    _lines: WorkerGuard,
}

/// Why nothing is logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter's directives are none.
    #[error(transparent)]
    Filter(#[from] ParseError),
    /// Traces can't be sent.
    #[cfg(feature = "otel")]
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: {0}")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Why no metrics are gathered.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("another recorder of metrics is installed in this process")]
pub struct RecorderError;

/// What renders this process' metrics; the first call installs the recorder.
///
/// # Errors
/// [`RecorderError`] where somebody else has installed one.
pub fn metrics_handle() -> Result<PrometheusHandle, RecorderError> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let install = || {
        let handle = with_buckets(PrometheusBuilder::new()).ok()?.install_recorder().ok()?;
        metrics::describe();
        Some(handle)
    };
    HANDLE.get_or_init(install).clone().ok_or(RecorderError)
}

/// Puts what histograms gathered into their buckets, again and again, until told to stop.
pub async fn run_upkeep(handle: PrometheusHandle, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(UPKEEP);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        handle.run_upkeep();
        if let Some(lost) = LOST_LINES.get() {
            metrics::log_lines_lost(lost.dropped_lines());
        }
    }
}

/// Gives each histogram buckets: without, it would become a summary, which nobody can add up.
pub(crate) fn with_buckets(builder: PrometheusBuilder) -> Result<PrometheusBuilder, BuildError> {
    let mut histograms = metrics::ALL.iter().filter(|metric| metric.kind == Kind::Histogram);
    histograms.try_fold(builder, |builder, metric| {
        let buckets: &[f64] = if metric.unit == Unit::Seconds { &SECONDS } else { &SIZES };
        builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starting_twice_is_no_error() {
        let first = metrics_handle().unwrap();
        metrics::catch_up();
        assert!(metrics_handle().unwrap().render().contains("mana_sync_catch_ups_total 1\n"));
        first.run_upkeep();
        let _lines = start_logging("info", LogFormat::Json, None).unwrap();
        let _none = start_logging("warn", LogFormat::Text, None).unwrap();
        assert!(start_logging("mana_sync=loud", LogFormat::Text, None).is_err());
    }
}
