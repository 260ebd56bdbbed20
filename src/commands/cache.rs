//! `oci-seccomp cache`: fills, shows and empties the cache.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use oci_seccomp::bundle::Config;
use oci_seccomp::cache::{Cache, Listed};
use oci_seccomp::loadable::{Loadable, Source};
use oci_seccomp::progress::Progress;
use serde::Serialize;

use super::{Failure, print, source};
use crate::cli::{CacheAction, CacheCommand, Format, PrimeArgs};

/// Version of the JSON form of `cache list`.
const SCHEMA: u32 = 1;

/// Carries it out.
///
/// # Errors
/// [`Failure`]: 1 for a profile that is refused, 2 for what cannot be read or
/// written.
pub fn run(args: &CacheCommand) -> Result<ExitCode, Failure> {
    let (path, cache) = open().map_err(Failure::with_status(2))?;
    match &args.action {
        CacheAction::Prime(args) => prime(&cache, args)?,
        CacheAction::List { format } => {
            let listed = cache.list().with_context(|| format!("cannot read {path}"));
            listed
                .and_then(|all| list(&path, &all, *format))
                .map_err(Failure::with_status(2))?;
        }
        CacheAction::Clear => {
            let cleared = cache.clear().with_context(|| format!("cannot read {path}"));
            let cleared = cleared.map_err(Failure::with_status(2))?;
            print(&format!("{path}: {cleared} removed\n")).map_err(Failure::with_status(2))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn open() -> anyhow::Result<(String, Cache)> {
    let path = Cache::path().context(
        "there is no place for a cache: XDG_RUNTIME_DIR names no folder, and this is not root",
    )?;
    let cache = Cache::open(&path).with_context(|| format!("cannot use {}", path.display()))?;
    Ok((path.display().to_string(), cache))
}

fn prime(cache: &Cache, args: &PrimeArgs) -> Result<(), Failure> {
    let progress = Progress::stderr();
    let total = args.sources.len();
    for (i, path) in args.sources.iter().enumerate() {
        progress.at(&format!("[{}/{total}] {}", i + 1, path.display()));
        let (origin, text) = source::text(path)?;
        let each = sources(&origin, text, args).map_err(Failure::with_status(1))?;
        for source in each {
            let loadable = Loadable::new(source, Some(cache))
                .map_err(anyhow::Error::from)
                .map_err(Failure::with_status(1))?;
            progress.clear();
            print(&line(&loadable)).map_err(Failure::with_status(2))?;
        }
    }
    Ok(())
}

/// As the hook will come by it: a config's section by the config, anything
/// else by its whole text.
fn sources(origin: &str, text: String, args: &PrimeArgs) -> anyhow::Result<Vec<Source>> {
    let options = source::options(&args.translate);
    let config = Config::parse(Path::new(origin), text.as_str().into()).ok();
    if let Some(config) = config.filter(|config| config.seccomp().is_some()) {
        let target = source::target(config.process.as_ref())?;
        return Ok(Source::section(&config, target, options)
            .into_iter()
            .collect());
    }
    let target = source::target(None)?;
    Ok(vec![Source::whole(origin, text.into(), target, options)])
}

fn line(loadable: &Loadable) -> String {
    let (program, count) = (
        loadable.program.fingerprint(),
        loadable.program.instructions().len(),
    );
    format!(
        "{}: program {program} ({count} instructions)\n",
        loadable.origin()
    )
}

#[derive(Serialize)]
struct ListReport<'a> {
    schema: u32,
    path: &'a str,
    entries: Vec<EntryReport<'a>>,
}

#[derive(Serialize)]
struct EntryReport<'a> {
    key: &'a str,
    bytes: u64,
    /// Seconds since 1970.
    made: u64,
    /// Absent where the entry is not whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<usize>,
}

fn list(path: &str, listed: &[Listed], format: Format) -> anyhow::Result<()> {
    let entries = listed.iter().map(|entry| {
        let made = entry.made.duration_since(UNIX_EPOCH).unwrap_or_default();
        let program = entry.program.as_ref();
        EntryReport {
            key: entry.name.split('.').next().unwrap_or_default(),
            bytes: entry.bytes,
            made: made.as_secs(),
            program: program.map(|(name, _)| name.as_str()),
            instructions: program.map(|(_, count)| *count),
        }
    });
    let report = ListReport {
        schema: SCHEMA,
        path,
        entries: entries.collect(),
    };
    match format {
        Format::Json => print(&(serde_json::to_string_pretty(&report)? + "\n")),
        Format::Text => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            print(&text(&report, now.unwrap_or_default().as_secs()))
        }
    }
}

/// `now` is in seconds since 1970, as the times of entries are.
fn text(report: &ListReport<'_>, now: u64) -> String {
    let bytes: u64 = report.entries.iter().map(|entry| entry.bytes).sum();
    let mut text = format!(
        "{}: {}, {bytes} bytes\n",
        report.path,
        match report.entries.len() {
            1 => "1 entry".to_owned(),
            n => format!("{n} entries"),
        }
    );
    for entry in &report.entries {
        let program = match (entry.program, entry.instructions) {
            (Some(name), Some(count)) => format!("program {name}, {count:>4} instructions"),
            _ => "not whole, will be made again".to_owned(),
        };
        let key: String = entry.key.chars().take(12).collect();
        let age = age(now.saturating_sub(entry.made));
        text += &format!(
            "  {key} {program:<39} {:>6} bytes {age:>7} old\n",
            entry.bytes
        );
    }
    text
}

/// Seconds in the largest unit of which there are two: a person asks whether
/// it is of this boot or of today.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_listed_in_columns_of_a_terminal() {
        let entry = |program, instructions, bytes| EntryReport {
            key: "84d4425788256a16f5c35014836440f11702fedee95d8f46ef480e7770d48ad2",
            bytes,
            made: 0,
            program,
            instructions,
        };
        let report = ListReport {
            schema: SCHEMA,
            path: "/run/oci-seccomp",
            entries: vec![
                entry(Some("adf538684038"), Some(4096), 32_800),
                entry(Some("fc54b8dbe3fb"), Some(14), 205),
                entry(None, None, 102_658),
            ],
        };
        let text = text(&report, 40 * 86_400);
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some("/run/oci-seccomp: 3 entries, 135663 bytes")
        );
        let ends: Vec<_> = lines.map(|line| line.find(" bytes")).collect();
        assert_eq!(ends, [Some(61); 3], "{text}");
        let widest = text.lines().map(str::len).max();
        assert!(widest <= Some(80), "{text}");
    }

    #[test]
    fn an_age_is_told_in_a_unit_that_fits() {
        for (seconds, expected) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7199, "119 min"),
            (7200, "2 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(age(seconds), expected);
        }
    }
}
