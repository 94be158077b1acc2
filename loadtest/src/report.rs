//! What a run leaves behind: the command, its settings, the environment and the figures, as JSON,
//! and its plots as SVG, in a folder of its own.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::host::Host;
use crate::plot::Plot;
use crate::stats::{Latencies, float};

/// Where a report goes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Report")]
pub(crate) struct Output {
    /// Folder for the report and its plots (by default `target/loadtest/COMMAND-TIME`)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the report as JSON, and nothing else.
    #[arg(long)]
    json: bool,
}

impl Output {
    /// Prints a line for people: not where the report is printed for machines.
    pub(crate) fn say(&self, line: &str) {
        if !self.json {
            println!("{line}");
        }
    }
}

/// A run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    command: &'static str,
    begun: String,
    ended: Option<String>,
    version: &'static str,
    settings: Value,
    environment: Option<Host>,
    figures: Map<String, Value>,
    #[serde(skip)]
    plots: Vec<(&'static str, Plot)>,
}

impl Report {
    /// Begins the report of a command; `settings` are what its flags say.
    pub(crate) fn begin(command: &'static str, settings: &impl Serialize) -> Self {
        Self {
            command,
            begun: now(),
            ended: None,
            version: env!("CARGO_PKG_VERSION"),
            settings: serde_json::to_value(settings).unwrap_or(Value::Null),
            environment: None,
            figures: Map::new(),
            plots: Vec::new(),
        }
    }

    /// Says where it ran.
    pub(crate) fn environment(&mut self, host: Host) {
        self.environment = Some(host);
    }

    /// Adds a figure, or a table of them.
    pub(crate) fn figure(&mut self, name: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.figures.insert(name.to_owned(), value);
    }

    /// Adds a plot; it becomes `<name>.svg`.
    pub(crate) fn plot(&mut self, name: &'static str, plot: Plot) {
        self.plots.push((name, plot));
    }

    /// Writes the report, and prints it or where it lies.
    pub(crate) fn finish(mut self, output: &Output) -> Outcome {
        self.ended = Some(now());
        let folder = output.out.clone().unwrap_or_else(|| {
            let time = self.begun.replace(['-', ':'], "");
            PathBuf::from(format!("target/loadtest/{}-{time}", self.command))
        });
        let text = serde_json::to_string_pretty(&self)? + "\n";
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("report.json"), &text)?;
        for (name, plot) in &self.plots {
            std::fs::write(folder.join(format!("{name}.svg")), plot.svg())?;
        }
        if output.json {
            print!("{text}");
        } else {
            if let Some(host) = &self.environment {
                println!("{}", host.line());
            }
            println!("report: {}", folder.join("report.json").display());
        }
        Ok(())
    }
}

/// To the second, in UTC.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The percentiles of a histogram, in milliseconds.
pub(crate) fn percentiles(latencies: &Latencies) -> Value {
    let at = |quantile| float(latencies.value_at_quantile(quantile)) / 1000.0;
    json!({
        "count": latencies.len(),
        "p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "p999_ms": at(0.999),
        "max_ms": at(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::Scale;

    #[test]
    fn a_report_is_json_with_its_plots_beside() {
        let folder = std::env::temp_dir().join(format!("loadtest-report-{}", std::process::id()));
        let mut report = Report::begin("push", &json!({ "clients": 4 }));
        report.figure("pushes_a_second", 12.5);
        let plot = Plot::new("t", ("x", Scale::Linear), ("y", Scale::Linear));
        report.plot("latency", plot.line("a", vec![(1.0, 2.0)]));
        report.finish(&Output { out: Some(folder.clone()), json: false }).unwrap();
        let text = std::fs::read_to_string(folder.join("report.json")).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["command"], "push");
        assert_eq!(value["settings"]["clients"], 4);
        assert_eq!(value["figures"]["pushes_a_second"], 12.5);
        assert!(std::fs::read_to_string(folder.join("latency.svg")).unwrap().starts_with("<svg"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
