//! The access log: one line a request, which names the user by a pseudonym alone.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hmac::{Hmac, KeyInit, Mac};
use ipnet::IpNet;
use sha2::{Digest, Sha256};
use tracing::Span;
use tracing::field::Empty;
use uuid::Uuid;

use crate::id::UserId;

/// Names a request, in the lines of the ingress and of the nodes.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ids of requests are replaced.
const MAX_ID: usize = 128;

/// Who sent a request, as the socket says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// Knows whom to believe, and how to name users.
#[derive(Debug, Clone)]
pub struct AccessLog {
    proxies: Vec<IpNet>,
    pseudonyms: Hmac<Sha256>,
}

/// What a line says of a request, as far as it is known before the answer.
#[derive(Debug)]
pub(super) struct Asked {
    id: HeaderValue,
    /// The trace that the request belongs to, where it says so (`traceparent`).
    trace: Option<Box<str>>,
    client: IpAddr,
    user: OnceLock<Box<str>>,
    begun: Instant,
}

impl AccessLog {
    /// Believes `X-Forwarded-For` of these proxies alone. Nodes with the same key give a user the
    /// same name.
    #[must_use]
    pub fn new(proxies: Vec<IpNet>, key: Option<&str>) -> Self {
        let key = match key {
            Some(key) => Sha256::digest(key),
            None => {
                Sha256::new().chain_update(Uuid::new_v4()).chain_update(Uuid::new_v4()).finalize()
            }
        };
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(&key);
        Self { proxies, pseudonyms: Hmac::new(&block.into()) }
    }

    pub(super) fn asked(&self, peer: IpAddr, headers: &HeaderMap) -> Arc<Asked> {
        let given = headers.get(REQUEST_ID).filter(|id| is_id(id.as_bytes())).cloned();
        Arc::new(Asked {
            id: given.unwrap_or_else(random_id),
            trace: headers.get("traceparent").and_then(trace_id).map(Into::into),
            client: self.client(peer, headers),
            user: OnceLock::new(),
            begun: Instant::now(),
        })
    }

    /// Says whose request it is.
    pub(super) fn name(&self, asked: &Asked, user: &UserId) {
        asked.user.get_or_init(|| self.pseudonym(user));
    }

    /// What a user is called: sixteen digits, of which nobody without the key finds the id.
    fn pseudonym(&self, user: &UserId) -> Box<str> {
        let hash = self.pseudonyms.clone().chain_update(user.as_str()).finalize().into_bytes();
        let mut name = String::with_capacity(16);
        for byte in &hash[..8] {
            let _ = write!(name, "{byte:02x}");
        }
        name.into()
    }

    /// The nearest address that is not a trusted proxy's. What stands before it anybody can write.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let trusted = |address: &IpAddr| self.proxies.iter().any(|net| net.contains(address));
        let lists: Vec<&[u8]> =
            headers.get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes).collect();
        let mut hops = lists.iter().rev().flat_map(|list| list.rsplit(|sign| *sign == b','));
        let mut client = peer.to_canonical();
        while trusted(&client) {
            let Some(Some(hop)) = hops.next().map(address) else { break };
            client = hop;
        }
        client
    }
}

impl Asked {
    pub(super) fn id(&self) -> &HeaderValue {
        &self.id
    }

    /// Writes the line of a request whose head is answered.
    pub(super) fn answered(&self, method: &str, route: &str, status: u16) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    method,
                    route,
                    status,
                    duration_ms = millis(self.begun.elapsed()),
                    user = self.user.get().map(AsRef::<str>::as_ref),
                    client = %self.client,
                    request_id = self.id.to_str().ok(),
                    trace_id = self.trace.as_deref(),
                    "request"
                )
            };
        }
        match status {
            500.. => line!(warn),
            // Probes and scrapes come all the time, and are no news.
            _ if route.starts_with("/health") || route == "/metrics" => line!(debug),
            _ => line!(info),
        }
    }

    /// Writes the line of a stream or WebSocket that has ended.
    pub(super) fn ended(&self, kind: &'static str, reason: &'static str) {
        tracing::info!(
            kind,
            reason,
            duration_ms = millis(self.begun.elapsed()),
            user = self.user.get().map(AsRef::<str>::as_ref),
            request_id = self.id.to_str().ok(),
            "ended"
        );
    }
}

/// What traces are made of, where they are: a request, as part of its caller's trace.
pub(super) fn span(method: &str, route: &'static str, headers: &HeaderMap) -> Span {
    let span = tracing::debug_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
    );
    #[cfg(feature = "otel")]
    if !span.is_disabled() {
        parent::follow(&span, headers);
    }
    #[cfg(not(feature = "otel"))]
    let _ = headers;
    span
}

/// Reads `traceparent` and `tracestate`.
#[cfg(feature = "otel")]
mod parent {
    use axum::http::{HeaderMap, HeaderName};
    use opentelemetry::propagation::{Extractor, TextMapPropagator};
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    struct Headers<'a>(&'a HeaderMap);

    impl Extractor for Headers<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key).and_then(|value| value.to_str().ok())
        }

        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(HeaderName::as_str).collect()
        }
    }

    pub(super) fn follow(span: &Span, headers: &HeaderMap) {
        // Refused where the span is in no trace, which is no loss.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(headers)));
    }
}

/// Milliseconds, to the microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn is_id(id: &[u8]) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn random_id() -> HeaderValue {
    HeaderValue::from_str(&format!("{:016x}", fastrand::u64(..)))
        .unwrap_or(HeaderValue::from_static("-"))
}

/// `00-{trace}-{span}-{flags}`: the trace, of 32 digits.
fn trace_id(parent: &HeaderValue) -> Option<&str> {
    let mut parts = parent.to_str().ok()?.split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |part: &str, count| {
        part.len() == count && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_one = digits(version, 2) && digits(trace, 32) && digits(span, 16);
    (is_one && trace.bytes().any(|byte| byte != b'0')).then_some(trace)
}

/// An address as proxies write it, some of them with a port.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let with_port = || hop.parse::<SocketAddr>().map(|address| address.ip());
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    bare.parse().or_else(|_| with_port()).ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        of.iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn log(proxies: &[&str]) -> AccessLog {
        AccessLog::new(proxies.iter().map(|net| net.parse().unwrap()).collect(), Some("key"))
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let log = log(&["10.0.0.0/8", "fd00::/8"]);
        let client = |peer: &str, forwarded: &[&str]| {
            let mut map = HeaderMap::new();
            for value in forwarded {
                let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
                map.append("x-forwarded-for", value);
            }
            log.client(peer.parse().unwrap(), &map).to_string()
        };
        for (peer, forwarded, expected) in [
            // Who is no proxy says of itself what it likes.
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.1.2.3", &["198.51.100.1"], "198.51.100.1"),
            // The last that a proxy wrote counts, not what the client wrote before it.
            ("10.1.2.3", &["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3", &["6.6.6.6", "198.51.100.1, 10.9.9.9"], "198.51.100.1"),
            ("10.1.2.3", &["198.51.100.1:4711"], "198.51.100.1"),
            ("fd00::1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("10.1.2.3", &["10.7.7.7,10.8.8.8"], "10.7.7.7"),
            ("10.1.2.3", &["unknown"], "10.1.2.3"),
            ("10.1.2.3", &["198.51.100.1, nonsense, 10.9.9.9"], "10.9.9.9"),
            ("10.1.2.3", &[""], "10.1.2.3"),
            ("10.1.2.3", &["[2001:db8::7]"], "2001:db8::7"),
            // What is no text does not hide what a proxy wrote behind it, nor lead past it.
            ("10.1.2.3", &["\u{ff}, 198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3", &["6.6.6.6", "\u{ff}"], "10.1.2.3"),
        ] {
            assert_eq!(client(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn ids_are_taken_from_the_ingress_or_given() {
        let log = log(&[]);
        let id = |given: &str| {
            let asked = log.asked([127, 0, 0, 1].into(), &headers(&[("x-request-id", given)]));
            asked.id.to_str().unwrap().to_owned()
        };
        assert_eq!(id("7f3a-1"), "7f3a-1");
        for bad in ["", "two words", &"x".repeat(129)] {
            let given = id(bad);
            assert!(given.len() == 16 && given != id(bad), "{given}");
        }
    }

    #[test]
    fn a_trace_is_named_where_the_header_is_whole() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let of = |parent: &str| trace_id(&parent.parse().unwrap()).map(str::to_owned);
        assert_eq!(of(&format!("00-{trace}-00f067aa0ba902b7-01")).as_deref(), Some(trace));
        for bad in [
            "",
            "00",
            trace,
            &format!("00-{trace}-00f067aa0ba902b-01"),
            &format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
        ] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_user_has_one_name_wherever_the_key_is_the_same() {
        let alice = UserId::new("alice").unwrap();
        let name = |key| AccessLog::new(Vec::new(), key).pseudonym(&alice);
        assert_eq!(name(Some("a")), name(Some("a")));
        assert_ne!(name(Some("a")), name(Some("b")));
        assert_ne!(name(None), name(None));
        assert_ne!(name(Some("a")), log(&[]).pseudonym(&UserId::new("bob").unwrap()));
        assert_eq!(name(Some("a")).len(), 16);
    }
}
