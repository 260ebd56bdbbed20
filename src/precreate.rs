//! What podman's precreate stage changes in a `config.json`: the profile in
//! its OCI form, and crun's ready program. Everything else keeps every byte.
//! Pure.
#![forbid(unsafe_code)]

use crate::splice::{Error, Object, Splice};

/// The annotation under which crun takes a ready program, in base64, for `run`
/// and for `exec`; crun(1).
pub const CRUN_PROGRAM: &str = "run.oci.seccomp_bpf_data";

/// What to do about [`CRUN_PROGRAM`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrunProgram<'a> {
    /// Nothing.
    Leave,
    /// Take out what another has put there: crun would load it in the
    /// profile's place.
    Remove,
    /// Put this one there, in place of any other.
    Set(&'a str),
}

/// Rewrites a config.
///
/// # Errors
/// [`Error`]: no JSON object, `annotations` is none, or a key of them is there
/// twice.
///
/// ```
/// use oci_seccomp::precreate::{CrunProgram, rewrite};
/// let config = r#"{"x": 1.50, "annotations": {"a": "b"}}"#;
/// assert_eq!(
///     rewrite(config, None, CrunProgram::Set("AAAA"))?,
///     r#"{"x": 1.50, "annotations": {"run.oci.seccomp_bpf_data": "AAAA", "a": "b"}}"#
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn rewrite(
    config: &str,
    section: Option<String>,
    program: CrunProgram<'_>,
) -> Result<String, Error> {
    let (mut splice, root) = Splice::new(config)?;
    let root = Object::new(root)?;
    if let Some(section) = section
        && let Some(linux) = root.object("linux")?
    {
        splice.set(&linux, &[("seccomp", section)])?;
    }
    let annotations = root.object("annotations")?;
    match (program, annotations) {
        (CrunProgram::Set(program), annotations) => {
            let value = serde_json::to_string(program)?;
            match annotations {
                Some(annotations) => splice.set(&annotations, &[(CRUN_PROGRAM, value)])?,
                None => {
                    let all = format!("{{\"{CRUN_PROGRAM}\": {value}}}");
                    splice.set(&root, &[("annotations", all)])?;
                }
            }
        }
        (CrunProgram::Remove, Some(annotations)) => splice.remove(&annotations, CRUN_PROGRAM)?,
        _ => {}
    }
    Ok(splice.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(config: &str) -> Result<String, Error> {
        rewrite(config, None, CrunProgram::Set("p"))
    }

    #[test]
    fn leaves_every_other_byte_as_it_is() {
        let config = "{ \"n\": 18446744073709551616, \"e\": 1e3,\n\"annotations\":null , \
                      \"z\": {\"a\":1,\"a\":2}}";
        let ours = format!("{{\"{CRUN_PROGRAM}\": \"p\"}}");
        assert_eq!(set(config).unwrap(), config.replace("null", &ours));
        for nothing in [CrunProgram::Leave, CrunProgram::Remove] {
            assert_eq!(rewrite(config, None, nothing).unwrap(), config);
        }
    }

    #[test]
    fn the_program_of_another_does_not_survive() {
        let config =
            format!("{{\"annotations\": {{\"{CRUN_PROGRAM}\": \"theirs\", \"l\": null}}}}");
        assert_eq!(set(&config).unwrap(), config.replace("theirs", "p"));
        let none = rewrite(&config, None, CrunProgram::Remove).unwrap();
        assert_eq!(none, r#"{"annotations": {"l": null}}"#);
    }

    #[test]
    fn puts_the_section_in_the_place_of_the_old_one() {
        let config = r#"{"linux": {"seccomp": {"archMap": []}, "x": 1}}"#;
        let new = rewrite(config, Some("{}".to_owned()), CrunProgram::Leave).unwrap();
        assert_eq!(new, r#"{"linux": {"seccomp": {}, "x": 1}}"#);
    }

    #[test]
    fn refuses_what_it_would_have_to_guess() {
        for config in [
            "",
            "[]",
            "{} {}",
            r#"{"annotations": []}"#,
            r#"{"annotations": {}, "annotations": {}}"#,
            r#"{"annotations": {}, "Annotations": {}}"#,
        ] {
            assert!(set(config).is_err(), "{config}");
        }
    }
}
