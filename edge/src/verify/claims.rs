//! Whether the claims of a token whose signature holds are for us, and for now.

use serde_json::{Map, Value};

use super::Refusal;
use crate::config::{Issuer, Preset, TokenKind};

/// Claims that only id tokens have (OpenID Connect Core 2, 3.1.3.6, 3.3.2.11), and those of events, such as back-channel
/// logout tokens (RFC 8417).
const NO_ACCESS_TOKEN: [&str; 5] = ["at_hash", "c_hash", "s_hash", "nonce", "events"];

/// A time in seconds; fractions are cut off.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match (value.as_u64(), value.as_f64()) {
            (Some(seconds), _) => Ok(Some(seconds)),
            (None, Some(seconds)) if (0.0..1e15).contains(&seconds) => Ok(Some(seconds as u64)),
            _ => Err(Refusal::BadClaims),
        },
    }
}

/// Text, or an array of nothing but texts.
fn texts<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<Vec<&'a str>, Refusal> {
    match claims.get(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(Value::Array(values)) => {
            values.iter().map(|value| value.as_str().ok_or(Refusal::BadClaims)).collect()
        }
        Some(_) => Err(Refusal::BadClaims),
    }
}

/// The `typ` header: what the issuer's block lists, or what the kind of token may have.
pub(crate) fn check_type(issuer: &Issuer, kind: TokenKind, typ: Option<&str>) -> Result<(), Refusal> {
    let typ = typ.map(|typ| typ.to_ascii_lowercase());
    let typ = typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
    let good = match (typ, kind) {
        (typ, TokenKind::Access) if !issuer.types.is_empty() => {
            typ.is_some_and(|typ| issuer.types.iter().any(|own| own.eq_ignore_ascii_case(typ)))
        }
        (None | Some("jwt"), _) | (Some("at+jwt"), TokenKind::Access) => true,
        _ => false,
    };
    if good { Ok(()) } else { Err(Refusal::WrongType) }
}

/// Exact issuer, audience or client, and time; returns `exp`. `audience` replaces the issuer's own (the login's id token).
pub(crate) fn check(
    issuer: &Issuer,
    kind: TokenKind,
    audience: Option<&str>,
    claims: &Map<String, Value>,
    now_s: u64,
) -> Result<u64, Refusal> {
    if claims.get("iss").and_then(Value::as_str) != Some(&issuer.iss) {
        return Err(Refusal::UnknownIssuer);
    }
    check_times(issuer, claims, now_s)?;
    let audiences = texts(claims, "aud")?;
    let listed = |accepted: &[String]| audiences.iter().any(|aud| accepted.iter().any(|own| own == aud));
    if let Some(audience) = audience {
        if !audiences.contains(&audience) {
            return Err(Refusal::WrongAudience);
        }
        // One of several audiences may not use a token that was made for another.
        let azp = claims.get("azp").and_then(Value::as_str);
        if azp.is_some_and(|azp| azp != audience) || (audiences.len() > 1 && azp.is_none()) {
            return Err(Refusal::WrongAudience);
        }
    } else if issuer.preset == Preset::Cognito {
        check_cognito(issuer, kind, claims, &audiences)?;
    } else {
        if !listed(&issuer.audiences) {
            return Err(Refusal::WrongAudience);
        }
        let client = ["azp", "client_id", "cid"].iter().find_map(|name| claims.get(*name));
        if !issuer.client_ids.is_empty()
            && !client
                .and_then(Value::as_str)
                .is_some_and(|client| issuer.client_ids.iter().any(|own| own == client))
        {
            return Err(Refusal::WrongAudience);
        }
    }
    if kind == TokenKind::Access && NO_ACCESS_TOKEN.iter().any(|name| claims.contains_key(*name)) {
        return Err(Refusal::WrongType);
    }
    // One app registration for page and API gives id tokens the API's audience; only access tokens say what for.
    let is_entra_access = issuer.preset == Preset::Entra && kind == TokenKind::Access;
    if is_entra_access && !["scp", "roles"].iter().any(|name| claims.contains_key(*name)) {
        return Err(Refusal::WrongType);
    }
    // OpenID Connect Core 2: an id token says when it was made.
    if kind == TokenKind::Id && !claims.contains_key("iat") {
        return Err(Refusal::BadClaims);
    }
    match claims.get("sub") {
        Some(Value::String(sub))
            if !sub.is_empty() && sub.len() <= 255 && !sub.chars().any(char::is_control) => {}
        _ => return Err(Refusal::BadClaims),
    }
    time(claims, "exp")?.ok_or(Refusal::BadClaims)
}

fn check_times(issuer: &Issuer, claims: &Map<String, Value>, now_s: u64) -> Result<(), Refusal> {
    let exp = time(claims, "exp")?.ok_or(Refusal::BadClaims)?;
    if now_s >= exp.saturating_add(issuer.skew_s) {
        return Err(Refusal::Expired);
    }
    let soon = now_s.saturating_add(issuer.skew_s);
    if time(claims, "nbf")?.is_some_and(|nbf| nbf > soon) {
        return Err(Refusal::NotYetValid);
    }
    let iat = time(claims, "iat")?;
    if iat.is_some_and(|iat| iat > soon) {
        return Err(Refusal::NotYetValid);
    }
    // Without iat a token's life is counted from now.
    if exp.saturating_sub(iat.unwrap_or(now_s)) > issuer.max_lifetime_s.saturating_add(issuer.skew_s) {
        return Err(Refusal::TooLong);
    }
    Ok(())
}

/// Access tokens say `client_id` and have no `aud` of ours; id tokens say `aud`; `token_use` tells which is which.
fn check_cognito(
    issuer: &Issuer,
    kind: TokenKind,
    claims: &Map<String, Value>,
    audiences: &[&str],
) -> Result<(), Refusal> {
    let (name, clients) = match kind {
        TokenKind::Access => ("access", texts(claims, "client_id")?),
        TokenKind::Id => ("id", audiences.to_vec()),
    };
    if claims.get("token_use").and_then(Value::as_str) != Some(name) {
        return Err(Refusal::WrongType);
    }
    if !clients.iter().any(|client| issuer.client_ids.iter().any(|own| own == client)) {
        return Err(Refusal::WrongAudience);
    }
    // With resource binding access tokens may have an audience as well.
    if kind == TokenKind::Access
        && !issuer.audiences.is_empty()
        && !audiences.iter().any(|aud| issuer.audiences.iter().any(|own| own == aud))
    {
        return Err(Refusal::WrongAudience);
    }
    Ok(())
}
