//! A directory of profiles that containers choose from by name.
//!
//! The name is the container's to give, so it may be hostile; the directory
//! is the administrator's. A name is never a path: it cannot lead out of the
//! directory, into another one or along a symbolic link, and what it leads to
//! must be a file that only the administrator can have written.
#![forbid(unsafe_code)]

use std::fs::{File, Metadata};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use crate::input;
use crate::near;

/// The annotation by which a container chooses.
pub const ANNOTATION: &str = "io.oci-seccomp.profile";
/// The longest name, in bytes.
pub const NAME_LIMIT: usize = 128;

/// Group and others may write.
const WRITABLE: u32 = 0o022;

/// Why there is no profile of that name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No name that a file here can have.
    #[error(
        "{0:?} is no name of a profile: 1 to {NAME_LIMIT} of letters, digits, \".\", \"_\" and \
         \"-\", the first a letter or digit, without \"..\""
    )]
    Name(String),
    /// The directory cannot be opened.
    #[error("cannot open {}, the directory of profiles", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// From open(2); ENOTDIR also for a symbolic link.
        source: Errno,
    },
    /// The profile cannot be opened.
    #[error("cannot open {}{}", path.display(), near::in_brackets(near.as_deref()))]
    Open {
        /// The file.
        path: PathBuf,
        /// Where there is no such file: another name that may be meant.
        near: Option<String>,
        /// From openat2(2): ENOENT, ELOOP for a symbolic link, ENOSYS before
        /// Linux 5.6.
        source: Errno,
    },
    /// fstat(2) failed.
    #[error("cannot examine {}", path.display())]
    Examine {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Somebody else than the administrator can change it.
    #[error("{} {why}: it must be root's or this user's, and writable by nobody else", path.display())]
    Untrusted {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No regular file, or too long, or no text.
    #[error(transparent)]
    Input(#[from] input::Error),
}

/// Reads the profile `NAME.json` of a directory; its path, for people, and
/// its text.
///
/// # Errors
/// [`Error`]; a file over `limit` bytes is refused, not cut.
pub fn read(dir: &Path, name: &str, limit: u64) -> Result<(PathBuf, String), Error> {
    let name = check(name)?;
    let path = dir.join(&name);
    let file = open_beneath(&open_dir(dir)?, &name).map_err(|source| {
        let path = path.clone();
        let near = (source == Errno::ENOENT).then(|| near::file(&path));
        let near = near.flatten();
        let near = near.map(|file| file.trim_end_matches(".json").to_owned());
        Error::Open { path, near, source }
    })?;
    let (file, metadata) = trusted(&path, file)?;
    if !metadata.is_file() {
        return Err(input::Error::Kind { path }.into());
    }
    let text = input::text(&path, input::bounded(&path, file, limit)?)?;
    Ok((path, text))
}

/// The file's name, if the name can be one.
fn check(name: &str) -> Result<String, Error> {
    let fits = (1..=NAME_LIMIT).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        && !name.contains("..");
    match fits {
        true => Ok(format!("{name}.json")),
        // Not all of it: it may be long.
        false => Err(Error::Name(name.chars().take(NAME_LIMIT).collect())),
    }
}

fn open_dir(path: &Path) -> Result<File, Error> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let dir = open(path, flags, Mode::empty()).map_err(|source| {
        let path = path.into();
        Error::Directory { path, source }
    })?;
    Ok(trusted(path, dir)?.0)
}

/// Opens without waiting for a fifo's writer and without taking a terminal.
fn open_beneath(dir: &impl AsFd, name: &str) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS,
    );
    openat2(dir, name, how)
}

/// Refuses what another user could have written.
fn trusted(path: &Path, fd: OwnedFd) -> Result<(File, Metadata), Error> {
    let file = File::from(fd);
    let metadata = file.metadata().map_err(|source| {
        let path = path.into();
        Error::Examine { path, source }
    })?;
    let owner = metadata.uid();
    let why = if owner != 0 && owner != geteuid().as_raw() {
        format!("belongs to user {owner}")
    } else if metadata.mode() & WRITABLE != 0 {
        format!("has mode {:o}", metadata.mode() & 0o7777)
    } else {
        return Ok((file, metadata));
    };
    let path = path.into();
    Err(Error::Untrusted { path, why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("web-1.0_a.json"), "text").unwrap();
        dir
    }

    fn mode(path: impl AsRef<Path>, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn finds_a_profile_by_its_name() {
        let dir = dir();
        let (path, text) = read(dir.path(), "web-1.0_a", 9).unwrap();
        assert_eq!(
            (path, text.as_str()),
            (dir.path().join("web-1.0_a.json"), "text")
        );
        assert!(matches!(
            read(dir.path(), "web-1.0_a", 3),
            Err(Error::Input(input::Error::TooLong { .. }))
        ));
        assert!(matches!(
            read(dir.path(), "other", 9),
            Err(Error::Open {
                source: Errno::ENOENT,
                ..
            })
        ));
    }

    #[test]
    fn a_name_that_is_nearly_one_is_told_the_one() {
        let dir = dir();
        let error = |name| read(dir.path(), name, 9).unwrap_err().to_string();
        let near = error("web-1.0_b");
        assert!(
            near.ends_with("web-1.0_b.json (did you mean web-1.0_a?)"),
            "{near}"
        );
        let far = error("database");
        assert!(far.ends_with("database.json"), "{far}");
    }

    #[test]
    fn a_name_is_never_a_path() {
        let long = "a".repeat(NAME_LIMIT + 1);
        for name in [
            "",
            ".",
            "..",
            ".web",
            "-web",
            "_web",
            "a..b",
            "../web",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "a b",
            "a\0",
            "a\n",
            "wéb",
            "%2e%2e",
            &long,
        ] {
            let refused = read(dir().path(), name, 9);
            assert!(matches!(refused, Err(Error::Name(_))), "{name:?}");
        }
        assert!(check(&long[1..]).is_ok());
    }

    #[test]
    fn follows_no_link_and_reads_no_other_kind() {
        let dir = dir();
        let at = |name: &str| dir.path().join(name);
        symlink("web-1.0_a.json", at("link.json")).unwrap();
        fs::create_dir(at("dir.json")).unwrap();
        nix::unistd::mkfifo(&at("fifo.json"), Mode::S_IRUSR).unwrap();
        assert!(matches!(
            read(dir.path(), "link", 9),
            Err(Error::Open {
                source: Errno::ELOOP,
                ..
            })
        ));
        for name in ["dir", "fifo"] {
            let refused = read(dir.path(), name, 9);
            assert!(
                matches!(refused, Err(Error::Input(input::Error::Kind { .. }))),
                "{refused:?}"
            );
        }
        symlink(dir.path(), at("same")).unwrap();
        assert!(matches!(
            read(&at("same"), "web-1.0_a", 9),
            Err(Error::Directory { .. })
        ));
    }

    #[test]
    fn what_others_can_write_is_refused() {
        let dir = dir();
        let file = dir.path().join("web-1.0_a.json");
        let refused = || match read(dir.path(), "web-1.0_a", 9) {
            Err(Error::Untrusted { path, .. }) => Some(path),
            _ => None,
        };
        for writable in [0o666, 0o664, 0o602] {
            mode(&file, writable);
            assert_eq!(refused().as_ref(), Some(&file), "{writable:o}");
        }
        mode(&file, 0o644);
        assert_eq!(refused(), None);
        mode(dir.path(), 0o1777);
        assert_eq!(refused().as_deref(), Some(dir.path()));
        mode(dir.path(), 0o755);
        if geteuid().is_root() {
            nix::unistd::chown(&file, Some(1000.into()), None).unwrap();
            assert_eq!(refused().as_ref(), Some(&file));
        }
    }
}
