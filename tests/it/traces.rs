//! Traces as a collector receives them.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::processes::launch;
use crate::support::{World, eventually, insert};

/// Every span that came, each an object of OTLP.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Value>>>);

impl Collector {
    /// Listens; gives its address.
    async fn start(&self) -> String {
        let spans = Arc::clone(&self.0);
        let take = async move |body: Bytes| {
            let sent: Value = serde_json::from_slice(&body).unwrap();
            let resources = sent["resourceSpans"].as_array().unwrap().iter();
            let scopes = resources.flat_map(|all| all["scopeSpans"].as_array().unwrap());
            let all = scopes.flat_map(|scope| scope["spans"].as_array().unwrap().iter().cloned());
            spans.lock().unwrap().extend(all);
            ([(CONTENT_TYPE, "application/json")], "{}")
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn span(&self, name: &str) -> Option<Value> {
        self.0.lock().unwrap().iter().find(|span| span["name"] == name).cloned()
    }
}

#[tokio::test]
async fn a_request_is_a_part_of_its_caller_s_trace() {
    let world = World::new().await;
    let collector = Collector::default();
    let address = collector.start().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("LOG", "warn"),
    ];
    let mut node = launch(&world, &["--drain-delay-seconds=0"], &variables);
    node.ready().await;
    let alice = world.client("alice", "laptop");
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let pushed = reqwest::Client::new()
        .post(format!("{}/sync/{}", node.url, alice.app))
        .bearer_auth(&alice.token)
        .header("traceparent", format!("00-{trace}-{parent}-01"))
        .body(json!({ "changes": [insert("r1", &json!({"title": "Milk"}))] }).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(pushed.status(), 200);
    let request =
        eventually("the span of the push", async || collector.span("POST /sync/{app_id}"));
    let request = request.await;
    assert_eq!((&request["traceId"], &request["parentSpanId"]), (&json!(trace), &json!(parent)));
    for name in ["members", "store", "read"] {
        let part = eventually(name, async || collector.span(name)).await;
        assert_eq!(part["traceId"], json!(trace), "{part}");
        assert_eq!(part["parentSpanId"], request["spanId"], "{part}");
    }
    let all = serde_json::to_string(&*collector.0.lock().unwrap()).unwrap();
    for secret in ["alice", &alice.token, "Milk", "tasks", "laptop"] {
        assert!(!all.contains(secret), "{secret} stands in a trace: {all}");
    }
}
