//! Origins of pages that look like typing errors. What is no origin at all is refused at the start.

use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;
use url::Url;

use crate::config::Origin;
use crate::store::Finding;

/// A name that takes longer is not there.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn examine(origins: &[Origin]) -> Vec<Finding> {
    if origins.is_empty() {
        return vec![Finding::note(
            "CORS_ORIGINS is empty: no page of another origin may call the node",
        )];
    }
    let mut found = Vec::new();
    for (n, origin) in origins.iter().enumerate() {
        let text = origin.as_str();
        if origins[..n].contains(origin) {
            found.push(Finding::note(format!("CORS_ORIGINS names {text} twice")));
            continue;
        }
        found.extend(doubt(text).await);
    }
    if found.is_empty() {
        found.push(Finding::well(format!("CORS_ORIGINS names {} origins", origins.len())));
    }
    found
}

/// What speaks against an origin.
async fn doubt(origin: &str) -> Option<Finding> {
    let url = Url::parse(origin).ok()?;
    let (scheme, host) = (url.scheme(), url.host_str()?);
    if !["http", "https"].contains(&scheme) {
        // Shells of apps and extensions have schemes of their own.
        return looks_like_http(scheme).then(|| {
            Finding::wrong(format!(
                "CORS_ORIGINS: no browser knows the scheme of {origin}; is it a typing error?"
            ))
        });
    }
    let port = url.port_or_known_default().unwrap_or(443);
    let name = host.trim_matches(['[', ']']);
    let is_known = timeout(PATIENCE, lookup_host((name, port))).await;
    if !matches!(is_known, Ok(Ok(_))) {
        return Some(Finding::note(format!(
            "CORS_ORIGINS: the host of {origin} is not known here; is it a typing error?"
        )));
    }
    let is_near =
        name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    (scheme == "http" && !is_near).then(|| {
        Finding::note(format!(
            "CORS_ORIGINS: {origin} is not encrypted, and browsers give its pages less; is https meant?"
        ))
    })
}

/// Whether a scheme has the letters of `http` or `https`, but for one.
fn looks_like_http(scheme: &str) -> bool {
    let without = |text: &str, place: usize| -> String {
        text.chars().enumerate().filter(|(at, _)| *at != place).map(|(_, sign)| sign).collect()
    };
    let shorter =
        |text: &str| (0..=text.len()).map(|place| without(text, place)).collect::<Vec<_>>();
    ["http", "https"].iter().any(|meant| {
        let meant = shorter(meant);
        shorter(scheme).iter().any(|scheme| meant.contains(scheme))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_of_apps_are_no_typing_errors() {
        for wrong in ["htps", "htttp", "httpss", "hhttps", "htpp"] {
            assert!(looks_like_http(wrong), "{wrong}");
        }
        for right in ["capacitor", "tauri", "chrome-extension", "ionic", "app", "http4k-app"] {
            assert!(!looks_like_http(right), "{right}");
        }
    }
}
