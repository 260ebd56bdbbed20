//! Bytes that are a program run to their end on any call, and are the same
//! program again when written out; proving one never takes long.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_seccomp::bpf::Program;
use oci_seccomp::policy::{Action, Arch, ArchRules, Call, Flags, Policy};
use oci_seccomp::prove::prove;

fuzz_target!(|input: (Vec<u8>, Vec<(u32, u32, [u64; 6])>)| {
    let (bytes, calls) = input;
    let Ok(program) = Program::from_bytes(&bytes) else {
        return;
    };
    assert_eq!(program.to_bytes(), bytes);
    for (audit, nr, args) in calls {
        let (_, steps) = program.run(&Call { audit, nr, args });
        assert!(steps <= program.instructions().len());
    }
    let policy = Policy {
        default: Action::Allow,
        arches: vec![ArchRules {
            arch: Arch::X86_64,
            calls: Default::default(),
            newest: None,
        }],
        flags: Flags::default(),
        listener: None,
    };
    if let Err(disproof) = prove(&policy, &program) {
        let witness = disproof.0;
        assert_eq!(policy.verdict(&witness.call), witness.expected);
        let (ret, _) = program.run(&witness.call);
        assert_ne!(ret, witness.expected.action.to_ret());
    }
});
