//! Each finding on a profile of its own, with its witness.

use super::*;
use crate::filter::{OnAmbiguity, Options};
use crate::peers;
use crate::profile::{KernelVersion, Target};

fn filter(default: &str, rules: &str) -> Filter {
    let text = format!(
        r#"{{"defaultAction": "SCMP_ACT_{default}",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [{rules}]}}"#
    );
    let target = Target {
        capabilities: Default::default(),
        arch: Arch::X86_64,
        kernel: KernelVersion { major: 6, minor: 1 },
    };
    let options = Options {
        ambiguity: OnAmbiguity::First,
        ..Options::default()
    };
    Filter::parse("p.json", &text, &target, options).unwrap_or_else(|e| panic!("{text}: {e:?}"))
}

fn found(filter: &Filter) -> Vec<Finding> {
    let readings = peers::readings(&filter.profile.section, &filter.translation);
    let around = Surroundings {
        readings: &readings,
        ..Surroundings::default()
    };
    findings(filter, &around)
}
