//! Edits a `config.json` as text, so that nothing of it is lost: not an
//! unknown field, not the order or the digits of anything. Pure.
#![forbid(unsafe_code)]

use crate::json::Object;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The annotation under which crun takes a ready program, in base64, for `run`
/// and for `exec`; crun(1).
pub const CRUN_PROGRAM: &str = "run.oci.seccomp_bpf_data";

/// Why a config cannot be edited.
#[derive(Debug, thiserror::Error)]
#[error("the config cannot be edited")]
pub struct Error(#[from] serde_json::Error);

#[derive(Deserialize)]
struct Config<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    annotations: Option<&'a RawValue>,
}

/// `null` is a value as well: it stands where the new one has to go.
fn present<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

/// Puts an annotation in, or takes it out; one of the same name that was there
/// before, whoever put it, is gone.
///
/// # Errors
/// [`Error`]: no JSON object, or `annotations` is no object of strings.
///
/// ```
/// use oci_seccomp::precreate::annotate;
/// let config = r#"{"x": 1.50, "annotations": {"a": "b"}}"#;
/// assert_eq!(
///     annotate(config, "c", Some("d"))?,
///     r#"{"x": 1.50, "annotations": {"a":"b","c":"d"}}"#
/// );
/// assert_eq!(annotate("{}", "c", Some("d"))?, r#"{"annotations":{"c":"d"}}"#);
/// # Ok::<(), oci_seccomp::precreate::Error>(())
/// ```
pub fn annotate(config: &str, key: &str, value: Option<&str>) -> Result<String, Error> {
    let Object(parsed): Object<Config> = serde_json::from_str(config)?;
    let raw = parsed.annotations.map_or("null", RawValue::get);
    let old: Option<BTreeMap<String, Option<String>>> = serde_json::from_str(raw)?;
    let mut new = old.clone().unwrap_or_default();
    match value {
        Some(value) => new.insert(key.to_owned(), Some(value.to_owned())),
        None => new.remove(key),
    };
    if new == old.unwrap_or_default() {
        return Ok(config.to_owned());
    }
    let text = serde_json::to_string(&new)?;
    Ok(match parsed.annotations {
        Some(raw) => replace(config, raw.get(), &text),
        None => prepend(config, &format!("\"annotations\":{text}")),
    })
}

/// Replaces a part of a text, which the part was borrowed from.
#[must_use]
pub fn replace(text: &str, part: &str, with: &str) -> String {
    let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let end = start + part.len();
    [&text[..start], with, &text[end..]].concat()
}

/// Puts a member first in an object that is known to be one.
fn prepend(object: &str, member: &str) -> String {
    let (head, rest) = object.split_once('{').unwrap_or((object, ""));
    let comma = if rest.trim_start().starts_with('}') {
        ""
    } else {
        ","
    };
    [head, "{", member, comma, rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_every_other_byte_as_it_is() {
        let config = "{ \"n\": 18446744073709551616, \"e\": 1e3,\n\"annotations\":null , \"z\": {\"a\":1,\"a\":2}}";
        let edited = annotate(config, "k", Some("v\"")).unwrap();
        assert_eq!(edited, config.replace("null", r#"{"k":"v\""}"#));
    }

    #[test]
    fn the_annotation_of_another_does_not_survive() {
        let config = r#"{"annotations": {"k": "theirs", "l": null}}"#;
        let ours = annotate(config, "k", Some("ours")).unwrap();
        assert_eq!(ours, r#"{"annotations": {"k":"ours","l":null}}"#);
        let none = annotate(config, "k", None).unwrap();
        assert_eq!(none, r#"{"annotations": {"l":null}}"#);
        assert_eq!(annotate("{}", "k", None).unwrap(), "{}");
    }

    #[test]
    fn refuses_what_it_would_have_to_guess() {
        for config in [
            "",
            "[]",
            "{} {}",
            r#"{"annotations": []}"#,
            r#"{"annotations": {"k": 1}}"#,
            r#"{"annotations": {}, "annotations": {}}"#,
        ] {
            assert!(annotate(config, "k", Some("v")).is_err(), "{config}");
        }
    }
}
