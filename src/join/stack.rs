//! Whether a new process is filtered at least as its container's init is.
#![forbid(unsafe_code)]

use std::fmt;
use std::ops::ControlFlow;

use crate::arm::{Layer, Meaning};
use crate::bpf::Program;
use crate::cache::{Cache, Entry, Key};
use crate::prove::{self, Witness};

/// A filter of init's for which the new process would have no match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Its place, 0 being the oldest.
    pub index: usize,
    /// Why none of the new process's filters is known to be as strict.
    pub why: Why,
}

/// Why a filter is not matched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// There is none to hold it against.
    Nothing,
    /// A call for which it is stricter.
    Stricter(Box<Witness>),
    /// It cannot be told.
    Unknown(&'static str),
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter {} of the container's init ", self.index)?;
        match &self.why {
            Why::Nothing => f.write_str("is declared nowhere"),
            Why::Stricter(witness) => write!(
                f,
                "is stricter than the profile: {} gets {}, by the profile {}",
                witness.describe_call(),
                witness.got,
                witness.expected.action
            ),
            Why::Unknown(why) => write!(f, "may be stricter than the profile: {why}"),
        }
    }
}

/// Those of init's filters, as read from the kernel, that no layer is known to
/// be as strict as. Another errno is no less strict.
///
/// Several layers that are so only together are not looked for. Where a program
/// was found to be as strict once, the cache knows: a proof that holds two
/// programs against each other takes longer than all else that joining does.
pub fn gaps<'a>(
    init: &'a [Vec<u8>],
    layers: &'a [Layer<'_>],
    cache: Option<&'a Cache>,
) -> impl Iterator<Item = Gap> + 'a {
    let gap = move |(index, filter): (usize, &Vec<u8>)| {
        let mut why = Why::Nothing;
        for layer in layers {
            match shortfall(layer, filter, cache) {
                None => return None,
                Some(reason) if why == Why::Nothing => why = reason,
                Some(_) => {}
            }
        }
        Some(Gap { index, why })
    };
    init.iter().enumerate().filter_map(gap)
}

/// In what a layer falls short of a filter.
fn shortfall(layer: &Layer<'_>, filter: &[u8], cache: Option<&Cache>) -> Option<Why> {
    let own = layer.program.to_bytes();
    if own == filter {
        return None;
    }
    // The layer's program means what its policy says.
    let key = Key::new(&[b"as strict", &own, filter]);
    if cache.is_some_and(|cache| cache.get(&key).is_some()) {
        return None;
    }
    let Some(policy) = layer.policy.and_then(Meaning::policy) else {
        return Some(Why::Unknown(
            "a ready program is held against none but itself",
        ));
    };
    let Ok(program) = Program::from_bytes(filter) else {
        return Some(Why::Unknown("it is no program of seccomp's"));
    };
    let mut stricter = None;
    let proof = prove::compare_hostile(policy, &program, |witness| {
        if witness.got.permissiveness() >= witness.expected.action.permissiveness() {
            return ControlFlow::Continue(());
        }
        stricter = Some(Box::new(witness));
        ControlFlow::Break(())
    });
    match stricter {
        Some(witness) => Some(Why::Stricter(witness)),
        None if proof.complete => {
            let entry = Entry {
                program,
                flags: layer.flags,
                listener: None,
            };
            // Else it is proven again the next time.
            let _ = cache.map(|cache| cache.put(&key, &entry));
            None
        }
        None => Some(Why::Unknown("it has too many cases to try all of them")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(init: &[Vec<u8>], layers: &[Layer<'_>], cache: Option<&Cache>) -> Vec<Gap> {
        super::gaps(init, layers, cache).collect()
    }

    use crate::filter::{Filter, Options};
    use crate::profile::Profile;

    fn filter(calls: &[&str]) -> Filter {
        let section = serde_json::json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": calls, "action": "SCMP_ACT_ERRNO" }]
        });
        let section = serde_json::from_value(section).unwrap();
        Filter::new(Profile::from_section(section), Options::default()).unwrap()
    }

    fn layer(filter: &Filter) -> Layer<'_> {
        Layer {
            name: "profile",
            program: &filter.program,
            flags: filter.translation.policy.flags,
            policy: Some(&filter.translation.policy),
            listener: None,
        }
    }

    #[test]
    fn what_a_layer_denies_too_is_no_gap() {
        let (both, one) = (filter(&["mkdir", "rmdir"]), filter(&["rmdir"]));
        let init = [both.program.to_bytes(), one.program.to_bytes()];
        assert_eq!(gaps(&init, &[layer(&both)], None), []);
        let found = &gaps(&init, &[layer(&one)], None)[..];
        let [found] = found else {
            panic!("{found:?}");
        };
        assert_eq!(found.index, 0);
        let said = found.to_string();
        assert!(
            said.contains("x86_64 mkdir(") && said.contains("by the profile ALLOW"),
            "{said}"
        );
    }

    #[test]
    fn plain_libseccomps_program_of_the_same_section_is_no_gap() {
        let filter = filter(&["mkdir", "rmdir", "chmod"]);
        let section = &filter.profile.section;
        let plain = crate::plain::compile(section, &filter.translation, None).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let init = [plain.to_bytes()];
        for known in [0, 1] {
            assert_eq!(cache.list().unwrap().len(), known);
            assert_eq!(gaps(&init, &[layer(&filter)], Some(&cache)), []);
        }
        let other = self::filter(&["mkdir"]);
        assert_eq!(gaps(&init, &[layer(&other)], Some(&cache)).len(), 1);
    }

    #[test]
    fn without_layers_every_filter_is_a_gap() {
        let filter = filter(&["mkdir"]);
        let init = [filter.program.to_bytes()];
        assert_eq!(gaps(&init, &[], None)[0].why, Why::Nothing);
        assert_eq!(gaps(&[], &[], None), []);
    }

    #[test]
    fn a_ready_program_matches_itself_alone() {
        let (both, one) = (filter(&["mkdir", "rmdir"]), filter(&["rmdir"]));
        let ready = Layer {
            policy: None,
            ..layer(&both)
        };
        assert_eq!(gaps(&[both.program.to_bytes()], &[ready], None), []);
        assert_eq!(gaps(&[one.program.to_bytes()], &[ready], None).len(), 1);
    }

    /// Its init may have loaded what takes longest to compare.
    #[test]
    fn what_takes_too_long_to_compare_is_a_gap() {
        use crate::bpf::{Insn, op};
        let insn = |code, jt, jf, k| Insn { code, jt, jf, k };
        // Each low half of each argument against many constants.
        let mut insns = Vec::new();
        for constant in 0..300 {
            for arg in 0..6 {
                insns.push(insn(op::LD_ABS, 0, 0, 16 + 8 * arg));
                insns.push(insn(op::JEQ_K, 0, 1, constant * 7919 + arg));
                insns.push(insn(op::RET_K, 0, 0, crate::policy::Action::Allow.to_ret()));
            }
            if insns.len() > 4000 {
                break;
            }
        }
        insns.truncate(4095 / 3 * 3);
        insns.push(insn(op::RET_K, 0, 0, crate::policy::Action::Allow.to_ret()));
        let hostile = Program::new(insns).unwrap();
        let filter = filter(&["mkdir"]);
        let found = gaps(&[hostile.to_bytes()], &[layer(&filter)], None);
        assert!(
            matches!(
                found[..],
                [Gap {
                    why: Why::Unknown(_),
                    ..
                }]
            ),
            "{found:?}"
        );
    }
}
