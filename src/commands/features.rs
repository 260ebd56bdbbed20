//! `oci-seccomp features`
#![forbid(unsafe_code)]

use std::process::ExitCode;

use oci_seccomp::features::{Answers, Features};
use oci_seccomp::style::wrap;

use crate::cli::{FeaturesArgs, Format};

/// Prints what filters can be loaded here; status 1 if none can.
pub fn run(args: &FeaturesArgs) -> anyhow::Result<ExitCode> {
    let features = Features::probe();
    let output = match args.format {
        Format::Text => text(&features),
        Format::Json => serde_json::to_string_pretty(&features)? + "\n",
    };
    super::print(&output)?;
    Ok(ExitCode::from(u8::from(!features.can_filter())))
}

/// Two columns. What the kernel did not answer is left out, or "unknown".
fn text(features: &Features) -> String {
    let mut rows = Rows::default();
    rows.add("kernel", features.kernel.clone());
    rows.add(
        "seccomp",
        Some(if features.seccomp {
            "yes".into()
        } else {
            "no: this kernel has no seccomp (CONFIG_SECCOMP)".into()
        }),
    );
    rows.add("filter mode", yes_or_no(features.filter_mode));
    rows.answers("actions", &features.actions);
    rows.add("actions logged", list(features.actions_logged.as_deref()));
    rows.answers("flags", &features.flags);
    let library = &features.libseccomp;
    if let Some(version) = &library.version {
        rows.add(
            "libseccomp",
            Some(format!("{version}, API level {}", library.api)),
        );
    }
    rows.add("native", Some(features.native.into()));
    rows.add("architectures", Some(features.architectures.join(" ")));
    ptrace(&mut rows, features);
    let process = &features.process;
    rows.add("CAP_SYS_ADMIN", yes_or_no(process.cap_sys_admin));
    rows.add("CAP_SYS_PTRACE", yes_or_no(process.cap_sys_ptrace));
    rows.add("no_new_privs", yes_or_no(process.no_new_privs));
    rows.add("filtered already", yes_or_no(process.filtered));
    rows.add("user namespace", yes_or_no(process.user_namespace));
    rows.0
}

fn ptrace(rows: &mut Rows, features: &Features) {
    let ptrace = &features.ptrace;
    let yama = ptrace.yama_scope.map(|scope| {
        let meaning = match scope {
            0 => "any process of the same user can be traced",
            1 => "only descendants can be traced without CAP_SYS_PTRACE",
            2 => "tracing takes CAP_SYS_PTRACE",
            _ => "nobody can trace: containers cannot be armed",
        };
        format!("{scope}: {meaning}")
    });
    rows.add("Yama ptrace_scope", yama.or(Some("none".into())));
    rows.add("AppArmor", yes_or_no(Some(ptrace.apparmor)));
    rows.add("SELinux", yes_or_no(Some(ptrace.selinux)));
    if let Some(deny) = ptrace.selinux_deny_ptrace {
        rows.add("SELinux deny_ptrace", yes_or_no(Some(deny)));
    }
    if let Some(modules) = &ptrace.modules {
        rows.add("security modules", Some(modules.join(" ")));
    }
    if let Some(label) = &ptrace.label {
        rows.add("security label", Some(label.clone()));
    }
}

fn yes_or_no(answer: Option<bool>) -> Option<String> {
    answer.map(|yes| if yes { "yes" } else { "no" }.into())
}

fn list(words: Option<&[String]>) -> Option<String> {
    words.map(|words| words.join(" "))
}

/// Columns of a label.
const LABEL: usize = 21;

/// Lines of a label, padded, and a value, over several lines if need be.
#[derive(Default)]
struct Rows(String);

impl Rows {
    fn add(&mut self, label: &str, value: Option<String>) {
        let value = wrap(value.as_deref().unwrap_or("unknown"), LABEL, LABEL);
        self.0 += format!("{label:<LABEL$}{value}").trim_end();
        self.0.push('\n');
    }

    /// What there is in one row; what there is not, if anything, in others.
    fn answers(&mut self, label: &str, answers: &Answers) {
        let names = |wanted| {
            let these = answers.0.iter().filter(|(_, answer)| *answer == wanted);
            these.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
        };
        for (suffix, wanted) in [
            ("", Some(true)),
            (" missing", Some(false)),
            (" unknown", None),
        ] {
            let names = names(wanted);
            if suffix.is_empty() || !names.is_empty() {
                self.add(&format!("{label}{suffix}"), Some(names));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_unknown_has_rows_of_its_own() {
        let mut rows = Rows::default();
        rows.answers(
            "flags",
            &Answers(vec![
                ("A", Some(true)),
                ("B", Some(false)),
                ("C", None),
                ("D", Some(true)),
            ]),
        );
        rows.answers("actions", &Answers(vec![("E", Some(false))]));
        rows.add("kernel", None);
        insta::assert_snapshot!(rows.0, @"
        flags                A D
        flags missing        B
        flags unknown        C
        actions
        actions missing      E
        kernel               unknown
        ");
    }
}
