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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::User;
    use caps::Capability::{CAP_CHOWN, CAP_KILL};
    use oci_seccomp::bundle::CapabilitySet;

    const CONFIG: &str = r#"{"process": {
        "user": {"uid": 5, "gid": 6, "additionalGids": [7]}, "cwd": "/srv", "args": ["init"],
        "env": ["PATH=/bin", "A=1", "B=2"],
        "capabilities": {"bounding": ["CAP_CHOWN"], "inheritable": ["CAP_CHOWN"]}
    }}"#;

    fn with(change: impl FnOnce(&mut ExecArgs), argv: &[&str]) -> anyhow::Result<Execution> {
        let mut args = ExecArgs::default();
        change(&mut args);
        let config = Config::parse("config.json".as_ref(), CONFIG.into())?;
        described(&args, argv.iter().map(|&a| a.to_owned()).collect(), &config)
    }

    #[test]
    fn without_options_it_is_the_configs_process_with_another_command() {
        let execution = with(|_| {}, &["ls", "-l"]).unwrap();
        assert_eq!(execution.args, ["ls", "-l"]);
        assert_eq!((execution.uid, execution.gid), (5, 6));
        assert_eq!(execution.additional_gids, [7]);
        assert_eq!(execution.cwd.to_str(), Some("/srv"));
        assert_eq!(execution.env, ["PATH=/bin", "A=1", "B=2"]);
    }

    #[test]
    fn options_stand_over_the_config() {
        let execution = with(
            |args| {
                args.user = Some(User { uid: 9, gid: None });
                args.cwd = Some("/tmp".into());
                args.env = vec!["A=x=y".into(), "C=".into()];
            },
            &["ls"],
        )
        .unwrap();
        assert_eq!((execution.uid, execution.gid), (9, 6));
        assert_eq!(execution.cwd.to_str(), Some("/tmp"));
        assert_eq!(execution.env, ["PATH=/bin", "B=2", "A=x=y", "C="]);
    }

    #[test]
    fn a_capability_is_added_to_no_set_that_a_file_could_take_it_up_from() {
        let execution = with(|args| args.cap = vec![CAP_KILL], &["ls"]).unwrap();
        let sets = execution.capabilities.unwrap();
        let has = |set: &CapabilitySet| set.known.contains(&CAP_KILL);
        assert!(has(&sets.bounding) && has(&sets.permitted) && has(&sets.effective));
        assert!(!has(&sets.inheritable) && !has(&sets.ambient));
        assert!(sets.inheritable.known.contains(&CAP_CHOWN), "the config's");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused =
            |change: fn(&mut ExecArgs), argv: &[&str]| with(change, argv).unwrap_err().to_string();
        assert_eq!(refused(|_| {}, &[]), "name a command");
        let relative = refused(|args| args.cwd = Some("tmp".into()), &["ls"]);
        assert!(relative.contains("no absolute path"), "{relative}");
        for variable in ["A", "=x", ""] {
            let error = with(|args| args.env = vec![variable.into()], &["ls"]).unwrap_err();
            assert!(error.to_string().contains("is not KEY=VALUE"), "{error}");
        }
    }
}
