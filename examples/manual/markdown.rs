//! Markdown as a man page, as far as docs/ use it.
#![forbid(unsafe_code)]

use anyhow::bail;
use pulldown_cmark::{Event, HeadingLevel, Parser, Tag, TagEnd};
use roff::{Inline, Roff, bold, italic, roman};

/// Appends the document; its title becomes the heading DESCRIPTION.
///
/// # Errors
/// It has something that is not provided for, and would be lost.
pub fn render(text: &str, roff: &mut Roff) -> anyhow::Result<()> {
    let mut page = Page {
        roff,
        line: Vec::new(),
        font: roman,
        number: None,
        item_begins: false,
        in_code: false,
    };
    Parser::new(text).try_for_each(|event| page.event(event))
}

struct Page<'a> {
    roff: &'a mut Roff,
    /// The paragraph or heading so far.
    line: Vec<Inline>,
    font: fn(String) -> Inline,
    /// Of the next item, where the list has numbers.
    number: Option<u64>,
    /// An item's first paragraph is on the line of its number.
    item_begins: bool,
    in_code: bool,
}

impl Page<'_> {
    fn event(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Start(tag) => self.start(tag)?,
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.in_code => {
                for line in text.lines() {
                    self.roff.text([roman(line)]);
                }
            }
            Event::Text(text) => self.line.push((self.font)(text.into_string())),
            Event::Code(text) => self.line.push(bold(text.into_string())),
            Event::SoftBreak => self.line.push(roman(" ")),
            other => bail!("no man page can have {other:?} yet"),
        }
        Ok(())
    }

    fn start(&mut self, tag: Tag) -> anyhow::Result<()> {
        match tag {
            Tag::Paragraph if self.item_begins => self.item_begins = false,
            Tag::Paragraph => {
                self.roff.control("PP", []);
            }
            Tag::Strong => self.font = bold,
            Tag::Emphasis => self.font = italic,
            Tag::List(first) => self.number = first,
            Tag::Item => {
                self.item_begins = true;
                match &mut self.number {
                    Some(number) => {
                        self.roff
                            .control("IP", [format!("{number}.").as_str(), "4"]);
                        *number += 1;
                    }
                    None => {
                        self.roff.control("IP", [r"\(bu", "2"]);
                    }
                }
            }
            Tag::CodeBlock(_) => {
                self.in_code = true;
                for request in ["PP", "RS", "EX"] {
                    self.roff.control(request, []);
                }
            }
            Tag::Heading { .. } | Tag::Link { .. } => {}
            other => bail!("no man page can have {other:?} yet"),
        }
        Ok(())
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong | TagEnd::Emphasis => self.font = roman,
            TagEnd::Paragraph => self.flush(),
            TagEnd::Item => {
                self.item_begins = false;
                self.flush();
            }
            TagEnd::Heading(HeadingLevel::H1) => {
                self.line.clear();
                self.roff.control("SH", ["DESCRIPTION"]);
            }
            TagEnd::Heading(_) => {
                let title = self.line.drain(..).map(|inline| match inline {
                    Inline::Roman(text) | Inline::Bold(text) | Inline::Italic(text) => text,
                    Inline::LineBreak => String::new(),
                });
                let title = title.collect::<String>().to_uppercase();
                self.roff.control("SH", [title.as_str()]);
            }
            TagEnd::CodeBlock => {
                self.in_code = false;
                self.roff.control("EE", []);
                self.roff.control("RE", []);
            }
            _ => {}
        }
    }

    fn flush(&mut self) {
        if !self.line.is_empty() {
            self.roff.text(std::mem::take(&mut self.line));
        }
    }
}
