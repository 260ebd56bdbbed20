//! What the new process is to be: the config, and the command line over it.
#![forbid(unsafe_code)]

use anyhow::{Context, ensure};
use oci_seccomp::bundle::{Config, Execution};

use crate::cli::ExecArgs;

/// Reads what the process is to be.
///
/// # Errors
/// The file that describes it is refused, or an option over it.
pub fn described(args: &ExecArgs, argv: Vec<String>, config: &Config) -> anyhow::Result<Execution> {
    let mut execution = match &args.process {
        Some(path) => Execution::read(path)?,
        None => {
            let execution = config.execution()?;
            let path = config.path().display();
            execution.with_context(|| format!("{path} describes no process"))?
        }
    };
    match (argv.is_empty(), &args.process) {
        (false, None) => execution.args = argv,
        (true, Some(_)) => {}
        (false, Some(path)) => anyhow::bail!(
            "a command is given, and by --process another: {}",
            path.display()
        ),
        (true, None) => execution.args.clear(),
    }
    ensure!(!execution.args.is_empty(), "name a command");
    apply(args, &mut execution)?;
    Ok(execution)
}

/// Puts the options over it.
fn apply(args: &ExecArgs, execution: &mut Execution) -> anyhow::Result<()> {
    if let Some(user) = args.user {
        execution.uid = user.uid;
        execution.gid = user.gid.unwrap_or(execution.gid);
    }
    if let Some(cwd) = &args.cwd {
        ensure!(cwd.is_absolute(), "--cwd is no absolute path");
        execution.cwd.clone_from(cwd);
    }
    for variable in &args.env {
        let name = variable.split_once('=').map_or("", |(name, _)| name);
        ensure!(!name.is_empty(), "--env {variable:?} is not KEY=VALUE");
        let is_same = |other: &String| other.split_once('=').is_some_and(|(n, _)| n == name);
        execution.env.retain(|other| !is_same(other));
        execution.env.push(variable.clone());
    }
    if !args.cap.is_empty() {
        let sets = execution.capabilities.get_or_insert_default();
        // Not to the inheritable set: a file of the image's could take it up
        // from there (CVE-2022-29162).
        for set in [&mut sets.bounding, &mut sets.permitted, &mut sets.effective] {
            set.known.extend(&args.cap);
        }
    }
    Ok(())
}
