//! What the README, SECURITY.md and docs/ say of the source, held against the
//! source; and the examples of docs/, run as they stand.
#![forbid(unsafe_code)]

mod cells;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use support::{Run, Runtime, binary, source};

fn read(path: impl AsRef<Path>) -> String {
    let path = source().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The files of the program that are no tests, from `src` on.
fn source_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(source().join(&folder)).expect("folder of the source") {
            let entry = entry.expect("entry");
            let path = folder.join(entry.file_name());
            let name = entry.file_name().into_string().expect("UTF-8");
            if entry.file_type().expect("type").is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                files.push(path);
            }
        }
    }
    files.retain(|file| !file.components().any(|part| part.as_os_str() == "tests"));
    files
}

/// A file's code, without its test module and its comments.
fn code(file: &Path) -> String {
    let text = read(file);
    let code = text.split("\n#[cfg(test)]\nmod ").next().expect("text");
    let lines = code.lines().filter(|l| !l.trim_start().starts_with("//"));
    lines.map(|l| format!("{l}\n")).collect()
}

/// The module of a file: the one at the top, or the one in sys.
fn module(file: &Path) -> String {
    let mut parts = file
        .iter()
        .skip(1)
        .map(|p| p.to_str().expect("UTF-8").trim_end_matches(".rs"));
    match (parts.next().expect("a name"), parts.next()) {
        ("sys", Some(part)) if part != "mod" => format!("sys::{part}"),
        (top, _) => top.to_owned(),
    }
}

/// The paths that start with this prefix: `{a, b::c}` after it is two of them.
fn paths(code: &str, prefix: &str) -> Vec<String> {
    let starts = code.match_indices(prefix).filter(|(at, _)| {
        let before = code[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    });
    starts
        .flat_map(|(at, _)| branches(&code[at + prefix.len()..]))
        .collect()
}

/// The first two names of each path of a use tree.
fn branches(tree: &str) -> Vec<String> {
    if let Some(inner) = tree.strip_prefix('{') {
        let mut depth = 1;
        let end = inner.find(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0
        });
        let mut depth = 0;
        let parts = inner[..end.expect("a closed brace")].split(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        });
        let parts = parts.map(str::trim).filter(|part| !part.is_empty());
        return parts.flat_map(branches).collect();
    }
    let end = tree.find(|c: char| !c.is_alphanumeric() && c != '_');
    let (name, rest) = tree.split_at(end.unwrap_or(tree.len()));
    match rest.strip_prefix("::") {
        Some(rest) if name == "sys" => branches(rest)
            .into_iter()
            .map(|b| format!("sys::{b}"))
            .collect(),
        _ => vec![name.to_owned()],
    }
}

/// What each module imports of the others.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let mut graph = BTreeMap::<_, BTreeSet<String>>::new();
    for file in source_files() {
        let (own, code) = (module(&file), code(&file));
        let mut found = paths(&code, "crate::");
        found.extend(paths(&code, "oci_seccomp::"));
        if own.starts_with("sys::") {
            let beside = paths(&code, "super::");
            found.extend(beside.into_iter().map(|name| format!("sys::{name}")));
        }
        // Items that a module hands on, such as sys::PidFd, are the module's.
        let known = |name: &String| {
            let folder = Path::new("src").join(name.replace("::", "/"));
            let path = source().join(&folder);
            path.is_dir() || path.with_extension("rs").is_file()
        };
        found.retain(|name| known(name) && *name != own);
        graph.entry(own).or_default().extend(found);
    }
    graph
}

/// The names in backquotes in a cell of a table.
fn quoted(cell: &str) -> Vec<String> {
    let names = cell.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

/// The table of modules, in its order: each with what it may import; `None`
/// for whatever it likes.
fn table() -> Vec<(String, Option<BTreeSet<String>>)> {
    let page = read("docs/architecture.md");
    let (_, rows) = page
        .split_once("| module | holds | imports |")
        .expect("the table");
    let rows = rows
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut table = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [modules, _, imports] = cells[..] else {
            panic!("not three cells: {row}");
        };
        for module in quoted(modules) {
            let any = imports.trim() == "anything below";
            table.push((
                module,
                (!any).then(|| quoted(imports).into_iter().collect()),
            ));
        }
    }
    table
}

#[test]
fn the_table_of_modules_is_the_import_graph() {
    let mut wrong = Vec::new();
    let mut real = imports();
    // What only puts modules together.
    for root in ["lib", "main", "sys"] {
        real.remove(root);
    }
    for (module, allowed) in table() {
        let Some(real) = real.remove(&module) else {
            wrong.push(format!("{module} is there twice, or is no module"));
            continue;
        };
        let Some(allowed) = allowed else { continue };
        for new in real.difference(&allowed) {
            wrong.push(format!(
                "{module} imports {new}, which its row does not have"
            ));
        }
        for gone in allowed.difference(&real) {
            wrong.push(format!(
                "{module} does not import {gone}, which its row has"
            ));
        }
    }
    wrong.extend(real.keys().map(|module| format!("{module} has no row")));
    assert!(wrong.is_empty(), "docs/architecture.md: {wrong:#?}");
}

/// Which is why there are no cycles: where there is one, no order will do.
#[test]
fn each_module_imports_only_from_rows_below_its_own() {
    let mut upwards = Vec::new();
    let mut graph = imports();
    let rows: Vec<String> = table().into_iter().map(|(module, _)| module).collect();
    for (row, module) in rows.iter().enumerate() {
        let imports = graph.remove(module).unwrap_or_default();
        let above = rows[..row].iter().filter(|above| imports.contains(*above));
        upwards.extend(above.map(|above| format!("{module} imports {above}")));
    }
    assert!(
        upwards.is_empty(),
        "a cycle, or rows of docs/architecture.md out of order: {upwards:#?}"
    );
}

#[test]
fn unsafe_code_is_in_sys_alone() {
    for file in source_files() {
        let text = read(&file);
        let root = file.ends_with("lib.rs");
        let in_sys = file.starts_with("src/sys");
        assert_eq!(
            text.contains("#![forbid(unsafe_code)]"),
            !root && !in_sys,
            "{}",
            file.display()
        );
    }
}

/// The blocks of a page that are shell.
fn scripts(page: &str) -> Vec<String> {
    let blocks = page.split("\n```sh\n").skip(1);
    let blocks = blocks.map(|b| b.split("\n```").next().expect("text").to_owned());
    blocks.collect()
}

#[test]
fn the_blocks_on_writing_a_profile_run_one_after_the_other() {
    let dir = tempfile::tempdir().expect("directory");
    let record = |nr: u32| {
        format!(
            "[ 1.0] audit: type=1326 audit(1700000000.123:45): auid=1000 uid=0 gid=0 ses=1 pid=9 \
             comm=\"x\" exe=\"/bin/app\" sig=0 arch=c000003e syscall={nr} compat=0 ip=0x1 \
             code=0x7ffc0000\n"
        )
    };
    // read, write, openat, getrandom, execve
    let log: String = [0, 1, 257, 318, 59, 0].map(record).concat();
    fs::write(dir.path().join("kernel.log"), log).expect("log");
    std::os::unix::fs::symlink(binary(), dir.path().join("oci-seccomp")).expect("link");
    let path = std::env::var("PATH").unwrap_or_default();
    let run = |script: &str| {
        let seen = Run::new("sh")
            .args(["-euc", script])
            .env("PATH", format!("{}:{path}", dir.path().display()))
            .current_dir(dir.path())
            .run();
        seen.success().stdout
    };
    let scripts = scripts(&read("docs/writing.md"));
    let said: Vec<String> = scripts.iter().map(|script| run(script)).collect();
    let [_, named, added, _, narrowed, tested, _, reviewed] = &said[..] else {
        panic!("{} blocks", said.len());
    };
    assert!(
        named.contains("add \"getrandom\" to the names of rule 0"),
        "{named}"
    );
    assert!(!added.contains("to allow it    add"), "{added}");
    assert!(added.contains("the profile allows it"), "{added}");
    assert!(
        narrowed.contains("if arg0 & 0xffffffff == AF_UNIX"),
        "{narrowed}"
    );
    assert!(tested.contains("5 passed"), "{tested}");
    for line in ["verdicts differ", "lets more through", "no longer allowed"] {
        assert!(reviewed.contains(line), "{line}: {reviewed}");
    }
}

/// The string literals of some code, with `…` where a value goes.
fn strings(code: &str) -> Vec<String> {
    let code = code.replace("'\"'", "");
    let mut strings = Vec::new();
    let mut rest = code.as_str();
    while let Some((before, after)) = rest.split_once('"') {
        let hashes = before.len() - before.trim_end_matches('#').len();
        let is_raw = before.trim_end_matches('#').ends_with('r');
        let end = if is_raw {
            after.find(&format!("\"{}", "#".repeat(hashes)))
        } else {
            let mut escaped = false;
            after.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            })
        };
        let end = end.expect("the end of a string");
        // A line that ends with a backslash goes on with the next one's text.
        let mut lines = after[..end].split("\\\n");
        let mut text = lines.next().unwrap_or_default().to_owned();
        text.extend(lines.map(str::trim_start));
        strings.push(with_dots(&text.replace("\\\"", "\"")));
        rest = &after[end + 1..];
    }
    strings
}

/// `{value:?}` is `…`.
fn with_dots(text: &str) -> String {
    let mut parts = text.split('{');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push('…');
        out.push_str(part.split_once('}').map_or(part, |(_, rest)| rest));
    }
    out
}

#[test]
fn each_message_on_the_page_is_one_of_the_programs() {
    let known: Vec<String> = source_files()
        .iter()
        .flat_map(|f| strings(&code(f)))
        .collect();
    let page = read("docs/troubleshooting.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let messages: Vec<&str> = rows
        .map(|row| row.split('`').next().expect("text"))
        .collect();
    assert!(messages.len() > 90, "{}", messages.len());
    for message in messages {
        let is_known = known.iter().any(|text| text.contains(message));
        assert!(is_known, "docs/troubleshooting.md: nobody says {message:?}");
    }
}

/// Everything that is said of runc and crun, tried with them.
#[test]
fn the_comparison_is_what_the_runtimes_do() {
    if !Runtime::Runc.is_ready() || !Runtime::Crun.is_ready() {
        return;
    }
    let page = read("docs/comparison.md");
    let built = "binary=$checkout/target/x86_64-unknown-linux-gnu/release/oci-seccomp";
    let script: String = scripts(&page)
        .iter()
        .map(|s| format!("{s}\necho ---\n"))
        .collect();
    assert!(script.contains(built));
    let script = script.replace(built, &format!("binary='{}'", binary().display()));
    let scratch = tempfile::tempdir().expect("directory");
    let seen = Run::new("bash")
        .args(["-c", &script])
        .current_dir(source())
        .env("TMPDIR", scratch.path())
        .run()
        .success();
    let texts = page.split("\n```text\n").skip(1);
    let expected: Vec<&str> = texts
        .map(|t| t.split("\n```").next().expect("text"))
        .collect();
    // Of the first block there is nothing to see.
    let answers = seen.stdout.split("---\n").skip(1).map(str::trim_end);
    let answers: Vec<&str> = answers.take_while(|a| !a.is_empty()).collect();
    assert_eq!(answers, expected, "{seen}");
}

/// What `MATRIX_JSON=docs/matrix.json make matrix` has written.
#[test]
fn the_table_of_what_works_where_is_that_of_the_matrix() {
    let results = cells::table::parse(&read("docs/matrix.json")).expect("the matrix");
    let engines: BTreeSet<String> = results.iter().map(|(cell, _)| cell.engine.name()).collect();
    let all = cells::Engine::ALL.map(cells::Engine::name);
    assert_eq!(engines, all.into_iter().collect());
    let readme = read("README.md");
    let table = cells::table::markdown(&results);
    assert!(
        readme.contains(&format!("\n\n{table}\n")),
        "README.md has not\n{table}"
    );
}

/// README.md, SECURITY.md, and the pages in docs/.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(source().join("docs")).expect("docs");
    let docs = docs.map(|entry| Path::new("docs").join(entry.expect("entry").file_name()));
    let mut pages: Vec<PathBuf> = docs
        .filter(|page| page.extension() == Some("md".as_ref()))
        .collect();
    pages.extend(["README.md", "SECURITY.md"].map(PathBuf::from));
    pages
}

/// The headings of a page as a link names them, on GitHub.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut heading = None;
    for event in Parser::new(page) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => anchors.extend(heading.take()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    let kept = text
                        .chars()
                        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                    heading.extend(kept.flat_map(char::to_lowercase).map(|c| match c {
                        ' ' => '-',
                        c => c,
                    }));
                }
            }
            _ => {}
        }
    }
    anchors
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut links = 0;
    for page in pages() {
        let text = read(&page);
        for event in Parser::new(&text) {
            let Event::Start(Tag::Link { dest_url, .. }) = event else {
                continue;
            };
            if dest_url.starts_with("https://") {
                continue;
            }
            let (file, anchor) = dest_url.split_once('#').unwrap_or((&dest_url, ""));
            let target = match file {
                "" => page.clone(),
                file => page.with_file_name(file),
            };
            let there = read(&target);
            let found = anchor.is_empty() || anchors(&there).contains(anchor);
            assert!(found, "{}: no {dest_url}", page.display());
            links += 1;
        }
    }
    assert!(links > 50, "{links}");
}

/// Whether a file has a test of this name: one of its own, or of a macro that
/// makes one for each runtime.
fn has_test(file: &Path, name: &str) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut before = "";
    text.lines().map(str::trim).any(|line| {
        let own = before == "#[test]" && line.starts_with(&format!("fn {name}("));
        before = line;
        own || line == name
    })
}

/// `faults::NAME` is in integration/faults.rs, `hostile::image::NAME` in
/// integration/hostile/image.rs, `cache::NAME` in src/cache_tests.rs.
#[test]
fn every_test_that_security_names_is_there() {
    let page = read("SECURITY.md");
    let named = page.split('`').skip(1).step_by(2);
    let tests: BTreeSet<&str> = named.filter(|name| name.contains("::")).collect();
    assert!(tests.len() > 60, "{tests:?}");
    for test in tests {
        let (module, name) = test.rsplit_once("::").expect("a path");
        let module = module.replace("::", "/");
        let files = [
            format!("integration/{module}.rs"),
            format!("src/{module}.rs"),
            format!("src/{module}_tests.rs"),
            format!("src/{module}/tests.rs"),
        ];
        let found = files
            .iter()
            .any(|file| has_test(&source().join(file), name));
        assert!(found, "SECURITY.md: no test {test}");
    }
}
