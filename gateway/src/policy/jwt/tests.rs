//! Good tokens, and every way in which one is not.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use vertice_config::Env;
use vertice_config::gateway::{Flags, resolve};

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_800_000_000;

fn config(text: &str) -> JwtConfig {
    let text = format!(
        "[jwt.a]\n{text}\n[policies]\nauth = {{ jwt = \"a\" }}\n[[listener]]\naddress = \"127.0.0.1:0\"\n"
    );
    let env = Env::from([("SECRET", SECRET)]);
    let config = resolve(Some(("t", &text)), &env, &Flags::default());
    config.unwrap_or_else(|mistakes| panic!("{mistakes:?}")).policies.jwt.remove(0)
}

fn hs256(more: &str) -> Issuer {
    Issuer::of(&config(&format!("secret_env = \"SECRET\"\nalgorithms = [\"HS256\"]\n{more}")), None)
}

fn published(algorithms: &str, keys: &Value) -> (Issuer, Arc<Jwks>) {
    let config = config(&format!("jwks_file = \"/j\"\nalgorithms = {algorithms}"));
    let jwks = Arc::new(Jwks::of(&config).unwrap());
    jwks.take(json!({"keys": keys}).to_string().as_bytes()).unwrap();
    (Issuer::of(&config, Some(jwks.clone())), jwks)
}

fn part(text: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()));
    format!("{signed}.{}", part(&sign(signed.as_bytes())))
}

fn hmac(secret: &str) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    move |signed| aws_lc_rs::hmac::sign(&key, signed).as_ref().to_vec()
}

fn judged(issuer: &Issuer, token: &str) -> Result<Proved, Refusal> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("bearer {token}").parse().unwrap());
    issuer.judge(&headers, NOW).unwrap()
}

fn fault(issuer: &Issuer, token: &str) -> Option<TokenFault> {
    match judged(issuer, token) {
        Ok(_) => None,
        Err(Refusal::Token(fault)) => Some(fault),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn claims_of_the_original_are_taken_and_each_rule_has_its_refusal() {
    let plain = hs256("");
    let strict = hs256("issuer = \"me\"\naudience = [\"a\", \"b\"]\nleeway = \"10s\"");
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let with = |claims: Value| token(&header, &claims, hmac(SECRET));
    let good = json!({"sub": "1", "email": "a@b", "tenant_id": "t", "scopes": ["x"], "exp": NOW + 60, "iat": NOW, "jti": "j"});
    let proved = judged(&plain, &with(good)).unwrap();
    assert!(
        proved.identity.has(&["x".into()]) && proved.identity.is_of("t") && &*proved.identity.name == "1"
    );
    let older = json!({"sub": "1", "permissions": ["offensive", "write"], "exp": NOW + 60});
    assert!(judged(&plain, &with(older)).unwrap().identity.has(&["write".into(), "offensive".into()]));

    for (claims, expected) in [
        (json!({"exp": NOW - 29}), None),
        (json!({"exp": NOW - 30}), Some(TokenFault::Expired)),
        (json!({"exp": 1_800_000_000.5}), None),
        (json!({}), Some(TokenFault::NoExpiry)),
        (json!({"exp": "2099"}), Some(TokenFault::NoExpiry)),
        (json!({"exp": NOW + 9, "nbf": NOW + 30}), None),
        (json!({"exp": NOW + 9, "nbf": NOW + 31}), Some(TokenFault::NotYet)),
        (json!({"exp": NOW + 9, "iat": NOW + 31}), Some(TokenFault::NotYet)),
        (json!({"exp": NOW + 9, "nbf": "x"}), Some(TokenFault::Malformed)),
        (json!({"exp": NOW + 9, "aud": "a"}), Some(TokenFault::Audience)),
        (json!({"exp": NOW + 9, "type": "refresh"}), Some(TokenFault::Refresh)),
        (json!({"exp": NOW + 9, "type": "access"}), None),
    ] {
        assert_eq!(fault(&plain, &with(claims.clone())), expected, "{claims}");
    }
    for (claims, expected) in [
        (json!({"exp": NOW + 9, "iss": "me", "aud": "b"}), None),
        (json!({"exp": NOW + 9, "iss": "me", "aud": ["x", "a"]}), None),
        (json!({"exp": NOW + 9, "iss": "me", "aud": ["x"]}), Some(TokenFault::Audience)),
        (json!({"exp": NOW + 9, "iss": "me"}), Some(TokenFault::Audience)),
        (json!({"exp": NOW + 9, "iss": "you", "aud": "a"}), Some(TokenFault::Issuer)),
        (json!({"exp": NOW + 9, "iss": ["me"], "aud": "a"}), Some(TokenFault::Issuer)),
        (json!({"exp": NOW + 9, "aud": "a"}), Some(TokenFault::Issuer)),
        (json!({"exp": NOW - 10, "iss": "me", "aud": "a"}), Some(TokenFault::Expired)),
    ] {
        assert_eq!(fault(&strict, &with(claims.clone())), expected, "{claims}");
    }
}

#[test]
fn nothing_that_only_looks_like_a_token_is_one() {
    let issuer = hs256("");
    let claims = json!({"exp": NOW + 60});
    let good = token(&json!({"alg": "HS256"}), &claims, hmac(SECRET));
    assert_eq!(fault(&issuer, &good), None);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    for (text, expected) in [
        ("", TokenFault::Malformed),
        ("a", TokenFault::Malformed),
        ("..", TokenFault::Malformed),
        (&format!("{good}."), TokenFault::Malformed),
        (&format!("{good}="), TokenFault::Malformed),
        (&format!("x.{good}"), TokenFault::Malformed),
        (&format!("{signed}."), TokenFault::Signature),
        (&format!("{signed}.{}", &signature[..8]), TokenFault::Signature),
        (
            &token(&json!({"alg": "HS256"}), &claims, hmac("another secret that is long enough")),
            TokenFault::Signature,
        ),
        (&token(&json!({"alg": "none"}), &claims, |_| Vec::new()), TokenFault::Algorithm),
        (&token(&json!({"alg": "None"}), &claims, |_| Vec::new()), TokenFault::Algorithm),
        (&token(&json!({"alg": "HS512"}), &claims, hmac(SECRET)), TokenFault::Algorithm),
        (&token(&json!({"alg": "RS256"}), &claims, hmac(SECRET)), TokenFault::Algorithm),
        (&token(&json!({}), &claims, hmac(SECRET)), TokenFault::Malformed),
        (
            &token(&json!({"alg": "HS256", "crit": ["b64"], "b64": false}), &claims, hmac(SECRET)),
            TokenFault::Critical,
        ),
        (&token(&json!({"alg": "HS256"}), &json!("text"), hmac(SECRET)), TokenFault::Malformed),
        (&format!("{}.{signed}", "A".repeat(60 * 1024)), TokenFault::TooLarge),
    ] {
        assert_eq!(fault(&issuer, text), Some(expected), "{text:.80}");
    }
    // A key that the token brings along, or names by a place, counts for nothing.
    let brought = json!({"alg": "HS256", "jku": "https://evil", "jwk": {"kty": "oct", "k": part(b"evil")}, "kid": "../../dev/null"});
    assert_eq!(fault(&issuer, &token(&brought, &claims, hmac("evil"))), Some(TokenFault::Signature));
    let mut headers = HeaderMap::new();
    for _ in 0..2 {
        headers.append(AUTHORIZATION, format!("Bearer {good}").parse().unwrap());
    }
    assert_eq!(issuer.judge(&headers, NOW).unwrap().unwrap_err(), Refusal::Token(TokenFault::Several));
    for other in ["Basic YTpi", "Bearertoken", "Bear", ""] {
        headers.insert(AUTHORIZATION, other.parse().unwrap());
        assert!(issuer.judge(&headers, NOW).is_none(), "{other}");
    }
}

#[test]
fn public_keys_verify_and_none_is_used_for_another_algorithm() {
    let random = SystemRandom::new();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    // RFC 8017 A.1.1: a sequence of the modulus, with a zero before it, and the exponent.
    let der = rsa.public_key().as_ref();
    let (n, e) = (der[9..265].to_vec(), der[267..270].to_vec());
    let point = ec.public_key().as_ref()[1..].to_vec();
    let keys = json!([
        {"kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "n": part(&n), "e": part(&e)},
        {"kty": "EC", "kid": "e", "crv": "P-256", "x": part(&point[..32]), "y": part(&point[32..])},
        {"kty": "OKP", "kid": "d", "crv": "Ed25519", "x": part(ed.public_key().as_ref())},
        {"kty": "EC", "kid": "enc", "use": "enc", "crv": "P-256", "x": part(&point[..32]), "y": part(&point[32..])},
        {"kty": "oct", "kid": "o", "k": part(SECRET.as_bytes())},
        {"kty": "new kind"},
        "no key",
    ]);
    let by_rsa: &dyn Fn(&[u8]) -> Vec<u8> = &|signed| {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, signed, &mut signature).unwrap();
        signature
    };
    let by_ec = |signed: &[u8]| ec.sign(&random, signed).unwrap().as_ref().to_vec();
    let by_ed = |signed: &[u8]| ed.sign(signed).as_ref().to_vec();
    let claims = json!({"exp": NOW + 60, "sub": "s"});
    let (issuer, jwks) = published("[\"RS256\", \"PS256\", \"ES256\", \"EdDSA\"]", &keys);
    assert_eq!(jwks.stats().0, 0);
    for (header, sign, expected) in [
        (json!({"alg": "RS256", "kid": "r"}), by_rsa, None),
        (json!({"alg": "ES256", "kid": "e"}), &by_ec, None),
        (json!({"alg": "EdDSA", "kid": "d"}), &by_ed, None),
        (json!({"alg": "EdDSA"}), &by_ed, None),
        (json!({"alg": "RS256", "kid": "e"}), by_rsa, Some(TokenFault::UnknownKey)),
        (json!({"alg": "PS256", "kid": "r"}), by_rsa, Some(TokenFault::UnknownKey)),
        (json!({"alg": "ES256", "kid": "enc"}), &by_ec, Some(TokenFault::UnknownKey)),
        (json!({"alg": "ES256", "kid": "gone"}), &by_ec, Some(TokenFault::UnknownKey)),
        (json!({"alg": "ES256", "kid": "e"}), by_rsa, Some(TokenFault::Signature)),
        (json!({"alg": "EdDSA", "kid": "d"}), &by_ec, Some(TokenFault::Signature)),
        // The public key as the secret of an HMAC, and a secret that somebody published.
        (
            json!({"alg": "HS256", "kid": "r"}),
            &|signed: &[u8]| hmac(&part(&n))(signed),
            Some(TokenFault::Algorithm),
        ),
        (
            json!({"alg": "HS256", "kid": "o"}),
            &|signed: &[u8]| hmac(SECRET)(signed),
            Some(TokenFault::Algorithm),
        ),
    ] {
        assert_eq!(fault(&issuer, &token(&header, &claims, sign)), expected, "{header}");
    }
}

#[test]
fn a_key_set_that_cannot_be_used_is_said_and_keys_count_for_a_bounded_time() {
    let config = config("jwks_file = \"/j\"\nalgorithms = [\"EdDSA\"]\nrefresh = \"1s\"\nmax_stale = \"1s\"");
    let jwks = Arc::new(Jwks::of(&config).unwrap());
    let issuer = Issuer::of(&config, Some(jwks.clone()));
    let ed = Ed25519KeyPair::generate().unwrap();
    let good = token(&json!({"alg": "EdDSA"}), &json!({"exp": NOW + 60}), |signed| {
        ed.sign(signed).as_ref().to_vec()
    });
    assert_eq!(
        judged(&issuer, &good).unwrap_err(),
        Refusal::TokenKeysUnavailable,
        "before the first reading"
    );
    for (text, wrong) in [
        ("<html>", "is no JWK set"),
        ("{}", "is no JWK set"),
        ("{\"keys\": []}", "has no usable key for EdDSA among its 0 keys"),
        ("{\"keys\": [{\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"x\": \"AA\"}]}", "has no usable key"),
        ("{\"keys\": [{\"kty\": \"RSA\", \"n\": \"AQAB\", \"e\": \"AQAB\"}]}", "has no usable key"),
    ] {
        let said = jwks.take(text.as_bytes()).unwrap_err();
        assert!(said.contains(wrong), "{text}: {said}");
    }
    assert_eq!(jwks.stats().0, 5);
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": part(ed.public_key().as_ref())});
    let many = json!({"keys": vec![key.clone(); 65]}).to_string();
    assert!(jwks.take(many.as_bytes()).unwrap_err().contains("has 65 keys"));
    let same = json!({"keys": [key.clone(), key.clone()]}).to_string();
    jwks.take(same.as_bytes()).unwrap();
    assert_eq!(fault(&issuer, &good), Some(TokenFault::UnknownKey), "which of the two, nobody says");
    jwks.take(json!({"keys": [key]}).to_string().as_bytes()).unwrap();
    assert_eq!(fault(&issuer, &good), None);
}

#[tokio::test(start_paused = true)]
async fn keys_that_were_not_read_again_count_until_max_stale() {
    let config = config("jwks_file = \"/j\"\nalgorithms = [\"EdDSA\"]\nrefresh = \"1s\"\nmax_stale = \"1m\"");
    let jwks = Arc::new(Jwks::of(&config).unwrap());
    let issuer = Issuer::of(&config, Some(jwks.clone()));
    let ed = Ed25519KeyPair::generate().unwrap();
    let good = token(&json!({"alg": "EdDSA"}), &json!({"exp": NOW + 60}), |signed| {
        ed.sign(signed).as_ref().to_vec()
    });
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": part(ed.public_key().as_ref())});
    jwks.take(json!({"keys": [key]}).to_string().as_bytes()).unwrap();
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    jwks.failed();
    assert_eq!(fault(&issuer, &good), None);
    tokio::time::advance(std::time::Duration::from_millis(1)).await;
    assert_eq!(judged(&issuer, &good).unwrap_err(), Refusal::TokenKeysUnavailable);
}

#[test]
fn claims_become_fields_where_they_fit_into_one() {
    let issuer = hs256("claim_headers = { x-a = \"a\" }");
    for (claim, field) in [
        (json!("text"), Some("text")),
        (json!(7), Some("7")),
        (json!(true), Some("true")),
        (json!(["a", "b"]), Some("a,b")),
        (json!(["a,b"]), None),
        (json!([1]), None),
        (json!({"a": 1}), None),
        (json!(null), None),
        (json!("a\r\nx-admin: 1"), None),
    ] {
        let token = token(&json!({"alg": "HS256"}), &json!({"exp": NOW + 9, "a": claim}), hmac(SECRET));
        let fields = judged(&issuer, &token).unwrap().fields;
        let found = fields.first().map(|(_, value)| value.to_str().unwrap());
        assert_eq!(found, field, "{claim}");
    }
}
