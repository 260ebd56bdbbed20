//! Becoming the process that a config describes, for a shim that starts as
//! root with CAP_SYS_ADMIN because its workload may do without no_new_privs.
//!
//! The filter is loaded as late as CAP_SYS_ADMIN allows: users, groups, the
//! bounding and the ambient set come before, and all that is left for after
//! the load is one capset(2).
#![forbid(unsafe_code)]

use std::path::Path;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl::set_keepcaps;
use nix::sys::stat::{fstat, makedev};
use nix::unistd::{Gid, Uid, fchown, getresgid, getresuid, setresgid, setresuid};
use serde::{Deserialize, Serialize};

use crate::bundle::{Capabilities, Process};
use crate::input;
use crate::sys::credentials::CapSets;

/// The longest description that is read, in bytes; five full sets take 5000.
const LIMIT: u64 = 1 << 16;
/// The longest /etc/passwd that is read, in bytes.
const PASSWD_LIMIT: u64 = 16 << 20;

/// Why a process did not become what it was to become.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The description is not readable.
    #[error(transparent)]
    Input(#[from] input::Error),
    /// It is no description.
    #[error("{path} does not describe a process")]
    Json {
        /// The file.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// -1 means "as it is" to setresuid(2).
    #[error("{what} {id} is not the id of anybody")]
    Id {
        /// `uid` or `gid`.
        what: &'static str,
        /// The value.
        id: u32,
    },
    /// A system call failed.
    #[error("failed to {what}")]
    Call {
        /// What it was to do.
        what: &'static str,
        /// Its errno.
        source: Errno,
    },
    /// A call on capabilities failed.
    #[error("failed to {what}")]
    Caps {
        /// What it was to do.
        what: &'static str,
        /// In the words of the caps crate.
        source: CapsError,
    },
    /// All calls succeeded, and yet this is not as described.
    #[error("the process did not become as described: {what} differ")]
    Differs {
        /// What.
        what: &'static str,
    },
}

/// Who the workload is to be, as seen right before its execve(2).
///
/// Supplementary groups and umask are no part of it: the runtime has set them
/// for the shim, and the workload inherits them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// In the container's user namespace.
    pub uid: u32,
    /// In the container's user namespace.
    pub gid: u32,
    /// Whether the config leaves HOME to the runtime, which then took root's.
    pub looks_up_home: bool,
    /// The five sets; what this kernel does not know is left out.
    pub capabilities: Sets,
}

/// Capability sets by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Sets {
    #[serde(with = "names")]
    pub bounding: CapsHashSet,
    #[serde(with = "names")]
    pub effective: CapsHashSet,
    #[serde(with = "names")]
    pub inheritable: CapsHashSet,
    #[serde(with = "names")]
    pub permitted: CapsHashSet,
    #[serde(with = "names")]
    pub ambient: CapsHashSet,
}

impl From<&Capabilities> for Sets {
    /// Names that nobody knows are left out, as runtimes do.
    fn from(from: &Capabilities) -> Self {
        Self {
            bounding: from.bounding.known.clone(),
            effective: from.effective.known.clone(),
            inheritable: from.inheritable.known.clone(),
            permitted: from.permitted.known.clone(),
            ambient: from.ambient.known.clone(),
        }
    }
}

impl Identity {
    /// The identity of a config's process. No `capabilities` are none.
    #[must_use]
    pub fn new(process: &Process, looks_up_home: bool) -> Self {
        Self {
            uid: process.uid,
            gid: process.gid,
            looks_up_home,
            capabilities: process
                .capabilities
                .as_ref()
                .map(Sets::from)
                .unwrap_or_default(),
        }
    }

    /// Reads a description: JSON, each field required and no other allowed.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = input::read_regular(path, LIMIT)?;
        let identity: Self = serde_json::from_str(&text).map_err(|source| Error::Json {
            path: path.display().to_string(),
            source,
        })?;
        for (what, id) in [("uid", identity.uid), ("gid", identity.gid)] {
            if id == u32::MAX {
                return Err(Error::Id { what, id });
            }
        }
        Ok(identity)
    }

    /// What the shim has to start with, beside the workload's own.
    #[must_use]
    pub fn privileges(&self) -> Vec<Capability> {
        use Capability::{CAP_CHOWN, CAP_SETGID, CAP_SETPCAP, CAP_SETUID, CAP_SYS_ADMIN};
        let mut needed = vec![CAP_SYS_ADMIN, CAP_SETPCAP];
        if self.uid != 0 {
            needed.extend([CAP_SETUID, CAP_CHOWN]);
        }
        if self.gid != 0 {
            needed.push(CAP_SETGID);
        }
        needed
    }

    /// The HOME that the runtime would have given this user: the one in
    /// `/etc/passwd`, or `/`. `None` where HOME is to stay as it is.
    #[must_use]
    pub fn home(&self) -> Option<Vec<u8>> {
        let passwd = || input::read_regular_bytes("/etc/passwd".as_ref(), PASSWD_LIMIT);
        self.looks_up_home.then(|| {
            let home = passwd().ok().and_then(|text| home_of(self.uid, &text));
            home.unwrap_or_else(|| b"/".to_vec())
        })
    }

    /// Becomes this, but for CAP_SYS_ADMIN, which stays effective until the
    /// sets that come back are applied. `None`: the workload keeps it.
    ///
    /// For a process of one thread, started as root with
    /// [`Identity::privileges`] by a runtime that gave it this identity's
    /// bounding and inheritable sets otherwise.
    ///
    /// # Errors
    /// [`Error`]; the process is of no use any more then.
    pub fn assume(&self) -> Result<Option<CapSets>, Error> {
        let sets = &self.capabilities;
        drop_bounding(&sets.bounding)?;
        // Cleared again by execve.
        set_keepcaps(true).map_err(call("keep capabilities over the change of user"))?;
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        setresgid(gid, gid, gid).map_err(call("change the group"))?;
        setresuid(uid, uid, uid).map_err(call("change the user"))?;

        // What is not permitted now was in neither the bounding nor the
        // inheritable set, and would not survive the workload's execve.
        let held = read(CapSet::Permitted)?;
        let permitted: CapsHashSet = sets.permitted.intersection(&held).copied().collect();
        let effective: CapsHashSet = sets.effective.intersection(&permitted).copied().collect();
        let with_admin = |set: &CapsHashSet| {
            let mut set = set.clone();
            set.insert(Capability::CAP_SYS_ADMIN);
            set
        };
        let (with, for_load) = (with_admin(&effective), with_admin(&permitted));
        CapSets::new(&with, &for_load, &sets.inheritable)
            .apply()
            .map_err(call("set the capabilities"))?;
        let ambient = self.raise_ambient(&permitted)?;
        self.verify(&with, &for_load, &ambient)?;
        let complete = with == effective && for_load == permitted;
        Ok((!complete).then(|| CapSets::new(&effective, &permitted, &sets.inheritable)))
    }

    /// Raises what can be raised: runtimes go on without the rest.
    fn raise_ambient(&self, permitted: &CapsHashSet) -> Result<CapsHashSet, Error> {
        let sets = &self.capabilities;
        let ambient = sets.ambient.iter().copied();
        let ambient: CapsHashSet = ambient
            .filter(|cap| permitted.contains(cap) && sets.inheritable.contains(cap))
            .collect();
        caps::clear(None, CapSet::Ambient).map_err(on_caps("clear the ambient capabilities"))?;
        for cap in &ambient {
            caps::raise(None, CapSet::Ambient, *cap)
                .map_err(on_caps("raise an ambient capability"))?;
        }
        Ok(ambient)
    }

    /// Asks the kernel whether all that is so.
    fn verify(
        &self,
        effective: &CapsHashSet,
        permitted: &CapsHashSet,
        ambient: &CapsHashSet,
    ) -> Result<(), Error> {
        let uids = getresuid().map_err(call("read the user"))?;
        let gids = getresgid().map_err(call("read the group"))?;
        let is_uid = [uids.real, uids.effective, uids.saved].map(Uid::as_raw) == [self.uid; 3];
        let is_gid = [gids.real, gids.effective, gids.saved].map(Gid::as_raw) == [self.gid; 3];
        let sets = &self.capabilities;
        // A name that this kernel does not know cannot be in the set.
        let bounding = read(CapSet::Bounding)?.is_subset(&sets.bounding);
        for (so, what) in [
            (is_uid, "user ids"),
            (is_gid, "group ids"),
            (bounding, "bounding capabilities"),
            (
                read(CapSet::Effective)? == *effective,
                "effective capabilities",
            ),
            (
                read(CapSet::Permitted)? == *permitted,
                "permitted capabilities",
            ),
            (
                read(CapSet::Inheritable)?.is_subset(&sets.inheritable),
                "inheritable capabilities",
            ),
            (read(CapSet::Ambient)? == *ambient, "ambient capabilities"),
        ] {
            if !so {
                return Err(Error::Differs { what });
            }
        }
        Ok(())
    }
}

/// Gives stdin, stdout and stderr to a user, as runtimes do for theirs (here
/// that was root): else it could not open /dev/stdout again. What cannot be
/// given away stays as it is, also as with them; with `pipes_only`, so does
/// what has a name or is a terminal.
///
/// # Errors
/// [`Error::Call`].
pub fn give_standard_streams(user: u32, pipes_only: bool) -> Result<(), Error> {
    give(std::io::stdin(), user, pipes_only)?;
    give(std::io::stdout(), user, pipes_only)?;
    give(std::io::stderr(), user, pipes_only)
}

fn give(stream: impl std::os::fd::AsFd, user: u32, pipes_only: bool) -> Result<(), Error> {
    let null = makedev(1, 3);
    let failed = call("give a standard stream to the user");
    let given = match fstat(&stream) {
        Ok(stat) if stat.st_rdev == null || stat.st_uid == user => Ok(()),
        Ok(stat) if pipes_only && stat.st_mode & libc::S_IFMT != libc::S_IFIFO => Ok(()),
        Ok(_) => fchown(&stream, Some(Uid::from_raw(user)), None),
        Err(errno) => Err(errno),
    };
    match given {
        // Closed; of no user namespace of ours; on a read-only mount.
        Err(Errno::EBADF | Errno::EINVAL | Errno::EPERM | Errno::EROFS) | Ok(()) => Ok(()),
        Err(errno) => Err(failed(errno)),
    }
}

fn drop_bounding(keep: &CapsHashSet) -> Result<(), Error> {
    for cap in read(CapSet::Bounding)?.difference(keep) {
        caps::drop(None, CapSet::Bounding, *cap).map_err(on_caps("drop a bounding capability"))?;
    }
    Ok(())
}

fn read(set: CapSet) -> Result<CapsHashSet, Error> {
    caps::read(None, set).map_err(on_caps("read the capabilities"))
}

fn call(what: &'static str) -> impl FnOnce(Errno) -> Error {
    move |source| Error::Call { what, source }
}

fn on_caps(what: &'static str) -> impl FnOnce(CapsError) -> Error {
    move |source| Error::Caps { what, source }
}

/// The home of the first user with this id; passwd(5).
fn home_of(uid: u32, passwd: &[u8]) -> Option<Vec<u8>> {
    let uid = uid.to_string();
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let is_user = fields.nth(2)? == uid.as_bytes();
        let home = fields.nth(2)?;
        (is_user && !home.contains(&0)).then(|| home.to_vec())
    })
}

/// Capabilities as a sorted list of names.
mod names {
    use std::str::FromStr;

    use caps::{Capability, CapsHashSet};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(set: &CapsHashSet, to: S) -> Result<S::Ok, S::Error> {
        let mut set: Vec<&Capability> = set.iter().collect();
        set.sort_unstable_by_key(|cap| cap.index());
        to.collect_seq(set.into_iter().map(ToString::to_string))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<CapsHashSet, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        let known = |name: String| {
            Capability::from_str(&name)
                .map_err(|_| D::Error::custom(format!("unknown capability {name:?}")))
        };
        names.into_iter().map(known).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caps::Capability::{CAP_CHOWN, CAP_KILL, CAP_SETUID};

    const NONE: &str =
        r#"{"bounding":[],"effective":[],"inheritable":[],"permitted":[],"ambient":[]}"#;

    fn parse(text: &str) -> Result<Identity, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Identity::read(file.path()).map_err(|e| format!("{:#}", anyhow::Error::from(e)))
    }

    #[test]
    fn a_description_is_read_as_it_was_written() {
        let identity = Identity {
            uid: 1000,
            gid: 100,
            looks_up_home: true,
            capabilities: Sets {
                bounding: [CAP_KILL, CAP_CHOWN, CAP_SETUID].into(),
                ambient: [CAP_CHOWN].into(),
                ..Sets::default()
            },
        };
        let text = serde_json::to_string(&identity).unwrap();
        insta::assert_snapshot!(text, @r#"{"uid":1000,"gid":100,"looksUpHome":true,"capabilities":{"bounding":["CAP_CHOWN","CAP_KILL","CAP_SETUID"],"effective":[],"inheritable":[],"permitted":[],"ambient":["CAP_CHOWN"]}}"#);
        assert_eq!(parse(&text), Ok(identity));
    }

    #[test]
    fn a_description_is_complete_and_says_nothing_else() {
        let with = |uid: &str, rest: &str, sets: &str| {
            format!(r#"{{"uid":{uid},"gid":0,"looksUpHome":false{rest},"capabilities":{sets}}}"#)
        };
        assert!(parse(&with("0", "", NONE)).is_ok());
        for (text, why) in [
            (with("0", "", "{}"), "missing field `bounding`"),
            (with("-1", "", NONE), "invalid value: integer `-1`"),
            (
                with("4294967295", "", NONE),
                "uid 4294967295 is not the id of anybody",
            ),
            (with("4294967296", "", NONE), "invalid value"),
            (with("0", r#","umask":0"#, NONE), "unknown field `umask`"),
            (
                with("0", "", &NONE.replacen("[]", r#"["CAP_FLY"]"#, 1)),
                "unknown capability \"CAP_FLY\"",
            ),
            (r#"{"uid":0,"gid":0}"#.into(), "missing field `looksUpHome`"),
            (with("0", "", NONE) + "x", "trailing characters"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn asks_for_no_privilege_that_it_does_not_use() {
        let identity = |uid, gid| Identity {
            uid,
            gid,
            looks_up_home: false,
            capabilities: Sets::default(),
        };
        assert_eq!(identity(0, 0).privileges().len(), 2);
        assert!(!identity(0, 5).privileges().contains(&CAP_SETUID));
        assert_eq!(identity(1, 1).privileges().len(), 5);
    }

    #[test]
    fn the_home_is_that_of_the_first_such_user() {
        let passwd = b"# x\n\nroot:x:0:0:root:/root:/bin/sh\nshort:x:7\nu:x:1000:100:U:/home/u:\nv:x:1000:1::/v:\nempty:x:8:8:::\nlast:x:9:9::/l:/bin/sh";
        let home = |uid| home_of(uid, passwd).map(|h| String::from_utf8(h).unwrap());
        assert_eq!(home(1000).as_deref(), Some("/home/u"));
        assert_eq!(home(8).as_deref(), Some(""));
        assert_eq!(home(9).as_deref(), Some("/l"));
        assert_eq!(home(7), None);
        assert_eq!(home(100), None);
        assert_eq!(home_of(1000, b"\xff\xfe"), None);
    }
}
