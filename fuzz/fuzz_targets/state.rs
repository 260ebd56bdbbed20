//! Any bytes are a State, a config.json, or an error.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oci_seccomp::bundle::{Config, State};

fuzz_target!(|bytes: &[u8]| {
    if let Err(e) = State::read(bytes) {
        assert!(!e.to_string().is_empty());
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let config = Config::parse(Path::new("config.json"), text.into());
    if let Ok(config) = config
        && let (Some(section), Some(range)) = (config.seccomp(), config.seccomp_range())
    {
        assert_eq!(&text[range], section);
    }
});
