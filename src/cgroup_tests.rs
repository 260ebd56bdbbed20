use super::*;

use crate::sys::process::{reap, spawn_child};
use nix::unistd::Pid;

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

/// cgroups(7), version 1 as systemd mounts it, with the hybrid's second one.
const HYBRID: &[u8] = b"\
12:cpu,cpuacct:/system.slice/a
5:freezer:/
3:pids:/odd:name:x
1:name=systemd:/system.slice/a b
0::/system.slice/a
";

const MOUNTS: &[u8] = b"\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
23 22 0:21 / /proc rw,nosuid shared:5 - proc proc rw
31 23 0:28 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
33 31 0:30 / /sys/fs/cgroup/systemd rw,nosuid shared:11 master:2 - cgroup cgroup rw,xattr,name=systemd
34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/\\040c\\134 /mnt/with\\040blank\\011\\012x rw - cgroup  rw,pids
36 31 0:33 / /sys/fs/cgroup/freezer ro - cgroup cgroup rw,freezer
37 31 0:34 /../.. /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
";

fn chain(error: Error) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

fn membership(line: &str) -> Membership {
    memberships(line.as_bytes()).unwrap().remove(0)
}

#[test]
fn reads_the_cgroups_of_each_layout() {
    let seen: Vec<(String, String)> = memberships(HYBRID)
        .unwrap()
        .iter()
        .map(|m| (m.hierarchy(), m.path.to_str().unwrap().into()))
        .collect();
    let expected = [
        ("cpu,cpuacct", "/system.slice/a"),
        ("freezer", "/"),
        ("pids", "/odd:name:x"),
        ("name=systemd", "/system.slice/a b"),
        ("unified", "/system.slice/a"),
    ];
    assert_eq!(seen, expected.map(|(h, p)| (h.to_owned(), p.to_owned())));
    let second = memberships(b"0::/user.slice/\xff\n").unwrap();
    assert!(second[0].is_unified());
    // Not one path for two: what is no UTF-8 stays as it is.
    assert_ne!(second, memberships(b"0::/user.slice/\xfe\n").unwrap());
    assert_eq!(memberships(b"").unwrap(), []);
}

#[test]
fn a_line_that_makes_no_sense_is_named() {
    for line in ["0:", "0:cpu", "x", "0::relative", "0::"] {
        let error = chain(memberships(line.as_bytes()).unwrap_err());
        assert!(
            error.contains(&format!("makes no sense: {line:?}")),
            "{error}"
        );
    }
    for line in [
        "1 2 0:3 / /x rw",
        "1 2 0:3 / /x rw - cgroup",
        "1 2 0:3 / /x rw - cgroup cgroup",
        "1 2 three / /x rw - cgroup cgroup rw",
    ] {
        let error = chain(mounts(line.as_bytes()).unwrap_err());
        assert!(error.contains("the list of mounts has a line"), "{error}");
    }
}

#[test]
fn reads_the_mounts_of_each_layout() {
    let mounts = mounts(MOUNTS).unwrap();
    let points: Vec<&str> = mounts.iter().map(|m| m.point.to_str().unwrap()).collect();
    assert_eq!(
        points,
        [
            "/sys/fs/cgroup/unified",
            "/sys/fs/cgroup/systemd",
            "/sys/fs/cgroup/cpu,cpuacct",
            "/mnt/with blank\t\nx",
            "/sys/fs/cgroup/freezer",
            "/sys/fs/cgroup/devices",
        ]
    );
    assert!(mounts[0].is_unified && !mounts[1].is_unified);
    assert_eq!(mounts[0].device, (0, 29));
    assert_eq!(mounts[3].root, Path::new("/docker/ c\\"));
    assert!(mounts[4].is_read_only && !mounts[3].is_read_only);
}

#[test]
fn a_cgroup_is_found_below_the_mount_that_shows_it() {
    let mounts = mounts(MOUNTS).unwrap();
    let place = |line: &str| {
        let membership = membership(line);
        let mut found = mounts
            .iter()
            .filter_map(|m| Some(m.point.join(m.place_of(&membership)?)));
        let place = found.next();
        assert_eq!(found.next(), None, "{line}");
        place.map(|path| path.to_str().unwrap().to_owned())
    };
    let at = |path: &str| Some(path.to_owned());
    assert_eq!(place("0::/a/b"), at("/sys/fs/cgroup/unified/a/b"));
    assert_eq!(place("0::/"), at("/sys/fs/cgroup/unified/"));
    assert_eq!(place("7:name=systemd:/a"), at("/sys/fs/cgroup/systemd/a"));
    assert_eq!(
        place("7:cpu,cpuacct:/a"),
        at("/sys/fs/cgroup/cpu,cpuacct/a")
    );
    assert_eq!(
        place("7:cpuacct,cpu:/a"),
        at("/sys/fs/cgroup/cpu,cpuacct/a")
    );
    // Below the root of the mount, and only there.
    assert_eq!(place("7:pids:/docker/ c\\/x"), at("/mnt/with blank\t\nx/x"));
    assert_eq!(place("7:pids:/docker/ c\\"), at("/mnt/with blank\t\nx/"));
    assert_eq!(place("7:pids:/docker/ c\\y"), None);
    assert_eq!(place("7:pids:/other"), None);
    // Not to be written to; of no known place; nowhere; of a named hierarchy.
    assert_eq!(place("7:freezer:/a"), None);
    assert_eq!(place("7:devices:/a"), None);
    assert_eq!(place("7:cpu,memory:/a"), None);
    assert_eq!(place("7:systemd:/a"), None);
}

#[test]
fn what_cannot_be_joined_is_named() {
    let mounts = mounts(MOUNTS).unwrap();
    let refused = |line: &str| chain(Cgroup::open(&membership(line), &mounts).unwrap_err());
    assert_eq!(
        refused("0::/../other"),
        "the container's cgroup /../other (unified) is outside of this process's cgroup namespace"
    );
    let error = refused("7:memory:/a");
    assert!(
        error.starts_with("the cgroup hierarchy memory is not mounted"),
        "{error}"
    );
}

#[test]
fn what_is_mounted_over_a_hierarchy_is_not_taken_for_it() {
    let seen = mounts(&fs::read("/proc/self/mountinfo").unwrap()).unwrap();
    for mount in seen.iter().filter(|mount| mount.open().unwrap().is_some()) {
        let other_device = (mount.device.0, mount.device.1 + 1);
        for (device, point, is_unified) in [
            (other_device, &*mount.point, mount.is_unified),
            (mount.device, Path::new("/"), mount.is_unified),
            (mount.device, &*mount.point, !mount.is_unified),
        ] {
            let other = Mount {
                device,
                point: point.into(),
                is_unified,
                ..mount.clone()
            };
            assert!(other.open().unwrap().is_none(), "{other:?}");
        }
    }
}

#[test]
fn escapes_are_three_octal_digits() {
    for (written, meant) in [
        (r"/a\040b\011\012\134", "/a b\t\n\\"),
        (r"\043\1341", "#\\1"),
        (r"\04", r"\04"),
        (r"\8", r"\8"),
        (r"\477", r"\477"),
        (r"\", r"\"),
        ("", ""),
    ] {
        assert_eq!(unescaped(written.as_bytes()), meant.as_bytes(), "{written}");
    }
    assert_eq!(unescaped(br"\303\251"), "é".as_bytes());
}

/// A process that does nothing until it goes out of scope.
struct Idle(Pid);

impl Idle {
    fn new() -> Self {
        // Among the threads of the tests: it does nothing that takes a lock.
        let pause = || {
            loop {
                nix::unistd::pause();
            }
        };
        Self(spawn_child(None, pause).expect("a child"))
    }

    const fn pid(&self) -> Pid {
        self.0
    }

    fn cgroups(&self) -> Vec<Membership> {
        let text = fs::read(format!("/proc/{}/cgroup", self.pid())).unwrap();
        memberships(&text).unwrap()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // Unreaped, it keeps its number.
        nix::sys::signal::kill(self.0, nix::sys::signal::Signal::SIGKILL).unwrap();
        reap(self.0).unwrap();
    }
}

/// A cgroup in each hierarchy that is mounted here. They outlive what is in
/// them: to be made first.
struct Made(Vec<PathBuf>);

impl Made {
    /// Says why not, where there can be none; in CI that is a failure.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("oci-seccomp-cgroup-{}-{count}", std::process::id());
        let mut made = Self(Vec::new());
        match made.make(&name) {
            Ok(()) if !made.0.is_empty() => Some(made),
            result => {
                let in_ci = std::env::var_os("CI").is_some_and(|v| v == "true" || v == "1");
                assert!(!in_ci, "cannot make cgroups, and CI is set: {result:?}");
                eprintln!("skipped: cannot make cgroups here: {result:?}");
                None
            }
        }
    }

    fn make(&mut self, name: &str) -> io::Result<()> {
        let mounts = mounts(&fs::read("/proc/self/mountinfo")?).unwrap();
        for membership in memberships(&fs::read("/proc/self/cgroup")?).unwrap() {
            let above = match Cgroup::open(&membership, &mounts) {
                Ok(cgroup) => cgroup.path,
                Err(Error::NotMounted { .. }) => continue,
                Err(error) => return Err(io::Error::other(chain(error))),
            };
            let path = above.join(name);
            fs::create_dir(&path)?;
            self.0.push(path.clone());
            // Without these nobody can join it.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if membership.controllers == "cpuset" {
                    fs::copy(above.join(file), path.join(file))?;
                }
            }
        }
        Ok(())
    }

    fn add(&self, process: &Idle) {
        for path in &self.0 {
            fs::write(path.join("cgroup.procs"), process.pid().to_string()).unwrap();
        }
    }

    /// The file of this name in the only hierarchy that has one.
    fn file(&self, name: &str) -> Option<PathBuf> {
        let mut all = self.0.iter().map(|path| path.join(name));
        all.find(|path| path.exists())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in &self.0 {
            // One that has just ended may count a moment longer.
            let removed = (0..500).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(2));
                fs::remove_dir(path).is_ok()
            });
            assert!(
                removed || std::thread::panicking(),
                "left {}",
                path.display()
            );
        }
    }
}

/// A child in the cgroups of `init`; it waits until it is killed.
fn joined(init: &Idle) -> Result<Idle, String> {
    let pidfd = PidFd::open(init.pid()).unwrap();
    let proc = Proc::open().unwrap();
    let cgroups = Cgroups::of(&proc, &pidfd).map_err(chain)?;
    let (reader, writer) = nix::unistd::pipe().unwrap();
    // Among the threads of the tests: it does nothing that takes a lock.
    let pid = spawn_child(cgroups.unified(), || {
        if cgroups.enter().is_ok() && nix::unistd::write(&writer, b"x").is_ok() {
            loop {
                nix::unistd::pause();
            }
        }
    });
    let child = Idle(pid.map_err(|errno| errno.to_string())?);
    drop(writer);
    let entered = nix::unistd::read(&reader, &mut [0]);
    assert_eq!(entered, Ok(1), "it ended");
    let pidfd = PidFd::open(child.pid()).unwrap();
    cgroups.check(&proc, &pidfd).map_err(chain)?;
    Ok(child)
}

#[test]
fn a_child_is_in_all_cgroups_of_another_process() {
    let Some(cgroups) = Made::new() else {
        return;
    };
    let (init, other) = (Idle::new(), Idle::new());
    cgroups.add(&init);
    assert_ne!(init.cgroups(), other.cgroups());
    let child = joined(&init).unwrap();
    assert_eq!(init.cgroups(), child.cgroups());
    for path in &cgroups.0 {
        let members = fs::read_to_string(path.join("cgroup.procs")).unwrap();
        assert!(
            members.lines().any(|l| l == child.pid().to_string()),
            "{}",
            path.display()
        );
    }
    // Where there is nothing to do.
    assert_eq!(joined(&other).unwrap().cgroups(), other.cgroups());
    let proc = Proc::open().unwrap();
    let elsewhere = PidFd::open(other.pid()).unwrap();
    let wanted = Cgroups::of(&proc, &PidFd::open(init.pid()).unwrap()).unwrap();
    assert!(matches!(
        wanted.check(&proc, &elsewhere),
        Err(Error::Differs)
    ));
}

#[test]
fn a_frozen_cgroup_is_not_joined() {
    let Some(cgroups) = Made::new() else {
        return;
    };
    let init = Idle::new();
    cgroups.add(&init);
    for (file, frozen, thawed) in [
        ("freezer.state", "FROZEN", "THAWED"),
        ("cgroup.freeze", "1", "0"),
    ] {
        let Some(file) = cgroups.file(file) else {
            continue;
        };
        fs::write(&file, frozen).unwrap();
        let refused = joined(&init).map(|child| child.pid());
        fs::write(&file, thawed).unwrap();
        let refused = refused.unwrap_err();
        assert!(
            refused.starts_with("the container is paused (cgroup /"),
            "{refused}"
        );
    }
    joined(&init).unwrap();
}

#[test]
fn there_is_nothing_to_join_when_init_has_ended() {
    let init = Idle::new();
    let pidfd = PidFd::open(init.pid()).unwrap();
    pidfd.kill().unwrap();
    // Not reaped yet: proc(5) still shows it.
    while pidfd.is_alive().unwrap() {
        std::thread::yield_now();
    }
    let proc = Proc::open().unwrap();
    let error = Cgroups::of(&proc, &pidfd).unwrap_err();
    assert!(matches!(error, Error::Ended), "{error}");
}
