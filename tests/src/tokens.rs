//! Issuers of tokens: one with a shared secret, and one that publishes its keys and can be made to fail.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Seconds since 1970.
#[allow(
    clippy::disallowed_methods,
    reason = "the tests know the programs from outside, and their clock as well"
)]
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token with this header and these claims, signed by `sign`.
pub fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// A token by HS256.
pub fn hs256(claims: &Value, secret: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    token(&json!({"alg": "HS256", "typ": "JWT"}), claims, |signed| hmac::sign(&key, signed).as_ref().to_vec())
}

/// A key pair of an issuer, with its id.
#[derive(Debug)]
pub struct IssuerKey {
    id: String,
    pair: Ed25519KeyPair,
}

impl IssuerKey {
    /// A new one.
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), pair: Ed25519KeyPair::generate().unwrap() }
    }

    /// The public half (RFC 8037).
    pub fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.id, "use": "sig", "x": x})
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        token(&json!({"alg": "EdDSA", "kid": self.id}), claims, |signed| {
            self.pair.sign(signed).as_ref().to_vec()
        })
    }
}

/// A server that answers every request with the same bytes, which can be changed, and closes.
#[derive(Debug)]
pub struct Page {
    /// Where.
    pub url: String,
    answer: Arc<Mutex<(Vec<u8>, usize)>>,
}

impl Page {
    /// One that fails at first.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new((Vec::new(), 0)));
        let page = Self { url, answer: answer.clone() };
        page.fails();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => return,
                        }
                    }
                    let bytes = {
                        let mut answer = answer.lock().unwrap();
                        answer.1 += 1;
                        answer.0.clone()
                    };
                    let _ = stream.write_all(&bytes).await;
                });
            }
        });
        page
    }

    /// From now on it has `body`.
    pub fn has(&self, body: &str) {
        self.answers(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ));
    }

    /// From now on it answers 500.
    pub fn fails(&self) {
        self.answers("HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }

    /// From now on it answers with exactly these bytes.
    pub fn answers(&self, bytes: &str) {
        self.answer.lock().unwrap().0 = bytes.as_bytes().to_vec();
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.answer.lock().unwrap().1
    }
}
