//! Finding a command, and the exit status that says what came of it, as env(1)
//! and the shells have it.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, eaccess};

/// Nothing was started, and it is not the command's fault.
pub const OURS: u8 = 125;
/// The command is there and cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// There is no such command.
pub const NOT_FOUND: u8 = 127;

/// Finds a command as execvp(3) does, by asking where it would try. A script
/// without `#!` is no command here, as it is none to a container runtime.
///
/// # Errors
/// EACCES if there are only files that may not be executed, ENOENT if there
/// is none; another errno ends the search.
pub fn find(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Errno> {
    if name.is_empty() {
        return Err(Errno::ENOENT);
    }
    if name.as_bytes().contains(&b'/') {
        return executable(Path::new(name)).map(|()| name.into());
    }
    let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
    let mut last = Errno::ENOENT;
    for directory in path.as_bytes().split(|byte| *byte == b':') {
        // An empty entry is the working directory.
        let candidate = Path::new(OsStr::from_bytes(directory)).join(name);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => last = Errno::EACCES,
            Err(
                Errno::ENOENT | Errno::ENOTDIR | Errno::ESTALE | Errno::ENODEV | Errno::ETIMEDOUT,
            ) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(last)
}

/// What execve would say before it reads the file.
fn executable(path: &Path) -> Result<(), Errno> {
    match nix::sys::stat::stat(path)?.st_mode & libc::S_IFMT {
        libc::S_IFREG => eaccess(path, AccessFlags::X_OK),
        _ => Err(Errno::EACCES),
    }
}

/// The status that env(1) and the shells give for a failed exec.
#[must_use]
pub fn status(errno: Errno) -> u8 {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// `DIR/{plain,exec,dir}/cmd`: a file, an executable and a directory.
    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, mode) in [("plain", 0o644), ("exec", 0o755)] {
            let file = root.path().join(name).join("cmd");
            fs::create_dir(root.path().join(name)).unwrap();
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir_all(root.path().join("dir/cmd")).unwrap();
        root
    }

    #[test]
    fn searches_path_as_execvp_does() {
        let root = tree();
        let at = |name: &str| root.path().join(name).display().to_string();
        let found = Ok(root.path().join("exec/cmd"));
        let none = at("none");
        for (path, expected) in [
            (at("exec"), found.clone()),
            (format!("{none}:{}", at("exec")), found.clone()),
            (
                format!("{}:{}:{}", at("plain"), at("dir"), at("exec")),
                found,
            ),
            (format!("{}:{none}", at("plain")), Err(Errno::EACCES)),
            (at("dir"), Err(Errno::EACCES)),
            (none.clone(), Err(Errno::ENOENT)),
            (at("exec/cmd"), Err(Errno::ENOENT)),
            (String::new(), Err(Errno::ENOENT)),
        ] {
            let path = Some(OsStr::new(&path));
            assert_eq!(find(OsStr::new("cmd"), path), expected, "{path:?}");
        }
        assert_eq!(
            find(OsStr::new("sh"), None),
            Ok(PathBuf::from("/bin/sh")),
            "without PATH"
        );
    }

    #[test]
    fn a_name_with_a_slash_is_taken_as_it_is() {
        let root = tree();
        let path = Some(root.path().as_os_str());
        assert_eq!(find(OsStr::new("exec/cmd"), path), Err(Errno::ENOENT));
        for (name, expected) in [
            ("exec/cmd", Ok(())),
            ("plain/cmd", Err(Errno::EACCES)),
            ("dir/cmd", Err(Errno::EACCES)),
            ("none/cmd", Err(Errno::ENOENT)),
            ("exec/cmd/cmd", Err(Errno::ENOTDIR)),
        ] {
            let name = root.path().join(name);
            assert_eq!(find(name.as_os_str(), path).map(drop), expected);
        }
        assert_eq!(find(OsStr::new(""), path), Err(Errno::ENOENT));
    }
}
