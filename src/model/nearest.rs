//! The known word that a mistyped one most probably means.

/// Longest word that is compared, in characters; the comparison costs the product of both lengths.
const MAX_CHARS: usize = 40;

/// The candidate that differs least from `word`, if it is close enough to be meant.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.chars().count() > MAX_CHARS {
        return None;
    }
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&lower, candidate), candidate))
        // A third of the letters may be wrong; more is another word.
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count().max(word.chars().count()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().take(MAX_CHARS).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (row, &left) in a.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, &right) in b.iter().enumerate() {
            let replaced = above.get(column).copied().unwrap_or(0) + usize::from(left != right);
            let deleted = above.get(column + 1).copied().unwrap_or(0) + 1;
            let inserted = current.last().copied().unwrap_or(0) + 1;
            let swapped = (row > 0 && column > 0 && a.get(row - 1) == Some(&right) && b.get(column - 1) == Some(&left))
                .then(|| before.get(column - 1).map_or(usize::MAX, |cost| cost + 1));
            current.push(replaced.min(deleted).min(inserted).min(swapped.unwrap_or(usize::MAX)));
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_the_word_and_other_words_find_none() {
        let known = ["path", "key", "decode", "observe", "scale"];
        assert_eq!(nearest("pth", known), Some("path"));
        assert_eq!(nearest("ptah", known), Some("path"));
        assert_eq!(nearest("Observ", known), Some("observe"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest(&"x".repeat(1_000), known), None);
    }
}
