//! The README's recipes as a newcomer meets them: its shell blocks, one after
//! the other in one shell, with what they say they print.
#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::time::Duration;

use support::{Podman, Runtime, programs, skip, source};

/// What a recipe writes to `/etc` and `/usr` is in a layer of the test's
/// own. `run` gets what the test tells its containers by from the machine's.
const BEFORE: &str = r#"
exec 2>&1
mkdir "$LAYERS" && mount -t tmpfs tmpfs "$LAYERS" || exit
for dir in /etc /usr; do
    mkdir -p "$LAYERS"/{upper,work}"$dir" && mount -t overlay overlay "$dir" -o \
        "lowerdir=$dir,upperdir=$LAYERS/upper$dir,workdir=$LAYERS/work$dir" || exit
done
podman() {
    local word words=()
    for word; do
        words+=("$word")
        [ "$word" != run ] || words+=(--cgroup-parent "/$ID" --env "OCI_SECCOMP_TEST=$ID")
    done
    command podman "${words[@]}"
}
buildah() {
    command buildah --storage-driver vfs --root "$STORE/store" --runroot "$STORE/run" "$@"
}
"#;

/// Between the blocks.
const MARK: &str = "\necho === next ===\n";

/// The baseline's hook file is still there: io_uring_setup of a privileged
/// container, by its number.
const AFTER: &str = "podman run --rm --privileged localhost/probe /probe call 425 0 0";

/// A shell block, and what is shown of its output, if anything is.
struct Block {
    script: String,
    shown: Option<String>,
}

fn blocks() -> Vec<Block> {
    let readme = fs::read_to_string(source().join("README.md")).expect("README");
    let first = |text: &str| text.split("\n```").next().unwrap_or_default().to_owned();
    let block = |part: &str| Block {
        script: first(part),
        shown: part.split_once("\n```text\n").map(|(_, text)| first(text)),
    };
    readme.split("\n```sh\n").skip(1).map(block).collect()
}

#[test]
fn every_recipe_does_what_it_shows() {
    let missing = ["buildah", "bwrap", "jq"]
        .into_iter()
        .find(|tool| programs::find(tool).is_none());
    if let Some(tool) = missing {
        return skip(&format!("{tool} is not installed"));
    }
    if !Podman::is_ready(Runtime::Crun, false) {
        return;
    }
    programs::manual();
    let podman = Podman::new(Runtime::Crun);
    let dir = podman.dir();
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!(
        "{}:/usr/local/bin:{path}:/usr/sbin",
        podman.on_path().display()
    );
    let blocks = blocks();
    let scripts: Vec<&str> = blocks.iter().map(|b| b.script.as_str()).collect();
    let script = format!("{BEFORE}{}{MARK}{AFTER}", scripts.join(MARK));
    let seen = podman
        .host(&["bash", "-c", &script])
        .current_dir(source())
        .env("PATH", path)
        // Of `make install`: the one under test.
        .env("BINARY", programs::stripped())
        .env("TMPDIR", dir)
        .env("LAYERS", dir.join("layers"))
        .env("STORE", dir)
        .env("ID", podman.id())
        .limit(Duration::from_secs(120))
        .run()
        .success();
    let mut answers = seen.stdout.split("=== next ===\n");
    for block in &blocks {
        let answer = answers.next().unwrap_or_default().trim();
        if let Some(shown) = &block.shown {
            assert_eq!(answer, shown, "{}\nin {seen}", block.script);
        }
    }
    let shown = blocks.iter().filter(|b| b.shown.is_some()).count();
    assert_eq!(shown, 7);
    assert_eq!(answers.next().map(str::trim), Some("425 = -1 38"), "{seen}");
}
