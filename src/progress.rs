//! How far long work is: on a terminal one line that changes and goes, elsewhere
//! plain lines, so that no control character gets into a file.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};

use crate::style::clean;

/// To the line's begin, and what stands there away.
const ERASE: &str = "\r\x1b[K";
/// A line that is too long ends at the margin: a second one would stay.
const CLIP: (&str, &str) = ("\x1b[?7l", "\x1b[?7h");

/// Where it is told. What is left on a terminal goes with this.
#[derive(Debug)]
pub struct Progress {
    out: Option<File>,
    is_terminal: bool,
}

impl Progress {
    /// On standard error: standard output is the answer's.
    #[must_use]
    pub fn stderr() -> Self {
        match io::stderr().as_fd().try_clone_to_owned() {
            Ok(fd) => Self::on(fd),
            // Nothing is told then; the work does not depend on it.
            Err(_) => Self {
                out: None,
                is_terminal: false,
            },
        }
    }

    /// On this file.
    #[must_use]
    pub fn on(file: impl Into<OwnedFd>) -> Self {
        let file = File::from(file.into());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            is_terminal: file.is_terminal() && !is_dumb,
            out: Some(file),
        }
    }

    /// What is being done now: for a terminal alone, in place of what was told
    /// there before.
    pub fn at(&self, text: &str) {
        if self.is_terminal {
            let (clip, wrap) = CLIP;
            self.write(&format!("{ERASE}{clip}{}{wrap}", clean(text)));
        }
    }

    /// What is done: a line for where there is no terminal.
    pub fn done(&self, text: &str) {
        if !self.is_terminal {
            self.write(&format!("{}\n", clean(text)));
        }
    }

    /// Leaves the line to what is printed next.
    pub fn clear(&self) {
        if self.is_terminal {
            self.write(ERASE);
        }
    }

    fn write(&self, text: &str) {
        if let Some(mut out) = self.out.as_ref() {
            // Nobody may be there to read it.
            let _ = out.write_all(text.as_bytes());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    fn tell(progress: &Progress) {
        progress.at("1 of 2\x1b[2J");
        progress.at("2 of 2");
        progress.done("all\x1b[2J done");
    }

    #[test]
    fn a_file_gets_plain_lines() {
        let mut file = tempfile::tempfile().unwrap();
        tell(&Progress::on(file.try_clone().unwrap()));
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "all\\u{1b}[2J done\n");
    }

    #[test]
    fn a_terminal_gets_one_line_that_goes() {
        let nix::pty::OpenptyResult { master, slave } = nix::pty::openpty(None, None).unwrap();
        let progress = Progress {
            out: Some(slave.into()),
            is_terminal: true,
        };
        tell(&progress);
        drop(progress);
        let mut bytes = Vec::new();
        // Nobody has the other side any more: what was written comes first.
        let end = File::from(master).read_to_end(&mut bytes).unwrap_err();
        assert_eq!(end.raw_os_error(), Some(nix::libc::EIO));
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            "\r\x1b[K\x1b[?7l1 of 2\\u{1b}[2J\x1b[?7h\r\x1b[K\x1b[?7l2 of 2\x1b[?7h\r\x1b[K"
        );
    }
}
