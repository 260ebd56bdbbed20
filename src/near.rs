//! What somebody may have meant by a name that is not known.
#![forbid(unsafe_code)]

use std::path::Path;

/// How many names of a folder are looked at: it is done for a message only.
const FOLDER_LIMIT: usize = 10_000;

/// The known name that is nearest to an unknown one, if any is near: of a
/// short name a letter may differ, of a long one two and more.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(known, name), known));
    let (_, known) = near.filter(|(d, _)| *d <= 1 + name.len() / 7).min()?;
    Some(known)
}

/// The name in the same folder that is nearest to that of a missing file.
pub fn file(missing: &Path) -> Option<String> {
    let name = missing.file_name()?.to_str()?;
    let folder = match missing.parent()? {
        here if here.as_os_str().is_empty() => Path::new("."),
        folder => folder,
    };
    let entries = folder.read_dir().ok()?.flatten().take(FOLDER_LIMIT);
    let names: Vec<_> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
}

/// A question at the end of a message, or nothing.
pub fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// The same within a message that goes on.
pub fn in_brackets(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_name_more_may_differ_and_nothing_far_is_meant() {
        let known = ["web", "database", "seccomp.json"];
        let nearest = |name| nearest(name, known);
        assert_eq!(nearest("wbe"), Some("web"));
        assert_eq!(nearest("we"), Some("web"));
        assert_eq!(nearest("bew"), None);
        assert_eq!(nearest("secomp.jsn"), Some("seccomp.json"));
        assert_eq!(nearest("queue"), None);
    }

    #[test]
    fn a_file_is_looked_for_in_its_folder_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("app.json"), "").unwrap();
        let near = |name: &str| file(&dir.path().join(name));
        assert_eq!(near("apq.json").as_deref(), Some("app.json"));
        assert_eq!(near("web.json"), None);
        assert_eq!(near("none/app.json"), None);
    }
}
