//! Colour, columns and lines of what people read. Pure: whether there is a
//! terminal is asked by whoever prints.
#![forbid(unsafe_code)]

use crate::policy::Action;
use std::ffi::OsStr;
use std::fmt::Write;

/// Columns of a line.
pub const WIDTH: usize = 80;

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

/// What a piece of text is, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// A heading, or what a person looks for first.
    Strong,
    /// As it should be; let through.
    Good,
    /// To be looked at.
    Warning,
    /// Wrong; denied.
    Bad,
    /// Of less weight: places, remarks.
    Faint,
}

impl Style {
    /// No colour.
    pub const PLAIN: Self = Self { colour: false };
    /// Colour.
    pub const COLOUR: Self = Self { colour: true };

    /// Colour only on a terminal that can show it, and not where the
    /// environment has a NO_COLOR that is not empty (no-color.org).
    #[must_use]
    pub fn choose(is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        let unwanted = no_color.is_some_and(|v| !v.is_empty());
        let dumb = term.is_none_or(|t| t == "dumb");
        Self {
            colour: is_terminal && !unwanted && !dumb,
        }
    }

    /// Text in its colour. To be padded before: the codes have no width.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Strong => 1,
            Tone::Good => 32,
            Tone::Warning => 33,
            Tone::Bad => 31,
            Tone::Faint => 2,
        };
        match self.colour && !text.is_empty() {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    /// An action, padded to a width: green where the call is made, red where
    /// not.
    #[must_use]
    pub fn action(self, action: Action, width: usize) -> String {
        let tone = match action {
            Action::Allow => Tone::Good,
            Action::Log | Action::Trace(_) | Action::Notify => Tone::Warning,
            _ => Tone::Bad,
        };
        self.paint(tone, &format!("{:<width$}", name(action)))
    }
}

/// An action with the name of its errno: `ERRNO(1) EPERM`.
#[must_use]
pub fn name(action: Action) -> String {
    let Action::Errno(errno) = action else {
        return action.to_string();
    };
    match nix::errno::Errno::from_raw(errno.into()) {
        nix::errno::Errno::UnknownErrno => action.to_string(),
        known => format!("{action} {known:?}"),
    }
}

/// Text for a terminal, without what would control it.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(' '),
            c if c.is_control() || turns(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Whether a character changes the direction of what follows, or makes a line
/// of its own, and so can show a text other than the one that is there.
pub const fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Breaks text at spaces into lines of [`WIDTH`]. The first starts at column
/// `first`, the others are indented by `indent`. A word that does not fit a
/// line is broken after each `|` in it, or else has a line of its own.
#[must_use]
pub fn wrap(text: &str, first: usize, indent: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = first;
    let mut fresh = true;
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        let fits = word.chars().count() + indent <= WIDTH;
        let pieces: Vec<&str> = match fits {
            true => vec![word],
            false => word.split_inclusive('|').collect(),
        };
        for (i, piece) in pieces.into_iter().enumerate() {
            let width = piece.chars().count();
            let space = usize::from(i == 0 && !fresh);
            if !fresh && column + space + width > WIDTH {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent));
                column = indent;
            } else if space == 1 {
                out.push(' ');
                column += 1;
            }
            out.push_str(piece);
            column += width;
            fresh = false;
        }
    }
    out
}

/// Columns of a label of [`line()`].
pub const LABEL: usize = 15;

/// Writes a label and what belongs to it, over several lines if need be.
pub fn line(out: &mut String, style: Style, label: &str, text: &str) {
    let text = clean(text);
    let label = style.paint(Tone::Faint, &format!("{label:<LABEL$}"));
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{label}{}", wrap(&text, LABEL, LABEL));
}

/// Writes a heading with an empty line before it.
pub fn heading(out: &mut String, style: Style, text: &str) {
    let _ = writeln!(out, "\n{}", style.paint(Tone::Strong, text));
}

/// "1 rule", "2 rules".
#[must_use]
pub fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        let choose = |tty, no: Option<&str>, term: Option<&str>| {
            Style::choose(tty, no.map(OsStr::new), term.map(OsStr::new)).colour
        };
        assert!(choose(true, None, Some("xterm")));
        assert!(choose(true, Some(""), Some("xterm")));
        assert!(!choose(true, Some("0"), Some("xterm")));
        assert!(!choose(true, None, Some("dumb")));
        assert!(!choose(true, None, None));
        assert!(!choose(false, None, Some("xterm")));
    }

    #[test]
    fn plain_text_has_no_codes() {
        assert_eq!(
            Style::PLAIN.action(Action::Errno(38), 18),
            "ERRNO(38) ENOSYS  "
        );
        assert_eq!(
            Style::COLOUR.action(Action::Allow, 6),
            "\x1b[32mALLOW \x1b[0m"
        );
        assert_eq!(name(Action::Errno(4094)), "ERRNO(4094)");
        assert_eq!(name(Action::Errno(0)), "ERRNO(0)");
    }

    #[test]
    fn lines_break_at_spaces_and_within_the_width() {
        let text = "word ".repeat(40) + &"x".repeat(100);
        let wrapped = wrap(&text, 15, 15);
        let lines: Vec<&str> = wrapped.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[..4].iter().all(|l| l.len() <= WIDTH), "{wrapped}");
        assert_eq!(lines[0].len(), 64);
        assert_eq!(lines[4], " ".repeat(15) + &"x".repeat(100));
        assert_eq!(wrap("", 3, 3), "");
        let flags = format!("arg0 & ({}|{}) == 0", "A".repeat(40), "B".repeat(40));
        let expected = format!("arg0 & ({}|\n     {}) == 0", "A".repeat(40), "B".repeat(40));
        assert_eq!(wrap(&flags, 20, 5), expected);
    }

    #[test]
    fn what_would_control_the_terminal_is_shown_instead() {
        assert_eq!(clean("a\x1b[31mb\nc\u{9b}"), "a\\u{1b}[31mb c\\u{9b}");
        assert_eq!(clean("\u{202e}dear\u{2066}"), "\\u{202e}dear\\u{2066}");
    }
}
