//! What a client shows of who it is, and what an issuer publishes.

use std::sync::{Arc, LazyLock};

use http::{HeaderMap, HeaderValue, Request};
use vertice_config::Env;
use vertice_config::gateway::policy::{JwtConfig, PoliciesConfig};
use vertice_config::gateway::{Flags, resolve};
use vertice_gateway::policy::ApiKeys;
use vertice_gateway::policy::jwt::Issuer;
use vertice_gateway::policy::jwt::jwks::Jwks;

use crate::Target;

const CONFIG: &str = "[[api_key]]\nname = \"a\"\nkey_env = \"KEY\"\n\
    [jwt.secret]\nsecret_env = \"SECRET\"\nalgorithms = [\"HS256\", \"HS512\"]\n\
    [jwt.keys]\njwks_file = \"/j\"\nalgorithms = [\"RS256\", \"PS256\", \"ES256\", \"ES384\", \"EdDSA\"]\n\
    [policies]\nauth = { api_key = true, jwt = \"secret\" }\n\
    [[route]]\nname = \"r\"\nprefix = \"/r\"\nservice = \"core\"\nauth = { jwt = \"keys\" }\n\
    [[listener]]\naddress = \"127.0.0.1:0\"\n";

const KEY: &str = "the-key";

static POLICIES: LazyLock<PoliciesConfig> = LazyLock::new(|| {
    let env = Env::from([("KEY", KEY), ("SECRET", "0123456789abcdef0123456789abcdef")]);
    resolve(Some(("fuzz", CONFIG)), &env, &Flags::default()).expect("a good configuration").policies
});

fn issuer(name: &str) -> &'static JwtConfig {
    POLICIES.jwt.iter().find(|issuer| issuer.name == name).expect("an issuer of the configuration")
}

pub(super) const TOKEN: Target = Target {
    name: "jwt",
    what: "what stands in Authorization: nobody gets in who does not know the secret",
    feed: token,
    words: &[
        "Bearer ",
        "bearer",
        ".",
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJhbGciOiJub25lIn0",
        "eyJhbGciOiJSUzI1NiJ9",
        "eyJleHAiOjk5OTk5OTk5OTl9",
        "=",
        "-_",
    ],
};

fn token(input: &[u8]) -> String {
    static ISSUER: LazyLock<Issuer> = LazyLock::new(|| Issuer::of(issuer("secret"), None));
    let Ok(value) = HeaderValue::from_bytes(input) else { return "no field".into() };
    let mut headers = HeaderMap::new();
    headers.insert(http::header::AUTHORIZATION, value);
    match ISSUER.judge(&headers, 1_800_000_000) {
        None => "no token".into(),
        Some(Ok(proved)) => panic!("let in as {}", proved.identity.name),
        Some(Err(refusal)) => {
            // What the client is told fits into a quoted string (RFC 9110 5.6.4).
            let challenge = refusal.challenge(true, &[]).expect("a challenge");
            let text = challenge.to_str().expect("ASCII");
            assert_eq!(text.matches('"').count() % 2, 0, "{text}");
            refusal.told().2.to_owned()
        }
    }
}

pub(super) const KEY_SET: Target = Target {
    name: "jwks",
    what: "key sets of issuers: what cannot be used is said, and changes nothing",
    feed: key_set,
    words: &[
        "{\"keys\":[",
        "\"kty\":\"RSA\"",
        "\"kty\":\"EC\"",
        "\"kty\":\"OKP\"",
        "\"kty\":\"oct\"",
        "\"crv\":\"P-256\"",
        "\"crv\":\"Ed25519\"",
        "\"n\":\"",
        "\"e\":\"AQAB\"",
        "\"x\":\"",
        "\"y\":\"",
        "\"use\":\"sig\"",
        "\"alg\":\"HS256\"",
        "]}",
    ],
};

fn key_set(input: &[u8]) -> String {
    let jwks = Arc::new(Jwks::of(issuer("keys")).expect("an issuer without a secret"));
    let taken = jwks.take(input);
    let (failures, age) = jwks.stats();
    assert_eq!((failures, age.is_some()), (u64::from(taken.is_err()), taken.is_ok()));
    match taken {
        Ok(count) => {
            assert!(count > 0);
            format!("{count} keys")
        }
        Err(wrong) => wrong,
    }
}

pub(super) const QUERY_KEY: Target = Target {
    name: "query_key",
    what: "API keys in queries: cut out whole, and the rest stays byte for byte",
    feed: query_key,
    words: &["api_key=", "api%5Fkey=", "%61pi_key", "the-key", "&", "=", "?", "%", "%26", "+"],
};

fn query_key(input: &[u8]) -> String {
    static KEYS: LazyLock<ApiKeys> = LazyLock::new(|| ApiKeys::of(&POLICIES.api_keys));
    let Ok(query) = std::str::from_utf8(input) else { return "not text".into() };
    let Ok(request) = Request::get(format!("/p?{query}")).body(()) else { return "no target".into() };
    let mut parts = request.into_parts().0;
    let before = parts.uri.clone();
    let taken = KEYS.take(&mut parts, true, 0);
    assert_eq!(parts.uri.path(), before.path());
    let decoded = |pair: &str| {
        percent_encoding::percent_decode_str(pair.split('=').next().unwrap_or_default()).collect::<Vec<u8>>()
    };
    let is_key = |pair: &&str| decoded(pair) == b"api_key";
    let (old, new) = (before.query().unwrap_or_default(), parts.uri.query().unwrap_or_default());
    let kept: Vec<&str> = old.split('&').filter(|pair| !is_key(pair)).collect();
    assert_eq!(new, kept.join("&"), "{before}");
    let keys = old.split('&').filter(is_key).count();
    assert_eq!(taken.is_some(), keys > 0, "{before}");
    match taken {
        Some(Ok(identity)) => {
            assert_eq!(keys, 1);
            format!("let in as {}", identity.name)
        }
        Some(Err(refusal)) => refusal.told().1.to_owned(),
        None => "no key".into(),
    }
}
