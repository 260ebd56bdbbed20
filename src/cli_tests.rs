use super::*;
use clap::CommandFactory;

fn command(line: &str) -> Command {
    let argv = ["oci-seccomp"].into_iter().chain(line.split(' '));
    Cli::try_parse_from(argv)
        .unwrap_or_else(|e| panic!("{line}: {e}"))
        .command
}

/// Exit status of a command line that is not carried out.
fn status(line: &str) -> u8 {
    let argv: Vec<OsString> = std::iter::once("oci-seccomp")
        .chain(line.split_ascii_whitespace())
        .map(OsString::from)
        .collect();
    let error = Cli::try_parse_from(&argv).expect_err(line);
    usage_status(&argv, error.kind())
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_flag_dry_run_is_the_command_dry_run() {
    for line in [
        "dry-run p.json --format json -v --strict",
        "--dry-run p.json --format json -v --strict",
        "--dry-run --strict --verbose --format=json p.json",
        "--dry-run p.json --verbose --strict --format json",
    ] {
        let Command::DryRun(args) = command(line) else {
            panic!("{line}");
        };
        assert_eq!(args.source, Some(PathBuf::from("p.json")), "{line}");
        assert_eq!(args.format, Format::Json, "{line}");
        assert!(args.verbose && args.translate.strict, "{line}");
    }
    let Command::DryRun(args) = command("--dry-run -") else {
        panic!();
    };
    assert_eq!(args.source, Some(PathBuf::from("-")));
}

#[test]
fn findings_are_chosen_by_id_and_an_unknown_one_lists_them() {
    let Command::DryRun(args) = command("dry-run p --deny all --allow upper-bits") else {
        panic!();
    };
    assert!(args.deny[0].includes(Id::ShadowedRule));
    assert!(args.allow[0].includes(Id::UpperBits) && !args.allow[0].includes(Id::ShadowedRule));
    let argv = ["oci-seccomp", "dry-run", "p", "--deny", "upper"];
    let error = Cli::try_parse_from(argv).expect_err("no id").to_string();
    assert!(error.contains("shadowed-rule, "), "{error}");
    let Command::DryRun(args) = command("dry-run --list-findings") else {
        panic!();
    };
    assert_eq!(args.source, None);
}

#[test]
fn a_call_to_explain_has_numbers_that_may_be_negative() {
    let Command::Explain(args) = command("explain p openat -100 _ O_RDWR|O_CREAT --arch x32")
    else {
        panic!();
    };
    assert_eq!(args.args, ["-100", "_", "O_RDWR|O_CREAT"]);
    assert_eq!(args.arch.as_deref(), Some("x32"));
    let Command::Explain(args) = command("explain p -1") else {
        panic!();
    };
    assert_eq!(args.syscall, "-1");
}

#[test]
fn what_follows_the_command_of_init_is_the_commands() {
    for line in [
        "init --bpf f -- sh -c --strict --bpf",
        "init --bpf f sh -c --strict --bpf",
    ] {
        let Command::Init(args) = command(line) else {
            panic!("{line}");
        };
        assert_eq!(args.source.bpf, Some(PathBuf::from("f")), "{line}");
        assert_eq!(args.command, ["sh", "-c", "--strict", "--bpf"], "{line}");
        assert!(!args.translate.strict, "{line}");
    }
}

#[test]
fn a_program_is_loaded_with_the_flags_of_a_profile_without_flags() {
    let flags = |line: &str| match command(line) {
        Command::Init(args) => args.flags,
        _ => panic!("{line}"),
    };
    assert_eq!(flags("init --bpf f sh"), [FilterFlag::SpecAllow]);
    assert_eq!(flags("init --profile f sh"), [FilterFlag::SpecAllow]);
    assert_eq!(flags("init --bpf f --flags none -- sh"), [FilterFlag::None]);
    assert_eq!(
        flags("init --bpf f --flags TSYNC,LOG sh"),
        [FilterFlag::Tsync, FilterFlag::Log]
    );
}

#[test]
fn a_hook_is_strict_only_where_asked() {
    let Command::Hook(args) = command("hook") else {
        panic!();
    };
    assert!(!args.require && !args.dry_run && args.profile.is_none());
    assert_eq!(args.translate.ambiguous, Ambiguous::Error);
    assert_eq!(args.translate.enosys, Enosys::Auto);
    let line = "hook --stage createContainer --ambiguous first --enosys off --log /l --require";
    let Command::Hook(args) = command(line) else {
        panic!();
    };
    assert_eq!(args.stage, Some(Stage::CreateContainer));
    assert_eq!(args.translate.ambiguous, Ambiguous::First);
    assert_eq!(args.translate.enosys, Enosys::Off);
}

#[test]
fn a_usage_error_has_the_status_by_which_the_command_says_no() {
    for (line, expected) in [
        ("", 2),
        ("frobnicate", 2),
        ("--frobnicate", 2),
        ("dry-run", 2),
        ("--dry-run", 2),
        ("dry-run p --ambiguous maybe", 2),
        ("dry-run p --deny nothing", 2),
        ("dry-run p --list-findings", 2),
        ("explain p", 2),
        ("explain p read 1 2 3 4 5 6 7", 2),
        ("features extra", 2),
        ("hook --stage poststop", 1),
        ("hook --format json", 1),
        ("init", 125),
        ("init --bpf f", 125),
        ("init sh", 125),
        ("init --bpf f --profile p sh", 125),
        ("init --bpf f --strict sh", 125),
        ("init --profile p --flags LOG sh", 125),
        ("init --bpf f --flags FOO sh", 125),
        ("wrap", 2),
        ("wrap b --force", 2),
        ("wrap b --undo --profile p", 2),
        ("wrap b --undo --strict", 2),
        ("init --help", 0),
        ("hook --version", 0),
        ("--help", 0),
    ] {
        assert_eq!(status(line), expected, "{line}");
    }
}

/// The command line as a person at a terminal of 80 columns sees it.
fn at_a_terminal() -> clap::Command {
    let mut cli = Cli::command().term_width(80);
    cli.build();
    cli
}

/// Calls this with the words of each command, its subcommands among them.
fn each_command(look: &mut impl FnMut(&[String])) {
    fn below(command: &clap::Command, words: &[String], look: &mut impl FnMut(&[String])) {
        look(words);
        for command in command.get_subcommands().filter(|c| c.get_name() != "help") {
            let name = [command.get_name().to_owned()];
            below(command, &[words, &name].concat(), look);
        }
    }
    below(&at_a_terminal(), &["oci-seccomp".to_owned()], look);
}

/// What a command line prints that asks for help.
fn help(words: &[String], flag: &str) -> String {
    let argv = words.iter().map(String::as_str).chain([flag]);
    let error = at_a_terminal().try_get_matches_from(argv);
    let error = error.expect_err("help");
    assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{error}");
    error.to_string()
}

#[test]
fn help_fits_a_screen_and_has_examples() {
    let mut seen = 0;
    each_command(&mut |words| {
        for flag in ["-h", "--help"] {
            let help = help(words, flag);
            assert!(help.lines().count() <= 60, "{help}");
            let widest = help.lines().map(|l| l.chars().count()).max();
            assert!(widest <= Some(80), "{help}");
            let examples = help.split_once("\nExamples:\n  ");
            let command = words.join(" ");
            let is_one = |(_, text): (&str, &str)| text.contains(&command);
            assert!(examples.is_some_and(is_one), "{help}");
            assert!(help.contains("--version"), "{help}");
        }
        seen += 1;
    });
    assert!(seen > 15, "{seen}");
}

/// `--help` points there.
#[test]
fn all_of_the_text_is_there_for_who_asks_for_it() {
    let words = ["oci-seccomp".to_owned(), "help".to_owned()];
    let long = help(&words, "exec");
    let long = long.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    assert!(long.contains("The status is the command's own"), "{long}");
    assert!(
        long.contains("needs it in the config's ambient set"),
        "{long}"
    );
}

#[test]
fn a_hook_verifies_unless_told_otherwise_and_takes_one_baseline() {
    let Command::Hook(args) = command("hook --bpf f --profile-dir d --stage startContainer") else {
        panic!();
    };
    assert_eq!(args.on_existing, OnExisting::Verify);
    assert_eq!(args.stage, Some(Stage::StartContainer));
    assert_eq!(status("hook --bpf f --profile p"), 1);
    assert_eq!(status("hook --on-existing never"), 1);
}

#[test]
fn what_follows_the_container_is_the_commands() {
    for (line, words) in [
        (
            "exec -u 1:2 web sh -c --tty",
            &["web", "sh", "-c", "--tty"][..],
        ),
        ("exec web -- ls -u 7", &["web", "--", "ls", "-u", "7"]),
        ("exec --pid 5 --bundle b -- ls -l", &["ls", "-l"]),
        ("exec --process p.json web", &["web"]),
    ] {
        let Command::Exec(args) = command(line) else {
            panic!("{line}");
        };
        assert_eq!(args.words, words, "{line}");
        assert!(!args.tty, "{line}");
    }
}

#[test]
fn exec_takes_users_by_number_and_capabilities_by_any_spelling() {
    let user = |text: &str| text.parse::<User>().ok().map(|u| (u.uid, u.gid));
    assert_eq!(user("1000"), Some((1000, None)));
    assert_eq!(user("0:4294967294"), Some((0, Some(4_294_967_294))));
    for wrong in [
        "",
        "root",
        "1000:",
        ":0",
        "-1",
        "4294967295",
        "1:2:3",
        "1000:wheel",
    ] {
        assert_eq!(user(wrong), None, "{wrong}");
    }
    let Command::Exec(args) = command("exec --cap net_raw --cap CAP_KILL web true") else {
        panic!();
    };
    use caps::Capability::{CAP_KILL, CAP_NET_RAW};
    assert_eq!(args.cap, [CAP_NET_RAW, CAP_KILL]);
}

#[test]
fn exec_has_the_status_of_an_error_of_ours_for_wrong_usage() {
    for line in [
        "exec --user root web true",
        "exec --cap CAP_FLY web true",
        "exec --tty --detach web true",
        "exec --pid 1 true",
        "exec --pid 0 --bundle b true",
        "exec --bundle b true",
        "exec --runtime runc --pid 1 --bundle b true",
        "exec --process p --user 1 web",
        "exec --frobnicate",
    ] {
        assert_eq!(status(line), 125, "{line}");
    }
}
