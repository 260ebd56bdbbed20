//! Handing the listener of a filter with NOTIFY rules to the agent that
//! answers them; runtime-spec, "The Container Process State".
//!
//! The connection is made before init is armed, so that a path on which
//! nobody listens still keeps the container from being made. The descriptor
//! exists only once the filter is loaded, and is sent then.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, connect,
    sendmsg, setsockopt, shutdown, socket, sockopt,
};
use nix::sys::stat::{Mode, fstat};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::Pid;
use serde::Serialize;

use crate::bundle::State;
use crate::policy::Listener;
use crate::sys::process::{PidFd, lift};
use crate::sys::procfs::Proc;

/// How long an agent may leave a connection, or the next part of the message,
/// waiting: init is held up for that long.
const PATIENCE: Duration = Duration::from_secs(10);
/// The version of runtime-spec whose message this is.
const SPEC_VERSION: &str = "1.1.0";

/// Why no agent will get the listener.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path that depends on who resolves it.
    #[error("listenerPath \"{}\" is no absolute path", path.display())]
    Relative {
        /// As the profile has it.
        path: PathBuf,
    },
    /// There is nothing, or it is out of reach.
    #[error("cannot open listenerPath {}", path.display())]
    Open {
        /// As the profile has it.
        path: PathBuf,
        /// From open(2).
        source: Errno,
    },
    /// There is something else.
    #[error("listenerPath {} is no socket", path.display())]
    NoSocket {
        /// As the profile has it.
        path: PathBuf,
    },
    /// Nobody takes the connection.
    #[error("cannot connect to the agent at listenerPath {}{}", path.display(), hint(*.source))]
    Connect {
        /// As the profile has it.
        path: PathBuf,
        /// From socket(2) or connect(2).
        source: Errno,
    },
    /// The message is no JSON: a bundle's path that is no UTF-8.
    #[error("cannot write the container's state for the agent")]
    Message(#[from] serde_json::Error),
    /// The agent must be told a pid that means something to it.
    #[error(
        "cannot tell the pid of the container's init outside the container, which the agent has \
         to be told: is the runtime's /proc mounted? Use createRuntime"
    )]
    Pid(#[source] std::io::Error),
}

/// What an errno of connect(2) means here.
fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::ECONNREFUSED => ": nobody listens there",
        Errno::EAGAIN => ": it takes no connections, its backlog is full",
        Errno::EPROTOTYPE => ": it is no stream socket",
        Errno::ENOENT => ": is /proc mounted?",
        _ => "",
    }
}

/// A connection to an agent, and what it will be told.
#[derive(Debug)]
pub struct Handover {
    socket: OwnedFd,
    message: Message,
}

impl Handover {
    /// Connects to the profile's agent, to tell it of a container in this
    /// `status` ("creating", "running"). `init` is its init as the runtime
    /// sees it.
    ///
    /// A path is followed as connect(2) does, symbolic links included.
    ///
    /// # Errors
    /// [`Error`], at the latest after ten seconds.
    pub fn connect(
        listener: &Listener,
        state: &State,
        init: Pid,
        status: &'static str,
    ) -> Result<Self, Error> {
        let message = Message::new(listener, state, init, status)?;
        let socket = connected(&listener.path, PATIENCE)?;
        Ok(Self { socket, message })
    }

    /// Sends the descriptor with the message and ends the connection, whoever
    /// else has it open: an agent may read to its end before it answers. The
    /// filter is that of `process`, where that is another than init.
    ///
    /// # Errors
    /// Those of sendmsg(2); EPIPE for an agent that is gone, EAGAIN for one
    /// that does not read.
    pub(crate) fn send(&self, listener: BorrowedFd<'_>, process: Option<Pid>) -> nix::Result<()> {
        // It was JSON when this was made, and only a number has changed.
        let message = self.message.bytes(process).map_err(|_| Errno::EINVAL)?;
        let socket = self.socket.as_raw_fd();
        let fds = [listener.as_raw_fd()];
        // It goes with the first byte; the rest of a long message is plain.
        let mut with: &[ControlMessage<'_>] = &[ControlMessage::ScmRights(&fds)];
        let mut rest = message.as_slice();
        while !rest.is_empty() {
            let part = [IoSlice::new(rest)];
            match sendmsg::<()>(socket, &part, with, MsgFlags::MSG_NOSIGNAL, None) {
                Ok(sent) => {
                    rest = rest.get(sent..).unwrap_or_default();
                    with = &[];
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        shutdown(socket, Shutdown::Both)
    }
}

impl AsFd for Handover {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The number that a process has outside the container, as the mounted
/// proc(5) says: at createContainer that is still the runtime's.
///
/// # Errors
/// [`Error::Pid`].
pub fn pid_outside(process: Pid) -> Result<Pid, Error> {
    let process = PidFd::open(process).map_err(|errno| Error::Pid(errno.into()))?;
    let pid = Proc::open().and_then(|proc| proc.pid(&process));
    pid.map_err(Error::Pid)
}

/// A socket that is connected to `path`, gives up sending after `patience`,
/// and is no standard descriptor.
fn connected(path: &Path, patience: Duration) -> Result<OwnedFd, Error> {
    if !path.is_absolute() {
        return Err(Error::Relative { path: path.into() });
    }
    let open_error = |source| Error::Open {
        path: path.into(),
        source,
    };
    // Pinned: what was looked at is what is connected to, and its name may be
    // longer than the 107 bytes that an address has room for.
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let file = open(path, flags, Mode::empty()).map_err(open_error)?;
    if fstat(&file).map_err(open_error)?.st_mode & libc::S_IFMT != libc::S_IFSOCK {
        return Err(Error::NoSocket { path: path.into() });
    }
    connect_to(&file, patience).map_err(|source| Error::Connect {
        path: path.into(),
        source,
    })
}

fn connect_to(file: &OwnedFd, patience: Duration) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = lift(socket(AddressFamily::Unix, SockType::Stream, flags, None)?)?;
    let millis = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX);
    // Holds for connect(2) as well (unix(7)): a full backlog is no hang.
    setsockopt(
        &socket,
        sockopt::SendTimeout,
        &TimeVal::milliseconds(millis),
    )?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    connect(socket.as_raw_fd(), &UnixAddr::new(path.as_str())?)?;
    Ok(socket)
}

/// `ContainerProcessState`, the message to the agent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    oci_version: &'static str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<String>,
    state: MessageState,
}

/// The State in it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageState {
    oci_version: String,
    id: String,
    status: &'static str,
    pid: i32,
    bundle: PathBuf,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Message {
    fn new(
        listener: &Listener,
        state: &State,
        init: Pid,
        status: &'static str,
    ) -> serde_json::Result<Self> {
        let pid = init.as_raw();
        let version = state.oci_version.as_deref().unwrap_or(SPEC_VERSION);
        let message = Self {
            oci_version: SPEC_VERSION,
            fds: ["seccompFd"],
            pid,
            metadata: listener.metadata.clone(),
            state: MessageState {
                oci_version: version.to_owned(),
                id: state.id.clone(),
                // Whatever word the runtime has for it.
                status,
                pid,
                bundle: state.bundle.clone(),
                annotations: state.annotations.clone(),
            },
        };
        // What is no JSON shows before anything is loaded.
        message.bytes(None)?;
        Ok(message)
    }

    fn bytes(&self, process: Option<Pid>) -> serde_json::Result<Vec<u8>> {
        let mut message = serde_json::to_value(self)?;
        if let Some(process) = process {
            message["pid"] = process.as_raw().into();
        }
        serde_json::to_vec(&message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as StdError;
    use std::io::Read;
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use nix::sys::socket::{Backlog, bind, listen};
    use serde_json::{Value, json};

    type Test = Result<(), Box<dyn StdError>>;

    const SHORT: Duration = Duration::from_millis(100);

    fn state() -> State {
        State {
            oci_version: Some("1.0.2".into()),
            id: "c1".into(),
            status: Some("created".into()),
            pid: None,
            bundle: "/bundle".into(),
            annotations: [("k".into(), "v".into())].into(),
        }
    }

    fn listener(path: &Path, metadata: Option<String>) -> Listener {
        let path = path.into();
        Listener { path, metadata }
    }

    #[test]
    fn the_message_is_a_container_process_state() -> Test {
        let told = |metadata: Option<&str>| -> Result<Value, Box<dyn StdError>> {
            let listener = listener(Path::new("/x"), metadata.map(Into::into));
            let message = Message::new(&listener, &state(), Pid::from_raw(42), "creating")?;
            Ok(serde_json::from_slice(&message.bytes(None)?)?)
        };
        assert_eq!(
            told(Some("m \"\u{e9}\""))?,
            json!({
                "ociVersion": "1.1.0", "fds": ["seccompFd"], "pid": 42, "metadata": "m \"\u{e9}\"",
                "state": {
                    "ociVersion": "1.0.2", "id": "c1", "status": "creating", "pid": 42,
                    "bundle": "/bundle", "annotations": { "k": "v" }
                }
            })
        );
        assert_eq!(told(None)?.get("metadata"), None);
        let other = Message::new(
            &listener(Path::new("/x"), None),
            &state(),
            Pid::from_raw(42),
            "running",
        )?;
        let other: Value = serde_json::from_slice(&other.bytes(Some(Pid::from_raw(43)))?)?;
        assert_eq!(
            (&other["pid"], &other["state"]["pid"]),
            (&json!(43), &json!(42))
        );
        assert_eq!(other["state"]["status"], json!("running"));
        Ok(())
    }

    /// 110 bytes in one name: no address has room for that.
    #[test]
    fn sends_a_message_longer_than_the_sockets_buffer_and_hangs_up() -> Test {
        let dir = tempfile::tempdir()?;
        let long = dir.path().join("d".repeat(110));
        std::fs::create_dir(&long)?;
        let near = dir.path().join("agent");
        let server = UnixListener::bind(&near)?;
        std::fs::rename(&near, long.join("agent"))?;
        let metadata = "m".repeat(1 << 20);
        let listener = listener(&long.join("agent"), Some(metadata.clone()));
        let handover = Handover::connect(&listener, &state(), Pid::from_raw(42), "creating")?;
        let reader = std::thread::spawn(move || -> std::io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            server.accept()?.0.read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        handover.send(std::io::stderr().as_fd(), None)?;
        // The connection is still open here, and yet at its end.
        let bytes = reader.join().map_err(|_| "reader panicked")??;
        let message: Value = serde_json::from_slice(&bytes)?;
        assert_eq!(message["metadata"], json!(metadata));
        Ok(())
    }

    #[test]
    fn an_agent_that_is_gone_or_does_not_read_is_an_error() -> Test {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("agent");
        let server = UnixListener::bind(&path)?;
        let handover = |len| -> Result<Handover, Error> {
            let listener = listener(&path, Some("m".repeat(len)));
            let message = Message::new(&listener, &state(), Pid::from_raw(42), "creating")?;
            let socket = connected(&path, SHORT)?;
            Ok(Handover { socket, message })
        };
        let deaf = handover(4 << 20)?;
        let stderr = std::io::stderr();
        assert_eq!(deaf.send(stderr.as_fd(), None), Err(Errno::EAGAIN));
        let gone = handover(10)?;
        drop(server);
        assert_eq!(gone.send(stderr.as_fd(), None), Err(Errno::EPIPE));
        Ok(())
    }

    #[test]
    fn says_what_is_wrong_with_the_path() -> Test {
        let dir = tempfile::tempdir()?;
        let at = |name: &str| dir.path().join(name);
        let refused = |path: &Path| match connected(path, SHORT) {
            Ok(_) => "connected".into(),
            Err(error) => error.to_string(),
        };
        drop(UnixListener::bind(at("dead"))?);
        std::fs::write(at("file"), "")?;
        let flags = SockFlag::empty();
        let datagram = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        bind(datagram.as_raw_fd(), &UnixAddr::new(&at("datagram"))?)?;
        let full = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        bind(full.as_raw_fd(), &UnixAddr::new(&at("full"))?)?;
        listen(&full, Backlog::new(0)?)?;
        let _first = connected(&at("full"), SHORT)?;
        for (name, why) in [
            ("none", "cannot open listenerPath"),
            ("file", "is no socket"),
            ("", "is no socket"),
            ("dead", "nobody listens there"),
            ("datagram", "no stream socket"),
            ("full", "backlog is full"),
        ] {
            let message = refused(&at(name));
            assert!(message.contains(why), "{name}: {message}");
        }
        assert!(refused(Path::new("run/agent")).contains("no absolute path"));
        Ok(())
    }

    #[test]
    fn knows_its_own_pid() -> Test {
        let this = nix::unistd::getpid();
        assert_eq!(pid_outside(this)?, this);
        Ok(())
    }
}
