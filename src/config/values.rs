//! What a setting may be. Each parser's error goes on from the quoted value: "is not a port".

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use crate::id::AppId;
use crate::telemetry;

/// A limit that is turned off: larger than what any node carries, and small enough to be the
/// permits of a semaphore.
pub const NO_LIMIT: usize = usize::MAX >> 4;

/// A time-out that is turned off.
const NO_LIMIT_TIME: Duration = Duration::from_hours(24 * 365);

/// A text that is never printed.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Keeps `text` from being printed.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text, for whoever must send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `shown` is the secret, in a time that tells nothing but its length.
    #[must_use]
    pub fn matches(&self, shown: &[u8]) -> bool {
        let secret = self.0.as_bytes();
        let differing = secret.iter().zip(shown).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(differing) == 0 && secret.len() == shown.len()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a Postgres is, and with which password: never printed.
#[derive(Clone)]
pub struct DatabaseUrl(Arc<str>);

impl DatabaseUrl {
    /// The URL, with its password.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("is not a URL ({error})"))?;
        if !["postgres", "postgresql"].contains(&url.scheme()) {
            return Err("is not a URL that begins with postgres:// or postgresql://".into());
        }
        // Whatever follows is in the URL, so it is left out.
        PgConnectOptions::from_str(text)
            .map_err(|_| "is not a URL that Postgres' parameters can be read from")?;
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(…)")
    }
}

/// Where a page comes from, exactly as a browser names it in `Origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// `scheme://host`, and the port unless it is the scheme's own.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "is not an origin (scheme://host[:port], without a path)";
        if text.contains('*') {
            return Err("is no exact origin, and patterns are not supported (list each \
                        scheme://host[:port])");
        }
        let url = Url::parse(text).map_err(|_| EXPECTED)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(EXPECTED)?;
        let origin = match url.port() {
            Some(port) => format!("{}://{host}:{port}", url.scheme()),
            None => format!("{}://{host}", url.scheme()),
        };
        // A path, a query or a user would have got lost.
        let rest = url.as_str().strip_prefix(&origin).ok_or(EXPECTED)?;
        if !matches!(rest, "" | "/") || text.ends_with('/') {
            return Err(EXPECTED);
        }
        Ok(Self(origin))
    }
}

/// A number of this range; `what` says of what.
pub(super) fn number<T>(
    what: &'static str,
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |value| {
        value
            .trim()
            .parse()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("is not {what} ({} to {})", range.start(), range.end()))
    }
}

pub(super) fn port() -> impl Fn(&str) -> Result<u16, String> + Clone + Send + Sync + 'static {
    number("a port", 1..=u16::MAX)
}

/// Whole seconds.
pub(super) fn seconds(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    let number = number("a number of seconds", range);
    move |value| number(value).map(Duration::from_secs)
}

/// Whole milliseconds.
pub(super) fn millis(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    let number = number("a number of milliseconds", range);
    move |value| number(value).map(Duration::from_millis)
}

/// A count that has at least so many, or 0 for no limit.
pub(super) fn limit(
    what: &'static str,
    least: usize,
) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    const MOST: usize = 1 << 40;
    move |value| match value.trim().parse() {
        Ok(0) => Ok(NO_LIMIT),
        Ok(count) if (least..=MOST).contains(&count) => Ok(count),
        _ => Err(format!("is not {what} ({least} to {MOST}, or 0 for no limit)")),
    }
}

/// Whole seconds, or 0 for no limit.
pub(super) fn limit_seconds(
    most: u64,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |value| match value.trim().parse() {
        Ok(0) => Ok(NO_LIMIT_TIME),
        Ok(count) if count <= most => Ok(Duration::from_secs(count)),
        _ => Err(format!("is not a number of seconds (1 to {most}, or 0 for no limit)")),
    }
}

pub(super) fn ip(value: &str) -> Result<IpAddr, &'static str> {
    value.trim().parse().map_err(|_| "is not an IP address (such as 0.0.0.0 or ::)")
}

/// A network, or an address that stands for itself.
pub(super) fn network(value: &str) -> Result<IpNet, &'static str> {
    let value = value.trim();
    let address = || value.parse::<IpAddr>().map(IpNet::from);
    let network: Result<IpNet, _> = value.parse().or_else(|_| address());
    match network.map_err(|_| "is not a network (such as 10.0.0.0/8 or ::1)")? {
        IpNet::V6(net) if net.addr().to_ipv4_mapped().is_some() => {
            Err("is not a network as peers are named here (10.0.0.0/8, not ::ffff:10.0.0.0/104)")
        }
        network => Ok(network),
    }
}

pub(super) fn origin(value: &str) -> Result<Origin, &'static str> {
    value.trim().parse()
}

pub(super) fn database(value: &str) -> Result<DatabaseUrl, String> {
    value.trim().parse()
}

/// The URL of a service: HTTP, and nothing secret in it, because it is logged.
pub(super) fn web(value: &str) -> Result<Url, String> {
    let url = Url::parse(value.trim()).map_err(|error| format!("is not a URL ({error})"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err("is not a URL that begins with http:// or https://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("is not a URL without user and password".into());
    }
    Ok(url)
}

/// What can stand in a header.
pub(super) fn secret(value: &str) -> Result<Secret, &'static str> {
    let value = value.trim();
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("is not a key (printable ASCII without spaces)");
    }
    Ok(Secret::new(value))
}

pub(super) fn app(value: &str) -> Result<AppId, String> {
    AppId::new(value.trim()).map_err(|bad| format!("is not an app's id (it {bad})"))
}

pub(super) fn text(value: &str) -> Result<String, &'static str> {
    let value = value.trim();
    if value.is_empty() { Err("is not a text (it is empty)") } else { Ok(value.to_owned()) }
}

pub(super) fn log_filter(value: &str) -> Result<String, String> {
    match telemetry::filter(value) {
        Ok(_) => Ok(value.to_owned()),
        Err(_) => Err("is not a list of filter directives (such as info,mana_sync=debug)".into()),
    }
}
