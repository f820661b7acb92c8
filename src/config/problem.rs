//! What is wrong with a configuration, for people.

use std::fmt;

/// One mistake with its place and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named, or `environment variable NAME`.
    pub file: String,
    /// Line, counted from 1; `None` where no line can be named.
    pub line: Option<usize>,
    /// What is wrong; names the key in full.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": error: {}", self.message)?;
        if !self.hint.is_empty() {
            write!(f, "\n  hint: {}", self.hint)?;
        }
        Ok(())
    }
}

/// The candidate that a mistyped word most likely meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A word of up to three letters may have one wrong, longer ones about a third.
    let most = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, remove or replace to make one word of the other; the same letters in another order count once.
fn distance(left: &str, right: &str) -> usize {
    const LONGEST: usize = 64;
    let sorted = |word: &str| {
        let mut letters: Vec<char> = word.chars().take(LONGEST).collect();
        letters.sort_unstable();
        letters
    };
    if left != right && sorted(left) == sorted(right) {
        return 1;
    }
    let right: Vec<char> = right.chars().take(LONGEST).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().take(LONGEST).enumerate() {
        let mut next = Vec::with_capacity(row.len());
        let mut left_of = index + 1;
        next.push(left_of);
        for ((other, above), diagonal) in right.iter().zip(row.iter().skip(1)).zip(&row) {
            left_of = (left_of + 1).min(above + 1).min(diagonal + usize::from(letter != *other));
            next.push(left_of);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_finds_its_neighbour() {
        let keys = ["commit_interval", "commit_rows", "udp", "tcp", "tls"];
        assert_eq!(nearest("commit_intervall", keys), Some("commit_interval"));
        assert_eq!(nearest("comit_row", keys), Some("commit_rows"));
        assert_eq!(nearest("upd", keys), Some("udp"));
        assert_eq!(nearest("utp", keys), Some("udp"));
        assert_eq!(nearest("something", keys), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_problem_reads_like_a_compiler_message() {
        let problem = Problem {
            file: "config.toml".to_owned(),
            line: Some(3),
            message: "store.commit_row: unknown key".to_owned(),
            hint: "did you mean 'commit_rows'?".to_owned(),
        };
        let text = "config.toml:3: error: store.commit_row: unknown key\n  hint: did you mean 'commit_rows'?";
        assert_eq!(problem.to_string(), text);
    }
}
