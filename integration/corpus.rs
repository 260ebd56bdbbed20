//! Profiles found in the wild, and libseccomp's own tests as profiles with
//! cases. They are other people's work and not part of this repository: they
//! lie in `shared/corpus` beside the checkout, or where `OCI_SECCOMP_CORPUS`
//! says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use oci_seccomp::cases::{CaseFile, Outcome};
use oci_seccomp::filter::{Error, Filter, OnAmbiguity, Options};
use oci_seccomp::lint::{self, Severity, Surroundings};
use oci_seccomp::peers;
use oci_seccomp::policy::{Action, Arch};
use oci_seccomp::profile::{KernelVersion, Target};

/// A folder of the corpus; none is a failure in CI.
fn corpus(folder: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let given = std::env::var_os("OCI_SECCOMP_CORPUS");
    let path = given.map_or_else(beside, PathBuf::from).join(folder);
    if path.is_dir() {
        return Some(path);
    }
    let ci = std::env::var_os("CI").is_some_and(|v| v == "true");
    assert!(!ci, "cannot run, and CI is set: no {}", path.display());
    eprintln!("skipped: no {}", path.display());
    None
}

/// The JSON files of a folder with their text, by name.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let json = entries.filter(|p| p.extension().is_some_and(|e| e == "json"));
    json.map(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    })
    .collect()
}

fn target() -> Target {
    Target::new(
        Default::default(),
        Arch::native(),
        KernelVersion { major: 6, minor: 1 },
    )
}

fn options(enosys: bool, ambiguity: OnAmbiguity) -> Options {
    let mut options = Options::default();
    options.translate.enosys = enosys;
    options.ambiguity = ambiguity;
    options
}

#[test]
fn libseccomps_own_tests_come_out_the_same() {
    let Some(folder) = corpus("cases") else {
        return;
    };
    let (mut passed, mut skipped, mut failures) = (0, 0, Vec::new());
    for (name, text) in files(&folder) {
        let file: CaseFile = match serde_json::from_str(&text) {
            Ok(file) => file,
            Err(e) => {
                eprintln!("{name}: no case file: {e}");
                continue;
            }
        };
        let Some(section) = file.seccomp else {
            continue;
        };
        let options = options(false, OnAmbiguity::First);
        let filter = match Filter::parse(&name, section.get(), &target(), options) {
            Ok(filter) => filter,
            Err(e) => {
                failures.push(format!("{name}: {e:?}"));
                continue;
            }
        };
        for (i, case) in file.cases.iter().enumerate() {
            match case.run(filter.translation(), filter.program()) {
                Ok(Outcome::Passed) => passed += 1,
                Ok(Outcome::Skipped(_)) => skipped += 1,
                Ok(Outcome::Failed(f)) => {
                    failures.push(format!("{name}: case {i}: {}: {f:?}", f.describe_call()));
                }
                Err(e) => failures.push(format!("{name}: case {i}: {e}")),
            }
        }
    }
    eprintln!("{passed} passed, {skipped} skipped: libseccomp cannot compile for the architecture");
    assert!(
        failures.is_empty(),
        "{:#?}",
        &failures[..failures.len().min(20)]
    );
    assert!(passed > 10_000);
}

#[test]
fn every_profile_of_the_wild_is_proven_or_refused_with_its_line() {
    let Some(folder) = corpus("profiles") else {
        return;
    };
    let (mut proven, mut refused) = (0, 0);
    for (name, text) in files(&folder) {
        match Filter::parse(&name, &text, &target(), options(true, OnAmbiguity::Refuse)) {
            Ok(filter) => {
                assert!(filter.proof().complete, "{name}");
                proven += 1;
            }
            Err(Error::Ambiguous { source, .. }) => panic!("{name}: {source}"),
            Err(e @ (Error::Profile(_) | Error::Invalid { .. })) => {
                let text = e.to_string();
                assert!(text.starts_with(&format!("{name}: ")), "{text}");
                let placed = text.contains("line ") || text.contains("linux.seccomp section");
                assert!(placed, "{text}");
                eprintln!("{text}");
                refused += 1;
            }
            Err(e) => panic!("{name}: {e:?}"),
        }
    }
    eprintln!("{proven} proven, {refused} refused");
    assert!(proven > refused);
}

/// What is said about a profile is shown by calls, and there is not too much
/// of it.
#[test]
fn findings_on_profiles_of_the_wild_are_few_and_true() {
    let Some(folder) = corpus("profiles") else {
        return;
    };
    for (name, text) in files(&folder) {
        let options = options(true, OnAmbiguity::First);
        let Ok(filter) = Filter::parse(&name, &text, &target(), options) else {
            continue;
        };
        let translation = filter.translation();
        let readings = peers::readings(&filter.profile().section, translation);
        let around = Surroundings {
            readings: &readings,
            ..Surroundings::default()
        };
        let findings = lint::findings(&filter, &around);
        let warnings = findings.iter().filter(|f| f.severity == Severity::Warning);
        assert!(warnings.count() < 10, "{name}: {findings:#?}");
        for witness in findings.iter().flat_map(|f| &f.witness) {
            let call = &witness.call;
            let (ret, _) = filter.program().run(call);
            match &witness.by {
                None => {
                    assert_eq!(
                        translation.policy.verdict(call).action,
                        witness.verdict,
                        "{name}"
                    );
                    assert_eq!(Action::from_ret(ret), witness.verdict, "{name}");
                }
                Some(by) => {
                    let named = readings.iter().filter(|r| by.contains(r.runtime.name()));
                    for reading in named {
                        let verdict = reading.verdict(&translation.policy, call);
                        assert_eq!(
                            verdict,
                            Some(witness.verdict),
                            "{name}: {}",
                            reading.runtime
                        );
                    }
                }
            }
        }
    }
}
