//! How Python shows a message: what people and scripts know from the peer's `fedmsg-tail`.
//!
//! Source: Python 3.11 (`repr`, `pprint`, `time.ctime`), tried against the real one. Which characters
//! are printable depends on the version of Unicode; ours is that of `unicode-properties`, which is
//! newer than Python 3.11's: of characters that came between the two, Python shows the escapes.

use std::{borrow::Cow, cmp::Ordering, fmt};

use chrono::{DateTime, Datelike as _, Local};
use fedmsg_core::json::compare_keys;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use super::Tree;

/// What `repr` gives for the value that `json.loads` makes of the text.
///
/// ```
/// use fedmsg::encoding::{Tree, python};
///
/// let tree = Tree::read(br#"{"b": [true, null], "a": "it's \u00e9\u0007", "n": 1E16}"#)?;
/// assert_eq!(python::repr(&tree), r#"{'b': [True, None], 'a': "it's é\x07", 'n': 1e+16}"#);
/// # Ok::<(), fedmsg_core::json::Error>(())
/// ```
pub fn repr(tree: &Tree<'_>) -> String {
    short_repr(tree, usize::MAX, false).unwrap_or_default()
}

/// What `str` gives: of a string its characters, of anything else the [`repr`]. Where Python has half
/// a surrogate pair, which it cannot print either, the escape stands.
///
/// A string's characters are not escaped: on a terminal its control characters have their effect.
pub fn str(tree: &Tree<'_>) -> String {
    let Tree::String(text) = tree else {
        return repr(tree);
    };
    let mut out = String::new();
    for point in code_points(text) {
        match char::from_u32(point) {
            Some(character) => out.push(character),
            None => out.push_str(&format!("\\u{point:04x}")),
        }
    }
    out
}

/// What `pprint.pformat` gives: 80 columns, members sorted.
///
/// ```
/// use fedmsg::encoding::{Tree, python};
///
/// let text = format!(r#"{{"topic": "org.example", "msg": {{"log": "{}"}}}}"#, "word ".repeat(20));
/// let tree = Tree::read(text.as_bytes())?;
/// assert_eq!(python::pformat(&tree).to_string(), "\
/// {'msg': {'log': 'word word word word word word word word word word word word '
///                 'word word word word word word word word '},
///  'topic': 'org.example'}");
/// # Ok::<(), fedmsg_core::json::Error>(())
/// ```
///
/// As with [`Tree::pretty`], much of it may be indentation: write it out and do not keep it. A line
/// is indented by 1000 columns at most, where Python goes on.
pub fn pformat(tree: &Tree<'_>) -> impl fmt::Display {
    Printed(tree)
}

/// What `time.ctime` gives for seconds since 1970: local time, such as `Wed Nov 25 07:10:05 2026`.
/// `None` for what is no time.
pub fn ctime(seconds: f64) -> Option<String> {
    let seconds = seconds.floor();
    let whole = (seconds.abs() < 1e15).then_some(seconds as i64)?;
    let time = DateTime::from_timestamp(whole, 0)?.with_timezone(&Local);
    Some(format!(
        "{} {}",
        time.format("%a %b %e %H:%M:%S"),
        time.year()
    ))
}

/// The representation, if it has no more than `width` characters.
fn short_repr(tree: &Tree<'_>, width: usize, sorted: bool) -> Option<String> {
    let mut repr = Repr::new(width, sorted);
    repr.tree(tree)?;
    Some(repr.out)
}

/// Writes a representation until there is no more room: then it is too long for a line, and how long
/// does not matter.
struct Repr {
    out: String,
    /// In characters.
    room: usize,
    sorted: bool,
}

impl Repr {
    fn new(room: usize, sorted: bool) -> Self {
        Self {
            out: String::new(),
            room,
            sorted,
        }
    }

    /// Puts ASCII.
    fn put(&mut self, text: &str) -> Option<()> {
        self.room = self.room.checked_sub(text.len())?;
        self.out.push_str(text);
        Some(())
    }

    fn tree(&mut self, tree: &Tree<'_>) -> Option<()> {
        match tree {
            Tree::Scalar(text) => self.put(scalar(text)),
            Tree::String(text) => self.string(text),
            Tree::List(items) => {
                self.put("[")?;
                for (n, item) in items.iter().enumerate() {
                    self.put(if n == 0 { "" } else { ", " })?;
                    self.tree(item)?;
                }
                self.put("]")
            }
            Tree::Object(members) => {
                // A member has six characters at least: what is much too long is not sorted.
                if members.len() > self.room {
                    return None;
                }
                self.put("{")?;
                let members = match self.sorted {
                    true => sorted(members),
                    false => members.iter().collect(),
                };
                for (n, (key, value)) in members.into_iter().enumerate() {
                    self.put(if n == 0 { "" } else { ", " })?;
                    self.string(key)?;
                    self.put(": ")?;
                    self.tree(value)?;
                }
                self.put("}")
            }
        }
    }

    fn string(&mut self, text: &str) -> Option<()> {
        // The longest escape of one character has twelve bytes.
        if text.len() / 12 > self.room {
            return None;
        }
        self.points(code_points(text))
    }

    fn points(&mut self, points: impl Iterator<Item = u32> + Clone) -> Option<()> {
        let has = |quote: char| points.clone().any(|point| point == u32::from(quote));
        let quote = if has('\'') && !has('"') { "\"" } else { "'" };
        self.put(quote)?;
        for point in points {
            match char::from_u32(point) {
                Some(c) if quote.starts_with(c) || c == '\\' => {
                    self.put("\\")?;
                    self.put(c.encode_utf8(&mut [0; 4]))
                }
                Some('\t') => self.put("\\t"),
                Some('\n') => self.put("\\n"),
                Some('\r') => self.put("\\r"),
                Some(c) if is_printable(c) => {
                    self.room = self.room.checked_sub(1)?;
                    self.out.push(c);
                    Some(())
                }
                _ if point <= 0xff => self.put(&format!("\\x{point:02x}")),
                _ if point <= 0xffff => self.put(&format!("\\u{point:04x}")),
                _ => self.put(&format!("\\U{point:08x}")),
            }?;
        }
        self.put(quote)
    }
}

struct Printed<'a>(&'a Tree<'a>);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, self.0, 0, 0, true)
    }
}

/// Prints over several lines what does not fit on one. `indent` is the column it begins in,
/// `allowance` what comes behind it on its last line.
fn print(
    f: &mut fmt::Formatter<'_>,
    tree: &Tree<'_>,
    indent: usize,
    allowance: usize,
    is_outermost: bool,
) -> fmt::Result {
    let width = WIDTH.checked_sub(indent + allowance);
    if let Some(repr) = width.and_then(|width| short_repr(tree, width, true)) {
        return f.write_str(&repr);
    }
    // Behind all but the last item of a list there is a comma.
    let behind = |n: usize, len: usize| if n + 1 == len { allowance + 1 } else { 1 };
    match tree {
        Tree::Scalar(text) => f.write_str(scalar(text)),
        Tree::String(text) => print_string(f, text, indent, allowance, is_outermost),
        Tree::List(items) => {
            f.write_str("[")?;
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    next_line(f, ",", indent + 1)?;
                }
                print(f, item, indent + 1, behind(n, items.len()), false)?;
            }
            f.write_str("]")
        }
        Tree::Object(members) => {
            f.write_str("{")?;
            for (n, (key, value)) in sorted(members).into_iter().enumerate() {
                if n > 0 {
                    next_line(f, ",", indent + 1)?;
                }
                let key = repr_of(code_points(key));
                write!(f, "{key}: ")?;
                let column = indent + 1 + key.chars().count() + 2;
                print(f, value, column, behind(n, members.len()), false)?;
            }
            f.write_str("}")
        }
    }
}

/// A string in pieces, each in quotes: a line of it, or as many words as fit.
fn print_string(
    f: &mut fmt::Formatter<'_>,
    text: &str,
    indent: usize,
    allowance: usize,
    is_outermost: bool,
) -> fmt::Result {
    let points: Vec<u32> = code_points(text).collect();
    // The outermost stands in parentheses.
    let extra = usize::from(is_outermost);
    let (indent, allowance) = (indent + extra, allowance + extra);
    let width = WIDTH.saturating_sub(indent);
    let last_width = width.saturating_sub(allowance);
    let mut pieces = Vec::new();
    let mut lines = lines(&points).peekable();
    while let Some(line) = lines.next() {
        let is_last_line = lines.peek().is_none();
        let line_width = if is_last_line { last_width } else { width };
        if fits(line, line_width) {
            pieces.push(line);
            continue;
        }
        let mut words = words(line).peekable();
        let (mut start, mut end) = (0, 0);
        while let Some(word) = words.next() {
            let is_last_word = is_last_line && words.peek().is_none();
            let width = if is_last_word { last_width } else { width };
            let longer = line.get(start..end + word.len()).unwrap_or_default();
            if !fits(longer, width) && start < end {
                pieces.push(line.get(start..end).unwrap_or_default());
                start = end;
            }
            end += word.len();
        }
        pieces.push(line.get(start..end).unwrap_or_default());
    }
    if points.is_empty() {
        pieces.push(&points);
    }
    let in_parentheses = is_outermost && pieces.len() > 1;
    if in_parentheses {
        f.write_str("(")?;
    }
    for (n, piece) in pieces.into_iter().enumerate() {
        if n > 0 {
            next_line(f, "", indent)?;
        }
        f.write_str(&repr_of(piece.iter().copied()))?;
    }
    if in_parentheses {
        f.write_str(")")?;
    }
    Ok(())
}

fn next_line(f: &mut fmt::Formatter<'_>, end: &str, indent: usize) -> fmt::Result {
    write!(f, "{end}\n{:1$}", "", indent.min(MAX_INDENT))
}

fn repr_of(points: impl Iterator<Item = u32> + Clone) -> String {
    let mut repr = Repr::new(usize::MAX, false);
    // There is room for everything.
    let _ = repr.points(points);
    repr.out
}

fn fits(points: &[u32], width: usize) -> bool {
    points.len() < width
        && Repr::new(width, false)
            .points(points.iter().copied())
            .is_some()
}

/// What a canonical scalar is called in Python.
fn scalar(text: &str) -> &str {
    match text {
        "null" => "None",
        "true" => "True",
        "false" => "False",
        "NaN" => "nan",
        "Infinity" => "inf",
        "-Infinity" => "-inf",
        number => number,
    }
}

type Member<'t> = (Cow<'t, str>, Tree<'t>);

fn sorted<'a, 't>(members: &'a [Member<'t>]) -> Vec<&'a Member<'t>> {
    let order = |a: &&'a Member<'t>, b: &&'a Member<'t>| -> Ordering {
        compare_keys(inside(&a.0), inside(&b.0))
    };
    let mut members: Vec<_> = members.iter().collect();
    members.sort_unstable_by(order);
    members
}

/// What stands between a string's quotes.
fn inside(string: &str) -> &str {
    let text = string.strip_prefix('"');
    text.and_then(|text| text.strip_suffix('"'))
        .unwrap_or_default()
}

/// The code points of a canonical string, lone surrogates among them.
fn code_points(string: &str) -> impl Iterator<Item = u32> + Clone + '_ {
    let mut rest = inside(string);
    std::iter::from_fn(move || {
        let (point, behind) = code_point(rest)?;
        rest = behind;
        Some(point)
    })
}

fn code_point(text: &str) -> Option<(u32, &str)> {
    let mut characters = text.chars();
    let first = characters.next()?;
    if first != '\\' {
        return Some((first.into(), characters.as_str()));
    }
    let point = match characters.next()? {
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        'f' => 0x0c,
        'b' => 0x08,
        'u' => {
            let (high, rest) = unit(characters.as_str())?;
            let pair = rest.strip_prefix("\\u").and_then(unit);
            return Some(match pair {
                Some((low, rest))
                    if (0xd800..0xdc00).contains(&high) && (0xdc00..0xe000).contains(&low) =>
                {
                    (0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00), rest)
                }
                _ => (high, rest),
            });
        }
        itself => itself.into(),
    };
    Some((point, characters.as_str()))
}

fn unit(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

/// The lines, each with its end, as `str.splitlines` has them.
fn lines(points: &[u32]) -> impl Iterator<Item = &[u32]> {
    let ends = |point: u32| matches!(point, 0x0a..=0x0d | 0x1c..=0x1e | 0x85 | 0x2028 | 0x2029);
    let mut rest = points;
    std::iter::from_fn(move || {
        let len = match rest.iter().position(|point| ends(*point)) {
            Some(at) if matches!(rest.get(at..), Some([0x0d, 0x0a, ..])) => at + 2,
            Some(at) => at + 1,
            None => rest.len(),
        };
        take(&mut rest, len)
    })
}

/// The words, each with the space behind it; space before the first is a word.
fn words(points: &[u32]) -> impl Iterator<Item = &[u32]> {
    let mut rest = points;
    std::iter::from_fn(move || {
        let word = rest.iter().take_while(|point| !is_space(**point)).count();
        let behind = rest.iter().skip(word);
        let len = word + behind.take_while(|point| is_space(**point)).count();
        take(&mut rest, len)
    })
}

fn take<'a>(rest: &mut &'a [u32], len: usize) -> Option<&'a [u32]> {
    let (taken, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    (len > 0).then_some(taken)
}

/// What `str.isspace` says.
fn is_space(point: u32) -> bool {
    matches!(point, 0x1c..=0x1f) || char::from_u32(point).is_some_and(char::is_whitespace)
}

/// What `str.isprintable` says.
fn is_printable(character: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, SpaceSeparator, Surrogate,
        Unassigned,
    };
    match character {
        ' '..='~' => true,
        other => !matches!(
            other.general_category(),
            Control
                | Format
                | LineSeparator
                | ParagraphSeparator
                | PrivateUse
                | SpaceSeparator
                | Surrogate
                | Unassigned
        ),
    }
}

/// Columns of a line.
const WIDTH: usize = 80;
/// Columns that a line is indented by at most.
const MAX_INDENT: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_any_length_indents_only_so_far() {
        let key = "k".repeat(100_000);
        let text = format!(r#"{{"{key}": [1, 2, ""]}}"#);
        let tree = Tree::read(text.as_bytes()).unwrap();
        let line = format!("\n{:MAX_INDENT$}", "");
        let expected = format!("{{'{key}': [1,{line}2,{line}'']}}");
        assert_eq!(pformat(&tree).to_string(), expected);
    }
}
