//! An image, or a root file system at run time, that is made to deceive.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use super::{denies_mkdir, is_refused};
use crate::support::container::Created;
use crate::support::{self, Container, Run, Runtime, process};

support::on_each_runtime! {
    a_folder_of_the_hosts_is_no_working_directory
    links_lead_nowhere_out_of_the_root
    a_passwd_made_to_deceive_gives_at_most_a_home
    files_that_libraries_read_are_not_read
    a_proc_that_is_none_hides_no_missing_filter
}

/// With folders of the host's open, as a careless caller may have them.
const OPEN: &[&str] = &[
    "bash",
    "-c",
    r#"exec 3</ 4</tmp 7</proc; exec "$@""#,
    "bash",
];

/// Prints a file of the host's, by a way that leads up and out.
fn reads(created: &Created, from: &str) -> Vec<String> {
    let up = "../".repeat(12);
    let host = created.bundle().join("config.json");
    let path = host.strip_prefix("/").expect("absolute").display();
    vec!["/bin/cat".into(), format!("{from}{up}{path}")]
}

fn run_in(created: &Created, cwd: &str) -> Run {
    let argv = reads(created, "");
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    created.exec_before(OPEN, &["--cwd", cwd], &argv)
}

/// CVE-2024-21626: with a descriptor of a folder of the host's as its working
/// directory, the command could go up from there, and print the config.
fn a_folder_of_the_hosts_is_no_working_directory(runtime: Runtime) {
    let container = || Container::new(runtime).seccomp(&denies_mkdir());
    let stays_inside = |container: Container| {
        let created = container.running();
        tries_folders(&created);
        created
    };
    // In a /proc of the host's pid namespace, what joins finds itself.
    stays_inside(container().patch(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut();
        namespaces
            .expect("namespaces")
            .retain(|n| n["type"] != "pid");
    }));
    let created = stays_inside(container());
    let argv = reads(&created, "/proc/self/fd/3/");
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let seen = created.naive(OPEN, &argv).run().success();
    assert!(seen.stdout.contains("ociVersion"), "no attack: {seen}");
}

fn tries_folders(created: &Created) {
    for n in 0..20 {
        let target = format!("/proc/self/fd/{n}");
        let link = format!("/link{n}");
        symlink(&target, created.rootfs().join(&link[1..])).expect("link");
        for cwd in [&target, &link] {
            let seen = run_in(created, cwd).run().fails();
            assert_eq!(seen.stdout, "", "{seen}");
        }
    }
    // The config's own, as an engine may have taken it from an image.
    let text = fs::read(created.bundle().join("config.json")).expect("config");
    let mut config: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    for n in [0, 3, 4, 7] {
        config["process"]["cwd"] = json!(format!("/proc/self/fd/{n}"));
        created.file("config.json", config.to_string());
        let argv = reads(created, "");
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let seen = created.exec_before(OPEN, &[], &argv).run().fails();
        assert_eq!(seen.stdout, "", "{seen}");
    }
    created.file("config.json", text);
    created.is_alone();
}

/// Links that lead up or to the host's paths would end outside the root if they
/// were followed before it was changed.
fn links_lead_nowhere_out_of_the_root(runtime: Runtime) {
    let created = Container::new(runtime).seccomp(&denies_mkdir()).running();
    let rootfs = created.rootfs();
    // A program that is on the host only.
    let bin = created.bundle().join("bin");
    fs::create_dir(&bin).expect("folder");
    fs::copy(rootfs.join("hello"), bin.join("evil")).expect("copy");
    let up = "../".repeat(12);
    let bin = bin
        .strip_prefix("/")
        .expect("absolute")
        .display()
        .to_string();
    symlink(&up, rootfs.join("up")).expect("link");
    symlink(format!("{up}{bin}"), rootfs.join("climbs")).expect("link");
    symlink(format!("/{bin}"), rootfs.join("absolute")).expect("link");
    symlink("/proc/1/root", rootfs.join("init")).expect("link");
    symlink(format!("{up}bin"), rootfs.join("inside")).expect("link");
    for cwd in ["/up", "/up/../up", "/init"] {
        let seen = run_in(&created, cwd).run().fails();
        assert_eq!(seen.stdout, "", "{seen}");
    }
    let pwd = created.exec(&["--cwd", "/up"], &["busybox", "pwd"]).run();
    assert_eq!(pwd.success().stdout, "/\n");
    for folder in ["/climbs", "/absolute", "/up"] {
        is_refused(
            created
                .exec(&["--cwd", &format!("{folder}/{bin}")], &["/hello"])
                .run(),
            "ENOENT",
        );
        let path = format!("PATH={folder}");
        created.exec(&["--env", &path], &["evil"]).run().exits(127);
        created
            .exec(&[], &[&format!("{folder}/evil")])
            .run()
            .exits(127);
    }
    let seen = created.exec(&["--env", "PATH=/inside"], &["cat", "/proc/self/status"]);
    assert!(seen.run().success().stdout.contains("Seccomp:\t2"));
    created.is_alone();
}

/// Puts something at a path.
type Make = Box<dyn Fn(&Path)>;

/// It could hang us, exhaust our memory, make the user another one, or put
/// variables of its own into the environment.
fn a_passwd_made_to_deceive_gives_at_most_a_home(runtime: Runtime) {
    let created = Container::new(runtime).seccomp(&denies_mkdir()).running();
    let etc = created.rootfs().join("etc");
    fs::create_dir(&etc).expect("folder");
    let passwd = etc.join("passwd");
    let sparse = |path: &Path| {
        let file = fs::File::create(path).expect("file");
        file.set_len(1 << 40).expect("size");
    };
    let write = |text: &'static [u8]| move |path: &Path| fs::write(path, text).expect("file");
    let cases: Vec<(&str, Make, &[u8])> = vec![
        ("none", Box::new(|_| ()), b"/"),
        (
            "a fifo",
            Box::new(|p| mkfifo(p, Mode::from_bits_truncate(0o666)).expect("fifo")),
            b"/",
        ),
        ("huge", Box::new(sparse), b"/"),
        (
            "a folder",
            Box::new(|p| fs::create_dir(p).expect("folder")),
            b"/",
        ),
        (
            "a link",
            Box::new(|p| symlink("/proc/1/root/etc/shadow", p).expect("link")),
            b"/",
        ),
        (
            "a loop",
            Box::new(|p| symlink("passwd", p).expect("link")),
            b"/",
        ),
        (
            "a device",
            Box::new(|p| symlink("/dev/zero", p).expect("link")),
            b"/",
        ),
        (
            "odd bytes",
            Box::new(write(b"u:x:1000:0::/\xff=\x01 \t;$(id):/bin/sh\n")),
            b"/\xff=\x01 \t;$(id)",
        ),
        (
            "NUL",
            Box::new(write(b"u:x:1000:0::/a\0LD_PRELOAD=/x:/bin/sh\n")),
            b"/",
        ),
        (
            "root by name",
            Box::new(write(
                b"1000:x:0:0::/zero:/bin/sh\nroot:x:1000:0::/r:/bin/sh\n",
            )),
            b"/r",
        ),
        (
            "a long line",
            Box::new(|p| fs::write(p, vec![b'x'; 1 << 22]).expect("file")),
            b"/",
        ),
    ];
    let script = "grep -E '^(Uid|Gid):' /proc/self/status; echo $LD_PRELOAD; busybox printf %s \"$HOME\" > /tmp/home";
    for (what, make, home) in cases {
        make(&passwd);
        let run = created.exec(&["--user", "1000:1000"], &["sh", "-c", script]);
        let seen = run.limit(Duration::from_secs(20)).run();
        assert_eq!(
            seen.clone().success().stdout,
            "Uid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\n\n",
            "{what}: {seen}"
        );
        let said = fs::read(created.rootfs().join("tmp/home")).expect("what it wrote");
        assert_eq!(
            said.escape_ascii().to_string(),
            home.escape_ascii().to_string(),
            "{what}"
        );
        if passwd.is_dir() {
            fs::remove_dir(&passwd).expect("removal");
        } else if passwd.symlink_metadata().is_ok() {
            fs::remove_file(&passwd).expect("removal");
        }
        fs::remove_file(created.rootfs().join("tmp/home")).expect("removal");
    }
    created.is_alone();
}

/// A library of the image's, loaded into ours before it is the command, would
/// print or crash; a name service could be asked who the user is.
fn files_that_libraries_read_are_not_read(runtime: Runtime) {
    let created = Container::new(runtime).seccomp(&denies_mkdir()).running();
    let etc = created.rootfs().join("etc");
    fs::create_dir(&etc).expect("folder");
    for name in [
        "ld.so.preload",
        "nsswitch.conf",
        "localtime",
        "ld.so.cache",
        "group",
    ] {
        mkfifo(&etc.join(name), Mode::from_bits_truncate(0o666)).expect("fifo");
    }
    let seen = created.exec(&["--user", "1000"], &["/hello"]).run();
    assert_eq!(seen.exits(7).stdout, "hello\n");
    let missing = created.exec(&[], &["/none"]).run().exits(127);
    assert_eq!(missing.stdout, "");
    created.is_alone();
}

/// Whoever believes the container's /proc believes the container.
fn a_proc_that_is_none_hides_no_missing_filter(runtime: Runtime) {
    let fake = "call mount @tmpfs @/proc @tmpfs 0 0";
    let folders = "call 83 @/proc/self 0x1ed -- call 83 @/proc/1 0x1ed -- call 83 @/proc/self/attr 0x1ed \
         -- call 83 @/proc/self/fd 0x1ed -- call 83 @/proc/1/ns 0x1ed";
    for (what, operations) in [
        ("tmpfs", fake.to_owned()),
        ("tmpfs with folders", format!("{fake} -- {folders}")),
        ("nothing", "call umount2 @/proc 2".into()),
        ("a folder", "call mount @/tmp @/proc @none 4096 0".into()),
        (
            "a link",
            format!("{fake} -- call 88 @/tmp @/proc/self -- call 88 @/ @/proc/1"),
        ),
    ] {
        let capabilities = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_KILL"];
        let mut profile = denies_mkdir();
        profile["syscalls"][0]["names"] = json!(["rmdir"]);
        let created = Container::new(runtime)
            .capabilities(&capabilities)
            .seccomp(&profile)
            .sleeping_after(&operations)
            .launch();
        for line in created
            .printed()
            .lines()
            .filter(|line| line.contains(" = "))
        {
            assert!(line.ends_with(" 0"), "{what}: {}", created.printed());
        }
        let seen = created
            .exec_probe(&[], "call rmdir @/tmp/a")
            .run()
            .success();
        assert_eq!(seen.errno("rmdir"), super::DENIED, "{what}: {seen}");
        let file = created.bundle().join("exec-pid");
        let options = ["--detach", "--pid-file", file.to_str().expect("UTF-8")];
        created.exec_probe(&options, "sleep 100").run().success();
        let pid: i32 = fs::read_to_string(&file)
            .expect("pid file")
            .parse()
            .expect("a number");
        for key in ["Seccomp", "Seccomp_filters", "NSpid"] {
            let of = |pid: i32| process::status(pid, key).map(|v| v.split_whitespace().count());
            assert_eq!(of(pid), of(created.pid()), "{what}: {key}");
        }
        assert_eq!(
            process::status(pid, "Seccomp").as_deref(),
            Some("2"),
            "{what}"
        );
        let cgroup = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
        assert_eq!(cgroup(pid), cgroup(created.pid()), "{what}");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL)
            .expect("kill");
        created.is_alone();
    }
}
