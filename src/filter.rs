//! The way from a profile's text to a program that may be loaded: read,
//! translate, check for ambiguity, compile, prove. Every command that loads
//! or exports a program goes this way; there is no other.
#![forbid(unsafe_code)]

use crate::bpf::Program;
use crate::policy::Policy;
use crate::profile::{self, Profile, Target};
use crate::prove::{self, Disproof, Proof};
use crate::translate::{self, Fault, Finding, FindingKind, Translation, translate};
use crate::{compile, plain};

/// What to do about a profile in which the first of several matching rules is
/// weaker than what libseccomp makes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnAmbiguity {
    /// Refuse it.
    #[default]
    Refuse,
    /// The first rule decides.
    First,
}

/// How to read a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// What the OCI spec leaves open.
    pub translate: translate::Options,
    /// What rules that overlap leave open.
    pub ambiguity: OnAmbiguity,
}

/// Why a profile gives no program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be read.
    #[error(transparent)]
    Profile(#[from] profile::Error),
    /// It says something invalid.
    #[error("{origin}: {site}{fault}")]
    Invalid {
        /// File name, for people.
        origin: String,
        /// "rule 2 (line 41): ", or nothing.
        site: String,
        /// What is wrong.
        fault: Fault,
    },
    /// Its order of rules can be read in two ways.
    #[error("{origin}: {site}the profile is ambiguous")]
    Ambiguous {
        /// File name, for people.
        origin: String,
        /// "rule 2 (line 41): ".
        site: String,
        /// The two readings.
        source: Box<plain::Ambiguity>,
    },
    /// Whether its order of rules matters cannot be said.
    #[error("{origin}: failed to compare the profile with libseccomp's reading of it")]
    Compare {
        /// File name, for people.
        origin: String,
        /// What failed.
        #[source]
        source: plain::Error,
    },
    /// It cannot be compiled.
    #[error("{origin}: failed to compile the profile")]
    Compile {
        /// File name, for people.
        origin: String,
        /// What failed.
        #[source]
        source: compile::Error,
    },
    /// The compiled program is not the profile: an error of ours or of
    /// libseccomp's. Nothing was loaded.
    #[error("{origin}: nothing is loaded")]
    Disproved {
        /// File name, for people.
        origin: String,
        /// A call that shows it.
        #[source]
        source: Box<Disproof>,
    },
}

/// A profile and the program that was proven to mean the same: where there is
/// one, there is a proof.
#[derive(Clone, Debug)]
pub struct Filter {
    pub(crate) profile: Profile,
    pub(crate) translation: Translation,
    pub(crate) program: Program,
    pub(crate) proof: Proof,
}

impl Filter {
    /// Reads a profile in any form and makes its program.
    ///
    /// # Errors
    /// [`Error`]; nothing is half done then.
    pub fn parse(
        origin: &str,
        text: &str,
        target: &Target,
        options: Options,
    ) -> Result<Self, Error> {
        Self::new(Profile::parse(origin, text, target)?, options)
    }

    /// Makes the program of a profile.
    ///
    /// # Errors
    /// [`Error`]; nothing is half done then.
    pub fn new(profile: Profile, options: Options) -> Result<Self, Error> {
        let origin = || profile.origin.clone();
        let site = |rule: usize| format!("{}: ", profile.site(rule));
        let translation =
            translate(&profile.section, options.translate).map_err(|e| Error::Invalid {
                origin: origin(),
                site: e.rule.map(site).unwrap_or_default(),
                fault: e.fault,
            })?;
        // First, since it is quick to find a profile too large for a filter;
        // libseccomp is not.
        let program = compile::compile(&translation.policy).map_err(|source| Error::Compile {
            origin: origin(),
            source,
        })?;
        if options.ambiguity == OnAmbiguity::Refuse {
            let ambiguity =
                plain::check_order(&profile.section, &translation).map_err(|source| {
                    Error::Compare {
                        origin: origin(),
                        source,
                    }
                })?;
            if let Some(source) = ambiguity {
                return Err(Error::Ambiguous {
                    origin: origin(),
                    site: site(source.rule()),
                    source: Box::new(source),
                });
            }
        }
        let proof =
            prove::prove(&translation.policy, &program).map_err(|source| Error::Disproved {
                origin: origin(),
                source: Box::new(source),
            })?;
        Ok(Self {
            profile,
            translation,
            program,
            proof,
        })
    }

    /// The profile as it was read.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What the profile means: [`Policy::verdict`] answers for each call.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.translation.policy
    }

    /// What a person should know of the profile; [`Filter::describe`] puts it
    /// into words.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.translation.findings
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn translation(&self) -> &Translation {
        &self.translation
    }

    /// What may be loaded.
    #[must_use]
    pub const fn program(&self) -> &Program {
        &self.program
    }

    /// On what grounds.
    #[must_use]
    pub const fn proof(&self) -> Proof {
        self.proof
    }

    /// A finding in words that number rules as the file does.
    #[must_use]
    pub fn describe(&self, finding: &Finding) -> String {
        let mut kind = finding.kind.clone();
        if let FindingKind::Shadowed { by, .. } | FindingKind::Duplicate { by, .. } = &mut kind {
            *by = self.profile.sites.get(*by).map_or(*by, |s| s.rule);
        }
        kind.to_string()
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
