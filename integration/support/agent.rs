//! An agent that answers mkdir(2) for a container; runtime-spec, "The
//! Container Process State", and seccomp_unotify(2).

use std::fs::File;
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::sleep;
use std::time::Duration;

use libseccomp::{ScmpNotifReq, ScmpNotifResp, ScmpNotifRespFlags, notify_id_valid};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::close;
use serde_json::Value;
use tempfile::TempDir;

use super::command::LIMIT;

/// What the agent does with whom it is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Takes the listener and answers.
    Answers,
    /// Hangs up at once.
    HangsUp,
}

/// It answers by the path: `/tmp/faked` is said to have been made,
/// `/tmp/denied` gets errno 77, at `/tmp/last` it gives up (errno 77 as well),
/// and all else the kernel does.
pub struct Agent {
    _dir: TempDir,
    path: PathBuf,
    told: Receiver<Value>,
}

impl Agent {
    /// Listens, and serves one connection.
    pub fn new(manner: Manner) -> Self {
        Self::serving(manner, 1)
    }

    /// The same with so many connections, each by itself.
    pub fn serving(manner: Manner, connections: usize) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("agent");
        let socket = UnixListener::bind(&path).expect("socket of the agent");
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for _ in 0..connections {
                let (connection, _) = socket.accept().expect("connection");
                let tell = tell.clone();
                std::thread::spawn(move || match manner {
                    Manner::Answers => serve(connection, &tell),
                    Manner::HangsUp => {
                        drop(connection);
                        // Nobody waits where it does not matter.
                        let _ = tell.send(Value::Null);
                    }
                });
            }
        });
        let _dir = dir;
        Self { _dir, path, told }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The message it got; null when it hung up.
    #[track_caller]
    pub fn told(&self) -> Value {
        self.told.recv_timeout(LIMIT).expect("a message")
    }
}

fn serve(mut connection: UnixStream, tell: &Sender<Value>) {
    let (mut message, listener) = first_part(&connection);
    connection.read_to_end(&mut message).expect("the rest");
    let message = serde_json::from_slice(&message).expect("the message is JSON");
    let _ = tell.send(message);
    while let Some(request) = next(listener) {
        let path = path_of(listener, &request);
        let (id, none) = (request.id, ScmpNotifRespFlags::empty());
        let answer = match path.as_str() {
            "/tmp/faked" => ScmpNotifResp::new_val(id, 0, none),
            "/tmp/denied" | "/tmp/last" => ScmpNotifResp::new_error(id, -77, none),
            _ => ScmpNotifResp::new_continue(id, none),
        };
        // Whoever asked may have been killed.
        let _ = answer.respond(listener);
        if path == "/tmp/last" {
            break;
        }
    }
    close(listener).expect("close of the listener");
}

/// The next call; `None` when no process of the container is left. (Kernels
/// before 6.11 do not say so: then this waits until the tests end.)
fn next(listener: RawFd) -> Option<ScmpNotifReq> {
    // A call that a signal has interrupted is gone (ENOENT), to be made again:
    // Go's runtime sends itself many. At the end the error is the same, so it
    // is the end if it lasts.
    (0..100).find_map(|_| match ScmpNotifReq::receive(listener) {
        Ok(request) => Some(request),
        Err(_) => {
            sleep(Duration::from_millis(10));
            None
        }
    })
}

/// The one descriptor, and the bytes that came with it.
fn first_part(connection: &UnixStream) -> (Vec<u8>, RawFd) {
    let mut bytes = vec![0; 4096];
    let mut space = nix::cmsg_space!([RawFd; 2]);
    let mut into = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let got = recvmsg::<()>(connection.as_raw_fd(), &mut into, Some(&mut space), flags);
    let got = got.expect("recvmsg");
    let mut fds = Vec::new();
    for control in got.cmsgs().expect("control messages") {
        match control {
            ControlMessageOwned::ScmRights(rights) => fds.extend(rights),
            other => panic!("unexpected {other:?}"),
        }
    }
    let len = got.bytes;
    bytes.truncate(len);
    let [listener] = fds[..] else {
        panic!("{} descriptors in place of one", fds.len());
    };
    (bytes, listener)
}

/// The path argument of mkdir(2) and mkdirat(2); empty for other calls.
fn path_of(listener: RawFd, request: &ScmpNotifReq) -> String {
    let at = match i32::from(request.data.syscall) {
        83 | 39 => request.data.args[0],
        258 | 296 => request.data.args[1],
        _ => return String::new(),
    };
    let mut bytes = [0; 64];
    let memory = File::open(format!("/proc/{}/mem", request.pid));
    let read = memory.and_then(|memory| memory.read_at(&mut bytes, at));
    // Only now is it certain whose memory that was.
    if read.is_err() || notify_id_valid(listener, request.id).is_err() {
        return String::new();
    }
    let text = bytes.split(|b| *b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
