//! Traces, for a collector that speaks OTLP over HTTP. What else of OpenTelemetry can be set
//! (`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`), its library reads from
//! the environment itself.

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

/// What is left to send at the end may take so long.
const LAST_TIME: Duration = Duration::from_secs(1);

/// Sends traces, as long as it lives.
pub(super) struct Traces(SdkTracerProvider);

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_TIME) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

impl Traces {
    /// Sends to the collector at `endpoint`.
    pub(super) fn start(endpoint: &Url) -> Result<Self, ExporterBuildError> {
        let address = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
        let exporter = SpanExporter::builder().with_http().with_endpoint(address).build()?;
        let resource = Resource::builder().build();
        let named = resource.iter().any(|(key, name)| {
            key.as_str() == "service.name" && !name.as_str().starts_with("unknown_service")
        });
        let resource = if named {
            resource
        } else {
            Resource::builder().with_service_name("mana-sync").build()
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        Ok(Self(provider))
    }

    /// What makes traces of the node's spans, whatever the log's filter says.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("mana-sync"))
            .with_filter(filter_fn(|made| made.is_span() && made.target().starts_with("mana_sync")))
    }
}
