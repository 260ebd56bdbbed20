//! The local syslog, by its socket.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use log::Level;

/// Where syslogd and journald listen.
pub const SOCKET: &str = "/dev/log";

/// LOG_DAEMON (syslog(3)), shifted as in a priority.
const FACILITY: u8 = 3 << 3;

/// A connection to syslogd.
#[derive(Debug)]
pub struct Syslog(UnixDatagram);

impl Syslog {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// Those of connect(2): nobody listens, or not for datagrams.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        // A syslogd that does not read must not hold a container up.
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Sends one line. That it arrives cannot be made sure of.
    pub fn send(&self, level: Level, line: impl fmt::Display) {
        let (priority, pid) = (FACILITY | severity(level), std::process::id());
        // Without a time: syslogd then takes its own.
        let datagram = format!("<{priority}>oci-seccomp[{pid}]: {line}");
        let _ = self.0.send(datagram.as_bytes());
    }
}

impl AsFd for Syslog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// LOG_ERR to LOG_DEBUG.
const fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_datagram_with_priority_and_tag() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(Syslog::connect(&path).is_err());
        let listener = UnixDatagram::bind(&path).unwrap();
        let syslog = Syslog::connect(&path).unwrap();
        syslog.send(Level::Error, "no profile");
        let mut buffer = [0; 100];
        let len = listener.recv(&mut buffer).unwrap();
        let expected = format!("<27>oci-seccomp[{}]: no profile", std::process::id());
        assert_eq!(std::str::from_utf8(&buffer[..len]).unwrap(), expected);
    }

    #[test]
    fn a_syslogd_that_does_not_read_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let _silent = UnixDatagram::bind(&path).unwrap();
        let syslog = Syslog::connect(&path).unwrap();
        for _ in 0..10_000 {
            syslog.send(Level::Info, "armed");
        }
    }
}
