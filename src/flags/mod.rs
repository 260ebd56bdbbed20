//! Names of arguments' values: `O_CREAT` in `openat`'s third argument,
//! `CLONE_NEWUSER` in `clone`'s first. Pure.
//!
//! The constants are libc's, and so those of the architecture this program
//! was built for; its 32-bit companions share them.
#![forbid(unsafe_code)]

mod sets;

use crate::policy::{Arch, Call, Compare, Condition};
use crate::{signatures, syscalls};
use sets::{Set, protocols, set_of};

/// Why an argument cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither a number nor a name that belongs there.
    #[error("argument {arg} of {call}: {word:?} is no number{}", expected(names))]
    Word {
        /// The call.
        call: String,
        /// Index of the argument, 0 to 5.
        arg: u8,
        /// As given.
        word: String,
        /// What names there are, the nearest first.
        names: Vec<&'static str>,
    },
}

/// "and none of the names known there, such as …"
fn expected(names: &[&str]) -> String {
    match names {
        [] => ", and it has no names".to_owned(),
        names => {
            let shown: Vec<_> = names.iter().take(3).copied().collect();
            format!(", nor a name known there, such as {}", shown.join(", "))
        }
    }
}

/// A number as C programmers write it: small ones in decimal, others in hex.
#[must_use]
pub fn number(value: u64) -> String {
    match value {
        0..=9 => value.to_string(),
        _ => format!("{value:#x}"),
    }
}

/// The name of a value, or of the flags in it: `O_WRONLY|O_CREAT|0x4000000`.
/// `None` where nothing of it has a name.
///
/// ```
/// use oci_seccomp::flags;
/// assert_eq!(flags::name("openat", 2, 0o101).as_deref(), Some("O_WRONLY|O_CREAT"));
/// assert_eq!(flags::name("lseek", 2, 9), None);
/// ```
#[must_use]
pub fn name(call: &str, arg: u8, value: u64) -> Option<String> {
    set_of(call, arg)?.name(value)
}

/// [`name`], or the number.
#[must_use]
pub fn value(call: &str, arg: u8, value: u64) -> String {
    name(call, arg, value).unwrap_or_else(|| number(value))
}

/// [`value`], where the call's first argument is known: what the protocol of a
/// socket is called depends on its family.
#[must_use]
pub fn value_beside(call: &str, first: Option<u64>, arg: u8, v: u64) -> String {
    let set = first
        .filter(|_| arg == 2)
        .and_then(|family| protocols(call, family));
    set.and_then(|set| set.name(v))
        .unwrap_or_else(|| value(call, arg, v))
}

/// A condition in words that C programmers know, for a rule with these
/// names: `arg0 & (CLONE_NEWNS|CLONE_NEWUSER) == 0`. Values have names where
/// all of the calls agree on them.
#[must_use]
pub fn condition<S: AsRef<str>>(calls: &[S], condition: &Condition) -> String {
    let arg = condition.arg;
    let mut sets = calls.iter().map(|call| set_of(call.as_ref(), arg));
    let first = sets.next().flatten();
    let set = first.filter(|set| sets.all(|s| s.is_some_and(|s| std::ptr::eq(s, *set))));
    with_names(condition, set)
}

/// [`condition`] of each, where they are those of one rule: what the protocol
/// of a socket is called depends on its family.
///
/// ```
/// use oci_seccomp::{flags, policy::{Compare, Condition}};
/// let is = |arg, value| Condition { arg, compare: Compare::Eq(value) };
/// let words = flags::conditions(&["socket"], &[is(0, 16), is(2, 9)]);
/// assert_eq!(words, ["arg0 == AF_NETLINK", "arg2 == NETLINK_AUDIT"]);
/// ```
#[must_use]
pub fn conditions<S: AsRef<str>>(calls: &[S], conditions: &[Condition]) -> Vec<String> {
    let family = conditions.iter().find_map(|c| match (c.arg, c.compare) {
        (0, Compare::Eq(family)) => Some(family),
        _ => None,
    });
    let protocols = match calls {
        [call] => family.and_then(|family| protocols(call.as_ref(), family)),
        _ => None,
    };
    let word = |c: &Condition| match c.arg {
        2 if protocols.is_some() => with_names(c, protocols),
        _ => condition(calls, c),
    };
    conditions.iter().map(word).collect()
}

fn with_names(condition: &Condition, set: Option<&Set>) -> String {
    let arg = condition.arg;
    let named = |v| set.and_then(|s| s.name(v)).unwrap_or_else(|| number(v));
    let (operator, v) = match condition.compare {
        Compare::Ne(v) => ("!=", v),
        Compare::Lt(v) => ("<", v),
        Compare::Le(v) => ("<=", v),
        Compare::Eq(v) => ("==", v),
        Compare::Ge(v) => (">=", v),
        Compare::Gt(v) => (">", v),
        Compare::MaskedEq { mask, datum } => {
            let names = set.and_then(|s| s.mask(mask));
            let names = names.unwrap_or_else(|| number(mask));
            let names = match names.contains('|') {
                true => format!("({names})"),
                false => names,
            };
            let is_field = set.is_some_and(|s| s.field.is_some_and(|f| f.1 == mask));
            let datum = match datum & mask {
                0 if !is_field => "0".to_owned(),
                datum => named(datum),
            };
            return format!("arg{arg} & {names} == {datum}");
        }
    };
    format!("arg{arg} {operator} {}", named(v))
}

/// Whether the names are those of an architecture: they are the native one's
/// and its companions'.
#[must_use]
pub const fn apply_to(arch: Arch) -> bool {
    match Arch::native() {
        Arch::X86_64 => matches!(arch, Arch::X86_64 | Arch::X86 | Arch::X32),
        _ => matches!(arch, Arch::Aarch64),
    }
}

/// A call for people, with the names of its values:
/// `x86_64 socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT)`.
#[must_use]
pub fn describe(arch: Option<Arch>, call: &Call) -> String {
    let Some(arch) = arch else {
        return syscalls::describe(None, call);
    };
    let Some(name) = syscalls::name(arch, call.nr) else {
        return syscalls::describe(Some(arch), call);
    };
    let declared = signatures::of(&name).map_or(0, <[_]>::len);
    let set = call.args.iter().rposition(|&v| v != 0).map_or(0, |i| i + 1);
    let args = call.args.iter().zip(0u8..).take(declared.max(set));
    let args: Vec<String> = args
        .map(|(&v, i)| match apply_to(arch) {
            true => value_beside(&name, Some(call.args[0]), i, v),
            false => number(v),
        })
        .collect();
    format!("{arch} {name}({})", args.join(", "))
}

/// Reads an argument: a number (decimal, 0x, 0o or just 0 for octal, 0b,
/// negative) or names joined by `|`.
///
/// # Errors
/// [`Error`], with the names that would do.
///
/// ```
/// use oci_seccomp::flags::parse;
/// assert_eq!(parse("openat", 2, "O_RDWR|O_CREAT"), Ok(0o102));
/// assert_eq!(parse("openat", 0, "-100"), Ok(-100i64 as u64));
/// assert!(parse("openat", 2, "O_CREATE").is_err());
/// ```
pub fn parse(call: &str, arg: u8, text: &str) -> Result<u64, Error> {
    let set = set_of(call, arg);
    text.split('|').try_fold(0, |all, word| {
        let word = word.trim();
        let named = || {
            let named = set.and_then(|set| set.value(word));
            named.or_else(|| sets::protocol(call, arg, word))
        };
        let read = read_number(word).or_else(named);
        read.map(|v| all | v).ok_or_else(|| Error::Word {
            call: call.to_owned(),
            arg,
            word: word.to_owned(),
            names: set.map(|s| s.nearest(word)).unwrap_or_default(),
        })
    })
}

/// A number as C, Rust and shells write it; a negative one is what its two's
/// complement is.
fn read_number(text: &str) -> Option<u64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let prefixed = [("0x", 16), ("0X", 16), ("0o", 8), ("0b", 2), ("0", 8)];
    let radix = prefixed
        .iter()
        .find_map(|(p, radix)| digits.strip_prefix(p).map(|d| (d, *radix)));
    let (digits, radix) = match radix {
        Some(("", 8)) if digits == "0" => (digits, 10),
        Some(prefixed) => prefixed,
        None => (digits, 10),
    };
    // from_str_radix would take a sign of its own.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    match negative {
        true if value <= 1 << 63 => Some(value.wrapping_neg()),
        true => None,
        false => Some(value),
    }
}

impl Set {
    fn name(&self, value: u64) -> Option<String> {
        let mut words: Vec<String> = Vec::new();
        let mut rest = value;
        let ones = matches!(value, 0xffff_ffff | u64::MAX);
        if ones && !self.bits.is_empty() {
            // No set of flags: personality's way to ask, an id that is none.
            return None;
        }
        if value == 0 && self.field.is_none() {
            words.extend(self.values.iter().map(|v| v.0.to_owned()));
        }
        if let Some((_, field)) = self.field {
            let named = self.values.iter().find(|v| v.1 == value & field);
            match named {
                Some((name, _)) => {
                    rest &= !field;
                    // The one that is 0 goes without saying beside others.
                    words.extend((value & field != 0 || rest == 0).then(|| (*name).to_owned()));
                }
                None if self.bits.is_empty() => return None,
                None => {}
            }
        }
        self.take_bits(&mut rest, &mut words);
        self.finish(value, rest, words)
    }

    /// The name of a mask: a field of values as a whole, and bits.
    fn mask(&self, mask: u64) -> Option<String> {
        let (mut words, mut rest) = (Vec::new(), mask);
        if let Some((name, field)) = self.field
            && mask & field == field
            && !name.is_empty()
        {
            words.push(name.to_owned());
            rest &= !field;
        }
        self.take_bits(&mut rest, &mut words);
        self.finish(mask, rest, words)
    }

    /// Names bits, those of several bits first: O_SYNC has O_DSYNC in it.
    fn take_bits(&self, rest: &mut u64, words: &mut Vec<String>) {
        let mut found: Vec<&(&str, u64)> = Vec::new();
        let mut bits: Vec<_> = self.bits.iter().collect();
        bits.sort_by_key(|b| std::cmp::Reverse(b.1.count_ones()));
        for bit in bits {
            if bit.1 != 0 && *rest & bit.1 == bit.1 {
                *rest &= !bit.1;
                found.push(bit);
            }
        }
        // As the set lists them.
        let listed = self.bits.iter().filter(|b| found.contains(b));
        words.extend(listed.map(|b| b.0.to_owned()));
    }

    fn finish(&self, whole: u64, rest: u64, mut words: Vec<String>) -> Option<String> {
        if self.octal && (rest != 0 || whole == 0) {
            words.push(if rest == 0 {
                "0".to_owned()
            } else {
                format!("0{rest:o}")
            });
        } else if rest != 0 && !words.is_empty() {
            words.push(format!("{rest:#x}"));
        }
        (!words.is_empty()).then(|| words.join("|"))
    }

    fn value(&self, name: &str) -> Option<u64> {
        let mut all = self.values.iter().chain(self.bits);
        all.find(|(n, _)| *n == name).map(|(_, v)| *v)
    }

    fn nearest(&self, word: &str) -> Vec<&'static str> {
        let all = self.values.iter().chain(self.bits);
        let mut names: Vec<&str> = all.map(|(n, _)| *n).collect();
        names.sort_by_key(|n| strsim::damerau_levenshtein(n, word));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_named_where_the_call_and_the_argument_have_names() {
        for (call, arg, value, expected) in [
            ("socket", 0, 16, Some("AF_NETLINK")),
            ("socket", 1, 0o2000001, Some("SOCK_STREAM|SOCK_CLOEXEC")),
            ("socket", 2, 16, None),
            ("openat", 2, 0, Some("O_RDONLY")),
            ("openat", 2, 0o2000000, Some("O_CLOEXEC")),
            ("openat", 2, 0o4010000, Some("O_SYNC")),
            ("mkdir", 1, 0o4755, Some("S_ISUID|0755")),
            ("mkdir", 1, 0, Some("0")),
            ("mknod", 1, 0o20644, Some("S_IFCHR|0644")),
            ("clone", 0, 0x1000_0011, Some("SIGCHLD|CLONE_NEWUSER")),
            ("personality", 0, 0x2_0008, Some("PER_LINUX32|UNAME26")),
            ("personality", 0, 0, Some("PER_LINUX")),
            ("personality", 0, 0xffff_ffff, None),
            ("ioctl", 1, 0x5412, Some("TIOCSTI")),
            ("ioctl", 1, 1, None),
            ("lseek", 2, 2, Some("SEEK_END")),
            ("mmap", 2, 5, Some("PROT_READ|PROT_EXEC")),
            ("mmap", 3, 0x22, Some("MAP_PRIVATE|MAP_ANONYMOUS")),
            ("kill", 1, 9, Some("SIGKILL")),
            ("frobnicate", 0, 0, None),
        ] {
            assert_eq!(
                name(call, arg, value).as_deref(),
                expected,
                "{call} {value:#x}"
            );
        }
    }

    #[test]
    fn conditions_read_as_c() {
        let text = |calls: &[&str], arg, compare| condition(calls, &Condition { arg, compare });
        let masked = |mask, datum| Compare::MaskedEq { mask, datum };
        assert_eq!(text(&["socket"], 0, Compare::Ne(40)), "arg0 != AF_VSOCK");
        let namespaces = masked(0x7e02_0000, 0);
        assert_eq!(
            text(&["clone"], 0, namespaces),
            "arg0 & (CLONE_NEWNS|CLONE_NEWCGROUP|CLONE_NEWUTS|CLONE_NEWIPC|CLONE_NEWUSER|\
             CLONE_NEWPID|CLONE_NEWNET) == 0"
        );
        assert_eq!(
            text(&["mkdir"], 1, masked(0xe00, 0)),
            "arg1 & (S_ISUID|S_ISGID|S_ISVTX) == 0"
        );
        assert_eq!(
            text(&["openat"], 2, masked(3, 1)),
            "arg2 & O_ACCMODE == O_WRONLY"
        );
        assert_eq!(
            text(&["openat"], 2, masked(3, 0)),
            "arg2 & O_ACCMODE == O_RDONLY"
        );
        // Calls that do not agree, and values without a name.
        assert_eq!(
            text(&["socket", "openat"], 2, Compare::Le(0x100)),
            "arg2 <= 0x100"
        );
        assert_eq!(text(&["read"], 0, masked(0x101, 1)), "arg0 & 0x101 == 1");
        assert_eq!(
            text(&["open", "creat"], 1, Compare::Eq(0o600)),
            "arg1 == 0x180"
        );
        assert_eq!(
            text(&["chmod", "fchmod"], 1, Compare::Eq(0o600)),
            "arg1 == 0600"
        );
    }

    #[test]
    fn a_name_is_read_back_as_its_value() {
        for (call, arg) in sets::places() {
            let set = set_of(call, arg).unwrap();
            for (name, value) in set.values.iter().chain(set.bits) {
                assert_eq!(parse(call, arg, name), Ok(*value), "{call} {name}");
                let written = set.name(*value).unwrap_or_default();
                assert_eq!(
                    parse(call, arg, &written.replace("|0", "|0o")),
                    Ok(*value),
                    "{written}"
                );
            }
        }
    }

    #[test]
    fn numbers_are_read_in_every_base_and_nothing_else_is() {
        for (text, expected) in [
            ("0", 0),
            ("10", 10),
            ("0x1F", 31),
            ("0o17", 15),
            ("0755", 0o755),
            ("0b11", 3),
            ("-1", u64::MAX),
            ("18446744073709551615", u64::MAX),
            ("-9223372036854775808", 1 << 63),
            ("0x10|0x01", 0x11),
        ] {
            assert_eq!(parse("read", 2, text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "-",
            "+1",
            "0x",
            "--1",
            "1 2",
            "18446744073709551616",
            "0x+1",
            "08",
            "O_RDWR",
            "|",
        ] {
            assert!(parse("read", 2, text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_word_that_is_no_name_gets_the_nearest() {
        let error = parse("openat", 2, "O_RDRW").unwrap_err().to_string();
        assert!(error.contains("such as O_RDWR,"), "{error}");
        let error = parse("getpid", 0, "x").unwrap_err().to_string();
        assert_eq!(
            error,
            "argument 0 of getpid: \"x\" is no number, and it has no names"
        );
    }

    #[test]
    fn a_call_is_described_with_its_arguments_names() {
        let call = |nr, args| Call {
            audit: Arch::X86_64.audit(),
            nr,
            args,
        };
        let text = describe(Some(Arch::X86_64), &call(41, [16, 3, 9, 0, 0, 0]));
        assert_eq!(text, "x86_64 socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT)");
        let text = describe(Some(Arch::X86_64), &call(41, [1, 1, 9, 0, 0, 0]));
        assert_eq!(text, "x86_64 socket(AF_UNIX, SOCK_STREAM, 9)");
        assert_eq!(parse("socket", 2, "NETLINK_AUDIT"), Ok(9));
        assert!(parse("socket", 1, "NETLINK_AUDIT").is_err());
        let text = describe(Some(Arch::X86_64), &call(39, [0; 6]));
        assert_eq!(text, "x86_64 getpid()");
        let text = describe(Some(Arch::Riscv64), &call(198, [16, 3, 9, 0, 0, 0]));
        assert_eq!(text, "riscv64 socket(0x10, 3, 9)");
    }
}
