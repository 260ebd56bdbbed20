//! Reads a profile as it is written in the wild and resolves it to the OCI
//! `LinuxSeccomp` section: a bare section, a whole `config.json`, or the form
//! that docker and containers/common ship (`archMap`, `includes`/`excludes`,
//! `minKernel`, errno names). Remembers the line of each rule.
#![forbid(unsafe_code)]

use crate::json::Object;
use crate::policy::Arch;
use nix::errno::Errno;
use oci_spec::runtime::{
    Arch as OciArch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;

/// What a profile's `includes` and `excludes` are resolved for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The workload's bounding set, by name (`CAP_SYS_ADMIN`).
    pub capabilities: BTreeSet<String>,
    /// The machine.
    pub arch: Arch,
    /// The kernel.
    pub kernel: KernelVersion,
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
    #[error("{origin}: there is no linux.seccomp section")]
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
pub struct Profile {
    /// The section, as any runtime would take it.
    pub section: LinuxSeccomp,
    /// File name, for people.
    pub origin: String,
    /// Where each of the section's rules comes from.
    pub sites: Vec<Site>,
    /// Whether it was written in docker's form, which no runtime takes.
    pub is_extended: bool,
    /// Keys that mean nothing to any runtime: most likely a slip of the pen.
    pub unknown_keys: Vec<UnknownKey>,
}

/// A key that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The rule it is in, if any.
    pub site: Option<Site>,
    /// The key.
    pub key: String,
}

/// Where a rule stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
            section,
            origin: "seccomp".to_owned(),
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a seccomp section")]
struct RawSection<'a> {
    #[serde(borrow)]
    default_action: &'a RawValue,
    default_errno_ret: Option<u32>,
    default_errno: Option<String>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<Object<ArchMap>>>,
    #[serde(borrow)]
    flags: Option<Vec<&'a RawValue>>,
    listener_path: Option<PathBuf>,
    listener_metadata: Option<String>,
    #[serde(borrow)]
    syscalls: Option<Vec<&'a RawValue>>,
    #[serde(flatten)]
    unknown: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

impl RawSection<'_> {
    /// docker takes the `archMap` entry of the machine it runs on.
    fn architectures(&self, target: &Target) -> Result<Option<Vec<OciArch>>, Fault> {
        let listed = self.architectures.as_deref().unwrap_or_default();
        let map = self.arch_map.as_deref().unwrap_or_default();
        if !listed.is_empty() && !map.is_empty() {
            return Err(Fault::Both("architectures", "archMap"));
        }
        let mut out = None;
        for Object(entry) in map {
            let own = architecture(&entry.architecture)?;
            let subs = entry.sub_architectures.iter().flatten();
            let subs = subs
                .map(|a| architecture(a))
                .collect::<Result<Vec<_>, _>>()?;
            if own.to_string() == target.arch.oci_name() {
                out = Some(std::iter::once(own).chain(subs).collect());
            }
        }
        match &self.architectures {
            Some(listed) if map.is_empty() => listed
                .iter()
                .map(|a| architecture(a))
                .collect::<Result<_, _>>()
                .map(Some),
            _ => Ok(out),
        }
    }
}

fn action(name: &str) -> Result<LinuxSeccompAction, Fault> {
    name.parse().map_err(|_| Fault::Action(name.to_owned()))
}

fn operator(name: &str) -> Result<LinuxSeccompOperator, Fault> {
    name.parse().map_err(|_| Fault::Operator(name.to_owned()))
}

fn architecture(name: &str) -> Result<OciArch, Fault> {
    name.parse()
        .map_err(|_| Fault::Architecture(name.to_owned()))
}

fn flag(name: &str) -> Result<LinuxSeccompFilterFlag, Fault> {
    name.parse().map_err(|_| Fault::Flag(name.to_owned()))
}

/// The keys that mean something to some runtime, by where they stand.
const SECTION_KEYS: &[&str] = &[
    "defaultAction",
    "defaultErrnoRet",
    "defaultErrno",
    "architectures",
    "archMap",
    "flags",
    "listenerPath",
    "listenerMetadata",
    "syscalls",
];
const RULE_KEYS: &[&str] = &[
    "names", "name", "action", "errnoRet", "errno", "args", "includes", "excludes",
];
const ARG_KEYS: &[&str] = &["index", "value", "valueTwo", "op"];

/// The keys that mean nothing, remarks left out.
fn unknown<'a>(
    keys: &'a BTreeMap<String, IgnoredAny>,
    known: &'static [&'static str],
) -> Result<impl Iterator<Item = String> + 'a, Fault> {
    for key in keys.keys() {
        if let Some(known) = known.iter().find(|k| k.eq_ignore_ascii_case(key)) {
            let key = key.clone();
            return Err(Fault::KeyCase { key, known });
        }
    }
    Ok(keys.keys().filter(|k| !is_comment(k)).cloned())
}

/// Keys that people write remarks under.
fn is_comment(key: &str) -> bool {
    key.trim_start_matches(['_', '/', '$', '#'])
        .starts_with("comment")
        || key.starts_with("//")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a rule")]
struct RawRule {
    #[serde(default, deserialize_with = "some")]
    names: Option<Vec<String>>,
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    errno: Option<String>,
    args: Option<Vec<RawArg>>,
    includes: Option<Object<Filter>>,
    excludes: Option<Object<Filter>>,
    #[serde(flatten)]
    unknown: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a condition")]
struct RawArg {
    index: usize,
    value: u64,
    value_two: Option<u64>,
    op: String,
    #[serde(flatten)]
    unknown: BTreeMap<String, IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Filter {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<String>,
}

/// A key that may be left out but not be `null`.
fn some<'de, D: serde::Deserializer<'de>, T: DeserializeOwned>(
    d: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

impl RawRule {
    /// Whether it uses what only docker's form has.
    const fn is_extended(&self) -> bool {
        self.name.is_some()
            || self.errno.is_some()
            || self.includes.is_some()
            || self.excludes.is_some()
    }

    /// docker's reading: an exclude that matches anywhere drops the rule; an
    /// include must match in every member.
    fn applies(&self, target: &Target) -> Result<bool, Fault> {
        let capable = |c: &String| target.capabilities.contains(c);
        if let Some(Object(ex)) = &self.excludes
            && (ex.caps.iter().flatten().any(capable)
                || ex.arches.iter().flatten().any(|a| is_arch(a, target.arch))
                || ex.newer(target)?.unwrap_or(false))
        {
            return Ok(false);
        }
        let Some(Object(inc)) = &self.includes else {
            return Ok(true);
        };
        let arches = inc.arches.as_deref().unwrap_or_default();
        Ok(inc.caps.iter().flatten().all(capable)
            && (arches.is_empty() || arches.iter().any(|a| is_arch(a, target.arch)))
            && inc.newer(target)?.unwrap_or(true))
    }

    fn into_oci(self) -> Result<LinuxSyscall, Fault> {
        let names = match (self.names, self.name.filter(|n| !n.is_empty())) {
            (Some(names), Some(_)) if !names.is_empty() => {
                return Err(Fault::Both("name", "names"));
            }
            (_, Some(name)) => vec![name],
            (Some(names), None) => names,
            (None, None) => return Err(Fault::NoNames),
        };
        let args = self
            .args
            .map(|args| args.iter().map(RawArg::to_oci).collect());
        let mut rule = LinuxSyscall::default();
        rule.set_names(names)
            .set_action(action(&self.action)?)
            .set_errno_ret(errno_value(self.errno_ret, self.errno.as_deref())?)
            .set_args(args.transpose()?);
        Ok(rule)
    }
}

impl RawArg {
    fn to_oci(&self) -> Result<LinuxSeccompArg, Fault> {
        let mut arg = LinuxSeccompArgBuilder::default()
            .index(self.index)
            .value(self.value)
            .op(operator(&self.op)?);
        if let Some(two) = self.value_two {
            arg = arg.value_two(two);
        }
        arg.build().map_err(|e| Fault::Condition(e.to_string()))
    }
}

impl Filter {
    /// Whether the kernel is at least `minKernel`; `None` where that is absent.
    fn newer(&self, target: &Target) -> Result<Option<bool>, Fault> {
        let min = self.min_kernel.as_deref().map(str::parse::<KernelVersion>);
        Ok(min.transpose()?.map(|min| target.kernel >= min))
    }
}

/// Whether docker's name for an architecture (Go's `GOARCH`) or one of ours
/// means this one.
fn is_arch(name: &str, arch: Arch) -> bool {
    let go = match arch {
        Arch::X86_64 => "amd64",
        Arch::X86 => "386",
        Arch::Aarch64 => "arm64",
        Arch::Loongarch64 => "loong64",
        Arch::Mipsel => "mipsle",
        Arch::Mipsel64 => "mips64le",
        Arch::Mipsel64n32 => "mips64p32le",
        Arch::Mips64n32 => "mips64p32",
        other => other.name(),
    };
    name == go || Arch::parse(name) == Some(arch)
}

/// An errno given as a number, by name, or both alike.
fn errno_value(number: Option<u32>, name: Option<&str>) -> Result<Option<u32>, Fault> {
    let Some(name) = name.filter(|n| !n.is_empty()) else {
        return Ok(number);
    };
    let by_name = match name.parse::<u32>() {
        Ok(n) => n,
        Err(_) => errno_by_name(name).ok_or_else(|| Fault::Errno(name.to_owned()))?,
    };
    match number {
        Some(number) if number != by_name => Err(Fault::ErrnoTwice {
            name: name.to_owned(),
            by_name,
            number,
        }),
        _ => Ok(Some(by_name)),
    }
}

/// errno(3); of two names for one number nix knows the first alone.
fn errno_by_name(name: &str) -> Option<u32> {
    let name = match name {
        "EWOULDBLOCK" => "EAGAIN",
        "EDEADLOCK" => "EDEADLK",
        "ENOTSUP" => "EOPNOTSUPP",
        other => other,
    };
    (1..=133)
        .find(|&n| format!("{:?}", Errno::from_raw(n)) == name)
        .map(i32::cast_unsigned)
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
