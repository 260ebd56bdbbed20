//! Reads a profile as it is written in the wild and resolves it to the OCI
//! `LinuxSeccomp` section: a bare section, a whole `config.json`, or the form
//! that docker and containers/common ship (`archMap`, `includes`/`excludes`,
//! `minKernel`, errno names). Remembers the line of each rule.
#![forbid(unsafe_code)]

mod raw;

use self::raw::{
    ARG_KEYS, RULE_KEYS, RawRule, RawSection, SECTION_KEYS, action, errno_value, flag, unknown,
};
use crate::json::Object;
use crate::policy::Arch;
use nix::sys::utsname::uname;
use oci_spec::runtime::LinuxSeccomp;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::io;
use std::str::FromStr;

/// What a profile's `includes` and `excludes` are resolved for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// The workload's bounding set, by name (`CAP_SYS_ADMIN`).
    pub capabilities: BTreeSet<String>,
    /// The machine.
    pub arch: Arch,
    /// The kernel.
    pub kernel: KernelVersion,
}

impl Target {
    /// For a workload with these capabilities in its bounding set
    /// (`CAP_SYS_ADMIN`), a machine and a kernel.
    #[must_use]
    pub const fn new(capabilities: BTreeSet<String>, arch: Arch, kernel: KernelVersion) -> Self {
        Self {
            capabilities,
            arch,
            kernel,
        }
    }

    /// For this machine and kernel, and a workload without capabilities.
    ///
    /// # Errors
    /// That of uname(2), or a release that does not begin with two numbers.
    pub fn current() -> io::Result<Self> {
        let release = uname()?.release().to_string_lossy().into_owned();
        let kernel = release.parse().map_err(io::Error::other)?;
        Ok(Self::new(BTreeSet::new(), Arch::native(), kernel))
    }
}

/// The two numbers of a kernel release that profiles compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// 6 of 6.1.0-18-amd64
    pub major: u32,
    /// 1 of 6.1.0-18-amd64
    pub minor: u32,
}

impl FromStr for KernelVersion {
    type Err = Fault;

    /// Reads "4.8", "4.8.0" or a whole release such as "6.1.0-18-amd64".
    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = || Fault::Kernel(text.to_owned());
        let mut parts = text.splitn(3, '.');
        let major = parts
            .next()
            .and_then(|p| p.parse().ok())
            .ok_or_else(wrong)?;
        let rest = parts.next().ok_or_else(wrong)?;
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let minor = rest[..digits].parse().map_err(|_| wrong())?;
        Ok(Self { major, minor })
    }
}

/// Why a profile cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not JSON, or not the shape of a profile.
    #[error("{origin}: line {line}: {fault}")]
    Section {
        /// File name, for people.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        fault: Fault,
    },
    /// One rule is malformed.
    #[error("{origin}: rule {rule} (line {line}): {fault}")]
    Rule {
        /// File name, for people.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Index in `syscalls[]`.
        rule: usize,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A `config.json` without `linux.seccomp`.
    #[error("{origin}: there is no linux.seccomp section; name a profile, or add one")]
    NoSection {
        /// File name, for people.
        origin: String,
    },
}

/// What can be wrong with a profile's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Not JSON, or a field of another type.
    #[error("{0}")]
    Json(String),
    /// No action of the OCI spec.
    #[error("unknown action {0:?}, such as SCMP_ACT_ALLOW or SCMP_ACT_ERRNO")]
    Action(String),
    /// No operator of the OCI spec.
    #[error("unknown operator {0:?}, such as SCMP_CMP_EQ or SCMP_CMP_MASKED_EQ")]
    Operator(String),
    /// No architecture of the OCI spec.
    #[error("unknown architecture {0:?}, such as SCMP_ARCH_X86_64")]
    Architecture(String),
    /// No flag of the OCI spec.
    #[error("unknown flag {0:?}, such as SECCOMP_FILTER_FLAG_LOG")]
    Flag(String),
    /// No errno of this system.
    #[error("unknown errno {0:?}, such as \"EPERM\"")]
    Errno(String),
    /// An errno given twice, by name and by number.
    #[error("errno {name:?} is {by_name}, but errnoRet says {number}")]
    ErrnoTwice {
        /// As written.
        name: String,
        /// What that is.
        by_name: u32,
        /// The other one.
        number: u32,
    },
    /// No kernel version.
    #[error("{0:?} is no kernel version such as \"4.8\"")]
    Kernel(String),
    /// A condition that does not fit the spec's types.
    #[error("invalid condition: {0}")]
    Condition(String),
    /// Two ways to say the same, both used.
    #[error("both {0} and {1} are given: use one of them")]
    Both(&'static str, &'static str),
    /// A key that Go's reader takes for the known one and C's does not: what
    /// the profile says depends on the runtime.
    #[error("the key {key:?} is {known:?} to some runtimes and nothing to others")]
    KeyCase {
        /// As written.
        key: String,
        /// As the spec writes it.
        known: &'static str,
    },
    /// A rule for nothing.
    #[error("missing field `names`")]
    NoNames,
}

/// A profile resolved to an OCI section.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Profile {
    /// The section, as any runtime would take it.
    pub section: LinuxSeccomp,
    /// File name, for people.
    pub origin: String,
    /// Where each of the section's rules comes from.
    pub(crate) sites: Vec<Site>,
    /// How many rules the file has; docker's form may have some that do not
    /// apply.
    pub(crate) rules_in_file: usize,
    /// Whether it was written in docker's form, which no runtime takes.
    pub is_extended: bool,
    /// Keys that mean nothing to any runtime: most likely a slip of the pen.
    pub unknown_keys: Vec<UnknownKey>,
}

/// A key that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownKey {
    /// The rule it is in, if any.
    pub site: Option<Site>,
    /// The key.
    pub key: String,
}

/// Where a rule stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Site {
    /// Index in the file's `syscalls[]`; docker's form drops rules that do
    /// not apply, so this may be larger than the index in the section.
    pub rule: usize,
    /// Line of its opening brace, from 1.
    pub line: usize,
}

impl Profile {
    /// A section that was not read from a file: rules have no lines.
    #[must_use]
    pub fn from_section(section: LinuxSeccomp) -> Self {
        Self {
            origin: "seccomp".to_owned(),
            rules_in_file: section.syscalls().as_deref().unwrap_or_default().len(),
            section,
            sites: Vec::new(),
            is_extended: false,
            unknown_keys: Vec::new(),
        }
    }

    /// Reads a profile in any of the three forms.
    ///
    /// # Errors
    /// [`Error`], with the line.
    pub fn parse(origin: &str, text: &str, target: &Target) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Top<'a> {
            #[serde(borrow, default)]
            default_action: Option<&'a RawValue>,
            #[serde(borrow, default)]
            oci_version: Option<&'a RawValue>,
            #[serde(borrow, default)]
            linux: Option<&'a RawValue>,
            #[serde(borrow, default)]
            seccomp: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Linux<'a> {
            #[serde(borrow)]
            seccomp: Option<&'a RawValue>,
        }
        let reader = Reader::new(origin, text);
        let Object(top): Object<Top> = reader.read(text)?;
        if top.default_action.is_some() {
            return Self::parse_section(origin, text, text, target);
        }
        // A whole config.json, or its `linux` object alone.
        let section = match top.linux {
            Some(linux) => reader
                .read::<Option<Object<Linux>>>(linux.get())?
                .and_then(|Object(l)| l.seccomp),
            None => top.seccomp,
        };
        match section {
            Some(section) => Self::parse_section(origin, text, section.get(), target),
            None if top.oci_version.is_some() || top.linux.is_some() => Err(Error::NoSection {
                origin: origin.to_owned(),
            }),
            None => Self::parse_section(origin, text, text, target),
        }
    }

    /// Reads the section alone, `section` being a part of `text`, so that
    /// lines count from the start of the file.
    ///
    /// # Errors
    /// [`Error`], with the line.
    #[doc(hidden)]
    pub fn parse_section(
        origin: &str,
        text: &str,
        section: &str,
        target: &Target,
    ) -> Result<Self, Error> {
        let reader = Reader::new(origin, text);
        let raw: RawSection = reader.read(section)?;
        let bad = |fault| reader.at(section, fault);
        let mut profile = Self::from_section(LinuxSeccomp::default());
        origin.clone_into(&mut profile.origin);
        let stray = unknown(&raw.unknown, SECTION_KEYS).map_err(bad)?;
        profile
            .unknown_keys
            .extend(stray.map(|key| UnknownKey { site: None, key }));
        let mut rules = Vec::new();
        for (rule, text) in raw.syscalls.iter().flatten().enumerate() {
            let line = reader.line(text.get());
            let wrong = |fault| Error::Rule {
                origin: origin.to_owned(),
                line,
                rule,
                fault,
            };
            let parsed: RawRule = serde_json::from_str(text.get())
                .map_err(|e| wrong(Fault::Json(relative(&e, line))))?;
            let site = Site { rule, line };
            let mut stray: Vec<_> = unknown(&parsed.unknown, RULE_KEYS)
                .map_err(wrong)?
                .collect();
            for arg in parsed.args.iter().flatten() {
                stray.extend(unknown(&arg.unknown, ARG_KEYS).map_err(wrong)?);
            }
            let stray = stray.into_iter().map(|key| UnknownKey {
                site: Some(site),
                key,
            });
            profile.unknown_keys.extend(stray);
            profile.is_extended |= parsed.is_extended();
            let applies = parsed.applies(target).map_err(wrong)?;
            // A rule that does not apply has to be valid all the same.
            let parsed = parsed.into_oci().map_err(wrong)?;
            if applies {
                rules.push(parsed);
                profile.sites.push(site);
            }
        }
        profile.rules_in_file = raw.syscalls.as_deref().unwrap_or_default().len();
        profile.is_extended |= raw.arch_map.is_some() || raw.default_errno.is_some();
        let default_errno = errno_value(raw.default_errno_ret, raw.default_errno.as_deref());
        let flags = raw.flags.iter().flatten();
        let flags = flags
            .map(|f| reader.named(f, flag))
            .collect::<Result<_, _>>()?;
        profile
            .section
            .set_default_action(reader.named(raw.default_action, action)?)
            .set_default_errno_ret(default_errno.map_err(bad)?)
            .set_architectures(raw.architectures(target).map_err(bad)?)
            .set_flags(raw.flags.is_some().then_some(flags))
            .set_listener_path(raw.listener_path)
            .set_listener_metadata(raw.listener_metadata)
            .set_syscalls(Some(rules));
        Ok(profile)
    }

    /// Names a rule of the section for a person: its index and line in the
    /// file.
    #[must_use]
    pub fn site(&self, rule: usize) -> String {
        self.sites.get(rule).map_or_else(
            || format!("rule {rule}"),
            |s| format!("rule {} (line {})", s.rule, s.line),
        )
    }
}

/// Turns serde_json's errors into errors with a place in the whole file.
struct Reader<'a> {
    origin: &'a str,
    text: &'a str,
    /// Offsets of the line ends, in bytes.
    line_ends: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn new(origin: &'a str, text: &'a str) -> Self {
        Self {
            origin,
            text,
            line_ends: text.match_indices('\n').map(|(at, _)| at).collect(),
        }
    }

    fn read<'de, T: Deserialize<'de>>(&self, part: &'de str) -> Result<T, Error> {
        serde_json::from_str(part).map_err(|e| Error::Section {
            origin: self.origin.to_owned(),
            line: self.line(part) + e.line().saturating_sub(1),
            fault: Fault::Json(bare(&e)),
        })
    }

    /// Reads a name of the OCI spec.
    fn named<T>(&self, raw: &RawValue, parse: fn(&str) -> Result<T, Fault>) -> Result<T, Error> {
        let name: String = self.read(raw.get())?;
        parse(&name).map_err(|fault| self.at(raw.get(), fault))
    }

    /// An error about a part of the text as a whole.
    fn at(&self, part: &str, fault: Fault) -> Error {
        Error::Section {
            origin: self.origin.to_owned(),
            line: self.line(part),
            fault,
        }
    }

    /// The line at which a part of the text starts, from 1.
    fn line(&self, part: &str) -> usize {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        1 + self.line_ends.partition_point(|&end| end < offset)
    }
}

/// serde_json's message without its "at line … column …", which counts from
/// the start of the part.
fn bare(e: &serde_json::Error) -> String {
    let text = e.to_string();
    let place = format!(" at line {} column {}", e.line(), e.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// A message about a rule that starts at `line`; says the line of the slip
/// where that is another.
fn relative(e: &serde_json::Error, line: usize) -> String {
    match e.line() {
        0 | 1 => bare(e),
        n => format!("{}, at line {}", bare(e), line + n - 1),
    }
}

#[cfg(test)]
mod tests;
