//! Compiled and proven programs, kept for the next start of the same profile.
//!
//! An entry is found by a [`Key`], the SHA-256 of everything that its program
//! was made from, so it is never out of date. It is believed because of where
//! it is: in a folder that nobody else may write to, in a file that is this
//! user's. Whatever is not so, or is not whole, is no entry: the program is
//! made again. Nothing here ever stops a container.
//!
//! Not for a process inside a container: there, the folder of that name is the
//! image's.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, geteuid, getpid, mkdir, unlinkat};
use sha2::{Digest, Sha256};

use crate::bpf::{MAX_INSTRUCTIONS, Program};
use crate::policy::{Flags, Listener};

/// How many entries there may be.
pub const MAX_ENTRIES: usize = 512;
/// How many bytes they may have in all.
pub const MAX_BYTES: u64 = 8 << 20;

/// Changes with the form of an entry.
const MAGIC: &[u8; 8] = b"ociscmp1";
/// The longest entry: a path and its metadata come on top of a program.
const MAX_ENTRY: u64 = MAX_INSTRUCTIONS as u64 * 8 + (64 << 10);
/// When a file that is still being written belongs to nobody any more.
const ABANDONED: Duration = Duration::from_secs(60);
/// Of an entry's file name.
const EXTENSION: &str = ".bpf";

/// What a program was made from, as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of these parts, which are told apart: no two lists of parts
    /// have the same.
    ///
    /// What every program is made by as well is put in: this program's
    /// version and source, libseccomp's version and the kernel's.
    #[must_use]
    pub fn new(parts: &[&[u8]]) -> Self {
        let libseccomp = libseccomp::ScmpVersion::current().map(|v| v.to_string());
        let kernel = nix::sys::utsname::uname();
        let kernel = kernel.as_ref().map_or(OsStr::new(""), |k| k.release());
        let makers = [
            env!("CARGO_PKG_VERSION").as_bytes(),
            env!("OCI_SECCOMP_SOURCE").as_bytes(),
            libseccomp.as_deref().unwrap_or_default().as_bytes(),
            kernel.as_bytes(),
        ];
        let mut hash = Sha256::new();
        for part in makers.iter().chain(parts) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    fn file_name(&self) -> String {
        let mut name: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        name += EXTENSION;
        name
    }
}

/// All that it takes to load a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Proven to mean what the profile says.
    pub program: Program,
    /// How it is loaded.
    pub flags: Flags,
    /// Who answers its NOTIFY rules.
    pub listener: Option<Listener>,
}

/// An entry's file, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Its name: the key.
    pub name: String,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// When it was made.
    pub made: SystemTime,
    /// The program's [`Program::fingerprint`] and its number of instructions;
    /// `None` where the entry is not whole.
    pub program: Option<(String, usize)>,
}

/// An open cache.
#[derive(Debug)]
pub struct Cache(OwnedFd);

impl Cache {
    /// Where this user's cache is: `/run/oci-seccomp` for root, else
    /// `$XDG_RUNTIME_DIR/oci-seccomp`, if there is such a folder.
    #[must_use]
    pub fn path() -> Option<PathBuf> {
        let runtime = match geteuid().is_root() {
            true => PathBuf::from("/run"),
            false => std::env::var_os("XDG_RUNTIME_DIR")?.into(),
        };
        runtime.is_absolute().then(|| runtime.join("oci-seccomp"))
    }

    /// Opens the cache at a path, and makes it if it is not there.
    ///
    /// # Errors
    /// Those of open(2) and mkdir(2); EPERM where it is not this user's alone,
    /// ELOOP where it is a symbolic link or behind one.
    pub fn open(path: &Path) -> io::Result<Self> {
        match folder(path) {
            Err(Errno::ENOENT) => {
                match mkdir(path, Mode::S_IRWXU) {
                    // Another start was faster.
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
                Ok(Self(folder(path)?))
            }
            opened => Ok(Self(opened?)),
        }
    }

    /// The entry of a key, if there is a whole one.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Entry> {
        let bytes = self.read(&key.file_name())?;
        decode(&bytes, Some(key))
    }

    /// Keeps an entry, and lets the oldest go where there are too many.
    ///
    /// # Errors
    /// Those of writing a file: a full or read-only disk. The cache is as it
    /// was then.
    pub fn put(&self, key: &Key, entry: &Entry) -> io::Result<()> {
        let bytes = encode(key, entry);
        if bytes.len() as u64 > MAX_ENTRY {
            // It would not be read.
            return Err(Errno::EFBIG.into());
        }
        // Whole when it gets its name, whoever else makes the same.
        let new = format!(".{}.{}", getpid(), key.file_name());
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let create = || openat(&self.0, new.as_str(), flags | OFlag::O_CLOEXEC, mode);
        let file = match create() {
            // Of one that was killed: this number is ours now.
            Err(Errno::EEXIST) => {
                self.remove(&new);
                create()?
            }
            file => file?,
        };
        let mut file = File::from(file);
        let written = file.write_all(&bytes).and_then(|()| {
            Ok(renameat(
                &self.0,
                new.as_str(),
                &self.0,
                key.file_name().as_str(),
            )?)
        });
        if let Err(error) = written {
            self.remove(&new);
            return Err(error);
        }
        self.shrink()
    }

    /// The entries, the oldest first.
    ///
    /// # Errors
    /// Those of reading the folder.
    pub fn list(&self) -> io::Result<Vec<Listed>> {
        let mut all = Vec::new();
        for (name, stat) in self.files()? {
            if !name.starts_with('.') {
                let program = self.read(&name).and_then(|bytes| decode(&bytes, None));
                let program = program.map(|e| e.program);
                all.push(Listed {
                    program: program.map(|p| (p.fingerprint(), p.instructions().len())),
                    bytes: size(&stat),
                    made: made(&stat),
                    name,
                });
            }
        }
        Ok(all)
    }

    /// Removes all entries; how many there were.
    ///
    /// # Errors
    /// Those of reading the folder.
    pub fn clear(&self) -> io::Result<usize> {
        let files = self.files()?;
        files.iter().for_each(|(name, _)| self.remove(name));
        Ok(files
            .iter()
            .filter(|(name, _)| !name.starts_with('.'))
            .count())
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::empty()).ok()?;
        let stat = fstat(&file).ok()?;
        if !is_ours(&stat, SFlag::S_IFREG) || size(&stat) > MAX_ENTRY {
            return None;
        }
        let mut bytes = Vec::with_capacity(size(&stat) as usize);
        let mut file = File::from(file).take(MAX_ENTRY);
        file.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Lets the oldest go until the rest is within bounds.
    fn shrink(&self) -> io::Result<()> {
        let files = self.files()?;
        let mut bytes: u64 = files.iter().map(|(_, stat)| size(stat)).sum();
        let mut count = files.len();
        for (name, stat) in &files {
            let age = made(stat).elapsed().unwrap_or_default();
            let abandoned = name.starts_with('.') && age > ABANDONED;
            let too_much = count > MAX_ENTRIES || bytes > MAX_BYTES;
            if abandoned || (too_much && !name.starts_with('.')) {
                self.remove(name);
                bytes -= size(stat);
                count -= 1;
            }
        }
        Ok(())
    }

    /// The files, the oldest first.
    fn files(&self) -> io::Result<Vec<(String, FileStat)>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = Dir::openat(&self.0, ".", flags, Mode::empty())?;
        let mut files = Vec::new();
        for entry in dir.iter() {
            let Ok(name) = entry?.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            if name.ends_with(EXTENSION) {
                let no_link = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
                // Another start may have let it go.
                if let Ok(stat) = nix::sys::stat::fstatat(&self.0, name.as_str(), no_link) {
                    files.push((name, stat));
                }
            }
        }
        files.sort_by_key(|(name, stat)| (stat.st_mtime, stat.st_mtime_nsec, name.clone()));
        Ok(files)
    }

    fn remove(&self, name: &str) {
        // It may be gone already, or be a folder of somebody's: both will do.
        let _ = unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir);
    }
}

impl AsFd for Cache {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens a folder that is this user's alone.
fn folder(path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let fd = openat2(nix::fcntl::AT_FDCWD, path, how)?;
    match is_ours(&fstat(&fd)?, SFlag::S_IFDIR) {
        true => Ok(fd),
        false => Err(Errno::EPERM),
    }
}

/// Whether it is of this kind, this user's, and nobody else has rights to it.
fn is_ours(stat: &FileStat, kind: SFlag) -> bool {
    stat.st_mode & libc::S_IFMT == kind.bits()
        && stat.st_uid == geteuid().as_raw()
        && stat.st_mode & 0o077 == 0
}

fn size(stat: &FileStat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(u64::MAX)
}

fn made(stat: &FileStat) -> SystemTime {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Magic, checksum of what follows, key, flags, listener, program; each part
/// of no fixed length behind its length.
fn encode(key: &Key, entry: &Entry) -> Vec<u8> {
    let mut body = key.0.to_vec();
    body.extend(entry.flags.bits().to_le_bytes());
    let mut part = |bytes: &[u8]| {
        body.extend((bytes.len() as u32).to_le_bytes());
        body.extend(bytes);
    };
    let listener = entry.listener.as_ref();
    let metadata = listener.and_then(|l| l.metadata.as_ref());
    part(listener.map_or(b"", |l| l.path.as_os_str().as_bytes()));
    part(&[u8::from(metadata.is_some())]);
    part(metadata.map_or(b"", |m| m.as_bytes()));
    part(&entry.program.to_bytes());
    let mut bytes = MAGIC.to_vec();
    bytes.extend(Sha256::digest(&body));
    bytes.extend(body);
    bytes
}

/// `None` for what is not whole, or of another key.
fn decode(bytes: &[u8], key: Option<&Key>) -> Option<Entry> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (checksum, body) = rest.split_at_checked(32)?;
    if Sha256::digest(body).as_slice() != checksum {
        return None;
    }
    let (is, body) = body.split_at_checked(32)?;
    if key.is_some_and(|key| key.0 != is) {
        return None;
    }
    let (bits, mut body) = body.split_first_chunk()?;
    let mut part = || {
        let (len, rest) = body.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        body = rest;
        Some(part)
    };
    let (path, has_metadata, metadata, program) = (part()?, part()?, part()?, part()?);
    let metadata = match has_metadata {
        [1] => Some(std::str::from_utf8(metadata).ok()?.to_owned()),
        _ => None,
    };
    let path = PathBuf::from(OsStr::from_bytes(path));
    Some(Entry {
        program: Program::from_bytes(program).ok()?,
        flags: Flags::from_bits(u32::from_le_bytes(*bits)),
        listener: (!path.as_os_str().is_empty()).then_some(Listener { path, metadata }),
    })
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
