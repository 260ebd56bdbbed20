//! A bundle's `config.json`, rewritten so that its workload is started by the
//! init shim: for runtimes that load no filter, or not the one that was
//! proven.
//!
//! Only what the shim needs is changed. The shim's files are mounted
//! read-only; `process.args` goes through it; `linux.seccomp` goes. Where the
//! kernel takes a filter only from CAP_SYS_ADMIN, the runtime starts the shim
//! as root with what it takes to become, at last, exactly what the config
//! described.
#![forbid(unsafe_code)]

use std::path::{Component, Path};

use serde::Deserialize;
use serde_json::json;

use crate::arm::Boundary;
use crate::bundle::{CapabilitySet, Config, Process};
use crate::identity::Identity;
use crate::plan::Plan;
use crate::policy::Flags;
use crate::splice::{self, Object, Raw, Splice, elements};

/// The bundle's folder for what [`wrap`] needs.
pub const DIRECTORY: &str = ".oci-seccomp";
/// Its part that the container sees.
pub const MOUNTED: &str = "mount";
/// In it: this program.
pub const SHIM: &str = "oci-seccomp";
/// In it: the filter, `struct sock_filter` in the machine's byte order.
pub const PROGRAM: &str = "filter.bpf";
/// In it: the [`Identity`] of the workload, where the shim has to become it.
pub const IDENTITY: &str = "identity.json";

/// Why a config cannot be rewritten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing to start.
    #[error("process.args names no workload")]
    NoWorkload,
    /// They run as what the runtime started, which would be the shim.
    #[error(
        "hooks.startContainer would run with the shim's CAP_SYS_ADMIN: \
         set process.noNewPrivileges, or use the hook instead of the shim"
    )]
    StartContainer,
    /// The shim would not be seen, or hide something.
    #[error("mounts has {0:?} already, which is where the shim's files would be")]
    Mount(String),
    /// Not what a config has there.
    #[error("cannot rewrite {field}")]
    Splice {
        /// The field, from the top.
        field: &'static str,
        /// What is wrong with it.
        source: splice::Error,
    },
}

/// A rewritten config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// `config.json`, whole.
    pub config: String,
    /// What the shim has to become; `None` where the runtime does that.
    pub identity: Option<Identity>,
}

/// Rewrites a config for a shim that loads a program with these flags.
///
/// With `keep_section`, `linux.seccomp` stays for the runtime to load as well:
/// then it also filters the shim, and what joins the container later.
///
/// # Errors
/// [`Error`].
pub fn wrap(config: &Config, flags: Flags, keep_section: bool) -> Result<Wrapped, Error> {
    let workload = config.process.as_ref().filter(|p| !p.args.is_empty());
    let workload = workload.ok_or(Error::NoWorkload)?;
    let (mut splice, root) = Splice::new(config.text()).map_err(at("the file"))?;
    let root = Object::new(root).map_err(at("the file"))?;
    let process = root.object("process").map_err(at("process"))?;
    let process = process.ok_or(Error::NoWorkload)?;

    let identity = match Plan::for_process(Some(workload)).boundary {
        Boundary::Exec => None,
        Boundary::Ahead | Boundary::BeforeCapabilityDrop => {
            refuse_start_container(&root)?;
            let identity = Identity::new(workload, looks_up_home(workload, &process)?);
            start_as_root(&mut splice, &process, workload, &identity)?;
            Some(identity)
        }
    };
    let destination = mount(&mut splice, &root)?;
    let args = process.get("args").map_err(at("process.args"))?;
    let shim = shim_args(&destination, flags, identity.is_some());
    splice
        .put_first(args.ok_or(Error::NoWorkload)?, &shim)
        .map_err(at("process.args"))?;
    if !keep_section && let Some(linux) = root.object("linux").map_err(at("linux"))? {
        splice
            .remove(&linux, "seccomp")
            .map_err(at("linux.seccomp"))?;
    }
    let config = splice.finish();
    Ok(Wrapped { config, identity })
}

/// The shim's command line up to the workload's, as elements of a JSON array.
fn shim_args(destination: &str, flags: Flags, becomes: bool) -> String {
    let named = flags.named();
    let set = named.iter().filter(|(_, set)| *set);
    let names: Vec<&str> = set
        .map(|(name, _)| name.trim_start_matches("SECCOMP_FILTER_FLAG_"))
        .collect();
    let flags = match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(","),
    };
    let file = |name| format!("{destination}/{name}");
    let mut args = vec![file(SHIM), "init".into(), "--bpf".into(), file(PROGRAM)];
    args.extend(["--flags".into(), flags]);
    if becomes {
        args.extend(["--identity".into(), file(IDENTITY)]);
    }
    args.push("--".into());
    let args: Vec<String> = args.into_iter().map(|arg| json!(arg).to_string()).collect();
    args.join(", ")
}

/// Has the runtime start the shim as root, with what the identity takes
/// beside the workload's own capabilities.
fn start_as_root<'t>(
    splice: &mut Splice<'t>,
    process: &Object<'t>,
    workload: &Process,
    identity: &Identity,
) -> Result<(), Error> {
    if (identity.uid, identity.gid) != (0, 0)
        && let Some(user) = process.object("user").map_err(at("process.user"))?
    {
        let root = [("uid", "0".to_owned()), ("gid", "0".to_owned())];
        splice.set(&user, &root).map_err(at("process.user"))?;
    }
    add_privileges(splice, process, workload, identity).map_err(at("process.capabilities"))
}

fn add_privileges<'t>(
    splice: &mut Splice<'t>,
    process: &Object<'t>,
    workload: &Process,
    identity: &Identity,
) -> Result<(), splice::Error> {
    let missing = |set: Option<&CapabilitySet>| {
        let needed = identity.privileges().into_iter();
        let missing = needed.filter(|cap| set.is_none_or(|set| !set.known.contains(cap)));
        let missing: Vec<String> = missing.map(|cap| format!("\"{cap}\"")).collect();
        missing.join(", ")
    };
    let own = workload.capabilities.as_ref();
    let sets = [
        ("bounding", own.map(|own| &own.bounding)),
        ("effective", own.map(|own| &own.effective)),
        ("permitted", own.map(|own| &own.permitted)),
    ]
    .map(|(name, own)| (name, missing(own)));
    let Some(capabilities) = process.object("capabilities")? else {
        let sets = sets.map(|(name, missing)| format!("\"{name}\": [{missing}]"));
        let sets = format!("{{{}}}", sets.join(", "));
        return splice.set(process, &[("capabilities", sets)]);
    };
    let mut absent = Vec::new();
    for (name, missing) in sets.into_iter().filter(|(_, m)| !m.is_empty()) {
        match capabilities.get(name)? {
            Some(array) => splice.put_last(array, &missing)?,
            None => absent.push((name, format!("[{missing}]"))),
        }
    }
    splice.set(&capabilities, &absent)
}

/// Mounts the shim's files, and says where.
fn mount<'t>(splice: &mut Splice<'t>, root: &Object<'t>) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Mount {
        destination: String,
        #[serde(rename = "type")]
        kind: Option<String>,
        options: Option<Vec<String>>,
    }
    let field = "mounts";
    let array = root.get(field).map_err(at(field))?;
    let parsed = |raw: Raw<'t>| serde_json::from_str::<Mount>(raw.get());
    let mounts: Vec<Mount> = match array {
        Some(array) => elements(array)
            .and_then(|all| Ok(all.into_iter().map(parsed).collect::<Result<_, _>>()?))
            .map_err(at(field))?,
        None => Vec::new(),
    };
    // A fresh tmpfs takes the mount point also where the root file system is
    // on a read-only medium, and has no links of the image's in the way.
    let dev = mounts.iter().rfind(|m| is_at(&m.destination, "/dev"));
    let fresh = dev.is_some_and(|m| {
        let mut options = m.options.iter().flatten();
        m.kind.as_deref() == Some("tmpfs") && options.all(|o| !o.contains("bind") && o != "ro")
    });
    let destination = match fresh {
        true => format!("/dev/{DIRECTORY}"),
        false => format!("/{DIRECTORY}"),
    };
    if let Some(taken) = mounts
        .iter()
        .find(|m| is_within(&m.destination, &destination))
    {
        return Err(Error::Mount(taken.destination.clone()));
    }
    let mount = json!({
        "destination": destination,
        "type": "bind",
        "source": format!("{DIRECTORY}/{MOUNTED}"),
        "options": ["bind", "ro", "nosuid", "nodev"],
    });
    let mount = mount.to_string();
    match array {
        Some(array) => splice.put_last(array, &mount),
        None => splice.set(root, &[(field, format!("[{mount}]"))]),
    }
    .map_err(at(field))?;
    Ok(destination)
}

fn is_at(destination: &str, path: &str) -> bool {
    parts(destination) == parts(path)
}

fn is_within(destination: &str, path: &str) -> bool {
    parts(destination).starts_with(&parts(path))
}

/// Runtimes take a relative destination from the root, and so `..`.
fn parts(path: &str) -> Vec<&std::ffi::OsStr> {
    let mut parts = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::ParentDir => _ = parts.pop(),
            _ => {}
        }
    }
    parts
}

fn refuse_start_container(root: &Object<'_>) -> Result<(), Error> {
    let field = "hooks.startContainer";
    let hooks = root.object("hooks").map_err(at(field))?;
    let hooks = hooks.and_then(|hooks| hooks.get("startContainer").transpose());
    let hooks = hooks.transpose().map_err(at(field))?;
    match hooks.map(elements).transpose().map_err(at(field))? {
        Some(hooks) if !hooks.is_empty() => Err(Error::StartContainer),
        _ => Ok(()),
    }
}

/// Whether the runtime chooses HOME, by the user that it starts: that is root
/// now, which another workload's HOME must not show.
fn looks_up_home(workload: &Process, process: &Object<'_>) -> Result<bool, Error> {
    let field = "process.env";
    let env = process.get("env").map_err(at(field))?;
    let env: Vec<String> = match env.map(|raw| serde_json::from_str(raw.get())).transpose() {
        Ok(env) => env.unwrap_or_default(),
        Err(source) => return Err(at(field)(source.into())),
    };
    let home = env.iter().rev().find_map(|v| v.strip_prefix("HOME="));
    Ok(workload.uid != 0 && home.is_none_or(str::is_empty))
}

fn at(field: &'static str) -> impl Fn(splice::Error) -> Error {
    move |source| Error::Splice { field, source }
}

#[cfg(test)]
#[path = "wrap_tests.rs"]
mod tests;
