//! `oci-seccomp init`: loads a filter onto itself and becomes the workload.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use caps::{CapSet, Capability};
use oci_seccomp::bpf::Program;
use oci_seccomp::bundle::Config;
use oci_seccomp::command::{self, OURS, status};
use oci_seccomp::identity::{Identity, give_standard_streams};
use oci_seccomp::policy::{Action, Flags};
use oci_seccomp::sys::credentials::CapSets;
use oci_seccomp::sys::exec::{ExecError, Image, give_up, restore_sigpipe};
use oci_seccomp::sys::seccomp::{is_enabled, no_new_privs};

use super::{Failure, source};
use crate::cli::{FilterFlag, InitArgs, InitSource, TranslateArgs};

/// Becomes the command. All that can fail comes before the load, and all that
/// execve needs is in memory by then, so that no other system call comes
/// between the two and meets the filter; but for the capset of a process that
/// has to be root to load it.
///
/// # Errors
/// [`Failure`]; nothing is loaded then.
pub fn run(args: InitArgs) -> Result<Infallible, Failure> {
    let ours = || Failure::with_status(OURS);
    let (program, flags) = prepare(&args).map_err(ours())?;
    let (home, mut last) = match &args.identity {
        Some(path) => assume(path).map_err(ours())?,
        None => (None, None),
    };
    // Found with the rights of whoever will execute it.
    let image = image(args.command, home)?;
    check_verdicts(&program, &image, last.as_ref()).map_err(ours())?;
    restore_sigpipe()
        .context("cannot give SIGPIPE its default action back")
        .map_err(ours())?;
    let (error, errno, status) = match image.exec_filtered(&program, flags, last.as_mut()) {
        Ok(never) => match never {},
        Err(error @ ExecError::Exec(errno)) => (error, errno, status(errno)),
        Err(error @ ExecError::Become(errno)) => (error, errno, OURS),
        Err(error) => {
            return Err(Failure {
                status: OURS,
                error: error.into(),
            });
        }
    };
    // The filter is on: from here on each call may be the last.
    let path = image.path().to_string_lossy();
    let message = format!("oci-seccomp: error: cannot execute {path}: {error}: {errno}\n");
    give_up(&program, &message, status)
}

/// Becomes the workload's user: the HOME it is to have if not this process's,
/// and what is left to give up after the load.
fn assume(path: &Path) -> anyhow::Result<(Option<OsString>, Option<CapSets>)> {
    let identity = Identity::read(path)?;
    let home = identity.home().map(OsString::from_vec);
    if identity.uid != 0 {
        give_standard_streams(identity.uid, false)?;
    }
    let last = identity.assume().with_context(|| {
        let needed: Vec<String> = identity
            .privileges()
            .iter()
            .map(ToString::to_string)
            .collect();
        format!(
            "cannot become user {} (the shim has to start as root with {})",
            identity.uid,
            needed.join(", ")
        )
    })?;
    Ok((home, last))
}

/// The command, found and ready.
fn image(command: Vec<OsString>, home: Option<OsString>) -> Result<Image, Failure> {
    let name = command.first().map_or(OsStr::new(""), |name| name);
    let path =
        command::find(name, std::env::var_os("PATH").as_deref()).map_err(|errno| Failure {
            status: status(errno),
            error: anyhow!(errno).context(format!("cannot execute {}", name.display())),
        })?;
    let environment = std::env::vars_os().map(|(mut variable, value)| {
        // One that the runtime did not set is not wanted either.
        let value = match &home {
            Some(home) if variable == "HOME" && !value.is_empty() => home.clone(),
            _ => value,
        };
        variable.push("=");
        variable.push(value);
        variable
    });
    let ready = || -> anyhow::Result<Image> {
        Ok(Image::new(
            c_string(path.into())?,
            command
                .into_iter()
                .map(c_string)
                .collect::<Result<_, _>>()?,
            environment.map(c_string).collect::<Result<_, _>>()?,
        ))
    };
    ready().map_err(Failure::with_status(OURS))
}

/// The filter, and a kernel and a process that can load it.
fn prepare(args: &InitArgs) -> anyhow::Result<(Program, Flags)> {
    let loadable = filter(args)?;
    if !is_enabled() {
        bail!(
            "this kernel has no seccomp (CONFIG_SECCOMP): the command would run without a filter"
        );
    }
    check_privilege()?;
    Ok(loadable)
}

/// What comes after the load must be let through.
fn check_verdicts(program: &Program, image: &Image, last: Option<&CapSets>) -> anyhow::Result<()> {
    if let Some(sets) = last {
        match sets.verdict(program) {
            Action::Allow | Action::Log => {}
            action => bail!(
                "the profile answers capset with {action}, and by capset this process gives up the CAP_SYS_ADMIN that it loads the filter with: allow capset, set process.noNewPrivileges to true, or use the hook"
            ),
        }
    }
    match image.verdict(program) {
        Action::Allow | Action::Log | Action::Trace(_) => Ok(()),
        action => bail!(
            "the profile answers execve with {action}, and the filter is on this process when it becomes the command: allow execve, or use the hook, which needs no such rule"
        ),
    }
}

/// The program that the command line asks for.
fn filter(args: &InitArgs) -> anyhow::Result<(Program, Flags)> {
    let Some(path) = &args.source.bpf else {
        return compile(&args.source, &args.translate);
    };
    let program = source::program(path)?;
    let has = |flag| args.flags.contains(&flag);
    let mut flags = Flags::default();
    flags.tsync = has(FilterFlag::Tsync);
    flags.log = has(FilterFlag::Log);
    flags.spec_allow = has(FilterFlag::SpecAllow);
    flags.wait_killable_recv = has(FilterFlag::WaitKillableRecv);
    Ok((program, flags))
}

/// Compiles a profile.
fn compile(source: &InitSource, translate: &TranslateArgs) -> anyhow::Result<(Program, Flags)> {
    let filter = match (&source.profile, &source.config) {
        (Some(path), _) => source::from_regular_file(path, None, translate)?.filter()?,
        (None, Some(path)) => {
            let config = Config::read(path)?;
            let source = source::from_config(&config, translate)?;
            let filter = source.map(|s| s.filter()).transpose()?;
            filter.with_context(|| {
                format!(
                    "{} has no linux.seccomp section: name a --profile",
                    path.display()
                )
            })?
        }
        (None, None) => bail!("no profile is given"),
    };
    let policy = filter.policy();
    if policy.listener.is_some() {
        bail!(
            "the profile has rules with SCMP_ACT_NOTIFY: their agent has to be told the container's id and pid, which nobody knows in here; use the hook"
        );
    }
    Ok((filter.program().clone(), policy.flags))
}

/// The kernel's own condition for a filter.
fn check_privilege() -> anyhow::Result<()> {
    let no_new_privs = no_new_privs().context("cannot read no_new_privs")?;
    let sys_admin = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN)
        .context("cannot read the capabilities of this process")?;
    if no_new_privs || sys_admin {
        return Ok(());
    }
    bail!(
        "a filter takes no_new_privs or CAP_SYS_ADMIN, and this process has neither: set process.noNewPrivileges to true in config.json, or add CAP_SYS_ADMIN to process.capabilities (bounding, permitted and effective; inheritable and ambient too for a user other than root)"
    )
}

fn c_string(text: OsString) -> anyhow::Result<CString> {
    CString::new(text.into_vec()).context("a null byte in the command or its environment")
}
