//! Any bytes are a log, and nothing of it controls a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_seccomp::audit::{Log, Report};
use oci_seccomp::filter::Options;
use oci_seccomp::style::Style;

fuzz_target!(|bytes: &[u8]| {
    let log = Log::read(bytes).expect("memory can be read");
    let report = Report::new(log, None, Options::default());
    let text = report.to_text(Style::PLAIN);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    report.to_json().expect("plain text and numbers");
});
