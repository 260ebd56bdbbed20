//! `oci-seccomp compile`: writes a profile's program for others to load.
#![forbid(unsafe_code)]

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use log::warn;
use oci_seccomp::bpf::Program;
use oci_seccomp::filter::Filter;
use oci_seccomp::syscalls;

use super::{Failure, source};
use crate::cli::{CompileArgs, ProgramFormat};

/// Compiles and writes.
///
/// # Errors
/// [`Failure`]: 1 for a profile that would be refused, 2 for a source that
/// cannot be read or a file that cannot be written.
pub fn run(args: &CompileArgs) -> Result<ExitCode, Failure> {
    let filter = source::read(&args.source, &args.translate)?;
    if filter.policy().listener.is_some() {
        warn!("the program asks a listener (SCMP_ACT_NOTIFY): whoever loads it has to provide one");
    }
    let bytes = encode(&filter, args.format);
    write(args.output.as_deref(), args.format, &bytes).map_err(Failure::with_status(2))?;
    Ok(ExitCode::SUCCESS)
}

fn encode(filter: &Filter, format: ProgramFormat) -> Vec<u8> {
    let program = filter.program();
    match format {
        ProgramFormat::Raw => program.to_bytes(),
        ProgramFormat::Base64 => (BASE64_STANDARD.encode(program.to_bytes()) + "\n").into_bytes(),
        ProgramFormat::C => c_array(program, &filter.profile().origin).into_bytes(),
        ProgramFormat::Pfc => program.listing(syscalls::name).into_bytes(),
    }
}

/// `struct sock_filter` in C.
fn c_array(program: &Program, origin: &str) -> String {
    // A name cannot end the comment it stands in.
    let origin = origin.replace("*/", "* /");
    let mut out = format!(
        "/* {origin}, compiled by oci-seccomp {} */\n\
         static const struct sock_filter filter[] = {{\n",
        env!("CARGO_PKG_VERSION")
    );
    for i in program.instructions() {
        out += &format!(
            "\t{{ {:#06x}, {}, {}, {:#010x} }},\n",
            i.code, i.jt, i.jf, i.k
        );
    }
    out + "};\n"
}

fn write(output: Option<&Path>, format: ProgramFormat, bytes: &[u8]) -> anyhow::Result<()> {
    let Some(path) = output.filter(|p| *p != "-") else {
        if format == ProgramFormat::Raw && io::stdout().is_terminal() {
            bail!("a program is not for a terminal: name a file with -o, or a --format of text");
        }
        let mut out = io::stdout().lock();
        return out
            .write_all(bytes)
            .and_then(|()| out.flush())
            .context("cannot write to standard output");
    };
    let context = || format!("cannot write {}", path.display());
    // A device, a pipe and what a link leads to (/dev/stdout) are written to; a
    // file is replaced as a whole, so that nobody ever loads half a program.
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.is_file() => fs::write(path, bytes).with_context(context),
        _ => replace(path, bytes).with_context(context),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new: PathBuf = path.with_file_name(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&new)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // It is ours or not there.
        let _ = fs::remove_file(&new);
    }
    written
}
