//! Turns what the deserialiser says into what a person needs: the key, and the nearest valid one.

use toml::de::DeTable;

use super::ConfigError;
use super::sources::{Sources, path_at};

/// How far a name may be from a valid one to be called a slip of it (Jaro-Winkler, 1 = equal):
/// below it the suggestion would be a guess, and only the list of valid names is shown.
const NEAR: f64 = 0.75;

/// The deserialiser rejected the merged table.
pub(super) fn rejected(
    sources: &Sources,
    merged: &DeTable<'_>,
    error: &toml::de::Error,
) -> ConfigError {
    let offset = error.span().map(|span| span.start);
    let path = offset
        .and_then(|offset| path_at(merged, offset))
        .unwrap_or_default();
    sources.error_at(offset, sentence(error.message().trim(), &path))
}

/// A path of keys as TOML writes it; a part that is not a bare key is quoted.
pub(super) fn dotted<S: AsRef<str>>(path: &[S]) -> String {
    let part = |part: &S| {
        let part = part.as_ref();
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        match !part.is_empty() && part.chars().all(bare) {
            true => part.to_owned(),
            false => format!("{part:?}"),
        }
    };
    path.iter().map(part).collect::<Vec<_>>().join(".")
}

/// The message about the value at `path`.
fn sentence(message: &str, path: &[String]) -> String {
    if let Some((name, valid)) = unknown(message, "unknown field `") {
        let table = match path.split_last() {
            Some((last, table)) if *last == name => table,
            _ => path,
        };
        return format!(
            "unknown key \"{name}\"{}{}",
            nearest("key", &name, &valid),
            within(table)
        );
    }
    let about = match path {
        [] => String::new(),
        _ => format!("{}: ", dotted(path)),
    };
    if let Some((name, valid)) = unknown(message, "unknown variant `") {
        return format!(
            "{about}unknown value \"{name}\"{}",
            nearest("value", &name, &valid)
        );
    }
    if let Some(rest) = message.strip_prefix("missing field `") {
        let name = rest.split('`').next().unwrap_or_default();
        return format!("missing key \"{name}\"{}", within(path));
    }
    // The deserialiser's messages may have several lines; a report has one.
    format!("{about}{}", message.replace('\n', "; "))
}

fn within(table: &[String]) -> String {
    match table {
        [] => String::new(),
        _ => format!(", in [{}]", dotted(table)),
    }
}

/// Serde's `unknown field `x`, expected one of `a`, `b``, taken apart.
fn unknown(message: &str, start: &str) -> Option<(String, Vec<String>)> {
    let (name, rest) = message.strip_prefix(start)?.split_once('`')?;
    // Between backticks are the valid names, at every second place.
    let valid = rest
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    Some((name.to_owned(), valid))
}

fn nearest(what: &str, name: &str, valid: &[String]) -> String {
    let closeness =
        |candidate: &str| strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase());
    let best = valid
        .iter()
        .max_by(|a, b| closeness(a).total_cmp(&closeness(b)));
    match best {
        None => format!("; no {what} is valid here"),
        Some(best) if closeness(best) >= NEAR => {
            format!("; the nearest valid {what} is \"{best}\"")
        }
        Some(_) => format!("; valid {what}s are {}", valid.join(", ")),
    }
}
