//! The hooks that a `config.json` runs before the workload.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use serde::Deserialize;

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
