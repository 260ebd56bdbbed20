//! The command line: argv becomes one typed request.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use oci_seccomp::lint::{Id, UnknownId};

/// The seccomp layer of OCI containers
///
/// Makes the linux.seccomp section of an OCI bundle true for the container's
/// workload, whatever the runtime, and says beforehand what it means.
#[derive(Debug, Parser)]
#[command(
    name = "oci-seccomp",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    disable_help_flag = true,
    after_help = OVERVIEW
)]
pub struct Cli {
    // A screen of it; the rest is for `help COMMAND` and the man page.
    /// Print this; "oci-seccomp help COMMAND" has more
    #[arg(short, long, global = true, action = ArgAction::HelpShort, display_order = 900)]
    help: Option<bool>,
    #[command(subcommand)]
    command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Arm a container's init, as an OCI hook that gets the state on standard input
    ///
    /// Ends with 0 only once the filter is sure to be on the workload; any
    /// other status makes the runtime abort the start.
    #[command(after_help = HOOK_EXAMPLES)]
    Hook(HookArgs),
    /// Load a filter, then become a command
    ///
    /// For process.args of a bundle whose runtime loads no filter. The filter
    /// is on this process before it becomes the command, so the profile must
    /// allow execve itself. The process must have no_new_privs
    /// (process.noNewPrivileges) or CAP_SYS_ADMIN.
    ///
    /// The status is the command's own, or 125 if nothing was started, 126 if
    /// the command cannot be executed, 127 if there is none.
    #[command(after_help = INIT_EXAMPLES, override_usage = INIT_USAGE)]
    Init(InitArgs),
    /// Run a command in a running container, as confined as its init
    ///
    /// The command joins the container's namespaces and cgroups, becomes what
    /// process in config.json describes, with the options below over it, and
    /// gets the filters that the bundle's linux.seccomp and this program's
    /// hooks in config.json ask for. None of them has to allow anything for
    /// this program's sake. Where a filter of init's is stricter than all of
    /// these, the command does not run.
    ///
    /// The status is the command's own, 128 plus the signal that ended it, or
    /// 125 if nothing was started, 126 if the command cannot be executed, 127
    /// if there is none.
    #[command(after_help = EXEC_EXAMPLES, override_usage = EXEC_USAGE)]
    Exec(Box<ExecArgs>),
    /// Rewrite a bundle so that its workload starts by the init shim
    ///
    /// For a runtime that loads no filter, or not the one that was proven. The
    /// bundle gets a folder .oci-seccomp with this program and the filter,
    /// which the container sees read-only; process.args goes through it, and
    /// linux.seccomp goes. Without noNewPrivileges the runtime starts the shim
    /// as root with CAP_SYS_ADMIN, and the shim becomes what the config
    /// described; the profile must allow capset and execve then, else execve.
    /// A later exec into such a container starts as the shim does, unless the
    /// runtime is told otherwise (--process).
    ///
    /// The status is 0, or 1 if the bundle or its profile is refused, 2 if a
    /// file cannot be read or written. Then nothing was changed.
    #[command(after_help = WRAP_EXAMPLES)]
    Wrap(WrapArgs),
    /// Say what a profile means, and load nothing
    ///
    /// The status is 0 if the profile can be used, 1 if not or if it has a
    /// finding that is denied, 2 if it could not be read.
    #[command(long_flag = "dry-run", after_help = DRY_RUN_EXAMPLES)]
    DryRun(DryRunArgs),
    /// Say what becomes of a call, and which rule does that
    ///
    /// The rule that decides, those that match and come too late, those that do
    /// not match and by which condition; and what runc, crun and youki do with
    /// the call by themselves, where that is something else. Arguments that are
    /// left out may be anything: then every outcome is shown with its condition.
    ///
    /// The status is 0 whatever the verdict, 1 if the profile is refused, 2 if
    /// it cannot be read or there is no such call.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Write a profile's program: for bubblewrap, for crun, for C, or to read
    ///
    /// The program was proven to mean what the profile says. The status is 0,
    /// or 1 if the profile is refused, 2 if a file cannot be read or written.
    #[command(after_help = COMPILE_EXAMPLES)]
    Compile(CompileArgs),
    /// Print the OCI section that a profile stands for
    ///
    /// docker's and containers' profiles say which rules are for which
    /// capabilities, architectures and kernels; the OCI section has only
    /// those that apply.
    #[command(after_help = RESOLVE_EXAMPLES)]
    Resolve(ResolveArgs),
    /// Run unit tests for profiles
    ///
    /// Each case is a call with the verdict it must get, and is run through
    /// the compiled program and through the reference. The status is 0 if all
    /// passed, 1 if one failed, 2 if a file could not be used.
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArgs),
    /// Fill, show or empty the cache of compiled and proven programs
    ///
    /// The hook and exec keep what they make there and take it from there:
    /// /run/oci-seccomp for root, $XDG_RUNTIME_DIR/oci-seccomp for others.
    /// The status is 0, or 1 if a profile is refused, 2 if the cache or a
    /// profile cannot be read or written.
    #[command(after_help = CACHE_EXAMPLES)]
    Cache(CacheCommand),
    /// Say which calls get another verdict from B than from A
    ///
    /// Two profiles, or ready programs, are held against each other on every
    /// class of calls that either can tell apart. ALLOW and LOG make a call;
    /// TRACE and NOTIFY leave it to another; what is stricter denies it.
    ///
    /// The status is 0 if all verdicts are the same, 1 if not; 2 if that
    /// could not be told, or one of the two is unreadable or refused.
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(DiffArgs),
    /// Show the filters that are really on a process or a container
    ///
    /// The kernel hands them out: to a process with CAP_SYS_ADMIN outside of
    /// user namespaces and without a filter of its own. Each thread is stopped
    /// for the instant that takes, and goes on whatever happens to us. Without
    /// the privilege it says how many there are.
    ///
    /// With --against, the status is 0 if they are at least as strict as the
    /// profile for every call, 1 if not; 2 if that cannot be told, or there is
    /// no such process.
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(InspectArgs),
    /// Explain what the kernel's log says of filtered calls
    ///
    /// Reads the audit records of seccomp (type 1326) as dmesg, journalctl -k,
    /// ausearch --raw and auditd's file have them, with any lines in between.
    /// With a profile it tells for each call which rule decides, and the
    /// smallest change that allows it, which was tried: no other call changes.
    /// A record does not have the arguments, nor does it name the container.
    ///
    /// The status is 0, or 1 if the profile is refused, 2 if a file cannot be
    /// read.
    #[command(after_help = AUDIT_EXAMPLES)]
    Audit(AuditArgs),
    /// Say what this kernel, this libseccomp and this process can do
    ///
    /// The status is 0 if filters can be loaded here, 1 if not.
    #[command(after_help = FEATURES_EXAMPLES)]
    Features(FeaturesArgs),
}

const OVERVIEW: &str = "\
Examples:
  oci-seccomp dry-run seccomp.json
  oci-seccomp explain /run/bundle openat
  oci-seccomp exec web sh

Environment:
  OCI_SECCOMP_LOG  What to log on standard error: off, error, warn, info,
                   debug or trace";

const HOOK_EXAMPLES: &str = "\
Examples:
  oci-seccomp hook --dry-run < state.json
  Under hooks.createRuntime in config.json, for the bundle's own linux.seccomp:
    {\"path\": \"/usr/bin/oci-seccomp\", \"args\": [\"oci-seccomp\", \"hook\"]}
  A baseline, and what the annotation io.oci-seccomp.profile=NAME asks for:
    \"args\": [\"oci-seccomp\", \"hook\", \"--profile\", \"/etc/seccomp.json\",
             \"--profile-dir\", \"/etc/seccomp.d\"]

At startContainer the bundle is out of sight: give --profile or --bpf, a file
inside the container. The hook arms there only where it may trace init.";

const INIT_USAGE: &str = "\
oci-seccomp init [OPTIONS] --config FILE [--] CMD [ARG]...
       oci-seccomp init [OPTIONS] --profile FILE [--] CMD [ARG]...
       oci-seccomp init [OPTIONS] --bpf FILE [--] CMD [ARG]...";

const INIT_EXAMPLES: &str = "\
Examples:
  oci-seccomp init --profile /seccomp.json -- nginx -g 'daemon off;'
  oci-seccomp init --bpf /filter.bpf sh -c 'grep Seccomp /proc/self/status'
  oci-seccomp init --bpf /filter.bpf --flags LOG,SPEC_ALLOW nginx";

const EXEC_USAGE: &str = "\
oci-seccomp exec [OPTIONS] CONTAINER [--] CMD [ARG]...
       oci-seccomp exec [OPTIONS] --process FILE CONTAINER
       oci-seccomp exec [OPTIONS] --pid PID --bundle DIR [--] CMD [ARG]...";

const EXEC_EXAMPLES: &str = "\
Examples:
  oci-seccomp exec web grep Seccomp /proc/self/status
  oci-seccomp exec --tty --user 1000:1000 --cwd /srv --env TERM=xterm web sh
  oci-seccomp exec --runtime runc --root /run/my-runc web -- ls -l
  oci-seccomp exec --runtime podman --detach --pid-file /run/job.pid web /job
  oci-seccomp exec --pid 4711 --bundle /run/bundle sh -c 'id; ps'";

const WRAP_EXAMPLES: &str = "\
Examples:
  oci-seccomp wrap /run/bundle && runc run --bundle /run/bundle web
  oci-seccomp wrap --profile /etc/seccomp.json .
  oci-seccomp wrap --undo /run/bundle";

const DRY_RUN_EXAMPLES: &str = "\
Examples:
  oci-seccomp dry-run seccomp.json
  oci-seccomp --dry-run bundle --format json
  oci-seccomp dry-run --deny unknown-syscall --deny mask-bits seccomp.json
  oci-seccomp dry-run --list-findings
  jq .linux.seccomp bundle/config.json | oci-seccomp dry-run -";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  oci-seccomp explain seccomp.json clone
  oci-seccomp explain seccomp.json openat _ _ 'O_RDWR|O_CREAT'
  oci-seccomp explain seccomp.json socket AF_VSOCK --trace
  oci-seccomp explain bundle 41 16 3 9 --arch x32 --format json";

const COMPILE_EXAMPLES: &str = "\
Examples:
  oci-seccomp compile seccomp.json -o filter.bpf
  bwrap --seccomp 3 --ro-bind / / true 3< <(oci-seccomp compile seccomp.json)
  oci-seccomp compile bundle --format pfc | less
  podman run --annotation run.oci.seccomp_bpf_data=\\
    $(oci-seccomp compile seccomp.json --format base64) …";

const RESOLVE_EXAMPLES: &str = "\
Examples:
  oci-seccomp resolve /usr/share/containers/seccomp.json
  oci-seccomp resolve default.json --caps CAP_SYS_ADMIN,CAP_NET_ADMIN --kernel 5.10
  oci-seccomp resolve default.json --caps all --arch aarch64";

const TEST_EXAMPLES: &str = "\
Examples:
  oci-seccomp test cases/*.json
  oci-seccomp test --enosys off --format json cases.json

A file of cases:
  {\"profile\": \"seccomp.json\", \"cases\": [
    {\"arch\": \"x86_64\", \"syscall\": \"mkdir\", \"args\": [null, 448], \"expect\": \"ERRNO(77)\"}]}";

const CACHE_EXAMPLES: &str = "\
Examples:
  oci-seccomp cache prime /usr/share/containers/seccomp.json /etc/containers/*.json
  oci-seccomp cache list --format json
  oci-seccomp cache clear

A profile of docker's form means different things for different capabilities: it
is primed for those of the bundle that it is in, or for none.";

const PRIME_EXAMPLES: &str = "\
Examples:
  oci-seccomp cache prime /usr/share/containers/seccomp.json
  oci-seccomp cache prime --enosys off /run/bundle /etc/oci-seccomp/*.json";

const LIST_EXAMPLES: &str = "\
Examples:
  oci-seccomp cache list
  oci-seccomp cache list --format json | jq '[.entries[].bytes] | add'";

const CLEAR_EXAMPLES: &str = "\
Examples:
  oci-seccomp cache clear";

const DIFF_EXAMPLES: &str = "\
Examples:
  oci-seccomp diff old.json new.json
  oci-seccomp diff --subset baseline.json /run/bundle
  jq .linux.seccomp config.json | oci-seccomp diff seccomp.json -
  oci-seccomp diff seccomp.json filter.bpf --format json";

const INSPECT_EXAMPLES: &str = "\
Examples:
  oci-seccomp inspect 4242
  oci-seccomp inspect web --against /run/bundle
  oci-seccomp inspect --runtime podman web --call clone CLONE_NEWUSER
  oci-seccomp inspect 4242 --verbose | less";

const AUDIT_EXAMPLES: &str = "\
Examples:
  dmesg | oci-seccomp audit --profile /run/bundle
  oci-seccomp audit --profile seccomp.json /var/log/audit/audit.log
  journalctl -k | oci-seccomp audit --format json";

const FEATURES_EXAMPLES: &str = "\
Examples:
  oci-seccomp features
  oci-seccomp features --format json | jq .flags.WAIT_KILLABLE_RECV";

/// `hook`
#[derive(Debug, Args)]
pub struct HookArgs {
    /// Load this profile in place of the bundle's linux.seccomp
    ///
    /// Onto any container that has the hook. The runtime still loads the
    /// bundle's section by itself.
    #[arg(long, value_name = "FILE", conflicts_with = "bpf")]
    pub profile: Option<PathBuf>,
    /// The same with a ready program, as compile writes it
    ///
    /// struct sock_filter in the machine's byte order, as
    /// seccomp_export_bpf(3) writes it; loaded with SPEC_ALLOW.
    #[arg(long, value_name = "FILE")]
    pub bpf: Option<PathBuf>,
    /// In addition, load DIR/NAME.json where a container has the annotation
    /// io.oci-seccomp.profile=NAME
    ///
    /// Without such a file it does not start.
    #[arg(long, value_name = "DIR")]
    pub profile_dir: Option<PathBuf>,
    /// What to do where the runtime loaded filters of its own
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub on_existing: OnExisting,
    /// Refuse the start of a container that has no profile
    #[arg(long)]
    pub require: bool,
    /// Say what would be loaded, and load nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to say it
    #[arg(long, value_enum, default_value_t, requires = "dry_run")]
    pub format: Format,
    /// Say it at length
    #[arg(short, long, requires = "dry_run")]
    pub verbose: bool,
    /// The stage, where the state does not tell
    #[arg(long, value_enum)]
    pub stage: Option<Stage>,
    /// At precreate: give crun the program, to compile none itself
    #[arg(long)]
    pub crun_bpf: bool,
    /// Log to this file too; it is appended to
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Log to syslog too, where there is one
    #[arg(long)]
    pub syslog: bool,
    /// Programs made before.
    #[command(flatten)]
    pub cache: CacheArgs,
    /// How the profile is read.
    #[command(flatten)]
    pub translate: TranslateArgs,
}

/// `init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where the filter comes from.
    #[command(flatten)]
    pub source: InitSource,
    /// How to load the program: SECCOMP_FILTER_FLAG_*
    #[arg(long, value_enum, value_name = "FLAG,…", value_delimiter = ',')]
    #[arg(default_value = "SPEC_ALLOW", conflicts_with_all = ["profile", "config"])]
    pub flags: Vec<FilterFlag>,
    /// Started as root, become what this describes: wrap writes it
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// How the profile is read.
    #[command(flatten)]
    pub translate: TranslateArgs,
    /// The command and its arguments; looked up on PATH unless it has a slash
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Where `init` takes the filter from: exactly one of the three.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct InitSource {
    /// Use the linux.seccomp section of this config.json
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Use this profile
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Use this ready program, as compile writes it
    ///
    /// struct sock_filter in the machine's byte order, as
    /// seccomp_export_bpf(3) writes it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["strict", "ambiguous", "enosys"])]
    pub bpf: Option<PathBuf>,
}

/// A flag of seccomp(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FilterFlag {
    /// For all threads
    #[value(name = "TSYNC")]
    Tsync,
    /// Log what is not allowed
    #[value(name = "LOG")]
    Log,
    /// Without mitigations of speculative execution
    #[value(name = "SPEC_ALLOW")]
    SpecAllow,
    /// Only a fatal signal interrupts the wait for a listener's answer
    #[value(name = "WAIT_KILLABLE_RECV")]
    WaitKillableRecv,
    /// No flag
    #[value(name = "none")]
    None,
}

/// `exec`
#[derive(Debug, Default, Args)]
pub struct ExecArgs {
    /// Ask this one for the container: runc, crun, youki, podman or a path;
    /// without it, each that is installed
    #[arg(long, value_name = "RUNTIME", conflicts_with = "pid")]
    pub runtime: Option<PathBuf>,
    /// The runtime's root directory, as its own --root
    #[arg(long, value_name = "DIR", conflicts_with = "pid")]
    pub root: Option<PathBuf>,
    /// Join the container of this process; ask no runtime
    #[arg(long, value_name = "PID", requires = "bundle", value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,
    /// Its bundle's directory
    #[arg(long, value_name = "DIR", requires = "pid")]
    pub bundle: Option<PathBuf>,
    /// Load this profile, not those config.json asks for
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Load filters of init's too that are in no profile
    #[arg(long)]
    pub inherit_filters: bool,
    /// Make a terminal in the container, connected to this
    #[arg(short, long)]
    pub tty: bool,
    /// Taken for the sake of who is used to it: standard input is always the
    /// command's
    #[arg(short, long, hide = true)]
    pub interactive: bool,
    /// Run as this user and group, in numbers; without GID, the config's group
    #[arg(short, long, value_name = "UID[:GID]")]
    pub user: Option<User>,
    /// Start in this folder of the container
    #[arg(short = 'w', long, visible_alias = "workdir", value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Set a variable, over those of the config
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub env: Vec<String>,
    /// Add a capability to the bounding, permitted and effective set
    ///
    /// To use it, a user other than root needs it in the config's ambient set.
    #[arg(long, value_name = "CAP", value_parser = capability)]
    pub cap: Vec<caps::Capability>,
    /// Become what this file describes, like process of a config
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["user", "cwd", "env", "cap"])]
    pub process: Option<PathBuf>,
    /// Do not wait for the command
    #[arg(short, long, conflicts_with = "tty")]
    pub detach: bool,
    /// Write the command's pid here before it runs
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Programs made before.
    #[command(flatten)]
    pub cache: CacheArgs,
    /// How the profile is read.
    #[command(flatten)]
    pub translate: TranslateArgs,
    /// The container, and the command with its arguments
    #[arg(trailing_var_arg = true, value_name = "CONTAINER CMD")]
    pub words: Vec<OsString>,
}

/// A user and perhaps a group, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// `UID`
    pub uid: u32,
    /// `GID`
    pub gid: Option<u32>,
}

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = |id: &str| match id.parse() {
            // "As it is", to setresuid(2).
            Ok(u32::MAX) | Err(_) => Err(format!("\"{id}\" is no id: names are not looked up")),
            Ok(id) => Ok(id),
        };
        let (uid, gid) = match text.split_once(':') {
            Some((uid, gid)) => (uid, Some(id(gid)?)),
            None => (text, None),
        };
        Ok(Self { uid: id(uid)?, gid })
    }
}

/// A capability, with or without `CAP_`, in any case.
fn capability(name: &str) -> Result<caps::Capability, String> {
    let upper = name.to_uppercase();
    let full = match upper.starts_with("CAP_") {
        true => upper,
        false => format!("CAP_{upper}"),
    };
    full.parse().map_err(|_| format!("no capability {name}"))
}

/// `wrap`
#[derive(Debug, Args)]
pub struct WrapArgs {
    /// The bundle's directory
    pub bundle: PathBuf,
    /// Use this profile, not the bundle's linux.seccomp section
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Leave linux.seccomp to the runtime too
    ///
    /// Which then filters the shim and what joins later.
    #[arg(long)]
    pub keep_section: bool,
    /// Put the bundle back as it was
    #[arg(long, conflicts_with_all = ["profile", "keep_section", "strict", "ambiguous", "enosys"])]
    pub undo: bool,
    /// Undo even if config.json was changed since, and lose that
    #[arg(long, requires = "undo")]
    pub force: bool,
    /// How the profile is read.
    #[command(flatten)]
    pub translate: TranslateArgs,
}

/// `dry-run`
#[derive(Debug, Args)]
pub struct DryRunArgs {
    /// A bundle, a config.json or a profile; - is standard input
    #[arg(required_unless_present = "list_findings")]
    pub source: Option<PathBuf>,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Say it at length: every name, finding and difference
    #[arg(short, long)]
    pub verbose: bool,
    /// Fail where there is this finding, or any with "all"
    #[arg(long, value_name = "ID")]
    pub deny: Vec<FindingId>,
    /// Do not speak of this finding, nor fail for it
    #[arg(long, value_name = "ID")]
    pub allow: Vec<FindingId>,
    /// Say what findings there are
    #[arg(long, exclusive = true)]
    pub list_findings: bool,
    /// How the profile is read.
    #[command(flatten)]
    pub translate: TranslateArgs,
}

/// Which findings are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingId {
    /// Every one.
    All,
    /// This one.
    One(Id),
}

impl FindingId {
    /// Whether a finding is meant.
    pub fn includes(self, id: Id) -> bool {
        self == Self::All || self == Self::One(id)
    }
}

impl FromStr for FindingId {
    type Err = UnknownId;

    fn from_str(name: &str) -> Result<Self, UnknownId> {
        match name {
            "all" => Ok(Self::All),
            name => name.parse().map(Self::One),
        }
    }
}

/// `explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A bundle, a config.json or a profile; - is standard input
    pub source: PathBuf,
    /// The call: its name or number
    #[arg(allow_negative_numbers = true)]
    pub syscall: String,
    /// Its arguments: numbers, names such as O_RDWR|O_CREAT, or _ for any value
    #[arg(value_name = "ARG", allow_negative_numbers = true, num_args = 0..=6)]
    pub args: Vec<String>,
    /// The architecture it is made on; without it, this machine's
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// Show what the kernel executes of the program
    #[arg(long)]
    pub trace: bool,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Say it at length
    #[arg(short, long)]
    pub verbose: bool,
    /// How the profile is read.
    #[command(flatten)]
    pub translate: TranslateArgs,
}

/// `compile`
#[derive(Debug, Args)]
pub struct CompileArgs {
    /// A bundle, a config.json or a profile; - is standard input
    pub source: PathBuf,
    /// Where to write to; without it, standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What to write
    #[arg(long, value_enum, default_value_t)]
    pub format: ProgramFormat,
    /// How the profile is read.
    #[command(flatten)]
    pub translate: TranslateArgs,
}

/// What `compile` writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgramFormat {
    /// struct sock_filter in the machine's byte order, as bwrap --seccomp takes it
    #[default]
    Raw,
    /// The same as base64, for crun's annotation run.oci.seccomp_bpf_data
    Base64,
    /// An array of struct sock_filter
    C,
    /// One instruction a line, with labels and names
    Pfc,
}

/// `resolve`
#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// A bundle, a config.json or a profile; - is standard input
    pub source: PathBuf,
    /// The workload's bounding capabilities, or "all"
    ///
    /// Without it, those of the bundle, or none.
    #[arg(long, value_name = "CAP,…", value_delimiter = ',')]
    pub caps: Option<Vec<String>>,
    /// The architecture; without it, this machine's
    #[arg(long)]
    pub arch: Option<String>,
    /// The kernel's version; without it, this machine's
    #[arg(long, value_name = "VERSION")]
    pub kernel: Option<String>,
}

/// `test`
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Files of cases; - is standard input
    #[arg(required = true, value_name = "CASES")]
    pub files: Vec<PathBuf>,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// How the profile is read.
    #[command(flatten)]
    pub translate: TranslateArgs,
}

/// `cache`
#[derive(Debug, Args)]
pub struct CacheCommand {
    /// What to do with it.
    #[command(subcommand)]
    pub action: CacheAction,
}

/// What to do with the cache.
#[derive(Debug, Subcommand)]
pub enum CacheAction {
    /// Compile and prove profiles, and keep their programs
    #[command(after_help = PRIME_EXAMPLES)]
    Prime(PrimeArgs),
    /// Show what is kept, the oldest first
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// How to say it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Remove all that is kept
    #[command(after_help = CLEAR_EXAMPLES)]
    Clear,
}

/// `cache prime`
#[derive(Debug, Args)]
pub struct PrimeArgs {
    /// Bundles, config.json files or profiles
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<PathBuf>,
    /// How the profile is read; as the hook is to be told.
    #[command(flatten)]
    pub translate: TranslateArgs,
}

/// `diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A bundle, a config.json, a profile or a program; - is standard input
    ///
    /// A ready program is struct sock_filter in the machine's byte order.
    #[arg(value_name = "A")]
    pub first: PathBuf,
    /// Another
    #[arg(value_name = "B")]
    pub second: PathBuf,
    /// Status 0 if B allows nothing that A does not, whatever else differs
    #[arg(long)]
    pub subset: bool,
    /// Name all calls, also those that neither allows
    #[arg(short, long)]
    pub verbose: bool,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// How the profiles are read.
    #[command(flatten)]
    pub translate: TranslateArgs,
}

/// `inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The number of a process, or a container
    ///
    /// With --runtime or --root a number is a container too.
    #[arg(value_name = "PID|CONTAINER")]
    pub target: String,
    /// Who knows the container: podman, or an OCI runtime by name or path;
    /// without it, whoever does
    #[arg(long, value_name = "NAME")]
    pub runtime: Option<PathBuf>,
    /// The --root of the runtime
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Hold the filters together against a bundle, a config.json, a profile
    /// or a ready program
    #[arg(long, value_name = "SOURCE")]
    pub against: Option<PathBuf>,
    /// Say what this call would get
    ///
    /// Arguments are numbers, names such as O_RDWR|O_CREAT, or _ for any value,
    /// as are those left out.
    #[arg(long, value_names = ["NAME", "ARG"], num_args = 1..=7, allow_negative_numbers = true)]
    pub call: Vec<String>,
    /// The architecture of that call; without it, this machine's
    #[arg(long, requires = "call")]
    pub arch: Option<String>,
    /// List the programs, and all that differs
    #[arg(short, long)]
    pub verbose: bool,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// How the profile is read.
    #[command(flatten)]
    pub translate: TranslateArgs,
}

/// `audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// A log; without it, or as -, standard input
    pub file: Option<PathBuf>,
    /// Hold the calls against this bundle, config.json or profile
    #[arg(long, value_name = "SOURCE")]
    pub profile: Option<PathBuf>,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// How the profile is read.
    #[command(flatten)]
    pub translate: TranslateArgs,
}

/// `features`
#[derive(Debug, Args)]
pub struct FeaturesArgs {
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Programs made before.
#[derive(Debug, Default, Args)]
pub struct CacheArgs {
    /// Make the program anew, and keep it nowhere
    #[arg(long)]
    pub no_cache: bool,
}

/// How a profile is read.
#[derive(Debug, Default, Args)]
pub struct TranslateArgs {
    /// Refuse a profile with a call that nobody knows
    #[arg(long)]
    pub strict: bool,
    /// Rules whose order decides: refuse, or let the first win
    ///
    /// Where what libseccomp loads would be the weaker.
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub ambiguous: Ambiguous,
    /// What a call newer than the profile gets
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub enosys: Enosys,
}

/// Output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// When the runtime calls a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// In the runtime's namespaces
    #[value(name = "createRuntime")]
    CreateRuntime,
    /// The old name of createRuntime
    #[value(name = "prestart")]
    Prestart,
    /// In the container's namespaces, before its root file system
    #[value(name = "createContainer")]
    CreateContainer,
    /// Inside the container, with the workload's privileges
    #[value(name = "startContainer")]
    StartContainer,
    /// podman's own, before any runtime: the config on standard input, and
    /// checked on standard output
    #[value(name = "precreate")]
    Precreate,
}

/// What to do where the runtime has loaded filters of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnExisting {
    /// Load ours on top, unless one that is there was proven to be at least as strict
    #[default]
    Verify,
    /// Load ours on top
    Stack,
    /// Load none of ours
    Skip,
}

/// What to do about an ambiguous profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Ambiguous {
    /// Refuse it
    #[default]
    Error,
    /// Let the first rule in the file decide
    First,
}

/// What a call newer than the profile gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Enosys {
    /// ENOSYS, unless the default action lets it through
    #[default]
    Auto,
    /// The default action
    Off,
}

/// Parses a command line, the program's name first.
///
/// # Errors
/// Help, version and usage errors are printed here; the status is 0 for the
/// first two, and for an error the one by which the command says that it did
/// nothing.
pub fn parse(argv: impl Iterator<Item = OsString>) -> Result<Command, ExitCode> {
    let argv: Vec<OsString> = argv.collect();
    if let Some(command) = hot(&argv) {
        return Ok(command);
    }
    match Cli::try_parse_from(&argv) {
        Ok(cli) => Ok(cli.command),
        Err(error) => {
            // Nothing is left to be done if it cannot be printed.
            let _ = error.print();
            Err(ExitCode::from(usage_status(&argv, error.kind())))
        }
    }
}

/// One command by itself.
#[derive(Parser)]
struct Only<T: Args> {
    #[command(flatten)]
    args: T,
}

/// The commands that a container's start or a command in it waits for, without
/// all that the other ones say of themselves. `None` for the others, and for
/// what only the whole command line can answer: help, errors.
fn hot(argv: &[OsString]) -> Option<Command> {
    fn only<T: Args>(argv: &[OsString]) -> Option<T> {
        let rest = argv.iter().take(1).chain(argv.iter().skip(2));
        Some(Only::try_parse_from(rest).ok()?.args)
    }
    match argv.get(1)?.to_str()? {
        "hook" => only(argv).map(Command::Hook),
        "init" => only(argv).map(Command::Init),
        "exec" => only(argv).map(Box::new).map(Command::Exec),
        _ => None,
    }
}

/// The arguments of a hook of ours, by its whole argv; `None` if it is no
/// `hook` command.
///
/// # Errors
/// It is one, with arguments that are not understood.
pub fn parse_hook(argv: &[String]) -> Result<Option<HookArgs>, clap::Error> {
    match argv.get(1).map(String::as_str) {
        Some("hook") => match Cli::try_parse_from(argv)?.command {
            Command::Hook(args) => Ok(Some(args)),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn usage_status(argv: &[OsString], kind: ErrorKind) -> u8 {
    match (kind, argv.get(1).and_then(|name| OsStr::to_str(name))) {
        (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, _) => 0,
        (_, Some("hook")) => 1,
        (_, Some("init" | "exec")) => 125,
        _ => 2,
    }
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
