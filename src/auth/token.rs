//! What a token says, and whether it may be believed. Pure: keys and clocks are handed in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::error::Category;

use super::{AuthError, Identity};
use crate::id::UserId;

/// How far the issuer's clock and ours may differ.
const LEEWAY: Duration = Duration::from_secs(5);

/// The last second of the year 9999. A later `exp` means "never", and arithmetic stays safe.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// What a token must name, where something is required.
pub(super) struct Rules {
    pub(super) audience: Vec<String>,
    pub(super) issuer: Option<String>,
}

/// Reads the unverified header: which key the token claims to be signed with.
pub(super) fn key_id(token: &str) -> Result<String, AuthError> {
    let header = decode_header(token).map_err(|error| match error.kind() {
        // JSON of another shape than the crate knows: an algorithm it does not know, or none.
        ErrorKind::Json(error) if error.classify() == Category::Data => AuthError::Algorithm,
        _ => AuthError::Malformed,
    })?;
    if header.alg != Algorithm::EdDSA {
        return Err(AuthError::Algorithm);
    }
    // An extension that must be understood, and none is.
    if header.crit.is_some() {
        return Err(AuthError::Malformed);
    }
    header.kid.ok_or(AuthError::Malformed)
}

/// The claims of a token that `key` has signed.
///
/// The crate's own checks of claims are off: by default they let pass what is absent, and refuse
/// an audience where none is required. [`Claims::check`] is the only judge.
pub(super) fn verified_claims(token: &str, key: &DecodingKey) -> Result<Claims, AuthError> {
    let mut signature_only = Validation::new(Algorithm::EdDSA);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_nbf = false;
    signature_only.validate_aud = false;
    let data = decode(token, key, &signature_only).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => AuthError::Signature,
        ErrorKind::InvalidAlgorithm => AuthError::Algorithm,
        _ => AuthError::Malformed,
    })?;
    Ok(data.claims)
}

/// Whether a token that runs out at `expires` is refused at `now`.
pub(super) fn has_expired(expires: SystemTime, now: SystemTime) -> bool {
    now >= expires + LEEWAY
}

/// The claims that matter. Times may have fractions.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    aud: Option<OneOrMany>,
    iss: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl Claims {
    /// Judges the claims at the time `now`.
    pub(super) fn check(&self, rules: &Rules, now: SystemTime) -> Result<Identity, AuthError> {
        let expires = time(self.exp.ok_or(AuthError::Malformed)?)?;
        if has_expired(expires, now) {
            return Err(AuthError::Expired);
        }
        if let Some(nbf) = self.nbf
            && now + LEEWAY < time(nbf)?
        {
            return Err(AuthError::NotYet);
        }
        let named = self.aud.as_ref().map_or(&[][..], OneOrMany::as_slice);
        if !rules.audience.is_empty() && !named.iter().any(|name| rules.audience.contains(name)) {
            return Err(AuthError::Audience);
        }
        if rules.issuer.is_some() && self.iss != rules.issuer {
            return Err(AuthError::Issuer);
        }
        let user = UserId::new(self.sub.as_deref().unwrap_or_default());
        Ok(Identity { user: user.map_err(|_| AuthError::Subject)?, expires })
    }
}

/// Seconds since 1970 as a time.
fn time(seconds: f64) -> Result<SystemTime, AuthError> {
    let since = Duration::try_from_secs_f64(seconds.min(LAST_SECOND));
    Ok(UNIX_EPOCH + since.map_err(|_| AuthError::Malformed)?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(
        claims: Value,
        audience: &[&str],
        issuer: Option<&str>,
    ) -> Result<Identity, AuthError> {
        let rules = Rules {
            audience: audience.iter().map(ToString::to_string).collect(),
            issuer: issuer.map(str::to_owned),
        };
        let claims: Claims = serde_json::from_value(claims).expect("claims of the right shape");
        claims.check(&rules, UNIX_EPOCH + Duration::from_secs(1_000))
    }

    #[test]
    fn times_are_judged_with_five_seconds_of_leeway() {
        let expires = |exp: Value| check(json!({"sub": "u", "exp": exp}), &[], None);
        assert_eq!(expires(json!(995)), Err(AuthError::Expired));
        assert_eq!(expires(json!(-1)), Err(AuthError::Malformed));
        assert_eq!(expires(json!(null)), Err(AuthError::Malformed));
        let identity = expires(json!(995.5)).expect("within the leeway");
        assert_eq!(identity.expires, UNIX_EPOCH + Duration::from_millis(995_500));
        let begins = |nbf: Value| check(json!({"sub": "u", "exp": 2_000, "nbf": nbf}), &[], None);
        assert!(begins(json!(1_005)).is_ok());
        assert_eq!(begins(json!(1_005.5)), Err(AuthError::NotYet));
        assert_eq!(begins(json!(1e300)), Err(AuthError::NotYet));
    }

    #[test]
    fn an_expiry_beyond_all_clocks_is_the_last_second() {
        for exp in [json!(u64::MAX), json!(1e300), json!(9_007_199_254_740_991_u64)] {
            let identity = check(json!({"sub": "u", "exp": exp}), &[], None).expect("valid");
            assert_eq!(identity.expires, UNIX_EPOCH + Duration::from_secs(253_402_300_799));
        }
    }

    #[test]
    fn what_is_required_must_be_there_and_match() {
        let named =
            |aud: Value, iss: Value| json!({"sub": "u", "exp": 2_000, "aud": aud, "iss": iss});
        let required = |claims| check(claims, &["sync", "mana"], Some("auth")).map(|_| ());
        assert_eq!(required(named(json!("mana"), json!("auth"))), Ok(()));
        assert_eq!(required(named(json!(["x", "sync"]), json!("auth"))), Ok(()));
        assert_eq!(required(json!({"sub": "u", "exp": 2_000})), Err(AuthError::Audience));
        for aud in [json!(null), json!([]), json!("x"), json!(["x"])] {
            assert_eq!(required(named(aud, json!("auth"))), Err(AuthError::Audience));
        }
        for iss in [json!(null), json!("x"), json!("")] {
            assert_eq!(required(named(json!("sync"), iss)), Err(AuthError::Issuer));
        }
        let free = check(named(json!("anyone"), json!("anyone")), &[], None);
        assert!(free.is_ok(), "nothing is required: {free:?}");
    }

    #[test]
    fn a_subject_must_be_a_user_id() {
        for sub in [json!(null), json!(""), json!("a\0b"), json!("x".repeat(256))] {
            let outcome = check(json!({"sub": sub, "exp": 2_000}), &[], None);
            assert_eq!(outcome, Err(AuthError::Subject));
        }
    }
}
