//! The JSON of a profile, and what of it docker's form adds.
#![forbid(unsafe_code)]

use super::{Fault, KernelVersion, Target};
use crate::json::Object;
use crate::policy::Arch;
use nix::errno::Errno;
use oci_spec::runtime::{
    Arch as OciArch, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a seccomp section")]
pub(super) struct RawSection<'a> {
    #[serde(borrow)]
    pub(super) default_action: &'a RawValue,
    pub(super) default_errno_ret: Option<u32>,
    pub(super) default_errno: Option<String>,
    pub(super) architectures: Option<Vec<String>>,
    pub(super) arch_map: Option<Vec<Object<ArchMap>>>,
    #[serde(borrow)]
    pub(super) flags: Option<Vec<&'a RawValue>>,
    pub(super) listener_path: Option<PathBuf>,
    pub(super) listener_metadata: Option<String>,
    #[serde(borrow)]
    pub(super) syscalls: Option<Vec<&'a RawValue>>,
    #[serde(flatten)]
    pub(super) unknown: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ArchMap {
    pub(super) architecture: String,
    pub(super) sub_architectures: Option<Vec<String>>,
}

impl RawSection<'_> {
    /// docker takes the `archMap` entry of the machine it runs on.
    pub(super) fn architectures(&self, target: &Target) -> Result<Option<Vec<OciArch>>, Fault> {
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

pub(super) fn action(name: &str) -> Result<LinuxSeccompAction, Fault> {
    name.parse().map_err(|_| Fault::Action(name.to_owned()))
}

pub(super) fn operator(name: &str) -> Result<LinuxSeccompOperator, Fault> {
    name.parse().map_err(|_| Fault::Operator(name.to_owned()))
}

pub(super) fn architecture(name: &str) -> Result<OciArch, Fault> {
    name.parse()
        .map_err(|_| Fault::Architecture(name.to_owned()))
}

pub(super) fn flag(name: &str) -> Result<LinuxSeccompFilterFlag, Fault> {
    name.parse().map_err(|_| Fault::Flag(name.to_owned()))
}

/// The keys that mean something to some runtime, by where they stand.
pub(super) const SECTION_KEYS: &[&str] = &[
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
pub(super) const RULE_KEYS: &[&str] = &[
    "names", "name", "action", "errnoRet", "errno", "args", "includes", "excludes",
];
pub(super) const ARG_KEYS: &[&str] = &["index", "value", "valueTwo", "op"];

/// The keys that mean nothing, remarks left out.
pub(super) fn unknown<'a>(
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
pub(super) fn is_comment(key: &str) -> bool {
    key.trim_start_matches(['_', '/', '$', '#'])
        .starts_with("comment")
        || key.starts_with("//")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a rule")]
pub(super) struct RawRule {
    #[serde(default, deserialize_with = "some")]
    pub(super) names: Option<Vec<String>>,
    pub(super) name: Option<String>,
    pub(super) action: String,
    pub(super) errno_ret: Option<u32>,
    pub(super) errno: Option<String>,
    pub(super) args: Option<Vec<RawArg>>,
    pub(super) includes: Option<Object<Filter>>,
    pub(super) excludes: Option<Object<Filter>>,
    #[serde(flatten)]
    pub(super) unknown: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a condition")]
pub(super) struct RawArg {
    pub(super) index: usize,
    pub(super) value: u64,
    pub(super) value_two: Option<u64>,
    pub(super) op: String,
    #[serde(flatten)]
    pub(super) unknown: BTreeMap<String, IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Filter {
    #[serde(default)]
    pub(super) caps: Option<Vec<String>>,
    #[serde(default)]
    pub(super) arches: Option<Vec<String>>,
    #[serde(default)]
    pub(super) min_kernel: Option<String>,
}

/// A key that may be left out but not be `null`.
pub(super) fn some<'de, D: serde::Deserializer<'de>, T: DeserializeOwned>(
    d: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

impl RawRule {
    /// Whether it uses what only docker's form has.
    pub(super) const fn is_extended(&self) -> bool {
        self.name.is_some()
            || self.errno.is_some()
            || self.includes.is_some()
            || self.excludes.is_some()
    }

    /// docker's reading: an exclude that matches anywhere drops the rule; an
    /// include must match in every member.
    pub(super) fn applies(&self, target: &Target) -> Result<bool, Fault> {
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

    pub(super) fn into_oci(self) -> Result<LinuxSyscall, Fault> {
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
    pub(super) fn to_oci(&self) -> Result<LinuxSeccompArg, Fault> {
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
    pub(super) fn newer(&self, target: &Target) -> Result<Option<bool>, Fault> {
        let min = self.min_kernel.as_deref().map(str::parse::<KernelVersion>);
        Ok(min.transpose()?.map(|min| target.kernel >= min))
    }
}

/// Whether docker's name for an architecture (Go's `GOARCH`) or one of ours
/// means this one.
pub(super) fn is_arch(name: &str, arch: Arch) -> bool {
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
pub(super) fn errno_value(number: Option<u32>, name: Option<&str>) -> Result<Option<u32>, Fault> {
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
pub(super) fn errno_by_name(name: &str) -> Option<u32> {
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
