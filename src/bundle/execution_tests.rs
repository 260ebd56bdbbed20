use super::*;
use caps::Capability;

fn execution(process: &str) -> Result<Option<Execution>, String> {
    let text = format!("{{\"process\":\n{process}}}");
    Config::parse(Path::new("/b/config.json"), text.into())
        .and_then(|config| config.execution())
        .map_err(|e| format!("{:#}", anyhow::Error::from(e)))
}

#[test]
fn reads_all_that_a_joining_process_needs() {
    let execution = execution(
        r#"{
        "terminal": true, "consoleSize": {"height": 7},
        "user": {"uid": 1000, "gid": 100, "umask": 18, "additionalGids": [5, 6], "username": 7},
        "args": ["sh", "-c", ""], "env": ["PATH=/bin", "EMPTY=", "A=b=c"], "cwd": "/tmp",
        "capabilities": {"bounding": ["CAP_KILL", "CAP_TIME_TRAVEL"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 18446744073709551615}],
        "noNewPrivileges": true, "oomScoreAdj": -1000,
        "apparmorProfile": "docker-default", "selinuxLabel": "system_u:system_r:t:s0:c1,c2"
        }"#,
    )
    .unwrap()
    .unwrap();
    let capabilities = execution.capabilities.as_ref().unwrap();
    assert_eq!(capabilities.bounding.known, [Capability::CAP_KILL].into());
    assert_eq!(capabilities.bounding.unknown, ["CAP_TIME_TRAVEL"]);
    let limit = |resource, soft, hard| Rlimit {
        resource,
        soft,
        hard,
    };
    assert_eq!(
        execution,
        Execution {
            terminal: true,
            uid: 1000,
            gid: 100,
            additional_gids: vec![5, 6],
            umask: Some(0o22),
            args: ["sh", "-c", ""].map(String::from).into(),
            env: ["PATH=/bin", "EMPTY=", "A=b=c"].map(String::from).into(),
            cwd: "/tmp".into(),
            capabilities: execution.capabilities.clone(),
            rlimits: vec![
                limit(Resource::RLIMIT_NOFILE, 1024, 4096),
                limit(Resource::RLIMIT_CORE, 0, u64::MAX),
            ],
            no_new_privileges: true,
            oom_score_adj: Some(-1000),
            apparmor_profile: Some("docker-default".into()),
            selinux_label: Some("system_u:system_r:t:s0:c1,c2".into()),
        }
    );
}

#[test]
fn null_and_absent_are_the_same() {
    let nothing = execution(r#"{"cwd": "/"}"#).unwrap().unwrap();
    assert_eq!((nothing.uid, nothing.gid, nothing.umask), (0, 0, None));
    assert_eq!((nothing.args.len(), nothing.env.len()), (0, 0));
    assert_eq!(nothing.capabilities, None);
    assert!(!nothing.terminal && !nothing.no_new_privileges);
    for text in [
        r#"{"cwd": "/", "terminal": null, "user": null, "args": null, "env": null, "capabilities": null,
            "rlimits": null, "noNewPrivileges": null, "oomScoreAdj": null, "apparmorProfile": null, "selinuxLabel": null}"#,
        r#"{"cwd": "/", "user": {"uid": null, "gid": null, "umask": null, "additionalGids": null},
            "rlimits": [], "apparmorProfile": "", "selinuxLabel": ""}"#,
    ] {
        assert_eq!(execution(text).unwrap().as_ref(), Some(&nothing), "{text}");
    }
    assert_eq!(execution("null"), Ok(None));
}

#[test]
fn what_no_process_can_become_is_named_with_field_and_line() {
    // Each is on the third line.
    for (field, value, expected) in [
        (
            "user",
            r#"{"uid": 4294967295}"#,
            "user.uid: 4294967295 is not the id of anybody",
        ),
        (
            "user",
            r#"{"gid": 4294967295}"#,
            "user.gid: 4294967295 is not",
        ),
        ("user", r#"{"uid": -1}"#, "user.uid: invalid value"),
        (
            "user",
            r#"{"additionalGids": [1, 4294967295]}"#,
            "user.additionalGids[1]: 4294967295 is",
        ),
        (
            "user",
            r#"{"umask": 512}"#,
            "user.umask: umask 0o1000 is above 0o777",
        ),
        (
            "user",
            "[1, 2]",
            "user: invalid type: sequence, expected an object",
        ),
        (
            "args",
            r#"["a", "b\u0000c"]"#,
            r#"args[1]: "b\0c" has a NUL byte in it"#,
        ),
        (
            "env",
            r#"["A=b", "PATH"]"#,
            r#"env[1]: "PATH" is not NAME=VALUE"#,
        ),
        ("env", r#"["=b"]"#, r#"env[0]: "=b" is not NAME=VALUE"#),
        ("env", r#"[""]"#, r#"env[0]: "" is not NAME=VALUE"#),
        (
            "env",
            r#"["A=\u0000"]"#,
            r#"env[0]: "A=\0" has a NUL byte in it"#,
        ),
        (
            "oomScoreAdj",
            "1001",
            "oomScoreAdj: 1001 is not between -1000 and 1000",
        ),
        ("oomScoreAdj", "-1001", "oomScoreAdj: -1001 is not between"),
        ("oomScoreAdj", "4294967296", "oomScoreAdj: invalid value"),
        (
            "apparmorProfile",
            r#""a\u0000""#,
            "apparmorProfile: \"a\\0\" has a NUL byte",
        ),
        (
            "selinuxLabel",
            r#""\u0000""#,
            "selinuxLabel: \"\\0\" has a NUL byte",
        ),
        (
            "terminal",
            "1",
            "terminal: invalid type: integer `1`, expected a boolean",
        ),
        (
            "rlimits",
            r#"[{"type": "RLIMIT_NOFILES", "soft": 1, "hard": 1}]"#,
            r#"rlimits[0].type: "RLIMIT_NOFILES" is not a resource that has limits"#,
        ),
        (
            "rlimits",
            r#"[{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_CPU", "soft": 2, "hard": 2}]"#,
            "rlimits: RLIMIT_CPU is there more than once",
        ),
        (
            "rlimits",
            r#"[{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]"#,
            "rlimits[0]: RLIMIT_CPU: soft 2 is above hard 1",
        ),
        (
            "rlimits",
            r#"[{"type": "RLIMIT_CPU", "soft": 2}]"#,
            "rlimits[0]: missing field `hard`",
        ),
        (
            "rlimits",
            r#"[{"type": "RLIMIT_CPU", "soft": -1, "hard": 1}]"#,
            "rlimits[0].soft: invalid",
        ),
        (
            "rlimits",
            r#"[["RLIMIT_CPU", 1, 1]]"#,
            "rlimits[0]: invalid type: sequence",
        ),
    ] {
        let text = format!("{{\"cwd\": \"/\",\n\"{field}\": {value}}}");
        let error = execution(&text).unwrap_err();
        let expected = format!("/b/config.json: process.{expected}");
        assert!(error.starts_with(&expected), "{text}: {error}");
        assert!(error.contains(" at line 3 column "), "{text}: {error}");
    }
}

#[test]
fn the_working_directory_is_required_and_absolute() {
    for (text, expected) in [
        ("{}", "process: missing field `cwd`"),
        (r#"{"cwd": null}"#, "process.cwd: invalid type: null"),
        (
            r#"{"cwd": ""}"#,
            r#"process.cwd: "" is not an absolute path"#,
        ),
        (
            r#"{"cwd": "tmp"}"#,
            r#"process.cwd: "tmp" is not an absolute path"#,
        ),
        (
            r#"{"cwd": "/\u0000"}"#,
            r#"process.cwd: "/\0" has a NUL byte in it"#,
        ),
    ] {
        let error = execution(text).unwrap_err();
        let expected = format!("/b/config.json: {expected}");
        assert!(error.starts_with(&expected), "{text}: {error}");
        assert!(error.contains(" at line 2 column "), "{text}: {error}");
    }
}

#[test]
fn a_hook_does_not_mind_what_only_a_joining_process_needs() {
    let text = r#"{"process": {"cwd": 7, "env": ["x"], "oomScoreAdj": 5000}, "hooks": 8}"#;
    let config = Config::parse(Path::new("/b/config.json"), text.into()).unwrap();
    assert!(config.execution().is_err());
    assert!(config.hooks().is_err());
}

#[test]
fn reads_a_process_by_itself_from_a_regular_file_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("process.json");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Execution::read(&path).map_err(|e| format!("{:#}", anyhow::Error::from(e)))
    };
    let process = read(r#"{"cwd": "/x", "args": ["a"]}"#).unwrap();
    assert_eq!(process.cwd, Path::new("/x"));
    assert_eq!(process.args, ["a"]);
    let error = read("{\"user\":\n{\"uid\": 4294967295}}").unwrap_err();
    let expected = "process.json: user.uid: 4294967295 is not the id of anybody at line 2";
    assert!(error.contains(expected), "{error}");
    assert!(
        read("{}")
            .unwrap_err()
            .contains("process.json: missing field `cwd`")
    );
    assert!(read("null").unwrap_err().contains("expected an object"));
    assert!(
        read("{\"cwd\": \"/\"} x")
            .unwrap_err()
            .contains("trailing characters")
    );

    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = Execution::read(&fifo).unwrap_err().to_string();
    assert!(error.ends_with("is not a regular file"), "{error}");
    let huge = std::fs::File::create(&path).unwrap();
    huge.set_len(CONFIG_LIMIT + 1).unwrap();
    let error = Execution::read(&path).unwrap_err().to_string();
    assert!(error.ends_with("is longer than 16777216 bytes"), "{error}");
}
