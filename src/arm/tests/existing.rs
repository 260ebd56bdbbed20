//! A runtime that loads a filter of its own and then gives its capabilities
//! up, as runc and crun do without no_new_privs.

use super::listener::{INSIDE, again_inside};
use super::*;

/// Loads a filter that allows all, clears its capabilities, execs.
const RUNTIME: &str = r#"$| = 1; print qq(ready\n); <STDIN>;
    my $allow = pack("SCCL", 0x06, 0, 0, 0x7fff0000);
    my $fprog = pack("S x6 Q", 1, unpack("Q", pack("P", $allow)));
    syscall(317, 1, 0, $fprog) == 0 or die "seccomp: $!";
    my ($header, $none) = (pack("LL", 0x20080522, 0), pack("L6", (0) x 6));
    syscall(126, $header, $none) == 0 or die "capset: $!";
    exec qw(/bin/busybox sh -c), "grep Seccomp /proc/self/status; mkdir /tmp/x/y";"#;

fn run(on_existing: OnExisting) -> Result<(String, String), Box<dyn StdError>> {
    let mut command = Command::new("perl");
    command.args(["-e", RUNTIME]);
    let program = program(0)?;
    let layers = [layer(&program)];
    let boundary = Boundary::BeforeCapabilityDrop;
    let init = Init::beside(on_existing, command, boundary, &layers)?;
    assert!(init.armed.is_ok(), "{:?}", init.armed);
    let (_, text, report) = init.go()?;
    Ok((text, report))
}

#[test]
fn waits_for_the_runtimes_filter_where_it_can_lift_it() -> Test {
    for choice in [OnExisting::Verify, OnExisting::Stack] {
        let (text, report) = run(choice)?;
        assert!(text.contains("Seccomp_filters:\t2"), "{text} {report}");
        assert!(text.contains(WITNESS), "{text} {report}");
        assert!(report.contains("loaded on top of 1"), "{report}");
    }
    Ok(())
}

/// Filters cannot be read or lifted: the runtime's might refuse ours.
#[test]
fn comes_before_the_runtimes_filter_where_it_cannot() -> Test {
    if std::env::var_os(INSIDE).is_none() {
        return again_inside("existing::comes_before_the_runtimes_filter_where_it_cannot");
    }
    for choice in [OnExisting::Verify, OnExisting::Stack] {
        let (text, report) = run(choice)?;
        assert!(text.contains("Seccomp_filters:\t2"), "{text} {report}");
        assert!(text.contains(WITNESS), "{text} {report}");
        assert!(report.ends_with("profile loaded"), "{report}");
    }
    Ok(())
}

#[test]
fn skips_where_the_runtime_has_a_filter_also_where_it_cannot_read_it() -> Test {
    let name = "existing::skips_where_the_runtime_has_a_filter_also_where_it_cannot_read_it";
    let (text, report) = run(OnExisting::Skip)?;
    assert!(text.contains("Seccomp_filters:\t1"), "{text} {report}");
    assert!(!text.contains(WITNESS), "{text} {report}");
    assert!(report.contains("left out, 1 there already"), "{report}");
    match std::env::var_os(INSIDE) {
        None => again_inside(name),
        Some(_) => Ok(()),
    }
}
