//! Files in a folder that somebody else may be able to change: no symbolic
//! link in it is followed, and none of its files is half written.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fsync, linkat, unlinkat};
use oci_seccomp::input;

/// An open folder.
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

/// What a file has beside its bytes.
#[derive(Clone, Copy)]
pub struct Owner {
    mode: Mode,
    /// `None`: whoever makes it.
    ids: Option<(Uid, Gid)>,
}

impl Owner {
    /// Ours, with these permissions.
    pub const fn us(mode: Mode) -> Self {
        Self { mode, ids: None }
    }

    /// As that of another file.
    pub fn of(stat: &FileStat) -> Self {
        Self {
            mode: Mode::from_bits_truncate(stat.st_mode),
            ids: Some((Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))),
        }
    }
}

impl Folder {
    /// Opens a folder by the name that a person gave.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(path, flags, Mode::empty());
        Ok(Self {
            fd: fd.with_context(|| format!("cannot open {}", path.display()))?,
            path: path.into(),
        })
    }

    /// The path of something in it, for people.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a folder in it; `None` if there is nothing of this name.
    pub fn folder(&self, name: &str) -> anyhow::Result<Option<Self>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let path = self.path(name);
        match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno).with_context(|| format!("cannot open {}", path.display())),
        }
    }

    /// Makes a folder in it, readable by all; `None` if the name is taken.
    pub fn make(&self, name: &str) -> anyhow::Result<Option<Self>> {
        let failed = || format!("cannot make {}", self.path(name).display());
        match mkdirat(&self.fd, name, Mode::S_IRWXU) {
            Err(Errno::EEXIST) => return Ok(None),
            made => made.with_context(failed)?,
        }
        let made = self.folder(name)?.with_context(failed)?;
        // Whatever the umask: the container's user must get to what is in it.
        fchmod(&made.fd, Mode::from_bits_truncate(0o755)).with_context(failed)?;
        Ok(Some(made))
    }

    /// Reads a regular file; `None` if there is nothing of this name.
    pub fn read(&self, name: &str, limit: u64) -> anyhow::Result<Option<(Vec<u8>, FileStat)>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let path = self.path(name);
        let failed = || format!("cannot open {}", path.display());
        let fd = match openat(&self.fd, name, flags | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => bail!("{} is a symbolic link", path.display()),
            Err(errno) => return Err(errno).with_context(failed),
        };
        let stat = fstat(&fd).with_context(failed)?;
        let regular = stat.st_mode & libc::S_IFMT == SFlag::S_IFREG.bits();
        ensure!(regular, "{} is not a regular file", path.display());
        let bytes = input::bounded(&path, File::from(fd), limit)?;
        Ok(Some((bytes, stat)))
    }

    /// Makes a file, which is on disk when this comes back.
    pub fn create(&self, name: &str, owner: Owner, mut from: impl io::Read) -> anyhow::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let mut write = || -> io::Result<()> {
            let fd = openat(&self.fd, name, flags | OFlag::O_NOFOLLOW, Mode::S_IRUSR)?;
            let mut file = File::from(fd);
            io::copy(&mut from, &mut file)?;
            file.flush()?;
            let is = fstat(&file)?;
            if let Some((uid, gid)) = owner.ids
                && (uid.as_raw(), gid.as_raw()) != (is.st_uid, is.st_gid)
            {
                fchown(&file, Some(uid), Some(gid))?;
            }
            // Last: a change of owner may take bits away.
            fchmod(&file, owner.mode)?;
            file.sync_all()
        };
        write().with_context(|| format!("cannot write {}", self.path(name).display()))
    }

    /// Puts its names on disk.
    pub fn sync(&self) -> anyhow::Result<()> {
        fsync(&self.fd).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Gives a file of `self` a second name in `to`.
    pub fn link(&self, name: &str, to: &Self, new: &str) -> anyhow::Result<()> {
        linkat(&self.fd, name, &to.fd, new, AtFlags::empty()).with_context(|| {
            let (from, to) = (self.path(name), to.path(new));
            format!("cannot link {} to {}", to.display(), from.display())
        })
    }

    /// Moves a file into `to`, over what has this name there, for good.
    pub fn rename(&self, name: &str, to: &Self, new: &str) -> anyhow::Result<()> {
        renameat(&self.fd, name, &to.fd, new)
            .and_then(|()| fsync(&to.fd))
            .with_context(|| format!("cannot replace {}", to.path(new).display()))
    }

    /// Removes files, those that are there.
    pub fn remove(&self, names: &[&str]) -> anyhow::Result<()> {
        names
            .iter()
            .try_for_each(|name| self.unlink(name, UnlinkatFlags::NoRemoveDir))
    }

    /// Removes an empty folder, if it is there.
    pub fn remove_folder(&self, name: &str) -> anyhow::Result<()> {
        self.unlink(name, UnlinkatFlags::RemoveDir)
    }

    fn unlink(&self, name: &str, flag: UnlinkatFlags) -> anyhow::Result<()> {
        match unlinkat(&self.fd, name, flag) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => {
                Err(errno).with_context(|| format!("cannot remove {}", self.path(name).display()))
            }
        }
    }
}
