//! Writes the man pages and the shells' completions: `make man`.
//!
//! All are made of the one definition of the command line, and of
//! docs/profiles.md. That is not the program's own business: it is copied at
//! each exec, and has to stay small.
#![forbid(unsafe_code)]

#[path = "../../src/cli.rs"]
#[allow(dead_code, reason = "the definition is wanted, not what was parsed")]
mod cli;
mod markdown;

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use roff::{Roff, bold, roman};

const NAME: &str = "oci-seccomp";
const SOURCE: &str = concat!("oci-seccomp ", env!("CARGO_PKG_VERSION"));
/// None, so that a page is the same whenever it is made. An empty argument of
/// a request has to be in quotes.
const NO_DATE: &str = "\"\"";

fn main() -> anyhow::Result<()> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    ensure!(args.len() == 1, "usage: manual DIR");
    let folder = Path::new(&args[0]);

    completions(&folder.join("completions"))?;
    let man = folder.join("man");
    fs::create_dir_all(&man).context("the man pages' folder")?;
    let mut command = cli::Cli::command().disable_help_subcommand(true);
    command.build();
    pages(&command, None, &man)?;
    let page = profile_page(include_str!("../../docs/profiles.md"))?;
    fs::write(man.join("oci-seccomp-profile.5"), page)?;
    Ok(())
}

fn completions(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).context("the completions' folder")?;
    let mut command = cli::Cli::command();
    let mut bash = Vec::new();
    clap_complete::generate(Shell::Bash, &mut command, NAME, &mut bash);
    // clap_complete 4.6 spells a name with a hyphen in two ways, and then has
    // nothing to offer after a subcommand.
    let bash = String::from_utf8(bash)?.replace("oci__subcmd__seccomp", "oci__seccomp");
    fs::write(folder.join("oci-seccomp.bash"), bash)?;
    for shell in [Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, NAME, folder)?;
    }
    Ok(())
}

/// Writes the page of a command and those of its subcommands.
fn pages(command: &Command, parent: Option<&str>, folder: &Path) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let man = Man::new(command.clone().mut_args(with_aliases))
        .date(NO_DATE)
        .source(SOURCE)
        .manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(help) = command.get_after_help() {
        examples(&help.to_string())?.to_writer(&mut page)?;
    }
    see_also(parent).to_writer(&mut page)?;
    fs::write(folder.join(format!("{name}.1")), page)?;
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .try_for_each(|command| pages(command, Some(name), folder))
}

/// A page has no other place for them.
fn with_aliases(arg: Arg) -> Arg {
    match (arg.get_help(), arg.get_visible_aliases()) {
        (Some(help), Some(aliases)) if !aliases.is_empty() => {
            let help = format!("{help} [aliases: --{}]", aliases.join(", --"));
            arg.help(help)
        }
        _ => arg,
    }
}

/// What help has below the options: a line at the margin with a colon at its
/// end, as "Examples:", is a heading, and the rest stands as it is.
fn examples(help: &str) -> anyhow::Result<Roff> {
    let mut roff = Roff::new();
    let mut sections = 0;
    for line in help.lines() {
        match line.strip_suffix(':') {
            Some(heading) if !line.starts_with(' ') => {
                if sections > 0 {
                    roff.control("EE", []);
                }
                roff.control("SH", [heading.to_uppercase().as_str()]);
                roff.control("EX", []);
                sections += 1;
            }
            _ => {
                ensure!(sections > 0, "help without a heading: {line}");
                roff.text([roman(line)]);
            }
        }
    }
    roff.control("EE", []);
    Ok(roff)
}

fn see_also(parent: Option<&str>) -> Roff {
    let mut pages = vec![
        ("oci-seccomp-profile", "(5), "),
        ("seccomp", "(2), "),
        ("runc", "(8), "),
        ("crun", "(1), "),
        ("oci-hooks", "(5)"),
    ];
    pages.splice(..0, parent.map(|parent| (parent, "(1), ")));
    let names = pages
        .into_iter()
        .flat_map(|(name, section)| [bold(name), roman(section)]);
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    roff.text(names.collect::<Vec<_>>());
    roff
}

/// oci-seccomp-profile(5).
fn profile_page(text: &str) -> anyhow::Result<String> {
    let mut roff = Roff::new();
    let title = ["oci-seccomp-profile", "5", NO_DATE, SOURCE, "File Formats"];
    roff.control("TH", title);
    roff.control("SH", ["NAME"]);
    roff.text([roman("oci-seccomp-profile - what a seccomp profile means")]);
    markdown::render(text, &mut roff).context("docs/profiles.md")?;
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("oci-seccomp"),
        roman("(1), "),
        bold("oci-seccomp-dry-run"),
        roman("(1), "),
        bold("oci-seccomp-test"),
        roman("(1), "),
        bold("seccomp"),
        roman("(2)"),
    ]);
    Ok(roff.render())
}
