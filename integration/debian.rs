//! What the Debian package does to a system from its installation to its purge,
//! in a root directory of its own.
#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Container, Outcome, Run, Runtime, binary, programs, skip, source};

/// Whether there is Debian's tool.
fn is_debian() -> bool {
    let found = programs::find("dpkg-deb").is_some();
    if !found {
        skip("dpkg-deb is not installed");
    }
    found
}

/// Makes the package of the program under test, in this folder.
fn package(folder: &Path) -> PathBuf {
    programs::manual();
    Run::new("make")
        .current_dir(source())
        .arg("deb")
        .arg(format!("BINARY={}", binary().display()))
        .arg(format!("DEBS={}", folder.display()))
        .env("SOURCE_DATE_EPOCH", "1700000000")
        // That of a program with debug information takes half a minute.
        .env("DPKG_DEB_COMPRESSOR_TYPE", "none")
        .run()
        .success();
    let mut packages = fs::read_dir(folder).expect("packages");
    packages.next().expect("a package").expect("entry").path()
}

/// A root directory with nothing but dpkg's database.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        for folder in ["info", "updates", "triggers"] {
            fs::create_dir_all(dir.path().join("var/lib/dpkg").join(folder)).expect("database");
        }
        for file in ["status", "available"] {
            fs::write(dir.path().join("var/lib/dpkg").join(file), "").expect("database");
        }
        Self(dir)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    /// The package's scripts run outside, and are told of the root: there is no
    /// shell in it.
    fn dpkg(&self, action: &str, what: impl AsRef<std::ffi::OsStr>) -> Outcome {
        Run::new("dpkg")
            .arg(format!("--root={}", self.0.path().display()))
            .args(["--force-not-root", "--force-bad-path"])
            .args(["--force-script-chrootless", action])
            .arg(what)
            .run()
    }

    /// Everything in it but dpkg's own.
    fn files(&self) -> String {
        let found = Run::new("find")
            .current_dir(self.0.path())
            .args([".", "-path", "./var/lib/dpkg", "-prune", "-o", "-print"])
            .run()
            .success();
        let mut lines: Vec<_> = found.stdout.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
        fs::write(path, text).expect("file");
    }
}

const BASELINE: &str = "/etc/oci-seccomp/profiles/baseline.json";
const HOOK: &str = "/usr/share/oci-seccomp/hooks/oci-seccomp-baseline.json";
const ENGINES_HOOKS: &str = "/etc/containers/oci/hooks.d";

#[test]
fn the_package_comes_runs_and_goes_without_a_trace() {
    if !is_debian() {
        return;
    }
    let folder = tempfile::tempdir().expect("temporary directory");
    let package = package(folder.path());
    let root = Root::new();
    // Engines' folders are there before it and after it.
    root.write(&format!("{ENGINES_HOOKS}/other.json"), "{}");
    fs::create_dir_all(root.at("/run")).expect("folder");
    let before = root.files();

    root.dpkg("--install", &package).success();
    // Nothing is armed unless an operator says so.
    assert!(!root.at("/usr/share/containers").exists());
    check_what_came(&root);
    arms_a_container(&root);

    // An operator's own.
    root.write("/etc/oci-seccomp/profiles/web.json", "{}");
    root.write(BASELINE, r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    root.write("/run/oci-seccomp/program", "");
    let link = root.at(ENGINES_HOOKS).join("oci-seccomp-baseline.json");
    symlink(HOOK, link).expect("link");

    // Without a question: a configuration that was changed is kept.
    root.dpkg("--install", &package).success();
    let kept = fs::read_to_string(root.at(BASELINE)).expect("baseline");
    assert!(!kept.contains("io_uring"), "{kept}");
    root.dpkg("--remove", "oci-seccomp").success();
    let left = root.files();
    let made: Vec<_> = left.lines().filter(|l| l.contains("seccomp")).collect();
    let configuration = [
        "",
        "/profiles",
        "/profiles/baseline.json",
        "/profiles/web.json",
    ];
    assert_eq!(
        made,
        configuration.map(|path| format!("./etc/oci-seccomp{path}"))
    );
    root.dpkg("--purge", "oci-seccomp").success();
    assert_eq!(root.files(), before);
}

fn check_what_came(root: &Root) {
    let program = root.at("/usr/bin/oci-seccomp");
    let version = Run::new(&program).arg("--version").run().success();
    assert!(version.stdout.starts_with("oci-seccomp "), "{version}");
    for page in [
        "man1/oci-seccomp-hook.1.gz",
        "man5/oci-seccomp-profile.5.gz",
    ] {
        assert!(root.at("/usr/share/man").join(page).exists(), "{page}");
    }
    let licenses = root.at("/usr/share/doc/oci-seccomp/licenses.txt.gz");
    let licenses = Run::new("zcat").arg(licenses).run().success();
    for text in [
        "  libseccomp 2.",
        "  libc 0.",
        "==== libc 0.",
        "THE SOFTWARE IS PROVIDED",
        "GNU LESSER GENERAL PUBLIC LICENSE",
    ] {
        assert!(licenses.stdout.contains(text), "no {text}");
    }
    let sbom = root.at("/usr/share/doc/oci-seccomp/oci-seccomp.cdx.json");
    let sbom: Value = serde_json::from_slice(&fs::read(sbom).expect("SBOM")).expect("JSON");
    let debians = |component: &Value| {
        let purl = component["purl"].as_str().expect("purl");
        purl.starts_with("pkg:deb/debian/")
    };
    let components = sbom["components"].as_array().expect("components");
    let named = components.iter().filter(|c| debians(c));
    let names: Vec<_> = named.map(|c| c["name"].as_str().expect("name")).collect();
    assert_eq!(names, ["libseccomp", "glibc", "libgcc"]);
    // To allow by default is what it is for.
    let allowed = ["--deny", "all", "--allow", "allow-by-default"];
    let meant = Run::new(&program).arg("dry-run").args(allowed);
    meant.arg(root.at(BASELINE)).run().success();
}

/// Starts a container with the hook as the hook file has it, but for the root.
fn arms_a_container(root: &Root) {
    let text = fs::read_to_string(root.at(HOOK)).expect("hook file");
    let file: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(file["hook"]["path"], "/usr/bin/oci-seccomp");
    let inside = |word: &Value| match word.as_str().expect("text") {
        path if path.starts_with('/') => root.at(path).to_string_lossy().into_owned(),
        word => word.to_owned(),
    };
    let args = file["hook"]["args"].as_array().expect("args");
    let argv: Vec<_> = args.iter().map(inside).collect();
    if !Runtime::Runc.is_ready() {
        return;
    }
    let seen = Container::new(Runtime::Runc)
        .patch(|config| {
            let hook = serde_json::json!({ "path": inside(&file["hook"]["path"]), "args": argv });
            config["hooks"]["createRuntime"] = serde_json::json!([hook]);
        })
        .probe("call 425 0 0 -- call32 425 0 0 -- call mkdir @/tmp/x 0755")
        .run()
        .success();
    let denied = seen.stdout.matches("425 = -1 38").count();
    assert_eq!(denied, 2, "io_uring_setup, of either architecture: {seen}");
    assert_eq!(seen.errno("mkdir"), 0, "{seen}");
}

#[test]
fn the_same_program_makes_the_same_package() {
    if !is_debian() {
        return;
    }
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("temporary directory"));
    let [one, other] = folders.each_ref().map(|folder| package(folder.path()));
    let same = Run::new("cmp").args([one, other]).run();
    same.success();
}
