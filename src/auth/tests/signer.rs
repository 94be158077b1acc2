//! Issuers' keys for tests, and what can be signed with them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// A key of the issuer.
pub(super) struct Signer {
    kid: &'static str,
    private: EncodingKey,
    /// The public key, as it is published.
    pub(super) x: String,
}

impl Signer {
    /// The key that follows from `seed`.
    pub(super) fn new(kid: &'static str, seed: u8) -> Self {
        let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
        der.extend([seed; 32]);
        let private = EncodingKey::from_ed_der(&der);
        let jwk = Jwk::from_encoding_key(&private, Algorithm::EdDSA).expect("a key");
        let AlgorithmParameters::OctetKeyPair(public) = jwk.algorithm else {
            panic!("an Ed25519 key is an octet key pair");
        };
        Self { kid, private, x: public.x }
    }

    pub(super) fn header(&self) -> Header {
        Header { kid: Some(self.kid.to_owned()), ..Header::new(Algorithm::EdDSA) }
    }

    pub(super) fn sign(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.private).expect("signed")
    }

    /// A token that is good for an hour.
    pub(super) fn token(&self) -> String {
        self.sign(&self.header(), &claims())
    }

    pub(super) fn jwk(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": self.x})
    }
}

pub(super) fn seconds_from_now(seconds: i64) -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("a time of today") + seconds
}

pub(super) fn claims() -> Value {
    json!({"sub": "ada", "exp": seconds_from_now(3_600)})
}

pub(super) fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

/// JSON as a part of a token, encoded as the crate does it for claims.
pub(super) fn part(json: &Value) -> String {
    let token = encode(&Header::default(), json, &EncodingKey::from_secret(b"x")).expect("encoded");
    token.split('.').nth(1).expect("three parts").to_owned()
}

pub(super) fn set(signers: &[&Signer]) -> Value {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()})
}
