//! `podman inspect`, as far as it is of use.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use serde::Deserialize;

use crate::bundle::{Error, State, parse};
use crate::input;
use crate::json::Object;

pub(super) const NAME: &str = "podman";

/// What messages call the answer.
const SOURCE: &str = "podman's answer";

/// Takes names, ids and the beginnings of ids.
pub(super) fn arguments(id: &str) -> Vec<OsString> {
    ["inspect", "--type", "container", "--", id]
        .map(OsString::from)
        .into()
}

/// The container's name, and what a runtime would say of it. Annotations are
/// left out: podman does not show all of them.
pub(super) fn read(answer: Vec<u8>) -> Result<(Option<String>, State), Error> {
    let source = Path::new(SOURCE);
    let text = input::text(source, answer)?;
    let [Object(raw)]: [Object<RawContainer>; 1] = parse(source, &text)?;
    if raw.id.is_empty() {
        let path = source.into();
        return Err(Error::Empty { path, field: "Id" });
    }
    let Object(now) = raw.state;
    let pid = match i32::try_from(now.pid) {
        Ok(0) => None,
        Ok(pid @ 1..) => Some(Pid::from_raw(pid)),
        _ => {
            let (path, pid) = (source.into(), now.pid);
            return Err(Error::Pid { path, pid });
        }
    };
    // The bundle is where podman wrote config.json for the runtime.
    let bundle = raw.oci_config_path.as_deref().and_then(Path::parent);
    let state = State {
        oci_version: None,
        id: raw.id,
        status: Some(now.status),
        pid,
        bundle: bundle.map(Path::to_path_buf).unwrap_or_default(),
        annotations: Default::default(),
    };
    Ok((Some(raw.name), state))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawContainer {
    id: String,
    name: String,
    state: Object<RawState>,
    #[serde(rename = "OCIConfigPath")]
    oci_config_path: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawState {
    status: String,
    pid: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str) -> Result<(Option<String>, State), String> {
        read(text.as_bytes().to_vec()).map_err(|e| format!("{:#}", anyhow::Error::from(e)))
    }

    #[test]
    fn reads_what_podman_says_of_a_container() {
        // podman 4.3.1, shortened.
        let (name, state) = state(
            r#"[{"Id": "2daa0c", "Name": "web", "Pod": "", "OCIRuntime": "/usr/bin/crun",
            "State": {"OciVersion": "1.0.2-dev", "Status": "running", "Running": true, "Pid": 20705, "Health": {"Log": null}},
            "OCIConfigPath": "/s/vfs-containers/2daa0c/userdata/config.json"}]"#,
        )
        .unwrap();
        assert_eq!(name.as_deref(), Some("web"));
        assert_eq!(state.id, "2daa0c");
        assert_eq!(state.status.as_deref(), Some("running"));
        assert_eq!(state.pid, Some(Pid::from_raw(20705)));
        assert_eq!(state.bundle, Path::new("/s/vfs-containers/2daa0c/userdata"));
    }

    #[test]
    fn a_container_that_was_only_created_has_no_bundle_yet() {
        let (_, state) =
            state(r#"[{"Id": "a", "Name": "b", "State": {"Status": "created", "Pid": 0}}]"#)
                .unwrap();
        assert_eq!((state.pid, state.bundle), (None, PathBuf::new()));
    }

    #[test]
    fn refuses_what_is_not_about_one_container() {
        for (text, expected) in [
            ("[]", "podman's answer: invalid length 0"),
            ("", "podman's answer is not valid JSON"),
            ("{}", "podman's answer: invalid type: map"),
            (
                r#"[{"Id": "", "Name": "b", "State": {"Status": "x", "Pid": 0}}]"#,
                "Id is empty",
            ),
            (
                r#"[{"Id": "a", "Name": "b", "State": {"Status": "x", "Pid": -2}}]"#,
                "pid -2 is not",
            ),
            (
                r#"[{"Id": "a", "Name": "b", "State": {"Pid": 1}}]"#,
                "[0].State: missing field `Status`",
            ),
            (
                r#"[{"Id": "a", "Name": "b"}]"#,
                "[0]: missing field `State`",
            ),
        ] {
            let error = state(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let one = r#"{"Id": "a", "Name": "b", "State": {"Status": "x", "Pid": 1}}"#;
        assert!(state(&format!("[{one}]")).is_ok());
        assert!(state(&format!("[{one}, {one}]")).is_err());
    }
}
