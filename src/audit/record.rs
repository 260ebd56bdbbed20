//! One line of a log: the kernel's record of a call that a filter did not
//! simply allow (`AUDIT_SECCOMP`, `audit_seccomp()` in kernel/auditsc.c).
//!
//! Where a line comes from cannot be told: any program can write one like it
//! to a log. So nothing in it is taken for more than text, and the words of a
//! workload are in [`Text`], which has nothing in it that controls a terminal.
#![forbid(unsafe_code)]

use std::fmt;

use serde::{Serialize, Serializer};

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, in milliseconds since 1970.
    pub time: i64,
    /// The `AUDIT_ARCH_*` token.
    pub audit: u32,
    /// The number of the call.
    pub nr: u32,
    /// What the kernel did: the action in a filter's return value.
    pub code: u32,
    /// The file that the process executed.
    pub exe: Option<Text>,
}

/// Text of a workload's choice, made safe to print and bounded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(String);

/// Longer texts are cut: a path of a program has a few dozen characters.
const TEXT_LIMIT: usize = 256;

impl Text {
    /// Escapes what is no plain text.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut out = String::new();
        for c in text.chars() {
            if out.len() >= TEXT_LIMIT {
                out.push('…');
                break;
            }
            // Also what has no width or turns the direction of writing.
            match c {
                ' ' => out.push(c),
                c if c.is_control() || c.is_whitespace() => out.extend(c.escape_unicode()),
                c => out.extend(c.escape_debug()),
            }
        }
        Self(out)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A record.
    Record(Record),
    /// It calls itself one, and is not.
    Malformed,
    /// Something else.
    Other,
}

impl Line {
    /// Reads a line, whatever stands before the record: the kernel's
    /// `audit: type=1326 audit(…):` with a time of dmesg(1) or journalctl(1),
    /// or auditd's `type=SECCOMP msg=audit(…):`.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        let types = ["type=1326 ", "type=SECCOMP "];
        let found = types
            .iter()
            .filter_map(|t| line.find(t).map(|at| at + t.len()));
        match found.min() {
            None => Self::Other,
            Some(at) => record(&line[at..]).map_or(Self::Malformed, Self::Record),
        }
    }
}

/// A record from behind its type.
fn record(text: &str) -> Option<Record> {
    let text = text.trim_start();
    let text = text.strip_prefix("msg=").unwrap_or(text);
    let (stamp, rest) = text.strip_prefix("audit(")?.split_once(')')?;
    let fields = rest.trim_start().strip_prefix(':')?;
    let mut record = Record {
        time: time(stamp)?,
        audit: 0,
        nr: 0,
        code: 0,
        exe: None,
    };
    let (mut audit, mut nr, mut code) = (None, None, None);
    for (key, value) in Fields(fields) {
        let bare = || value.strip_prefix("0x").unwrap_or(value);
        match key {
            "arch" => once(&mut audit, u32::from_str_radix(bare(), 16).ok()?)?,
            "code" => once(&mut code, u32::from_str_radix(bare(), 16).ok()?)?,
            // The kernel takes it for a signed long: -1 is a call that a
            // tracer skipped.
            "syscall" => once(&mut nr, i32::try_from(value.parse::<i64>().ok()?).ok()?)?,
            "exe" => once(&mut record.exe, untrusted(value))?,
            _ => {}
        }
    }
    record.audit = audit?;
    record.code = code?;
    record.nr = nr?.cast_unsigned();
    Some(record)
}

/// No field stands twice in a record of the kernel's.
fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

/// `1700000000.123:45`: seconds, milliseconds, and a number that is not used.
fn time(stamp: &str) -> Option<i64> {
    let (time, _serial) = stamp.split_once(':')?;
    let (seconds, millis) = time.split_once('.')?;
    if millis.len() != 3 {
        return None;
    }
    let (seconds, millis): (u32, u16) = (seconds.parse().ok()?, millis.parse().ok()?);
    Some(i64::from(seconds) * 1000 + i64::from(millis))
}

/// `audit_log_untrustedstring()`: quoted, or in hexadecimal where that would
/// not be safe.
fn untrusted(value: &str) -> Text {
    if let Some(quoted) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) {
        return Text::new(quoted.as_bytes());
    }
    let (pairs, rest) = value.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    match pairs.iter().map(byte).collect::<Option<Vec<u8>>>() {
        Some(bytes) if rest.is_empty() && !bytes.is_empty() => Text::new(&bytes),
        // "(null)", or what somebody else wrote.
        _ => Text::new(value.as_bytes()),
    }
}

/// `key=value` pairs, separated by white space or by the control character
/// that auditd puts before those it adds.
struct Fields<'a>(&'a str);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let ends = |c: char| c.is_whitespace() || c.is_control();
        loop {
            let text = self.0.trim_start_matches(ends);
            if text.is_empty() {
                return None;
            }
            let word = text.find(ends).unwrap_or(text.len());
            let Some((key, value)) = text[..word].split_once('=') else {
                self.0 = &text[word..];
                continue;
            };
            // A quoted value goes on to the next quote.
            let end = match value.strip_prefix('"') {
                Some(_) => {
                    let start = key.len() + 2;
                    text[start..].find('"').map_or(word, |at| start + at + 1)
                }
                None => word,
            };
            self.0 = &text[end..];
            return Some((key, &text[key.len() + 1..end]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DMESG: &str = r#"[ 3607.244074] audit: type=1326 audit(1795505735.916:312): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=5841 comm="mkdir" exe="/usr/bin/mkdir" sig=0 arch=c000003e syscall=83 compat=0 ip=0x7f204a718f37 code=0x7ffc0000"#;

    fn parsed(line: &str) -> Option<Record> {
        match Line::parse(line) {
            Line::Record(record) => Some(record),
            _ => None,
        }
    }

    fn expected() -> Record {
        Record {
            time: 1_795_505_735_916,
            audit: 0xc000_003e,
            nr: 83,
            code: 0x7ffc_0000,
            exe: Some(Text::new(b"/usr/bin/mkdir")),
        }
    }

    #[test]
    fn reads_the_kernels_record_wherever_it_was_logged() {
        let bare = DMESG.split_once("] ").unwrap().1;
        for line in [
            DMESG.to_owned(),
            bare.to_owned(),
            format!("Nov 24 07:22:15 host kernel: {bare}"),
            format!("<5>{DMESG}"),
            bare.replace("audit: type=1326 audit(", "type=SECCOMP msg=audit("),
            bare.replace(
                "audit: type=1326 audit(",
                "node=host type=SECCOMP msg=audit(",
            ) + "\x1dARCH=x86_64 SYSCALL=mkdir AUID=\"unset\" UID=\"root\"",
            bare.replace("audit: type=1326 audit(", "type=1326 msg=audit(") + "\r",
            bare.replace(" comm=", " subj==unconfined comm="),
        ] {
            assert_eq!(parsed(&line), Some(expected()), "{line}");
        }
    }

    #[test]
    fn reads_what_is_written_in_hexadecimal() {
        let line = DMESG.replace("\"/usr/bin/mkdir\"", "2F746D702F7774206368206D6F64");
        assert_eq!(
            parsed(&line).unwrap().exe,
            Some(Text::new(b"/tmp/wt ch mod"))
        );
        let none = DMESG.replace("\"/usr/bin/mkdir\"", "(null)");
        assert_eq!(parsed(&none).unwrap().exe, Some(Text::new(b"(null)")));
    }

    #[test]
    fn numbers_are_those_of_the_kernel() {
        let skipped = DMESG.replace("syscall=83", "syscall=-1");
        assert_eq!(parsed(&skipped).unwrap().nr, u32::MAX);
        let x32 = DMESG.replace("syscall=83", "syscall=1073741907");
        assert_eq!(parsed(&x32).unwrap().nr, 0x4000_0053);
    }

    #[test]
    fn what_a_workload_calls_itself_is_no_field() {
        let named = DMESG.replace("comm=\"mkdir\"", "comm=\"arch=0\"");
        assert_eq!(parsed(&named), Some(expected()));
        // Only a forger writes a space between quotes; what is in them stays
        // a name.
        let forged = DMESG.replace("comm=\"mkdir\"", "comm=\"a syscall=1 code=0x0\"");
        assert_eq!(parsed(&forged), Some(expected()));
        let twice = format!("{DMESG} syscall=1");
        assert_eq!(Line::parse(&twice), Line::Malformed);
    }

    #[test]
    fn what_is_incomplete_or_no_number_is_malformed() {
        for line in [
            "type=1326 ",
            "type=1326 audit(1.2:3): arch=c000003e syscall=83 code=0x0",
            "type=1326 audit(9999999999999.123:3): arch=c000003e syscall=83 code=0x0",
            "type=1326 audit(1.123:3): arch=c000003e syscall=83",
            "type=1326 audit(1.123:3): arch=x86_64 syscall=mkdir code=kill",
            "type=1326 audit(1.123:3): arch=c000003e syscall=99999999999 code=0x0",
            "type=1326 audit(1.123:3): arch=1c000003e syscall=1 code=0x0",
            "type=1326 audit(1.123:3) arch=c000003e syscall=1 code=0x0",
            "type=1326 nothing",
        ] {
            assert_eq!(Line::parse(line), Line::Malformed, "{line}");
        }
        for line in [
            "",
            "type=1400 audit(1.123:3): x",
            "type=13260 audit(1.123:3)",
        ] {
            assert_eq!(Line::parse(line), Line::Other, "{line}");
        }
    }

    #[test]
    fn text_controls_no_terminal_and_has_an_end() {
        let text = Text::new(b"\x1b[2J\x9b\xff\n\xc2\x9b").to_string();
        assert!(
            text.is_ascii() || !text.chars().any(char::is_control),
            "{text}"
        );
        assert!(!text.contains('\x1b') && !text.contains('\n'));
        assert!(
            !Text::new("\u{202e}\u{200b}".as_bytes())
                .to_string()
                .contains('\u{202e}')
        );
        assert_eq!(
            Text::new(&[b'a'; 10_000]).to_string().chars().count(),
            TEXT_LIMIT + 1
        );
    }
}
