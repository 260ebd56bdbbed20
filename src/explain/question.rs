//! What is asked: a call, and as much of its arguments as is known.
#![forbid(unsafe_code)]

use crate::flags;
use crate::near;
use crate::policy::{Arch, X32_BIT};
use crate::syscalls::{self, Wiring, resolve};

/// Why a question makes no sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such architecture.
    #[error("unknown architecture {0:?}, such as x86_64 or aarch64")]
    Arch(String),
    /// Nobody knows the name.
    #[error("unknown system call {name:?}{}", near::did_you_mean(*near))]
    Unknown {
        /// As given.
        name: String,
        /// What may be meant.
        near: Option<&'static str>,
    },
    /// The call exists elsewhere.
    #[error("{arch} has no system call {name}{}", has_it(on))]
    Absent {
        /// As given.
        name: String,
        /// Where it was looked for.
        arch: Arch,
        /// Where it is.
        on: Vec<Arch>,
    },
    /// Not a number that a call can have.
    #[error("{0} cannot be the number of a system call")]
    Number(String),
    /// Neither a number nor a name.
    #[error(transparent)]
    Argument(#[from] flags::Error),
    /// Six at most.
    #[error("a system call has six arguments at most, not {0}")]
    Arguments(usize),
}

fn has_it(on: &[Arch]) -> String {
    let names: Vec<&str> = on.iter().take(3).map(|a| a.name()).collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!("; it is one of {}", names.join(", ")),
    }
}

/// A call to be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where it is made.
    pub arch: Arch,
    /// Its number there; of x32 with its bit.
    pub nr: u32,
    /// The name as asked, or that of the number.
    pub asked: String,
    /// Its arguments; `None` may be anything.
    pub given: [Option<u64>; 6],
    /// Whether the number is a multiplexer's: the call has none of its own
    /// there.
    pub through: bool,
}

impl Question {
    /// Reads a question as it is put on a command line.
    ///
    /// # Errors
    /// [`Error`]
    ///
    /// ```
    /// use oci_seccomp::explain::Question;
    /// let question = Question::parse("openat", &["_", "_", "O_RDWR"], None)?;
    /// assert_eq!(question.nr, 257);
    /// assert_eq!(question.given[2], Some(2));
    /// # Ok::<(), oci_seccomp::explain::Error>(())
    /// ```
    pub fn parse<S: AsRef<str>>(
        syscall: &str,
        args: &[S],
        arch: Option<&str>,
    ) -> Result<Self, Error> {
        let arch = match arch {
            None => Arch::native(),
            Some(name) => Arch::parse(name).ok_or_else(|| Error::Arch(name.to_owned()))?,
        };
        if args.len() > 6 {
            return Err(Error::Arguments(args.len()));
        }
        let is_number = syscall.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        let mut question = match is_number {
            true => Self::numbered(arch, syscall)?,
            false => Self::named(arch, syscall)?,
        };
        for (i, arg) in (0u8..).zip(args) {
            let arg = arg.as_ref();
            // The arguments of a multiplexed call are behind its pointer.
            if arg != "_" && !question.through {
                question.given[usize::from(i)] = Some(flags::parse(&question.asked, i, arg)?);
            }
        }
        Ok(question)
    }

    fn named(arch: Arch, name: &str) -> Result<Self, Error> {
        let mut question = Self {
            arch,
            nr: 0,
            asked: name.to_owned(),
            given: [None; 6],
            through: false,
        };
        match resolve(name, arch) {
            Wiring::Direct(nr)
            | Wiring::Multiplexed {
                direct: Some(nr), ..
            } => question.nr = nr,
            Wiring::Multiplexed { by, sub, .. } => {
                question.nr = by;
                question.given[0] = Some(sub.number.into());
                question.through = true;
            }
            Wiring::Absent => {
                let has = |a: &&Arch| matches!(resolve(name, **a), Wiring::Direct(_));
                return Err(Error::Absent {
                    name: name.to_owned(),
                    arch,
                    on: Arch::ALL.iter().filter(has).copied().collect(),
                });
            }
            Wiring::Unknown => {
                return Err(Error::Unknown {
                    name: name.to_owned(),
                    near: syscalls::nearest(name),
                });
            }
        }
        Ok(question)
    }

    fn numbered(arch: Arch, text: &str) -> Result<Self, Error> {
        let wrong = || Error::Number(text.to_owned());
        let number = flags::parse("", 0, text).map_err(|_| wrong())?;
        let nr = match number {
            // What a tracer that skips a call leaves behind.
            u64::MAX => u32::MAX,
            number => u32::try_from(number).map_err(|_| wrong())?,
        };
        let nr = match arch {
            Arch::X32 => nr | X32_BIT,
            _ => nr,
        };
        Ok(Self {
            arch,
            nr,
            asked: syscalls::name(arch, nr).unwrap_or_else(|| format!("call {nr}")),
            given: [None; 6],
            through: false,
        })
    }

    /// The name of the number: the multiplexer's where the call has none.
    #[must_use]
    pub fn name(&self) -> String {
        match self.through {
            true => syscalls::name(self.arch, self.nr).unwrap_or_else(|| self.asked.clone()),
            false => self.asked.clone(),
        }
    }
}
