//! Pages of figures in `docs/`, and one against another.

use std::{collections::BTreeMap, str::Split};

/// By how much a figure may grow before [`compare`] complains, in percent.
pub const SLACK: u64 = 2;

/// `1234567` as `1,234,567`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// What has grown in the tables of the page `new` over those of `old`, and what only `new` has.
/// Where their lines that begin with `Cortex` differ, they were made with other tools: nothing.
#[must_use]
pub fn compare(old: &str, new: &str) -> Vec<String> {
    let made_with = |page: &str| {
        page.lines()
            .find(|line| line.starts_with("Cortex"))
            .map(str::to_owned)
    };
    if made_with(old) != made_with(new) {
        eprintln!("The committed figures were made with other tools, so growth is not judged.");
        return Vec::new();
    }
    let (old, new) = (figures(old), figures(new));
    let grown = new.iter().filter_map(|(what, now)| match old.get(what) {
        None => Some(format!("{what}: {now}, and not in the committed file")),
        Some(before) if now * 100 > before * (100 + SLACK) => {
            Some(format!("{what}: {now}, was {before}"))
        }
        Some(_) => None,
    });
    grown.collect()
}

/// The cells of a page's tables that hold a figure, by section, row and column.
fn figures(page: &str) -> BTreeMap<String, u64> {
    let mut figures = BTreeMap::new();
    let (mut section, mut titles) = (String::new(), Vec::new());
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = format!("{title}, ");
        } else if let Some(head) = cells(line, "| | ") {
            titles = head.collect();
        } else if let Some(mut row) = cells(line, "| ") {
            let label = row.next().unwrap_or_default();
            for (title, cell) in titles.iter().zip(row) {
                if let Ok(figure) = cell.replace(',', "").parse() {
                    figures.insert(format!("{section}{label}, {title}"), figure);
                }
            }
        }
    }
    figures
}

/// The cells of a table's line behind its `start`.
fn cells<'l>(line: &'l str, start: &str) -> Option<Split<'l, &'static str>> {
    Some(line.strip_prefix(start)?.strip_suffix(" |")?.split(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "Cortex\n\n| | x | y |\n|---|---:|---:|\n| RAM, B | 10 | – |\n\
        \n## A\n\n| | ours, s | theirs, s |\n|---|---:|---:|\n| flash, B | 1,000 | 2,000 |\n";

    #[test]
    fn growth_beyond_the_slack_is_named() {
        assert_eq!(compare(PAGE, PAGE), [""; 0]);
        assert_eq!(compare(PAGE, &PAGE.replace("1,000", "1,020")), [""; 0]);
        let grown = compare(PAGE, &PAGE.replace("1,000", "1,021"));
        assert_eq!(grown, ["A, flash, B, ours, s: 1021, was 1000"]);
        let grown = compare(PAGE, &PAGE.replace("| 10 |", "| 11 |"));
        assert_eq!(grown, ["RAM, B, x: 11, was 10"]);
    }

    #[test]
    fn a_figure_that_the_file_lacks_is_named() {
        assert_eq!(compare(PAGE, &PAGE.replace("flash", "ROM")).len(), 2);
    }

    #[test]
    fn figures_of_other_tools_are_not_compared() {
        let other = PAGE
            .replace("Cortex", "Cortex, other")
            .replace("1,000", "9,000");
        assert_eq!(compare(PAGE, &other), [""; 0]);
    }
}
