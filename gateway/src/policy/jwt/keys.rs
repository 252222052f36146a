//! Keys that signatures are verified with. Each is for one algorithm: there is no key that another one could be slipped to.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use vertice_config::Secret;
use vertice_config::gateway::policy::JwtAlgorithm;

/// Keys of one set; an issuer has two or three.
const KEYS: usize = 64;
/// Less than 2048 bits can be broken; the library takes up to 8192.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// All keys of an issuer.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<VerifyingKey>);

/// A key for one algorithm.
#[derive(Debug)]
pub(super) struct VerifyingKey {
    id: Option<String>,
    algorithm: JwtAlgorithm,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Shared(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// RFC 7517, RFC 7518 6, RFC 8037 2: what of a key is looked at.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Of a secret that the issuer shares.
    pub(super) fn of_secret(secret: &Secret, algorithms: &[JwtAlgorithm]) -> Self {
        let one = |algorithm: &JwtAlgorithm| {
            let hash = match algorithm {
                JwtAlgorithm::Hs256 => hmac::HMAC_SHA256,
                JwtAlgorithm::Hs384 => hmac::HMAC_SHA384,
                JwtAlgorithm::Hs512 => hmac::HMAC_SHA512,
                JwtAlgorithm::Rs256
                | JwtAlgorithm::Rs384
                | JwtAlgorithm::Rs512
                | JwtAlgorithm::Ps256
                | JwtAlgorithm::Ps384
                | JwtAlgorithm::Ps512
                | JwtAlgorithm::Es256
                | JwtAlgorithm::Es384
                | JwtAlgorithm::EdDsa => return None,
            };
            let material = Material::Shared(Box::new(hmac::Key::new(hash, secret.expose().as_bytes())));
            Some(VerifyingKey { id: None, algorithm: *algorithm, material })
        };
        Self(algorithms.iter().filter_map(one).collect())
    }

    /// Of a JWK set, for `algorithms`. Keys that are for something else, or that are no keys, are left out: an issuer may
    /// publish kinds that are not known here. None left is an error.
    pub(super) fn of_jwks(text: &[u8], algorithms: &[JwtAlgorithm]) -> Result<Self, String> {
        let set: JwkSet = serde_json::from_slice(text).map_err(|error| format!("is no JWK set: {error}"))?;
        let count = set.keys.len();
        if count > KEYS {
            return Err(format!("has {count} keys; at most {KEYS} are read"));
        }
        let mut keys = Vec::new();
        for jwk in set.keys {
            let Ok(jwk) = serde_json::from_value::<Jwk>(jwk) else { continue };
            keys.extend(algorithms.iter().filter_map(|algorithm| jwk.key_for(*algorithm)));
        }
        if keys.is_empty() {
            let names: Vec<&str> = algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
            return Err(format!("has no usable key for {} among its {count} keys", names.join(", ")));
        }
        Ok(Self(keys))
    }

    /// The key for a token; `None`: there is none, or more than one, and trying them all is for nobody to ask for.
    pub(super) fn find(&self, algorithm: JwtAlgorithm, id: Option<&str>) -> Option<&VerifyingKey> {
        let fits = |key: &&VerifyingKey| {
            key.algorithm == algorithm
                && match (&key.id, id) {
                    (Some(own), Some(id)) => own == id,
                    (None, _) | (_, None) => true,
                }
        };
        let mut fitting = self.0.iter().filter(fits);
        fitting.next().filter(|_| fitting.next().is_none())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl VerifyingKey {
    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            // In constant time.
            Material::Shared(key) => hmac::verify(key, signed, signature).is_ok(),
            Material::Public(key) => key.verify_sig(signed, signature).is_ok(),
        }
    }
}

impl Jwk {
    /// As a key for `algorithm`, if it is one. Symmetric keys (`oct`) never are: who publishes one gives it away.
    fn key_for(&self, algorithm: JwtAlgorithm) -> Option<VerifyingKey> {
        let other_use = self.usage.as_deref().is_some_and(|usage| usage != "sig");
        let other_algorithm = self.alg.as_deref().is_some_and(|alg| alg != algorithm.as_str());
        if other_use || other_algorithm {
            return None;
        }
        let key = match algorithm {
            JwtAlgorithm::Hs256 | JwtAlgorithm::Hs384 | JwtAlgorithm::Hs512 => None,
            JwtAlgorithm::Rs256 => self.rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            JwtAlgorithm::Rs384 => self.rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            JwtAlgorithm::Rs512 => self.rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            JwtAlgorithm::Ps256 => self.rsa(&signature::RSA_PSS_2048_8192_SHA256),
            JwtAlgorithm::Ps384 => self.rsa(&signature::RSA_PSS_2048_8192_SHA384),
            JwtAlgorithm::Ps512 => self.rsa(&signature::RSA_PSS_2048_8192_SHA512),
            JwtAlgorithm::Es256 => self.curve("P-256", 32, &signature::ECDSA_P256_SHA256_FIXED),
            JwtAlgorithm::Es384 => self.curve("P-384", 48, &signature::ECDSA_P384_SHA384_FIXED),
            JwtAlgorithm::EdDsa => self.ed25519(),
        };
        Some(VerifyingKey { id: self.kid.clone(), algorithm, material: Material::Public(key?) })
    }

    fn rsa(&self, parameters: &'static RsaParameters) -> Option<ParsedPublicKey> {
        if self.kty != "RSA" {
            return None;
        }
        let n = number(self.n.as_deref()?)?;
        if !MODULUS_BYTES.contains(&n.len()) {
            return None;
        }
        RsaPublicKeyComponents { n, e: number(self.e.as_deref()?)? }.to_parsed_public_key(parameters).ok()
    }

    fn curve(
        &self,
        name: &str,
        bytes: usize,
        algorithm: &'static dyn VerificationAlgorithm,
    ) -> Option<ParsedPublicKey> {
        if self.kty != "EC" || self.crv.as_deref() != Some(name) {
            return None;
        }
        let (x, y) = (decoded(self.x.as_deref()?)?, decoded(self.y.as_deref()?)?);
        if x.len() != bytes || y.len() != bytes {
            return None;
        }
        // An uncompressed point (SEC 1, 2.3.3).
        let point: Vec<u8> = std::iter::once(4).chain(x).chain(y).collect();
        ParsedPublicKey::new(algorithm, point).ok()
    }

    fn ed25519(&self) -> Option<ParsedPublicKey> {
        if self.kty != "OKP" || self.crv.as_deref() != Some("Ed25519") {
            return None;
        }
        ParsedPublicKey::new(&signature::ED25519, decoded(self.x.as_deref()?)?).ok()
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A big-endian number. Some issuers write a leading zero (RFC 7518 6.3.1.1 says not to).
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = decoded(text)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).filter(|bytes| !bytes.is_empty()).map(<[u8]>::to_vec)
}
