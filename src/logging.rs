//! Messages: on standard error, and for a hook, whose standard error some
//! runtimes throw away, in a file or syslog too.
#![forbid(unsafe_code)]

mod syslog;

use std::fmt::{Arguments, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::OnceLock;

use anyhow::{Context, anyhow};
use env_logger::{Builder, Logger, Target};
use log::{Level, LevelFilter, Log, Metadata, Record, warn};
use nix::fcntl::OFlag;
use oci_seccomp::style::turns;

use self::syslog::Syslog;

/// The variable that says what to log.
const VARIABLE: &str = "OCI_SECCOMP_LOG";

/// Its values.
const LEVELS: &str = "off, error, warn, info, debug and trace";

/// What is kept of the messages, once that is known.
static KEPT: OnceLock<Kept> = OnceLock::new();

/// Where messages go besides standard error.
#[derive(Debug)]
struct Kept {
    level: LevelFilter,
    file: Option<(&'static File, Logger)>,
    syslog: Option<Syslog>,
}

impl Kept {
    fn record(&self, level: Level, message: &Arguments<'_>) {
        if level > self.level {
            return;
        }
        if let Some((_, file)) = &self.file {
            file.log(&Record::builder().level(level).args(*message).build());
        }
        if let Some(syslog) = &self.syslog {
            syslog.send(level, one_line(message));
        }
    }
}

/// Everything logged goes to standard error and to what is kept.
struct Both {
    stderr: Logger,
}

impl Log for Both {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.stderr.enabled(metadata)
    }
    fn log(&self, record: &Record<'_>) {
        self.stderr.log(record);
        self::record(record.level(), record.args());
    }
    fn flush(&self) {}
}

/// Starts logging at the level of `OCI_SECCOMP_LOG`, or at `default`: on
/// standard error, and in the file and syslog if asked for. That there is no
/// syslog is worth a warning and no more: a container does not depend on it.
///
/// # Errors
/// `OCI_SECCOMP_LOG` is no level, or the file cannot be opened, which must
/// not be a symbolic link.
pub fn start(default: LevelFilter, file: Option<&Path>, syslog: bool) -> anyhow::Result<()> {
    let wanted = std::env::var(VARIABLE).unwrap_or_default();
    let level = match wanted.as_str() {
        "" => Ok(default),
        wanted => LevelFilter::from_str(wanted),
    };
    let syslog = syslog.then(|| Syslog::connect(Path::new(syslog::SOCKET)));
    let (syslog, no_syslog) = match syslog.transpose() {
        Ok(syslog) => (syslog, None),
        Err(error) => (None, Some(error)),
    };
    let opened = file.map(|path| {
        let file = open(path).with_context(|| format!("cannot log to {}", path.display()))?;
        // As long as the process: a tracer writes to it too.
        let file: &'static File = Box::leak(Box::new(file));
        anyhow::Ok((file, to_file(file)))
    });
    let (file, no_file) = match opened.transpose() {
        Ok(file) => (file, None),
        Err(error) => (None, Some(error)),
    };
    let _ = KEPT.set(Kept {
        // Errors are always told, one in the variable too.
        level: level
            .as_ref()
            .map_or(default, |l| *l)
            .max(LevelFilter::Error),
        file,
        syslog,
    });
    if let Some(error) = no_file {
        return Err(error);
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
    if let Some(error) = no_syslog {
        warn!("cannot log to syslog at {}: {error}", syslog::SOCKET);
    }
    Ok(())
}

/// The descriptors that [`record`] writes to. None of them is one that a
/// runtime waits for.
pub fn descriptors() -> Vec<BorrowedFd<'static>> {
    let Some(kept) = KEPT.get() else {
        return Vec::new();
    };
    let file = kept.file.iter().map(|(file, _)| file.as_fd());
    file.chain(kept.syslog.iter().map(AsFd::as_fd)).collect()
}

/// Keeps a message, and prints nothing: for a tracer, which has no standard
/// error and may have nothing but the [`descriptors`].
pub fn record(level: Level, message: &Arguments<'_>) {
    if let Some(kept) = KEPT.get() {
        kept.record(level, message);
    }
}

/// Tells, once, why the command failed: the error and what caused it.
pub fn report(error: &anyhow::Error) {
    let chain = one_line(&format_args!("{error:#}"));
    // Nothing is left to be done if nobody reads it.
    let _ = writeln!(io::stderr(), "oci-seccomp: error: {chain}");
    record(Level::Error, &format_args!("{chain}"));
}

/// One line per record, with the time and the process, written at once: many
/// hooks append to one file.
fn to_file(file: &'static File) -> Logger {
    Builder::new()
        .filter_level(LevelFilter::Trace)
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
fn open(path: &Path) -> io::Result<File> {
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
fn one_line(message: &Arguments<'_>) -> String {
    let mut line = String::new();
    for c in message.to_string().chars() {
        if c.is_control() || turns(c) {
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
            let file = Box::leak(Box::new(open(&path).unwrap()));
            to_file(file).log(
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
