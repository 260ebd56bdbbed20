//! The hooks that a `config.json` runs before the workload.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::execution::Text;
use super::{Config, Error, parse};
use crate::json::Object;

/// When a hook runs; runtime-spec, "Lifecycle". In the order in which they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum HookStage {
    Prestart,
    CreateRuntime,
    CreateContainer,
}

impl HookStage {
    /// The field under `hooks`.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
        }
    }
}

/// One hook; runtime-spec, "POSIX-platform Hooks". No string has a NUL byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookEntry {
    /// The program.
    pub path: PathBuf,
    /// The whole argv, from the name on; may be empty.
    pub args: Vec<String>,
}

impl Config {
    /// The hooks that run before the container's file system is its root, in
    /// the order in which they run.
    ///
    /// # Errors
    /// [`Error::Field`]: one of them is no hook.
    pub fn hooks(&self) -> Result<Vec<(HookStage, HookEntry)>, Error> {
        let Object(raw): Object<RawConfig> = parse(self.path(), self.text())?;
        let raw = raw.hooks.map(|Object(hooks)| hooks).unwrap_or_default();
        let stages = [
            (HookStage::Prestart, raw.prestart),
            (HookStage::CreateRuntime, raw.create_runtime),
            (HookStage::CreateContainer, raw.create_container),
        ];
        let each = stages.into_iter().flat_map(|(stage, hooks)| {
            let hooks = hooks.unwrap_or_default().into_iter();
            hooks.map(move |Object(hook)| (stage, hook.into()))
        });
        Ok(each.collect())
    }

    /// How many hooks init starts itself: at createContainer, and at
    /// startContainer. `None` where it cannot be told, as where a key is spelled
    /// in a way that this program does not take it, and a runtime in Go does:
    /// `Hooks`, or `startcontainer`.
    #[must_use]
    pub fn hooks_of_init(&self) -> Option<(usize, usize)> {
        const STAGES: [&str; 6] = [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ];
        let top: Keys<'_> = serde_json::from_str(self.text()).ok()?;
        let linux: Keys<'_> = match top.get("linux") {
            Some(linux) => serde_json::from_str(linux.get()).ok()?,
            None => Keys::new(),
        };
        if has_variant(&top, &["hooks", "linux"]) || has_variant(&linux, &["seccomp"]) {
            return None;
        }
        let Some(hooks) = top.get("hooks") else {
            return Some((0, 0));
        };
        let hooks: Option<BTreeMap<String, Option<Vec<IgnoredAny>>>> =
            serde_json::from_str(hooks.get()).ok()?;
        let hooks = hooks.unwrap_or_default();
        if !hooks.keys().all(|key| STAGES.contains(&key.as_str())) {
            return None;
        }
        let count = |stage: &str| {
            let hooks = hooks.get(stage).and_then(Option::as_ref);
            hooks.map_or(0, Vec::len)
        };
        Some((count("createContainer"), count("startContainer")))
    }
}

/// An object's keys, with what is behind them.
type Keys<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// Whether a key is one of these to a reader that does not mind its case.
/// Letters of other scripts may stand for one too.
fn has_variant(keys: &Keys<'_>, names: &[&str]) -> bool {
    let is_variant = |key: &str| {
        !names.contains(&key)
            && (!key.is_ascii() || names.iter().any(|name| key.eq_ignore_ascii_case(name)))
    };
    keys.keys().any(|key| is_variant(key))
}

#[derive(Deserialize)]
struct RawConfig {
    hooks: Option<Object<RawHooks>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHooks {
    prestart: Option<Vec<Object<RawHook>>>,
    create_runtime: Option<Vec<Object<RawHook>>>,
    create_container: Option<Vec<Object<RawHook>>>,
}

#[derive(Deserialize)]
struct RawHook {
    path: Text,
    args: Option<Vec<Text>>,
}

impl From<RawHook> for HookEntry {
    fn from(raw: RawHook) -> Self {
        let args = raw.args.unwrap_or_default();
        Self {
            path: raw.path.0.into(),
            args: args.into_iter().map(|Text(arg)| arg).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn hooks(text: &str) -> Result<Vec<(HookStage, HookEntry)>, String> {
        Config::parse(Path::new("/b/config.json"), text.into())
            .and_then(|config| config.hooks())
            .map_err(|e| format!("{:#}", anyhow::Error::from(e)))
    }

    #[test]
    fn those_of_init_are_counted_whatever_they_are() {
        let count = |text: &str| {
            let config = Config::parse(Path::new("/b/config.json"), text.into()).unwrap();
            config.hooks_of_init()
        };
        assert_eq!(count("{}"), Some((0, 0)));
        assert_eq!(
            count(r#"{"hooks": {"prestart": [1], "startContainer": null}}"#),
            Some((0, 0))
        );
        let some = r#"{"hooks": {"createContainer": [{}, 1], "startContainer": [""]}}"#;
        assert_eq!(count(some), Some((2, 1)));
        assert_eq!(count(r#"{"hooks": {"startContainer": 7}}"#), None);
        assert_eq!(count(r#"{"hooks": []}"#), None);
        assert_eq!(count(r#"{"hooks": null, "linux": {}}"#), Some((0, 0)));
        // As Go's encoding/json would take them.
        for odd in [
            r#"{"Hooks": {}}"#,
            "{\"hoo\u{212a}s\": {}}",
            r#"{"hooks": {"startcontainer": [1]}}"#,
            r#"{"hooks": {"CreateContainer": []}}"#,
            r#"{"LINUX": {}}"#,
            r#"{"linux": {"Seccomp": {}}}"#,
        ] {
            assert_eq!(count(odd), None, "{odd}");
        }
    }

    #[test]
    fn come_in_the_order_in_which_they_run() {
        let found = hooks(
            r#"{"hooks": {
            "createContainer": [{"path": "/c", "env": 7}],
            "createRuntime": [{"path": "/r1", "args": ["r1", "-x"], "timeout": 3}, {"path": "/r2", "args": null}],
            "prestart": [{"path": "/p", "args": ["p"]}],
            "poststop": "left alone", "startContainer": [{}]
            }}"#,
        );
        let hook = |stage: HookStage, path: &str, args: &[&str]| {
            let args = args.iter().map(|&a| a.to_owned()).collect();
            let path = path.into();
            (stage, HookEntry { path, args })
        };
        assert_eq!(
            found.unwrap(),
            [
                hook(HookStage::Prestart, "/p", &["p"]),
                hook(HookStage::CreateRuntime, "/r1", &["r1", "-x"]),
                hook(HookStage::CreateRuntime, "/r2", &[]),
                hook(HookStage::CreateContainer, "/c", &[]),
            ]
        );
    }

    #[test]
    fn null_and_nothing_are_no_hooks() {
        for text in [
            "{}",
            r#"{"hooks": null}"#,
            r#"{"hooks": {"prestart": null, "createRuntime": [], "createContainer": null}}"#,
        ] {
            assert_eq!(hooks(text), Ok(Vec::new()), "{text}");
        }
    }

    #[test]
    fn what_is_no_hook_is_named_with_its_line() {
        for (text, expected) in [
            (
                "{\"hooks\": {\"prestart\": [{\"path\": \"/p\"},\n{\"args\": []}]}}",
                "/b/config.json: hooks.prestart[1]: missing field `path` at line 2 column 12",
            ),
            (
                "{\"hooks\": {\"createRuntime\": [{\"path\": \"/p\",\n\"args\": [\"a\", \"b\\u0000\"]}]}}",
                "hooks.createRuntime[0].args[1]: \"b\\0\" has a NUL byte in it at line 2",
            ),
            (r#"{"hooks": []}"#, "hooks: invalid type: sequence"),
        ] {
            let error = hooks(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
