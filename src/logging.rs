//! Messages: on standard error, and for a hook, whose standard error some
//! runtimes throw away, in a file too.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::OnceLock;

use anyhow::{Context, anyhow};
use env_logger::{Builder, Logger, Target};
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::fcntl::OFlag;

/// The variable that says what to log.
const VARIABLE: &str = "OCI_SECCOMP_LOG";

/// Its values.
const LEVELS: &str = "off, error, warn, info, debug and trace";

/// The log file, once there is one.
static FILE: OnceLock<Logger> = OnceLock::new();

/// Everything logged goes to both.
struct Both {
    stderr: Logger,
}

impl Log for Both {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.stderr.enabled(metadata)
    }
    fn log(&self, record: &Record<'_>) {
        self.stderr.log(record);
        if let Some(file) = FILE.get() {
            file.log(record);
        }
    }
    fn flush(&self) {}
}

/// Starts logging at the level of `OCI_SECCOMP_LOG`, or at `default`.
///
/// # Errors
/// `OCI_SECCOMP_LOG` is no level, or the file cannot be opened, which must
/// not be a symbolic link.
pub fn start(default: LevelFilter, file: Option<&Path>) -> anyhow::Result<()> {
    let wanted = std::env::var(VARIABLE).unwrap_or_default();
    let level = match wanted.as_str() {
        "" => Ok(default),
        wanted => LevelFilter::from_str(wanted),
    };
    if let Some(path) = file {
        let file = open(path).with_context(|| format!("cannot log to {}", path.display()))?;
        // Errors are always told, one in the variable too.
        let level = level.as_ref().map_or(default, |l| *l);
        let _ = FILE.set(to_file(file, level.max(LevelFilter::Error)));
    }
    let level = level.map_err(|_| anyhow!("{VARIABLE} is none of {LEVELS}"))?;
    let stderr = Builder::new()
        .filter_level(level)
        .format(|out, record| {
            let level = record.level().as_str().to_ascii_lowercase();
            writeln!(out, "oci-seccomp: {level}: {}", one_line(record.args()))
        })
        .build();
    log::set_boxed_logger(Box::new(Both { stderr }))?;
    log::set_max_level(level);
    Ok(())
}

/// Tells, once, why the command failed: the error and what caused it.
pub fn report(error: &anyhow::Error) {
    let chain = one_line(&format_args!("{error:#}"));
    // Nothing is left to be done if nobody reads it.
    let _ = writeln!(io::stderr(), "oci-seccomp: error: {chain}");
    if let Some(file) = FILE.get() {
        file.log(
            &Record::builder()
                .level(Level::Error)
                .args(format_args!("{chain}"))
                .build(),
        );
    }
}

/// One line per record, with the time and the process, written at once: many
/// hooks append to one file.
fn to_file(file: File, level: LevelFilter) -> Logger {
    Builder::new()
        .filter_level(level)
        .target(Target::Pipe(Box::new(file)))
        .format(|out, record| {
            let (time, pid) = (out.timestamp_millis(), std::process::id());
            let level = record.level().as_str().to_ascii_lowercase();
            writeln!(
                out,
                "{time} oci-seccomp[{pid}]: {level}: {}",
                one_line(record.args())
            )
        })
        .build()
}

/// Opens to append; a fifo that nobody reads is an error, not a wait.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags.bits())
        .open(path)
}

/// A message as one line: names in it come from files, and must neither start
/// a line of their own nor speak to a terminal.
fn one_line(message: &std::fmt::Arguments<'_>) -> String {
    let mut line = String::new();
    for c in message.to_string().chars() {
        if c.is_control() {
            // Writing to a String cannot fail.
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_without_control_characters() {
        let name = "a\n\x1b[31mé\u{85}";
        assert_eq!(
            one_line(&format_args!("unknown: {name}")),
            "unknown: a\\n\\u{1b}[31mé\\u{85}"
        );
    }

    #[test]
    fn a_log_file_is_private_appended_to_and_no_link() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for message in ["one", "two\nlines"] {
            to_file(open(&path).unwrap(), LevelFilter::Info).log(
                &Record::builder()
                    .level(Level::Info)
                    .args(format_args!("{message}"))
                    .build(),
            );
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        let id = format!("oci-seccomp[{}]: info: one", std::process::id());
        assert!(lines[0].ends_with(&id), "{text}");
        assert!(lines[1].ends_with("info: two\\nlines"), "{text}");
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(open(&link).is_err());
    }
}
