//! Puts a new process into the cgroups of a container.
//!
//! cgroups(7). A process of the container's that is in none of its cgroups
//! has none of its limits, so whatever is not certain is an error here.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat, major, minor};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs};
use nix::unistd::getpid;

use crate::input::open_beneath;
use crate::sys::process::PidFd;
use crate::sys::procfs::Proc;

/// Why a process is not in the cgroups of a container. It may be in some of
/// them: it is to be ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// proc(5) could not be read.
    #[error("cannot read {what}")]
    Read {
        /// What of it.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A line that is not as proc(5) and cgroups(7) have it.
    #[error("{what} has a line that makes no sense: {line:?}")]
    Line {
        /// What was read.
        what: &'static str,
        /// The line.
        line: String,
    },
    /// The container's cgroup is above all that this process may name.
    #[error("the container's cgroup {} ({hierarchy}) is outside of this process's cgroup namespace", path.display())]
    Outside {
        /// `unified` or the controllers.
        hierarchy: String,
        /// As this process sees it.
        path: PathBuf,
    },
    /// There is nowhere to write.
    #[error("the cgroup hierarchy {hierarchy} is not mounted so that the container's cgroup {} could be joined", path.display())]
    NotMounted {
        /// `unified` or the controllers.
        hierarchy: String,
        /// The container's cgroup.
        path: PathBuf,
    },
    /// There is nothing left to join.
    #[error("the container's init has ended")]
    Ended,
    /// A process that joins a frozen cgroup stops as well.
    #[error("the container is paused (cgroup {}): resume it first", path.display())]
    Frozen {
        /// The cgroup's folder.
        path: PathBuf,
    },
    /// A file of the cgroup could not be used.
    #[error("failed to {what} {}", path.display())]
    File {
        /// What it was to do.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// All was written, and yet it is elsewhere.
    #[error("the process did not come into the container's cgroups")]
    Differs,
}

/// The cgroups of a container's init, opened where this process sees them:
/// before the container's namespaces are joined.
///
/// To move a process by its number the kernel holds up every fork and exit on
/// the machine, for milliseconds at times. So the process is born in the
/// unified cgroup (clone3(2), CLONE_INTO_CGROUP), and enters those of version 1
/// by itself, as the one thread that it is; neither needs that.
#[derive(Debug)]
pub struct Cgroups {
    wanted: Vec<Membership>,
    unified: Option<Cgroup>,
    /// The `tasks` of each other one, with what to call it.
    tasks: Vec<(File, PathBuf)>,
}

impl Cgroups {
    /// Those of `init` that this process, and so its child, is not in.
    ///
    /// # Errors
    /// [`Error`]: one of them is out of reach, or the container is paused.
    pub fn of(proc: &Proc, init: &PidFd) -> Result<Self, Error> {
        let this = PidFd::open(getpid());
        let this = this.map_err(|errno| read_error("this process")(errno.into()))?;
        let read = |process, what| proc.cgroup(process).map_err(read_error(what));
        let wanted = memberships(&read(init, "the cgroups of the container's init")?)?;
        let own = memberships(&read(&this, "the cgroups of this process")?)?;
        let mounts = mounts(&proc.mountinfo().map_err(read_error("the mounts"))?)?;

        // One that has ended counts as a member of other cgroups than before.
        if !init.is_alive().is_ok_and(|alive| alive) {
            return Err(Error::Ended);
        }
        let (mut unified, mut tasks) = (None, Vec::new());
        for membership in wanted.iter().filter(|membership| !own.contains(membership)) {
            let cgroup = Cgroup::open(membership, &mounts)?;
            // Before any of them is joined: a frozen one would be the last.
            cgroup.check_thawed()?;
            match cgroup.is_unified {
                true => unified = Some(cgroup),
                false => tasks.push(cgroup.tasks()?),
            }
        }
        Ok(Self {
            wanted,
            unified,
            tasks,
        })
    }

    /// Where a child is to be born; `None` where that is here.
    #[must_use]
    pub fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(|cgroup| cgroup.folder.as_fd())
    }

    /// The descriptors that [`Cgroups::enter`] needs.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.tasks.iter().map(|(file, _)| file.as_fd())
    }

    /// Puts the calling thread into those of version 1.
    ///
    /// # Errors
    /// [`Error::File`]; it may be in some of them.
    pub fn enter(&self) -> Result<(), Error> {
        self.tasks.iter().try_for_each(|(file, path)| {
            // 0 is whoever writes it.
            let written = (&*file).write_all(b"0");
            written.map_err(|error| file_error("write to", path.clone())(error))
        })
    }

    /// Makes sure that a process is in all of them.
    ///
    /// # Errors
    /// [`Error::Differs`]; the process is to be ended then.
    pub fn check(&self, proc: &Proc, process: &PidFd) -> Result<(), Error> {
        let text = proc.cgroup(process);
        let text = text.map_err(read_error("the cgroups of the process that joins"))?;
        match memberships(&text)? == self.wanted {
            true => Ok(()),
            false => Err(Error::Differs),
        }
    }
}

/// A cgroup that can be joined.
#[derive(Debug)]
struct Cgroup {
    folder: OwnedFd,
    /// The folder's, for people.
    path: PathBuf,
    has_freezer: bool,
    is_unified: bool,
}

impl Cgroup {
    fn open(membership: &Membership, mounts: &[Mount]) -> Result<Self, Error> {
        let (hierarchy, path) = (membership.hierarchy(), membership.path.clone());
        if is_outside(&path) {
            return Err(Error::Outside { hierarchy, path });
        }
        for mount in mounts {
            let Some(place) = mount.place_of(membership) else {
                continue;
            };
            let path = mount.point.join(place);
            let failed = |errno| file_error("open", path.clone())(errno);
            let Some(point) = mount.open().map_err(|e| failed(e.into()))? else {
                continue;
            };
            let place = if place == "" { ".".as_ref() } else { place };
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
            return Ok(Self {
                folder: open_beneath(&point, place, flags).map_err(failed)?,
                path,
                has_freezer: membership.controllers().any(|name| name == "freezer"),
                is_unified: membership.is_unified(),
            });
        }
        Err(Error::NotMounted { hierarchy, path })
    }

    /// Refuses a cgroup that is frozen, by itself or with one above it.
    fn check_thawed(&self) -> Result<(), Error> {
        let is_frozen = match (self.is_unified, self.has_freezer) {
            (true, _) => {
                self.says("cgroup.freeze", "1")? || self.says("cgroup.events", "frozen 1")?
            }
            (false, true) => {
                self.says("freezer.state", "FROZEN")? || self.says("freezer.state", "FREEZING")?
            }
            (false, false) => false,
        };
        let path = self.path.clone();
        match is_frozen {
            true => Err(Error::Frozen { path }),
            false => Ok(()),
        }
    }

    /// Whether a file has this line. The root of a hierarchy, which cannot be
    /// frozen, has no such files.
    fn says(&self, file: &str, line: &str) -> Result<bool, Error> {
        let failed = file_error("read", self.path.join(file));
        let opened = match open_beneath(&self.folder, file.as_ref(), OFlag::O_RDONLY) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened,
        };
        let text = opened.and_then(|file| io::read_to_string(File::from(file)));
        Ok(text.map_err(failed)?.lines().any(|l| l == line))
    }

    /// Its list of threads, to be written to.
    fn tasks(&self) -> Result<(File, PathBuf), Error> {
        let path = self.path.join("tasks");
        let opened = open_beneath(&self.folder, "tasks".as_ref(), OFlag::O_WRONLY);
        match opened {
            Ok(file) => Ok((file.into(), path)),
            Err(error) => Err(file_error("open", path)(error)),
        }
    }
}

/// One line of `/proc/PID/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Membership {
    /// As written: `cpu,cpuacct`, `name=systemd`; empty for version 2.
    controllers: String,
    /// From the root of this process's cgroup namespace.
    path: PathBuf,
}

impl Membership {
    fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }

    fn controllers(&self) -> impl Iterator<Item = &str> {
        self.controllers.split(',').filter(|name| !name.is_empty())
    }

    /// For people.
    fn hierarchy(&self) -> String {
        match self.is_unified() {
            true => "unified".into(),
            false => self.controllers.clone(),
        }
    }
}

/// Parses `/proc/PID/cgroup`; cgroups(7).
fn memberships(text: &[u8]) -> Result<Vec<Membership>, Error> {
    let parse = |line: &[u8]| {
        // A path may have colons in it.
        let mut fields = line.splitn(3, |byte| *byte == b':');
        fields.next()?;
        let controllers = String::from_utf8(fields.next()?.to_vec()).ok()?;
        let path = path(fields.next()?);
        path.is_absolute()
            .then_some(Membership { controllers, path })
    };
    lines(text, "a list of cgroups", parse)
}

/// A mounted hierarchy, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    /// Its st_dev, as major and minor number.
    device: (u64, u64),
    /// The cgroup that is seen at the mount point.
    root: PathBuf,
    point: PathBuf,
    is_unified: bool,
    is_read_only: bool,
    /// Of the file system: controllers are among them in version 1.
    options: Vec<String>,
}

impl Mount {
    /// Where a cgroup is below the mount point, if this is its hierarchy and
    /// it can be written to.
    fn place_of<'a>(&self, membership: &'a Membership) -> Option<&'a Path> {
        let has = |name: &str| self.options.iter().any(|option| option == name);
        let is_it = self.is_unified == membership.is_unified() && membership.controllers().all(has);
        // Of a root outside of the cgroup namespace it is not known where
        // that is.
        let usable = is_it && !self.is_read_only && !is_outside(&self.root);
        membership
            .path
            .strip_prefix(&self.root)
            .ok()
            .filter(|_| usable)
    }

    /// The folder at the mount point. `None` where something else is by now
    /// mounted over it.
    fn open(&self) -> Result<Option<OwnedFd>, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = open(&self.point, flags, Mode::empty())?;
        let magic = match self.is_unified {
            true => CGROUP2_SUPER_MAGIC,
            false => CGROUP_SUPER_MAGIC,
        };
        let device = fstat(&folder)?.st_dev;
        let is_it = fstatfs(&folder)?.filesystem_type() == magic
            && (major(device), minor(device)) == self.device;
        Ok(is_it.then_some(folder))
    }
}

/// The cgroup mounts in `/proc/PID/mountinfo`; proc(5).
fn mounts(text: &[u8]) -> Result<Vec<Mount>, Error> {
    let parse = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let device = String::from_utf8(fields.nth(2)?.to_vec()).ok()?;
        let (major, minor) = device.split_once(':')?;
        let device = (major.parse().ok()?, minor.parse().ok()?);
        let (root, point) = (unescaped(fields.next()?), unescaped(fields.next()?));
        let mount_options = fields.next()?;
        // Optional fields end with a dash.
        fields.find(|field| *field == b"-")?;
        let kind = fields.next()?;
        let options = String::from_utf8_lossy(fields.nth(1)?).into_owned();
        let options: Vec<String> = options.split(',').map(String::from).collect();
        let is_read_only = mount_options
            .split(|byte| *byte == b',')
            .any(|o| o == b"ro");
        Some((kind == b"cgroup2" || kind == b"cgroup").then(|| Mount {
            device,
            root: path(&root),
            point: path(&point),
            is_unified: kind == b"cgroup2",
            is_read_only: is_read_only || options.iter().any(|o| o == "ro"),
            options,
        }))
    };
    let all = lines(text, "the list of mounts", parse)?;
    Ok(all.into_iter().flatten().collect())
}

fn lines<T>(
    text: &[u8],
    what: &'static str,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let each = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    each.map(|line| {
        parse(line).ok_or_else(|| Error::Line {
            what,
            line: String::from_utf8_lossy(line).into_owned(),
        })
    })
    .collect()
}

/// What proc(5) writes as `\ooo`: blanks and backslashes in a path.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] => Some(((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = after;
    }
    bytes
}

fn path(bytes: &[u8]) -> PathBuf {
    OsString::from_vec(bytes.to_vec()).into()
}

fn is_outside(path: &Path) -> bool {
    path.components().any(|part| part == Component::ParentDir)
}

fn read_error(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Read { what, source }
}

fn file_error(what: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::File { what, path, source }
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
