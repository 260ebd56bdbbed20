use super::*;

fn config(text: &str) -> Config {
    Config::parse("config.json".as_ref(), text.into()).unwrap()
}

fn wrapped(text: &str) -> Result<Wrapped, Error> {
    let flags = Flags {
        log: true,
        spec_allow: true,
        ..Flags::default()
    };
    wrap(&config(text), flags, false)
}

/// A config with this process and these other members.
fn with(process: &str, rest: &str) -> String {
    format!(r#"{{"process": {{"args": ["a"], {process}}}{rest}}}"#)
}

const USER: &str = r#"{
  "ociVersion": "1.0.2",
  "process": {
    "user": { "uid": 1000, "gid": 100, "umask": 18, "additionalGids": [ 5, 6 ] },
    "args": [ "sh", "-c", "exit" ],
    "env": [ "PATH=/bin" ],
    "capabilities": {
      "bounding": [ "CAP_KILL", "CAP_SETUID" ],
      "effective": [],
      "ambient": [ "CAP_KILL" ]
    },
    "rlimits": [ { "type": "RLIMIT_NOFILE", "hard": 18446744073709551615, "soft": 1e3 } ]
  },
  "mounts": [
    { "destination": "/dev/", "type": "tmpfs", "source": "tmpfs", "options": [ "nosuid" ] }
  ],
  "linux": {
    "seccomp": { "defaultAction": "SCMP_ACT_ALLOW" },
    "namespaces": [ { "type": "mount" } ]
  }
}
"#;

#[test]
fn without_no_new_privs_the_shim_starts_as_root() {
    let wrapped = wrapped(USER).unwrap();
    insta::assert_snapshot!(wrapped.config, @r#"
    {
      "ociVersion": "1.0.2",
      "process": {
        "user": { "uid": 0, "gid": 0, "umask": 18, "additionalGids": [ 5, 6 ] },
        "args": [ "/dev/.oci-seccomp/oci-seccomp", "init", "--bpf", "/dev/.oci-seccomp/filter.bpf", "--flags", "LOG,SPEC_ALLOW", "--identity", "/dev/.oci-seccomp/identity.json", "--", "sh", "-c", "exit" ],
        "env": [ "PATH=/bin" ],
        "capabilities": {"permitted": ["CAP_SYS_ADMIN", "CAP_SETPCAP", "CAP_SETUID", "CAP_CHOWN", "CAP_SETGID"], 
          "bounding": [ "CAP_KILL", "CAP_SETUID", "CAP_SYS_ADMIN", "CAP_SETPCAP", "CAP_CHOWN", "CAP_SETGID" ],
          "effective": ["CAP_SYS_ADMIN", "CAP_SETPCAP", "CAP_SETUID", "CAP_CHOWN", "CAP_SETGID"],
          "ambient": [ "CAP_KILL" ]
        },
        "rlimits": [ { "type": "RLIMIT_NOFILE", "hard": 18446744073709551615, "soft": 1e3 } ]
      },
      "mounts": [
        { "destination": "/dev/", "type": "tmpfs", "source": "tmpfs", "options": [ "nosuid" ] }, {"destination":"/dev/.oci-seccomp","options":["bind","ro","nosuid","nodev"],"source":".oci-seccomp/mount","type":"bind"}
      ],
      "linux": {
        "namespaces": [ { "type": "mount" } ]
      }
    }
    "#);
    let identity = wrapped.identity.unwrap();
    assert_eq!((identity.uid, identity.gid), (1000, 100));
    assert!(identity.looks_up_home);
    assert_eq!(identity.capabilities.bounding.len(), 2);
    assert!(identity.capabilities.effective.is_empty());
    assert_eq!(identity.capabilities.ambient.len(), 1);
}

#[test]
fn with_no_new_privs_the_process_stays_as_it_is() {
    let text = r#"{"process": {"noNewPrivileges": true, "user": {"uid": 5}, "args": ["a"]}, "linux": {"seccomp": {}}}"#;
    let wrapped = wrapped(text).unwrap();
    insta::assert_snapshot!(wrapped.config, @r#"{"mounts": [{"destination":"/.oci-seccomp","options":["bind","ro","nosuid","nodev"],"source":".oci-seccomp/mount","type":"bind"}], "process": {"noNewPrivileges": true, "user": {"uid": 5}, "args": ["/.oci-seccomp/oci-seccomp", "init", "--bpf", "/.oci-seccomp/filter.bpf", "--flags", "LOG,SPEC_ALLOW", "--", "a"]}, "linux": {}}"#);
    assert_eq!(wrapped.identity, None);
    let kept = wrap(&config(text), Flags::default(), true).unwrap().config;
    assert!(kept.ends_with(r#""linux": {"seccomp": {}}}"#), "{kept}");
    assert!(kept.contains(r#""--flags", "none", "--", "a""#), "{kept}");
}

#[test]
fn what_is_rewritten_is_what_a_runtime_reads() {
    for process in [
        r#""user": null, "capabilities": null"#,
        r#""user": {}, "capabilities": {}"#,
        r#""user": {"gid": 7}, "capabilities": {"bounding": null}"#,
        r#""cwd": "/""#,
    ] {
        let wrapped = wrapped(&with(process, r#", "mounts": null"#)).unwrap();
        let again = config(&wrapped.config).process.unwrap();
        assert_eq!((again.uid, again.gid), (0, 0), "{process}");
        let sets = again.capabilities.unwrap();
        for set in [&sets.bounding, &sets.effective, &sets.permitted] {
            for cap in wrapped.identity.as_ref().unwrap().privileges() {
                assert!(set.known.contains(&cap), "{process}: {cap}");
            }
        }
        assert!(sets.ambient.known.is_empty() && sets.inheritable.known.is_empty());
        assert_eq!(again.args.last().unwrap(), "a");
    }
}

#[test]
fn a_workload_with_cap_sys_admin_needs_no_root() {
    let admin =
        r#""capabilities": {"bounding": ["CAP_SYS_ADMIN"], "permitted": ["CAP_SYS_ADMIN"]}"#;
    assert_eq!(wrapped(&with(admin, "")).unwrap().identity, None);
}

#[test]
fn home_is_looked_up_where_the_runtime_would_have() {
    let looks = |env: &str, uid| {
        let process = format!(r#""env": {env}, "user": {{"uid": {uid}}}"#);
        wrapped(&with(&process, ""))
            .unwrap()
            .identity
            .unwrap()
            .looks_up_home
    };
    assert!(looks("null", 1));
    assert!(looks(r#"["HOMER=/x"]"#, 1));
    assert!(looks(r#"["HOME=/x", "HOME="]"#, 1));
    assert!(!looks(r#"["HOME=/x"]"#, 1));
    assert!(!looks("[]", 0), "the runtime's answer for root is right");
}

#[test]
fn the_files_are_where_nothing_else_is() {
    let destination = |mounts: &str| {
        let config = wrapped(&with(r#""cwd": "/""#, &format!(r#", "mounts": {mounts}"#)));
        config.map(|w| w.config.contains(r#""destination":"/dev/.oci-seccomp""#))
    };
    let dev = r#"{"destination": "/dev", "type": "tmpfs"}"#;
    assert!(destination(&format!("[{dev}]")).unwrap());
    for mounts in [
        "[]".to_owned(),
        r#"[{"destination": "/dev", "type": "bind", "options": ["rbind"]}]"#.into(),
        r#"[{"destination": "/dev", "type": "tmpfs", "options": ["ro"]}]"#.into(),
        format!(r#"[{dev}, {{"destination": "/dev", "source": "/dev"}}]"#),
        format!(r#"[{dev}, {{"destination": "/dev/.oci-seccomp"}}]"#).replace("tmpfs", "x"),
    ] {
        assert!(!destination(&mounts).unwrap(), "{mounts}");
    }
    for taken in [
        "/dev/.oci-seccomp",
        "dev//.oci-seccomp/filter.bpf",
        "/a/../dev/.oci-seccomp/",
    ] {
        let mounts = format!(r#"[{dev}, {{"destination": "{taken}"}}]"#);
        assert!(matches!(destination(&mounts), Err(Error::Mount(t)) if t == taken));
    }
}

#[test]
fn hooks_that_would_run_with_the_shims_privileges_are_refused() {
    let hooks = r#", "hooks": {"startContainer": [{"path": "/hook"}]}"#;
    let seen = wrapped(&with(r#""cwd": "/""#, hooks));
    assert!(matches!(seen, Err(Error::StartContainer)));
    assert!(wrapped(&with(r#""noNewPrivileges": true"#, hooks)).is_ok());
    for none in [r#", "hooks": null"#, r#", "hooks": {"startContainer": []}"#] {
        assert!(wrapped(&with(r#""cwd": "/""#, none)).is_ok());
    }
}

#[test]
fn a_config_that_two_readers_could_take_differently_is_refused() {
    for text in [
        with(r#""Args": ["b"]"#, ""),
        with(r#""user": {"uid": 1, "UID": 0}"#, ""),
        with(r#""capabilities": {"Bounding": []}"#, ""),
        with(r#""cwd": "/""#, r#", "Mounts": []"#),
        with(r#""cwd": "/""#, r#", "linux": {"Seccomp": {}}"#),
    ] {
        let error = wrapped(&text).unwrap_err();
        assert!(matches!(error, Error::Splice { .. }), "{text}: {error}");
    }
    for text in ["{}", r#"{"process": {"args": []}}"#, r#"{"process": null}"#] {
        assert!(matches!(wrapped(text), Err(Error::NoWorkload)));
    }
}
