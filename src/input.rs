//! Reads files whose content or kind cannot be trusted: bounded, and without
//! ever waiting for a writer that may not come.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, OpenHow, ResolveFlag, fcntl, openat2};

use crate::near;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// open(2) or fstat(2) failed.
    #[error("cannot open {}{}", path.display(), near::in_brackets(near.as_deref()))]
    Open {
        /// What was to be read.
        path: PathBuf,
        /// Where there is no such file: one in its folder that may be meant.
        near: Option<String>,
        /// Why not.
        source: io::Error,
    },
    /// read(2) failed.
    #[error("cannot read {}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A directory, socket or block device; for [`read_regular`] also a fifo
    /// or a character device.
    #[error("{} is not a regular file", path.display())]
    Kind {
        /// The path.
        path: PathBuf,
    },
    /// More bytes than any real input of this kind has.
    #[error("{} is longer than {limit} bytes", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// The most that is read, in bytes.
        limit: u64,
    },
    /// Not text.
    #[error("{} is not UTF-8: byte {offset} is wrong", path.display())]
    NotUtf8 {
        /// The path.
        path: PathBuf,
        /// Offset of the first wrong byte.
        offset: usize,
    },
}

/// Reads the text a user names on a command line: a file, a fifo such as the
/// shell's `<(…)`, or standard input for `-`.
///
/// # Errors
/// [`Error`]; a text over `limit` bytes is refused, not cut.
pub fn read_limited(path: &Path, limit: u64) -> Result<String, Error> {
    let bytes = read_limited_bytes(path, limit)?;
    let path = match path == "-" {
        true => Path::new("standard input"),
        false => path,
    };
    text(path, bytes)
}

/// As [`read_limited`], for what need not be text.
///
/// # Errors
/// [`Error`], never [`Error::NotUtf8`].
pub fn read_limited_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    if path == "-" {
        return bounded(Path::new("standard input"), io::stdin().lock(), limit);
    }
    let file = open(path)?;
    let kind = kind(path, &file)?;
    if !(kind.is_file() || kind.is_fifo() || kind.is_char_device()) {
        return Err(Error::Kind { path: path.into() });
    }
    // Opened without waiting, read with: a fifo that nobody writes to ends at
    // once, one that has a writer is read to its end.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).map_err(|errno| Error::Read {
        path: path.into(),
        source: errno.into(),
    })?;
    bounded(path, file, limit)
}

/// Reads the text of a regular file; nothing else is waited for.
///
/// # Errors
/// [`Error`]; a file over `limit` bytes is refused, not cut.
pub fn read_regular(path: &Path, limit: u64) -> Result<String, Error> {
    text(path, read_regular_bytes(path, limit)?)
}

/// As [`read_regular`], for what is not text.
///
/// # Errors
/// [`Error`], never [`Error::NotUtf8`].
pub fn read_regular_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let file = open(path)?;
    if !kind(path, &file)?.is_file() {
        return Err(Error::Kind { path: path.into() });
    }
    bounded(path, file, limit)
}

/// Reads to the end of `source`, which messages call `path`.
///
/// # Errors
/// [`Error::Read`] and [`Error::TooLong`].
pub fn bounded(path: &Path, source: impl Read, limit: u64) -> Result<Vec<u8>, Error> {
    // Whoever has more reads it in as few calls.
    let mut bytes = Vec::with_capacity(usize::try_from(limit).unwrap_or(0).min(16 << 10));
    let read = source.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    match read {
        Err(source) => Err(Error::Read {
            path: path.into(),
            source,
        }),
        Ok(n) if n as u64 > limit => Err(Error::TooLong {
            path: path.into(),
            limit,
        }),
        Ok(_) => Ok(bytes),
    }
}

/// The bytes as text.
///
/// # Errors
/// [`Error::NotUtf8`].
pub fn text(path: &Path, bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|e| Error::NotUtf8 {
        path: path.into(),
        offset: e.utf8_error().valid_up_to(),
    })
}

/// Opens what is below a folder, in the same mount and behind no link;
/// openat2(2), Linux 5.6. The descriptor is close-on-exec.
///
/// # Errors
/// Those of openat2(2): ELOOP for a link, EXDEV for a way out.
pub(crate) fn open_beneath(folder: impl AsFd, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    let flags = flags | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(resolve);
    Ok(openat2(folder, path, how)?)
}

/// Opens without waiting for a fifo's writer and without taking a terminal.
fn open(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path)
        .map_err(|source| Error::Open {
            path: path.into(),
            near: match source.kind() {
                io::ErrorKind::NotFound => near::file(path),
                _ => None,
            },
            source,
        })
}

fn kind(path: &Path, file: &File) -> Result<std::fs::FileType, Error> {
    match file.metadata() {
        Ok(metadata) => Ok(metadata.file_type()),
        Err(source) => Err(Error::Open {
            path: path.into(),
            near: None,
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn fifo(dir: &tempfile::TempDir) -> PathBuf {
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        path
    }

    #[test]
    fn a_fifo_is_no_regular_file_and_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = fifo(&dir);
        assert!(matches!(read_regular(&path, 9), Err(Error::Kind { .. })));
        assert_eq!(read_limited(&path, 9).unwrap(), "");
    }

    #[test]
    fn a_fifo_with_a_writer_is_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = fifo(&dir);
        let mut both_ends = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        both_ends.write_all(b"early ").unwrap();
        let reader = std::thread::spawn(move || read_limited(&path, 100).unwrap());
        // Longer than the reader takes to reach its read; if it is slower,
        // the test still passes.
        std::thread::sleep(std::time::Duration::from_millis(50));
        both_ends.write_all(b"late").unwrap();
        drop(both_ends);
        assert_eq!(reader.join().unwrap(), "early late");
    }

    #[test]
    fn the_limit_is_the_last_length_that_is_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"12345").unwrap();
        assert_eq!(read_regular(file.path(), 5).unwrap(), "12345");
        let error = read_regular(file.path(), 4).unwrap_err().to_string();
        assert!(error.ends_with("is longer than 4 bytes"), "{error}");
        let endless = Path::new("/dev/zero");
        assert!(matches!(
            read_limited(endless, 4),
            Err(Error::TooLong { .. })
        ));
    }

    #[test]
    fn what_is_no_file_or_no_text_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            read_limited(dir.path(), 9),
            Err(Error::Kind { .. })
        ));
        let missing = dir.path().join("missing");
        assert!(matches!(read_limited(&missing, 9), Err(Error::Open { .. })));
        std::fs::write(dir.path().join("misssing"), "").unwrap();
        let error = read_limited(&missing, 9).unwrap_err().to_string();
        assert!(
            error.ends_with("missing (did you mean misssing?)"),
            "{error}"
        );
        let latin1 = dir.path().join("latin1");
        std::fs::write(&latin1, b"caf\xe9").unwrap();
        let error = read_limited(&latin1, 9).unwrap_err();
        assert!(matches!(error, Error::NotUtf8 { offset: 3, .. }));
        assert_eq!(read_regular_bytes(&latin1, 9).unwrap(), b"caf\xe9");
    }
}
