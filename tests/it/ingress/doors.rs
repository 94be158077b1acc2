//! What leads nowhere, and what each request is called.

use std::net::IpAddr;

use reqwest::Response;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Fleet, Kind};
use crate::memberships::invalidate_at;
use crate::protocol::talk::http;
use crate::support::{Client, PATIENCE, eventually, say};

const HIDDEN: [&str; 19] = [
    "/metrics",
    "/metrics/",
    "/metrics?x=/sync/todo",
    "//metrics",
    "/./metrics",
    "/%6detrics",
    "/METRICS",
    "/health/ready",
    "/openapi.json",
    "/health/../metrics",
    "/sync/../metrics",
    "/sync/todo/../../metrics",
    "/sync/%2e%2e/metrics",
    "/sync/..%2fmetrics",
    "/sync/todo/stream/../../../metrics",
    "/ws/../metrics",
    "/ws/..%2fmetrics",
    "/internal/memberships/alice/invalidate",
    "http://node/metrics",
];

pub async fn clients_find_no_way_to_what_is_for_operators(kind: Kind) {
    let fleet = Fleet::start(kind, &[]).await;
    for path in HIDDEN {
        for method in ["GET", "POST"] {
            let answer = raw(fleet.url(), method, path).await;
            let status = answer.split(' ').nth(1).unwrap_or_default();
            assert!(["400", "401", "404", "405"].contains(&status), "{method} {path}: {answer}");
            assert!(!answer.contains("# TYPE"), "{method} {path} leads to figures: {answer}");
        }
    }
    assert_eq!(
        http().get(format!("{}/metrics", fleet.nodes[0].url)).send().await.unwrap().status(),
        200
    );
    assert_eq!(invalidate_at(&fleet.nodes[0].url, "alice").await.status(), 204);
    assert_eq!(invalidate_at(fleet.url(), "alice").await.status(), 404);
}

/// What is answered to a path as it is: most clients would mend it.
async fn raw(url: &str, method: &str, path: &str) -> String {
    let host = url.trim_start_matches("http://");
    let mut socket = TcpStream::connect(host).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         X-Service-Key: {}\r\nContent-Length: 0\r\n\r\n",
        crate::support::world::SERVICE_KEY
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

/// A pull from an address of this machine.
struct Pull<'a> {
    client: &'a Client,
    from: IpAddr,
    headers: Vec<(&'a str, &'a str)>,
}

impl Pull<'_> {
    async fn send(&self, url: &str) -> Response {
        let http = reqwest::Client::builder().no_proxy().local_address(self.from).build().unwrap();
        let url = format!("{url}/sync/todo/pull?collection=tasks&since=");
        let request = http.get(url).bearer_auth(&self.client.token);
        let request = self.headers.iter().fold(request, |r, (name, value)| r.header(*name, *value));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        response
    }
}

pub async fn requests_keep_their_names_and_addresses(kind: Kind) {
    let fleet = Fleet::start(kind, &[]).await;
    let alice = fleet.world.client("alice", "laptop");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    // All of 127.0.0.0/8 is this machine; the proxy is 127.0.0.1.
    let pull = |headers| Pull { client: &alice, from: [127, 0, 0, 9].into(), headers };
    let forged = ("X-Forwarded-For", "6.6.6.6");

    let headers = vec![("X-Request-Id", "checkout-7"), ("traceparent", &parent), forged];
    let answer = pull(headers).send(fleet.url()).await;
    assert_eq!(name_of(&answer), "checkout-7", "it goes back to the client");
    let line = line(&fleet, "checkout-7").await;
    assert_eq!((&line["trace_id"], &line["client"]), (&trace.into(), &"127.0.0.9".into()));

    let (mut given, long) = (Vec::new(), "x".repeat(129));
    for id in [None, None, Some("two words"), Some("quote\"d"), Some(&*long)] {
        let headers = id.map(|id| ("X-Request-Id", id)).into_iter().collect();
        let name = name_of(&pull(headers).send(fleet.url()).await);
        assert_ne!(Some(name.as_str()), id);
        assert_eq!(self::line(&fleet, &name).await["client"], "127.0.0.9");
        assert!(!given.contains(&name), "{name} was given twice");
        given.push(name);
    }
    let theirs: Vec<Value> =
        fleet.entrance.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for name in given.iter().map(String::as_str).chain(["checkout-7"]) {
        let found = theirs.iter().find(|line| line["request_id"] == name);
        let found = found.unwrap_or_else(|| panic!("{kind:?} has no line of {name}: {theirs:?}"));
        assert_eq!((&found["client"], &found["status"]), (&"127.0.0.9".into(), &200.into()));
    }

    // Past the proxy, who is none is believed nothing.
    let headers = vec![("X-Request-Id", "past-it"), forged];
    pull(headers).send(&fleet.nodes[0].url).await;
    assert_eq!(self::line(&fleet, "past-it").await["client"], "127.0.0.9");
    // And what a client sends is believed of a proxy alone, not of what stands behind it.
    let headers = vec![("X-Request-Id", "by-a-proxy"), forged];
    let by_proxy = Pull { client: &alice, from: [127, 0, 0, 1].into(), headers };
    by_proxy.send(&fleet.nodes[0].url).await;
    assert_eq!(self::line(&fleet, "by-a-proxy").await["client"], "6.6.6.6");
    say(&format!(
        "{kind:?}: ids, traces and addresses of {} requests stand in its log and the nodes'",
        given.len() + 1
    ));
}

fn name_of(response: &Response) -> String {
    let names: Vec<_> = response.headers().get_all("x-request-id").iter().collect();
    assert_eq!(names.len(), 1, "one name: {names:?}");
    names[0].to_str().unwrap().to_owned()
}

/// The line of a request in some node's log.
async fn line(fleet: &Fleet, id: &str) -> Value {
    eventually(id, async || {
        let logs: Vec<String> = fleet.nodes.iter().map(crate::processes::Process::err).collect();
        let lines = logs.iter().flat_map(|log| log.lines());
        let mut lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["request_id"] == id)
    })
    .await
}
