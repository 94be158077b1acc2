//! An Ed25519 key: where it comes from, what is published of it, and what it signs.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::IssuerError;

/// PKCS#8 of an Ed25519 key is these bytes and then the 32 secret ones (RFC 8410).
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// A key that has proved to work. Its `Debug` keeps the secret.
#[derive(Debug, Clone)]
pub(super) struct Key {
    private: EncodingKey,
    public: Jwk,
    kid: String,
}

impl Key {
    pub(super) fn generate() -> Result<Self, IssuerError> {
        Self::from_pkcs8(&fresh_pkcs8()?)
    }

    /// Reads the key from the file, or makes the file, for its owner's eyes.
    pub(super) fn load_or_create(path: &Path) -> Result<Self, IssuerError> {
        let at = |source| IssuerError::File { path: path.to_owned(), source };
        let fresh = fresh_pkcs8()?;
        let new = File::options().write(true).create_new(true).mode(0o600).open(path);
        let pkcs8 = match new {
            Ok(mut file) => file.write_all(&fresh).map(|()| fresh).map_err(at)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::read(path).map_err(at)?
            }
            Err(error) => return Err(at(error)),
        };
        Self::from_pkcs8(&pkcs8).map_err(|_| IssuerError::NotAKey { path: path.to_owned() })
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, IssuerError> {
        let private = EncodingKey::from_ed_der(pkcs8);
        let mut public = Jwk::from_encoding_key(&private, Algorithm::EdDSA)?;
        let kid = public.thumbprint(ThumbprintHash::SHA256)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { private, public, kid })
    }

    /// The key's own digest: a new key has a new name.
    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    pub(super) fn jwks(&self) -> Value {
        json!(JwkSet { keys: vec![self.public.clone()] })
    }

    /// The header of an honest token.
    pub(super) fn header(&self) -> Value {
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": self.kid })
    }

    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| base64url(part.to_string().as_bytes()));
        let message = format!("{header}.{claims}");
        #[expect(clippy::expect_used, reason = "its public half could be derived from the key")]
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.private, Algorithm::EdDSA)
                .expect("a key that has proved to work signs");
        format!("{message}.{signature}")
    }
}

fn fresh_pkcs8() -> Result<Vec<u8>, IssuerError> {
    let mut secret = [0; 32];
    let random = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut secret));
    random.map_err(IssuerError::Random)?;
    Ok([PKCS8_HEAD.as_slice(), &secret].concat())
}

/// Bytes as tokens spell them: base64 of the alphabet for URLs, without padding.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(DIGITS[bits >> (18 - 6 * digit) & 63].into());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_as_in_its_specification() {
        let spelled = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        let expected = ["", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"];
        assert_eq!(spelled.map(|text| base64url(text.as_bytes())), expected);
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn a_key_file_is_made_once_and_kept() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("issuer.key");
        let made = Key::load_or_create(&path).unwrap();
        assert_eq!(Key::load_or_create(&path).unwrap().kid(), made.kid());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        fs::write(&path, "something else").unwrap();
        assert!(matches!(Key::load_or_create(&path), Err(IssuerError::NotAKey { .. })));
    }
}
