//! Any text is a proven filter, about which only what is so is said, or an
//! error that names the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_seccomp::filter::{Error, Filter, OnAmbiguity, Options};
use oci_seccomp::lint::{self, Surroundings};
use oci_seccomp::policy::Arch;
use oci_seccomp::profile::{KernelVersion, Target};

fuzz_target!(|text: &str| {
    let target = Target::new(["CAP_SYS_ADMIN".to_owned()].into(), Arch::native(), KernelVersion { major: 6, minor: 1 });
    for ambiguity in [OnAmbiguity::Refuse, OnAmbiguity::First] {
        let mut options = Options::default();
        options.ambiguity = ambiguity;
        match Filter::parse("fuzz", text, &target, options) {
            Ok(filter) => {
                assert!(filter.proof().points > 0);
                // What is said about it is so.
                for finding in lint::findings(&filter, &Surroundings::default()) {
                    for witness in finding.witness {
                        let verdict = filter.policy().verdict(&witness.call);
                        assert_eq!(verdict.action, witness.verdict, "{}", finding.id);
                    }
                }
            }
            Err(e @ Error::Disproved { .. }) => panic!("{e:?}"),
            Err(e) => assert!(e.to_string().starts_with("fuzz: ")),
        }
    }
});
