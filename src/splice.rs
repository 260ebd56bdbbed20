//! Edits a JSON text in place: what is not edited keeps every byte, so that
//! numbers, order and duplicates of which nothing is known stay as they are.
#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Why a text cannot be edited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not JSON, or of another type.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Go takes keys whatever their case, and the last of several: nobody can
    /// say which of them counts.
    #[error("{0:?} is there twice, or in another spelling")]
    Key(String),
}

/// A part of the text, as it stands there.
pub type Raw<'t> = &'t RawValue;

/// An object's members in their order.
#[derive(Debug)]
pub struct Object<'t> {
    raw: Raw<'t>,
    members: Vec<(String, Raw<'t>)>,
}

impl<'t> Object<'t> {
    /// Takes a value apart.
    ///
    /// # Errors
    /// [`Error::Json`]: it is no object.
    pub fn new(raw: Raw<'t>) -> Result<Self, Error> {
        let Members(members) = serde_json::from_str(raw.get())?;
        Ok(Self { raw, members })
    }

    /// A member; null is none.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn get(&self, key: &str) -> Result<Option<Raw<'t>>, Error> {
        Ok(self.find(key)?.filter(|raw| raw.get() != "null"))
    }

    /// A member that is an object; null is none.
    ///
    /// # Errors
    /// [`Error`].
    pub fn object(&self, key: &str) -> Result<Option<Self>, Error> {
        self.get(key)?.map(Self::new).transpose()
    }

    /// A member, null or not.
    fn find(&self, key: &str) -> Result<Option<Raw<'t>>, Error> {
        // As encoding/json does it: U+017F is an s, U+212A a k.
        let fold = |s: &str| s.to_lowercase().to_uppercase();
        let folded = fold(key);
        let mut like = self.members.iter().filter(|(k, _)| fold(k) == folded);
        match (like.next(), like.next()) {
            (None, _) => Ok(None),
            (Some((found, raw)), None) if found == key => Ok(Some(raw)),
            _ => Err(Error::Key(key.to_owned())),
        }
    }
}

/// The elements of an array.
///
/// # Errors
/// [`Error::Json`]: it is no array.
pub fn elements(raw: Raw<'_>) -> Result<Vec<Raw<'_>>, Error> {
    Ok(serde_json::from_str(raw.get())?)
}

/// Changes to one text, made all at once.
#[derive(Debug)]
pub struct Splice<'t> {
    text: &'t str,
    changes: Vec<(Range<usize>, String)>,
}

impl<'t> Splice<'t> {
    /// No changes yet, and the text as a value: of it everything comes that is
    /// changed here.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub fn new(text: &'t str) -> Result<(Self, Raw<'t>), Error> {
        let root = serde_json::from_str(text)?;
        let changes = Vec::new();
        Ok((Self { text, changes }, root))
    }

    /// Where a value is.
    fn range(&self, raw: Raw<'t>) -> Range<usize> {
        // RawValue borrows from the text.
        let start = raw.get().as_ptr() as usize - self.text.as_ptr() as usize;
        start..start + raw.get().len()
    }

    /// Puts another value in this one's place.
    pub fn replace(&mut self, raw: Raw<'t>, json: String) {
        self.changes.push((self.range(raw), json));
    }

    /// Gives an object members of these values; at most once for each object.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn set(&mut self, object: &Object<'t>, members: &[(&str, String)]) -> Result<(), Error> {
        let mut new = Vec::new();
        for (key, json) in members {
            match object.find(key)? {
                Some(raw) => self.replace(raw, json.clone()),
                None => new.push(format!("\"{key}\": {json}")),
            }
        }
        if !new.is_empty() {
            let start = self.range(object.raw).start + 1;
            let comma = if object.members.is_empty() { "" } else { ", " };
            let new = new.join(", ") + comma;
            self.changes.push((start..start, new));
        }
        Ok(())
    }

    /// Puts elements before an array's first; at most once for each array.
    ///
    /// # Errors
    /// [`Error::Json`]: it is no array.
    pub fn put_first(&mut self, array: Raw<'t>, json: &str) -> Result<(), Error> {
        match elements(array)?.first() {
            Some(first) => {
                let start = self.range(first).start;
                self.changes.push((start..start, format!("{json}, ")));
            }
            None => self.replace(array, format!("[{json}]")),
        }
        Ok(())
    }

    /// Puts elements after an array's last; at most once for each array.
    ///
    /// # Errors
    /// [`Error::Json`]: it is no array.
    pub fn put_last(&mut self, array: Raw<'t>, json: &str) -> Result<(), Error> {
        match elements(array)?.last() {
            Some(last) => {
                let end = self.range(last).end;
                self.changes.push((end..end, format!(", {json}")));
            }
            None => self.replace(array, format!("[{json}]")),
        }
        Ok(())
    }

    /// Takes a member away, with its key and one comma.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn remove(&mut self, object: &Object<'t>, key: &str) -> Result<(), Error> {
        let Some(raw) = object.find(key)? else {
            return Ok(());
        };
        let Range { start, end } = self.range(raw);
        let at = object.members.iter().position(|(k, _)| k == key);
        // From the end of what is before it: the last value, or the brace.
        let before = at.and_then(|at| object.members.get(at.checked_sub(1)?));
        let from = match before {
            Some((_, raw)) => self.range(raw).end,
            None => self.range(object.raw).start + 1,
        };
        let after = &self.text[end..];
        let comma = after.len() - after.trim_start().len();
        let range = match (before, after[comma..].starts_with(',')) {
            // The comma before it goes, the one after it stays.
            (Some(_), _) => from..end,
            (None, true) => {
                // What is between the brace and the key stays.
                let indent = self.text[from..start].find('"').unwrap_or(0);
                let next = &after[comma + 1..];
                let skip = comma + 1 + next.len() - next.trim_start().len();
                from + indent..end + skip
            }
            (None, false) => from..end,
        };
        self.changes.push((range, String::new()));
        Ok(())
    }

    /// The text with all changes.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.changes
            .sort_by_key(|(range, _)| (range.start, range.end));
        let mut out = String::with_capacity(self.text.len() + 1024);
        let mut done = 0;
        for (range, json) in self.changes {
            out += &self.text[done..range.start];
            out += &json;
            done = range.end;
        }
        out + &self.text[done..]
    }
}

/// All members of an object, duplicates too.
struct Members<'t>(Vec<(String, Raw<'t>)>);

impl<'de: 't, 't> Deserialize<'de> for Members<'t> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Walk;

        impl<'de> Visitor<'de> for Walk {
            type Value = Vec<(String, Raw<'de>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((key, raw)) = map.next_entry()? {
                    members.push((key, raw));
                }
                Ok(members)
            }
        }
        json.deserialize_map(Walk).map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One edit of the top object.
    fn edit(text: &str, change: impl FnOnce(&mut Splice<'_>, &Object<'_>)) -> String {
        edit_if(text, |splice, object| {
            change(splice, object);
            Ok(())
        })
        .unwrap()
    }

    fn edit_if(
        text: &str,
        change: impl for<'t> FnOnce(&mut Splice<'t>, &Object<'t>) -> Result<(), Error>,
    ) -> Result<String, Error> {
        let (mut splice, root) = Splice::new(text)?;
        change(&mut splice, &Object::new(root)?)?;
        Ok(splice.finish())
    }

    #[test]
    fn a_member_is_taken_away_with_its_key_and_one_comma() {
        for (text, expected) in [
            (r#"{"x":1}"#, "{}"),
            (r#"{ "x" : 1 }"#, "{ }"),
            (r#"{"x":{"x":2},"y":3}"#, r#"{"y":3}"#),
            (r#"{"a":",}","x":[1],"y":3}"#, r#"{"a":",}","y":3}"#),
            ("{\n  \"a\": 1,\n  \"x\": 2\n}\n", "{\n  \"a\": 1\n}\n"),
            ("{\n  \"x\": 2 ,\n  \"a\": 1\n}", "{\n  \"a\": 1\n}"),
            (r#" {"\u0078":1, "é":2}"#, r#" {"é":2}"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (r#"{"a":1,"x":null}"#, r#"{"a":1}"#),
        ] {
            let seen = edit_if(text, |splice, object| splice.remove(object, "x"));
            assert_eq!(seen.unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn members_are_replaced_where_they_are_and_added_where_not() {
        let members = || [("x", "[7]".to_owned()), ("y", "{}".to_owned())];
        for (text, expected) in [
            ("{}", r#"{"x": [7], "y": {}}"#),
            (r#"{"y":null}"#, r#"{"x": [7], "y":{}}"#),
            (
                r#"{"big":123456789012345678901234567890.50e+3,"x":1,"a":1,"a":2}"#,
                r#"{"y": {}, "big":123456789012345678901234567890.50e+3,"x":[7],"a":1,"a":2}"#,
            ),
        ] {
            let seen = edit_if(text, |splice, object| splice.set(object, &members()));
            assert_eq!(seen.unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn elements_are_added_at_either_end() {
        for (text, first, last) in [
            (r#"{"x":[]}"#, r#"{"x":[0]}"#, r#"{"x":[0]}"#),
            (
                r#"{"x":[ 1 , [2] ]}"#,
                r#"{"x":[ 0, 1 , [2] ]}"#,
                r#"{"x":[ 1 , [2], 0 ]}"#,
            ),
        ] {
            let seen = edit_if(text, |splice, object| {
                splice.put_first(object.get("x")?.unwrap(), "0")
            });
            assert_eq!(seen.unwrap(), first);
            let seen = edit_if(text, |splice, object| {
                splice.put_last(object.get("x")?.unwrap(), "0")
            });
            assert_eq!(seen.unwrap(), last);
        }
    }

    #[test]
    fn a_key_that_go_would_take_for_another_is_refused() {
        for text in [
            r#"{"process":1,"process":2}"#,
            r#"{"process":1,"Process":2}"#,
            r#"{"PROCESS":1}"#,
            r#"{"proce\u017fs":1}"#,
        ] {
            let seen = edit_if(text, |_, object| object.get("process").map(drop));
            assert!(matches!(seen, Err(Error::Key(_))), "{text}");
        }
        assert_eq!(edit("{\"other\": 1}", |_, _| {}), "{\"other\": 1}");
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for text in ["[1]", "7", "{", "{} {}", ""] {
            assert!(matches!(edit_if(text, |_, _| Ok(())), Err(Error::Json(_))));
        }
    }
}
