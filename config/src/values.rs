//! Values as they are written: durations and sizes with units, numbers in a range, addresses, names.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;
use vertice_registry_api::name::shorten;
use vertice_registry_api::{ServiceName, ServiceUrl};

use crate::gateway::{FallbackUrl, ListenAddress, listen_address, unix_path};
use crate::reader::{Outcome, Wrong, kind};

/// The longest duration that makes sense for one request or one pause.
const LONGEST: Duration = Duration::from_hours(24);
/// How durations are written, for messages.
const DURATION_FORM: &str =
    "give a duration in quotes with its unit, 1ms to 24h: \"500ms\", \"2s\", \"5m\", \"1h\"";

/// Text, not empty and without control characters.
pub(crate) fn text<'v>(value: &'v DeValue<'_>) -> Outcome<&'v str> {
    let Some(text) = value.as_str() else {
        return Err(Wrong::new(format!("is {}", kind(value)), "give text in double quotes"));
    };
    if text.is_empty() {
        return Err(Wrong::new("is empty", "write something between the quotes, or leave the key out"));
    }
    if text.chars().any(char::is_control) {
        return Err(Wrong::new(
            format!("has a control character: {}", shorten(text)),
            "give text of one line without tabs",
        ));
    }
    Ok(text)
}

/// How words are written, for messages.
pub(crate) const WORD_FORM: &str = "give 1 to 64 characters of A-Z a-z 0-9 . _ : -";

/// Whether `text` can be a name.
pub(crate) fn is_word(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// `true` or `false`.
pub(crate) fn boolean(value: &DeValue<'_>) -> Outcome<bool> {
    value
        .as_bool()
        .ok_or_else(|| Wrong::new(format!("is {}", kind(value)), "give true or false, without quotes"))
}

/// A file or a folder.
pub(crate) fn path(value: &DeValue<'_>) -> Outcome<PathBuf> {
    text(value).map(PathBuf::from)
}

/// A whole number from `least` to `most`.
pub(crate) fn number(value: &DeValue<'_>, least: usize, most: usize) -> Outcome<usize> {
    let right = format!("give a whole number from {least} to {most}");
    match integer(value) {
        None => Err(Wrong::new(format!("is {}", describe(value)), right)),
        Some(n) if (least..=most).contains(&n) => Ok(n),
        Some(n) => Err(Wrong::new(format!("is {n}"), right)),
    }
}

/// A number of bytes from `least` to `most`: an integer, or text with a unit.
pub(crate) fn size(value: &DeValue<'_>, least: usize, most: usize) -> Outcome<usize> {
    let right =
        format!("give a size from {} to {}, as \"64KiB\", \"10MiB\" or 65536", bytes(least), bytes(most));
    let size = integer(value).or_else(|| value.as_str().and_then(parse_size));
    match size {
        Some(n) if (least..=most).contains(&n) => Ok(n),
        Some(_) | None => Err(Wrong::new(format!("is {}", describe(value)), right)),
    }
}

/// A duration with its unit.
pub(crate) fn duration(value: &DeValue<'_>) -> Outcome<Duration> {
    match value.as_str().and_then(parse_duration) {
        Some(d) if (Duration::from_millis(1)..=LONGEST).contains(&d) => Ok(d),
        Some(_) | None => Err(Wrong::new(format!("is {}", describe(value)), DURATION_FORM)),
    }
}

/// What `read` understands, or `"none"`.
pub(crate) fn or_none<T>(
    value: &DeValue<'_>,
    read: impl Fn(&DeValue<'_>) -> Outcome<T>,
) -> Outcome<Option<T>> {
    if value.as_str() == Some("none") {
        return Ok(None);
    }
    read(value)
        .map(Some)
        .map_err(|wrong| Wrong::new(wrong.what, format!("{}, or \"none\" for no limit", wrong.right)))
}

/// A duration, or `"none"`.
pub(crate) fn duration_or_none(value: &DeValue<'_>) -> Outcome<Option<Duration>> {
    if value.as_str() == Some("none") {
        return Ok(None);
    }
    duration(value)
        .map(Some)
        .map_err(|wrong| Wrong::new(wrong.what, format!("{DURATION_FORM}, or \"none\" for no limit")))
}

/// An address to listen on.
pub(crate) fn address(value: &DeValue<'_>) -> Outcome<SocketAddr> {
    let text = text(value)?;
    text.parse().map_err(|_| {
        Wrong::new(
            format!("is {}", shorten(text)),
            "give an address and a port: \"127.0.0.1:8000\", \"0.0.0.0:8000\" for all networks, \"[::1]:8000\"",
        )
    })
}

/// An address to listen on, or a Unix socket.
pub(crate) fn listen_address(value: &DeValue<'_>) -> Outcome<ListenAddress> {
    text(value)?.parse().map_err(|what| Wrong::new(what, listen_address::FORM))
}

/// The mode of a file, in octal digits.
pub(crate) fn file_mode(value: &DeValue<'_>) -> Outcome<u32> {
    let digits = |text: &str| (3..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let mode = value.as_str().filter(|text| digits(text)).and_then(|text| u32::from_str_radix(text, 8).ok());
    mode.filter(|mode| *mode <= 0o777).ok_or_else(|| {
        Wrong::new(
            format!("is {}", describe(value)),
            "give three or four octal digits in quotes: \"0660\", \"0600\"",
        )
    })
}

/// A network, or one address as a network of its own.
pub(crate) fn network(value: &DeValue<'_>) -> Outcome<IpNet> {
    let text = text(value)?;
    if let Ok(one) = text.parse::<IpAddr>() {
        return Ok(one.into());
    }
    match text.parse::<IpNet>() {
        // "10.1.2.3/8" is a slip in one of its halves, and the wider reading trusts millions of peers.
        Ok(net) if net.addr() != net.network() => Err(Wrong::new(
            format!("is {}, an address inside a network", shorten(text)),
            format!("give the network \"{}\" or the one address \"{}\"", net.trunc(), net.addr()),
        )),
        Ok(net) => Ok(net),
        Err(_) => Err(Wrong::new(
            format!("is {}", shorten(text)),
            "give a network or an address: \"10.0.0.0/8\", \"192.168.1.7\", \"fd00::/8\"",
        )),
    }
}

/// A service's name, by the registry's rule.
pub(crate) fn service_name(value: &DeValue<'_>) -> Outcome<ServiceName> {
    let text = text(value)?;
    ServiceName::parse(text).map_err(|rule| {
        Wrong::new(
            format!("is {}", shorten(text)),
            format!("{rule}; a name is like \"maximus_core_service\""),
        )
    })
}

/// The URL of a service or a registry, by the registry's rule.
pub(crate) fn service_url(value: &DeValue<'_>) -> Outcome<ServiceUrl> {
    let text = text(value)?;
    parse_url(text).map_err(|why| Wrong::new(why, "give a URL like \"http://maximus-core:8100\""))
}

/// As [`service_url`], or a Unix socket.
pub(crate) fn fallback_url(value: &DeValue<'_>) -> Outcome<FallbackUrl> {
    match text(value)? {
        path if path.starts_with(unix_path::SCHEME) => path
            .parse()
            .map(FallbackUrl::Unix)
            .map_err(|what| Wrong::new(what, "give a Unix socket like \"unix:/run/app.sock\"")),
        _ => service_url(value).map(FallbackUrl::Http),
    }
}

/// As [`ServiceUrl::parse`]; the error never shows a password.
pub(crate) fn parse_url(text: &str) -> Result<ServiceUrl, String> {
    if text.contains('@') {
        return Err("has a user or password (not shown); a URL here has none".into());
    }
    ServiceUrl::parse(text).map_err(|rule| format!("breaks a rule: {rule}"))
}

/// Digits and a unit.
fn parse_duration(text: &str) -> Option<Duration> {
    let (count, unit) = number_and_unit(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(count)),
        "s" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_secs(count.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(count.checked_mul(3600)?)),
        _ => None,
    }
}

/// Digits and a unit of 1024s.
fn parse_size(text: &str) -> Option<usize> {
    let (count, unit) = number_and_unit(text)?;
    let factor = match unit {
        "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        "GiB" => 1024 * 1024 * 1024,
        _ => return None,
    };
    usize::try_from(count.checked_mul(factor)?).ok()
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    Some((digits.parse().ok()?, unit))
}

fn integer(value: &DeValue<'_>) -> Option<usize> {
    let integer = value.as_integer()?;
    usize::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A value for a message.
fn describe(value: &DeValue<'_>) -> String {
    match (value.as_str(), value.as_integer()) {
        (Some(text), _) => shorten(text),
        (None, Some(integer)) => shorten(&integer.to_string()).trim_matches('\'').to_owned(),
        (None, None) => kind(value).to_owned(),
    }
}

/// A size in the largest unit that divides it.
fn bytes(size: usize) -> String {
    const UNITS: [(usize, &str); 3] = [(1024 * 1024 * 1024, "GiB"), (1024 * 1024, "MiB"), (1024, "KiB")];
    UNITS
        .into_iter()
        .find(|(factor, _)| size.is_multiple_of(*factor))
        .map_or_else(|| format!("{size} bytes"), |(factor, unit)| format!("{}{unit}", size / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, ms) in [("500ms", 500), ("2s", 2000), ("5m", 300_000), ("1h", 3_600_000)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in
            ["", "5", "s", "-1s", "1.5s", "1 s", "1d", "5S", "99999999999999999999s", "9999999999999999999h"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_in_units_of_1024() {
        for (text, n) in [("7B", 7), ("64KiB", 65536), ("10MiB", 10 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(parse_size(text), Some(n), "{text}");
        }
        for text in ["64", "64KB", "64kib", "KiB", "99999999999999999999B", "18446744073709551615GiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
