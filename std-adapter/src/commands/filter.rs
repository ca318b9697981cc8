//! Which topics a command looks at: prefixes, and regular expressions as Python's users write them.

use fancy_regex::{Regex, RegexBuilder};

/// Which topics to look at.
#[derive(clap::Args)]
pub(super) struct Filter {
    /// Only topics that begin so; with a * in it, which is any text, topics that match as a whole.
    /// May be given several times
    #[arg(long, value_name = "TOPIC")]
    pub(super) topic: Vec<String>,
    /// Leave topics out in which this regular expression finds something
    #[arg(long, value_name = "REGEXP", default_value = "_heartbeat", value_parser = regex)]
    exclude: Regex,
    /// Only topics in which this regular expression finds something
    #[arg(
        long, value_name = "REGEXP", default_value = "^((?!_heartbeat).)*$", value_parser = regex
    )]
    include: Regex,
}

impl Filter {
    /// Whether a topic is one to look at.
    ///
    /// # Errors
    /// The expression that takes too long for this topic.
    pub(super) fn wants(&self, topic: &str) -> Result<bool, String> {
        let finds = |option, regex: &Regex| {
            regex
                .is_match(topic)
                .map_err(|_| format!("{option} takes too many steps for this topic"))
        };
        Ok(!finds("--exclude", &self.exclude)? && finds("--include", &self.include)?)
    }
}

fn regex(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .backtrack_limit(MAX_STEPS)
        .build()
        .map_err(|error| error.to_string())
}

/// How often an expression may try anew before it is given up for a topic.
const MAX_STEPS: usize = 100_000;

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        filter: Filter,
    }

    fn args(args: &[&str]) -> Result<Filter, clap::Error> {
        let cli = Cli::try_parse_from(["x"].iter().chain(args));
        cli.map(|cli| cli.filter)
    }

    #[test]
    fn what_python_finds_is_found() {
        for (options, topic, wanted) in [
            (&[][..], "org.example.dev.git.receive", true),
            (&[], "org.example.dev._heartbeat", false),
            (&[], "", true),
            (&["--exclude", "git"], "org.example.dev.git.receive", false),
            (&["--exclude", "^git"], "org.example.dev.git.receive", true),
            (&["--include", "git"], "org.example.dev.git.receive", true),
            (&["--include", "wiki|bodhi$"], "org.example.dev.bodhi", true),
            (
                &["--include", "wiki|bodhi$"],
                "org.example.dev.bodhi.x",
                false,
            ),
            (
                &["--include", r"(?<=dev\.)git"],
                "org.example.dev.git",
                true,
            ),
            (
                &["--include", r"(?<!dev\.)git"],
                "org.example.dev.git",
                false,
            ),
            (&["--include", r"(?P<a>\w)(?P=a)"], "com", false),
            (&["--include", r"(?P<a>\w)(?P=a)"], "comm", true),
            (&["--include", r"(?i)GIT\b"], "git.x", true),
            (&["--include", r"\d{2,}"], "a.42", true),
            (&["--include", "^x{,3}$"], "xx", true),
            (&["--include", "^x{,3}$"], "xxxx", false),
            (&["--include", r"(a)?(?(1)b\Z|c\Z)"], "a.b", false),
            (&["--include", r"[]a][^]a]\x41\u00e9"], "]bA\u{e9}", true),
            (
                &["--include", ".", "--exclude", "_heartbeat"],
                "_heartbeat",
                false,
            ),
        ] {
            let args = args(options).unwrap();
            assert_eq!(args.wants(topic), Ok(wanted), "{options:?} {topic}");
        }
    }

    #[test]
    fn what_is_no_expression_or_takes_for_ever_is_told() {
        for wrong in ["(", "*", "[", r"\", "(?P<a"] {
            assert!(args(&["--include", wrong]).is_err(), "{wrong}");
        }
        let args = args(&["--include", "^(?:(?=a)a+)+$"]).unwrap();
        let topic = "a".repeat(100) + "!";
        assert!(args.wants(&topic).unwrap_err().contains("--include"));
    }
}
