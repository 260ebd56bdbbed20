use super::*;

/// The message with its causes, as the command prints it.
fn chain(error: Error) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

fn state(text: &str) -> Result<State, Error> {
    State::read(text.as_bytes())
}

fn config(text: &str) -> Result<Config, Error> {
    Config::parse(Path::new("/b/config.json"), text.into())
}

#[test]
fn reads_the_state_of_each_runtime_at_each_stage() {
    let cases = [
        // runc 1.1.5, createRuntime and createContainer
        (
            r#"{"ociVersion":"1.0.2-dev","id":"c","status":"creating","pid":9662,"bundle":"/b","annotations":{"a.b":"c"}}"#,
            Some(9662),
            "creating",
        ),
        (
            r#"{"ociVersion":"1.0.2-dev","id":"c","status":"creating","pid":1,"bundle":"/b","annotations":{"a.b":"c"}}"#,
            Some(1),
            "creating",
        ),
        // crun 1.8.1, the same two
        (
            r#"{"ociVersion":"1.0","id":"c","pid":9680,"root":"rootfs","bundle":"/b","status":"created","annotations":{"a.b":"c"}}"#,
            Some(9680),
            "created",
        ),
        (
            r#"{"ociVersion":"1.0","id":"c","pid":0,"root":"rootfs","bundle":"/b","status":"created","annotations":{"a.b":"c"}}"#,
            None,
            "created",
        ),
        // youki leaves the pid out
        (
            r#"{"ociVersion":"v1.0.2","id":"c","status":"creating","bundle":"/b","annotations":{"a.b":"c"}}"#,
            None,
            "creating",
        ),
        // `runc state`
        (
            r#"{"ociVersion":"1.0.2-dev","id":"c","pid":7,"status":"running","bundle":"/b","rootfs":"/b/rootfs","created":"2023-01-01T00:00:00Z","annotations":{"a.b":"c"},"owner":""}"#,
            Some(7),
            "running",
        ),
        // a word that no spec has
        (
            r#"{"id":"c","status":"hibernating","bundle":"/b","annotations":{"a.b":"c"}}"#,
            None,
            "hibernating",
        ),
    ];
    for (text, pid, status) in cases {
        let state = state(text).unwrap();
        assert_eq!(state.id, "c", "{text}");
        assert_eq!(state.pid, pid.map(Pid::from_raw), "{text}");
        assert_eq!(state.status.as_deref(), Some(status), "{text}");
        assert_eq!(state.bundle, Path::new("/b"), "{text}");
        assert_eq!(state.annotations["a.b"], "c", "{text}");
    }
}

#[test]
fn takes_crun_inside_the_container_and_nulls() {
    let state = state(r#"{"id":"c","bundle":"/","pid":null,"status":null,"annotations":null}"#);
    let state = state.unwrap();
    assert_eq!(state.bundle, Path::new("/"));
    assert_eq!(state.pid, None);
    assert!(state.annotations.is_empty());
}

#[test]
fn refuses_a_state_that_cannot_be_used() {
    let cases = [
        ("", "EOF while parsing"),
        ("not json", "expected ident at line 1 column 2"),
        (r#"{"id":"c","bundle":"/b"} {}"#, "trailing characters"),
        (r#"{"bundle":"/b"}"#, "state: missing field `id`"),
        (r#"{"id":"c"}"#, "missing field `bundle`"),
        (r#"{"id":"","bundle":"/b"}"#, "id is empty"),
        (r#"{"id":"c","bundle":""}"#, "bundle is empty"),
        (
            r#"{"id":"c","id":"d","bundle":"/b"}"#,
            "duplicate field `id`",
        ),
        (
            r#"{"id":"c","bundle":"/b","pid":-1}"#,
            "the container's state: pid -1 is not the id of a process",
        ),
        (
            r#"{"id":"c","bundle":"/b","pid":4294967297}"#,
            "pid 4294967297 is not",
        ),
        (
            r#"{"id":"c","bundle":"/b","pid":"7"}"#,
            "state: pid: invalid type: string",
        ),
        (r#"["c"]"#, "invalid type: sequence, expected an object"),
    ];
    for (text, expected) in cases {
        let message = chain(state(text).unwrap_err());
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn refuses_a_state_without_end() {
    let error = State::read(std::io::repeat(b' ')).unwrap_err();
    assert_eq!(
        chain(error),
        "the container's state is longer than 1048576 bytes"
    );
}

#[test]
fn reads_the_fields_in_use() {
    let config = config(
        r#"{
        "ociVersion": "1.0.2",
        "process": {
            "noNewPrivileges": true, "args": ["sh", "-c", "true"], "user": {"uid": 1000, "gid": 100, "umask": 18},
            "capabilities": {"bounding": ["CAP_KILL", "CAP_TIME_TRAVEL"], "effective": null, "ambient": []}
        },
        "root": {"path": "rootfs"}, "hostname": 5,
        "annotations": {"a": "b", "gone": null},
        "linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/proc/1/ns/net"}, {"type": "dream"}],
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}]}
        }"#,
    )
    .unwrap();
    assert_eq!(config.oci_version.as_deref(), Some("1.0.2"));
    assert_eq!(config.root.as_deref(), Some(Path::new("rootfs")));
    assert_eq!(config.annotations, [("a".into(), "b".into())].into());
    assert_eq!(config.namespaces.len(), 3);
    assert_eq!(
        config.namespaces[1].path.as_deref(),
        Some(Path::new("/proc/1/ns/net"))
    );
    assert!(config.has_uid_mappings);
    assert_eq!(config.seccomp(), None);
    let process = config.process.unwrap();
    assert!(process.no_new_privileges);
    assert_eq!(process.args, ["sh", "-c", "true"]);
    assert_eq!((process.uid, process.gid), (1000, 100));
    let capabilities = process.capabilities.unwrap();
    assert_eq!(
        capabilities.bounding.known,
        CapsHashSet::from([Capability::CAP_KILL])
    );
    assert_eq!(capabilities.bounding.unknown, ["CAP_TIME_TRAVEL"]);
    assert_eq!(capabilities.effective, CapabilitySet::default());
}

#[test]
fn null_sections_are_absent_sections() {
    let nothing = config("{}").unwrap();
    for text in [
        r#"{"linux": null, "process": null, "root": null, "annotations": null, "ociVersion": null}"#,
        r#"{"linux": {"seccomp": null, "namespaces": null, "uidMappings": null}, "root": {"path": null}}"#,
        r#"{"linux": {"uidMappings": []}}"#,
    ] {
        let config = config(text).unwrap();
        assert_eq!(config.seccomp(), None, "{text}");
        assert_eq!(config.namespaces, [], "{text}");
        assert!(!config.has_uid_mappings, "{text}");
        assert_eq!(config.process, nothing.process, "{text}");
        assert_eq!(config.root, None, "{text}");
    }
    let config = config(r#"{"process": {"user": null, "args": null, "capabilities": null}}"#);
    let process = config.unwrap().process.unwrap();
    assert!(!process.no_new_privileges);
    assert_eq!((process.uid, process.capabilities), (0, None));
}

#[test]
fn gives_the_section_as_written_and_its_place() {
    let text = "{\n \"linux\": {\n  \"x\": 1, \"seccomp\":  { \"defaultAction\" : 7,\n \"é\":[ ] } , \"y\": 2 } }";
    let config = config(text).unwrap();
    let section = config.seccomp().unwrap();
    assert_eq!(section, "{ \"defaultAction\" : 7,\n \"é\":[ ] }");
    assert_eq!(&config.text()[config.seccomp_range().unwrap()], section);
    assert_eq!(&**config.text(), text);
}

#[test]
fn a_section_of_any_type_is_left_to_its_own_reader() {
    for section in ["7", "\"text\"", "[]", "false"] {
        let text = format!("{{\"linux\": {{\"seccomp\": {section}}}}}");
        assert_eq!(config(&text).unwrap().seccomp(), Some(section));
    }
}

#[test]
fn odd_things_in_fields_not_in_use_do_no_harm() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for elsewhere in [
        "1e999",
        "\"\\ud800\"",
        "{\"a\": 1, \"a\": 2}",
        "-0.0",
        deep.as_str(),
    ] {
        for text in [
            format!("{{\"hooks\": {elsewhere}}}"),
            format!("{{\"process\": {{\"rlimits\": {elsewhere}}}}}"),
            format!("{{\"linux\": {{\"intelRdt\": {elsewhere}}}}}"),
        ] {
            assert!(config(&text).is_ok(), "{text:.60}");
        }
    }
}

#[test]
fn an_error_names_file_field_line_and_column() {
    let error = config("{\n \"process\": {\n  \"noNewPrivileges\": \"yes\"\n }\n}").unwrap_err();
    assert_eq!(
        chain(error),
        "/b/config.json: process.noNewPrivileges: invalid type: string \"yes\", expected a boolean at line 3 column 26"
    );
    let error = config(r#"{"linux": {"namespaces": [{"type": "pid"}, {}]}}"#).unwrap_err();
    assert_eq!(
        chain(error),
        "/b/config.json: linux.namespaces[1]: missing field `type` at line 1 column 45"
    );
}

#[test]
fn refuses_a_config_that_cannot_be_used() {
    let deep = format!("{{\"annotations\": {}1}}", "{\"a\":".repeat(100_000));
    let cases = [
        ("", "/b/config.json is not valid JSON: EOF while parsing"),
        ("{} x", "trailing characters at line 1 column 4"),
        (
            "[]",
            "/b/config.json: invalid type: sequence, expected an object",
        ),
        ("\u{feff}{}", "expected value at line 1 column 1"),
        (
            r#"{"linux": {"seccomp": {"a": }}}"#,
            "expected value at line 1 column 29",
        ),
        (
            r#"{"linux": {"seccomp": 1, "seccomp": 2}}"#,
            "duplicate field `seccomp`",
        ),
        (r#"{"linux": {}, "linux": {}}"#, "duplicate field `linux`"),
        (
            r#"{"linux": [null]}"#,
            "config.json: linux: invalid type: sequence, expected an object at line 1 column 10",
        ),
        (r#"{"process": {"user": {"uid": -1}}}"#, "process.user.uid"),
        (r#"{"annotations": {"a": 1}}"#, "annotations.a"),
        (&deep, "annotations.a"),
    ];
    for (text, expected) in cases {
        let message = chain(config(text).unwrap_err());
        assert!(message.contains(expected), "{text:.60}: {message}");
    }
}

#[test]
fn loads_from_a_bundle_and_refuses_what_is_no_file() {
    let bundle = tempfile::tempdir().unwrap();
    let path = bundle.path().join("config.json");
    let message = chain(Config::load(bundle.path()).unwrap_err());
    assert!(message.starts_with("cannot open "), "{message}");
    assert!(message.ends_with("No such file or directory (os error 2)"));

    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let message = chain(Config::load(bundle.path()).unwrap_err());
    assert!(message.ends_with("is not a regular file"), "{message}");

    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "{\"root\": {\"path\": \"r\"}}").unwrap();
    let config = Config::load(bundle.path()).unwrap();
    assert_eq!(config.root.as_deref(), Some(Path::new("r")));
    assert_eq!(config.path(), path);

    let huge = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    huge.set_len(CONFIG_LIMIT + 1).unwrap();
    let message = chain(Config::load(bundle.path()).unwrap_err());
    assert!(
        message.ends_with("is longer than 16777216 bytes"),
        "{message}"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(noise in "[\\[\\]{}:,\"\\\\ a-z0-9é-]{0,60}", cut in 0usize..200) {
        let whole = format!(
            r#"{{"id": "c", "bundle": "/b", "x": {noise}, "linux": {{"seccomp": {noise}, "namespaces": [{noise}]}}}}"#
        );
        let text = whole.get(..cut).unwrap_or(&whole);
        let _ = state(text);
        if let Ok(config) = config(text) {
            let section = config.seccomp().map(serde_json::from_str::<IgnoredAny>);
            proptest::prop_assert!(!matches!(section, Some(Err(_))), "{text}");
        }
    }
}
