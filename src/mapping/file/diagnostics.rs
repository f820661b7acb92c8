//! Collects the problems of one file and knows its lines.

use std::collections::BTreeSet;

use crate::mapping::problem::{Problem, Severity};

/// Most problems kept of one file; a file of another kind by mistake would otherwise fill the screen.
pub(in crate::mapping) const MAX_PROBLEMS_PER_FILE: usize = 200;

/// The problems of one file.
#[derive(Debug)]
pub(in crate::mapping) struct Diagnostics {
    file: String,
    line_starts: Vec<usize>,
    problems: Vec<Problem>,
    /// Lines of which no more is said: what the parser made of them is not what was meant.
    broken_lines: BTreeSet<usize>,
}

impl Diagnostics {
    pub(in crate::mapping) fn new(file: &str, text: &str) -> Self {
        // No line begins after the last line break: an error at the end of the text belongs where the text ends.
        let line_starts = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1))
            .filter(|start| *start == 0 || *start < text.len())
            .collect();
        Self { file: file.to_owned(), line_starts, problems: Vec::new(), broken_lines: BTreeSet::new() }
    }

    /// The line, counted from 1, that holds a byte offset.
    pub(in crate::mapping) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).max(1)
    }

    pub(in crate::mapping) fn error(&mut self, offset: usize, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Error, Some(self.line(offset)), message.into(), hint.into());
    }

    /// An error of the parser; nothing else is told of its line.
    pub(in crate::mapping) fn syntax_error(&mut self, offset: usize, message: String) {
        self.error(offset, message, "this is not valid TOML");
        self.broken_lines.insert(self.line(offset));
    }

    pub(in crate::mapping) fn error_in_file(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Error, None, message.into(), hint.into());
    }

    pub(in crate::mapping) fn warning(&mut self, offset: usize, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Warning, Some(self.line(offset)), message.into(), hint.into());
    }

    pub(in crate::mapping) fn warning_at_line(
        &mut self,
        line: usize,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Warning, Some(line), message.into(), hint.into());
    }

    fn push(&mut self, severity: Severity, line: Option<usize>, message: String, hint: String) {
        if line.is_some_and(|line| self.broken_lines.contains(&line)) {
            return;
        }
        let problem = Problem { severity, file: self.file.clone(), line, message, hint };
        // An error outlives the bound: without it a broken file could pass for a good one.
        let bounded = self.problems.len() < MAX_PROBLEMS_PER_FILE;
        if bounded || (severity == Severity::Error && !self.has_errors()) {
            self.problems.push(problem);
        }
    }

    pub(in crate::mapping) fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// The problems by line, those of the whole file first.
    pub(in crate::mapping) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.line);
        self.problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_and_problems_are_sorted() {
        let mut diagnostics = Diagnostics::new("a.toml", "one\ntwo\n\nfour");
        assert_eq!([0, 3, 4, 8, 9, 100].map(|offset| diagnostics.line(offset)), [1, 1, 2, 3, 4, 4]);
        diagnostics.error(9, "late", "");
        diagnostics.warning(0, "early", "");
        let lines: Vec<_> = diagnostics.into_problems().into_iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(1), Some(4)]);
    }

    #[test]
    fn the_end_of_a_text_lies_on_its_last_line() {
        for (text, last) in [("", 1), ("one", 1), ("one\n", 1), ("one\ntwo\n", 2), ("one\n\n", 2)] {
            assert_eq!(Diagnostics::new("a.toml", text).line(text.len()), last, "{text:?}");
        }
    }

    #[test]
    fn problems_are_bounded_but_the_first_error_is_kept() {
        let mut diagnostics = Diagnostics::new("a.toml", "");
        for _ in 0..2 * MAX_PROBLEMS_PER_FILE {
            diagnostics.warning(0, "w", "");
        }
        diagnostics.error(0, "e", "");
        diagnostics.error(0, "e", "");
        assert!(diagnostics.has_errors());
        assert_eq!(diagnostics.into_problems().len(), MAX_PROBLEMS_PER_FILE + 1);
    }
}
