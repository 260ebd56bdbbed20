//! What it takes to load a profile: made from its text, or taken from the
//! [cache](crate::cache) where the same text was made before.
#![forbid(unsafe_code)]

use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;

use log::debug;

use crate::arm::Meaning;
use crate::bpf::Program;
use crate::bundle::Config;
use crate::cache::{Cache, Entry, Key};
use crate::filter::{Error, Filter, OnAmbiguity, Options};
use crate::policy::{Flags, Listener, Policy};
use crate::profile::{Profile, Target};

/// A profile's text, and all else that decides what it means.
#[derive(Clone, Debug)]
pub struct Source {
    /// File name, for people.
    pub origin: String,
    text: Arc<str>,
    form: Form,
    target: Target,
    options: Options,
}

#[derive(Clone, Debug)]
enum Form {
    /// Any that [`Profile::parse`] takes.
    Whole,
    /// The `linux.seccomp` section, a part of the text.
    Section(std::ops::Range<usize>),
}

impl Source {
    /// A profile in any form.
    #[must_use]
    pub fn whole(origin: &str, text: Arc<str>, target: Target, options: Options) -> Self {
        Self {
            origin: origin.to_owned(),
            text,
            form: Form::Whole,
            target,
            options,
        }
    }

    /// A config's own section; `None` where it has none.
    #[must_use]
    pub fn section(config: &Config, target: Target, options: Options) -> Option<Self> {
        Some(Self {
            origin: config.path().display().to_string(),
            text: Arc::clone(config.text()),
            form: Form::Section(config.seccomp_range()?),
            target,
            options,
        })
    }

    /// The part of the text that says it.
    fn section_text(&self) -> &str {
        match &self.form {
            Form::Whole => &self.text,
            // The range is the config's own.
            Form::Section(range) => self.text.get(range.clone()).unwrap_or_default(),
        }
    }

    /// The key of its program: every byte of the text, and what is beside it.
    #[must_use]
    pub fn key(&self) -> Key {
        let Options {
            translate,
            ambiguity,
        } = self.options;
        let choices = [
            u8::from(matches!(self.form, Form::Whole)),
            u8::from(translate.strict),
            u8::from(translate.enosys),
            u8::from(ambiguity == OnAmbiguity::First),
        ];
        let mut parts: Vec<&[u8]> = vec![
            self.section_text().as_bytes(),
            &choices,
            self.target.arch.name().as_bytes(),
        ];
        // The kernel's version is in each key.
        if self.may_ask_for_capabilities() {
            parts.extend(self.target.capabilities.iter().map(String::as_bytes));
        }
        Key::new(&parts)
    }

    /// Whether the text may have `includes` or `excludes`. Where not, one key
    /// does for workloads of all capabilities. A backslash may hide any word.
    fn may_ask_for_capabilities(&self) -> bool {
        let text = self.section_text();
        text.contains("cludes") || text.contains('\\')
    }

    /// Makes the program, and proves it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn filter(&self) -> Result<Filter, Error> {
        match &self.form {
            Form::Whole => Filter::parse(&self.origin, &self.text, &self.target, self.options),
            Form::Section(_) => {
                let (origin, section) = (&self.origin, self.section_text());
                let profile = Profile::parse_section(origin, &self.text, section, &self.target)?;
                Filter::new(profile, self.options)
            }
        }
    }
}

/// A profile's program, proven, and how to load it.
pub struct Loadable {
    /// What may be loaded.
    pub program: Program,
    /// How.
    pub flags: Flags,
    /// Who answers NOTIFY rules.
    pub listener: Option<Listener>,
    source: Source,
    /// Made again where the program was not: only a comparison with another
    /// program asks for it.
    filter: OnceCell<Option<Box<Filter>>>,
}

impl Loadable {
    /// From the cache, or else made, and put there.
    ///
    /// # Errors
    /// [`Error`]: the profile is refused. What is wrong with the cache is no
    /// error.
    pub fn new(source: Source, cache: Option<&Cache>) -> Result<Self, Error> {
        let Some(cache) = cache else {
            return Self::make(source);
        };
        let key = source.key();
        if let Some(entry) = cache.get(&key) {
            let Entry {
                program,
                flags,
                listener,
            } = entry;
            return Ok(Self {
                program,
                flags,
                listener,
                source,
                filter: OnceCell::new(),
            });
        }
        let made = Self::make(source)?;
        let entry = Entry {
            program: made.program.clone(),
            flags: made.flags,
            listener: made.listener.clone(),
        };
        if let Err(error) = cache.put(&key, &entry) {
            debug!("the program is not kept: {error}");
        }
        Ok(made)
    }

    fn make(source: Source) -> Result<Self, Error> {
        let filter = source.filter()?;
        let policy = &filter.translation.policy;
        Ok(Self {
            program: filter.program.clone(),
            flags: policy.flags,
            listener: policy.listener.clone(),
            source,
            filter: OnceCell::from(Some(Box::new(filter))),
        })
    }

    /// File name of the profile, for people.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.source.origin
    }

    /// The whole filter, made again if need be. `None`: it cannot be, though
    /// it once was.
    pub fn filter(&self) -> Option<&Filter> {
        let again = || self.source.filter().ok().map(Box::new);
        self.filter.get_or_init(again).as_deref()
    }
}

impl fmt::Debug for Loadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loadable")
            .field("origin", &self.source.origin)
            .field("program", &self.program.fingerprint())
            .finish_non_exhaustive()
    }
}

impl Meaning for Loadable {
    fn policy(&self) -> Option<&Policy> {
        self.filter().map(|filter| &filter.translation.policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str, capability: Option<&str>) -> Source {
        let target = Target {
            capabilities: capability.into_iter().map(str::to_owned).collect(),
            arch: crate::policy::Arch::native(),
            kernel: "6.1".parse().unwrap(),
        };
        Source::whole("profile", text.into(), target, Options::default())
    }

    const DENIES: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]}"#;

    #[test]
    fn what_was_made_once_comes_from_the_cache_and_means_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let made = Loadable::new(source(DENIES, None), Some(&cache)).unwrap();
        let kept = Loadable::new(source(DENIES, None), Some(&cache)).unwrap();
        assert!(made.filter.get().is_some() && kept.filter.get().is_none());
        assert_eq!((&made.program, made.flags), (&kept.program, kept.flags));
        assert_eq!(made.policy(), kept.policy());
        assert_eq!(cache.list().unwrap().len(), 1);
    }

    #[test]
    fn each_thing_that_decides_makes_a_key_of_its_own() {
        let base = source(DENIES, None);
        let asks = DENIES.replace("77", r#"77, "includes": {"caps": ["CAP_KILL"]}"#);
        let hidden = asks.replace("includes", r"\u0069nclude\u0073");
        let mut others = vec![
            source(&DENIES.replace("77", "78"), None),
            source(&asks, None),
            source(&asks, Some("CAP_CHOWN")),
            source(&asks, Some("CAP_KILL")),
            source(&hidden, None),
            source(&hidden, Some("CAP_KILL")),
        ];
        let mut strict = base.clone();
        strict.options.translate.strict = true;
        let mut enosys = base.clone();
        enosys.options.translate.enosys = !enosys.options.translate.enosys;
        let mut first = base.clone();
        first.options.ambiguity = OnAmbiguity::First;
        let mut section = base.clone();
        section.form = Form::Section(0..DENIES.len());
        let mut other_machine = base.clone();
        other_machine.target.arch = crate::policy::Arch::Aarch64;
        others.extend([strict, enosys, first, section, other_machine]);
        let mut keys: Vec<Key> = others.iter().map(Source::key).collect();
        keys.push(base.key());
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "{i}");
        }
        assert_eq!(base.key(), source(DENIES, Some("CAP_KILL")).key());
    }

    #[test]
    fn a_profile_that_is_refused_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        assert!(Loadable::new(source("{}", None), Some(&cache)).is_err());
        assert_eq!(cache.list().unwrap(), []);
    }
}
