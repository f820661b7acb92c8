//! Just enough of Rust's grammar to see which paths a source file names: comments and literals are left out, `use`
//! groups are unfolded, `super` is resolved.

/// A piece of code that is neither blank, comment nor literal.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Lexeme {
    Word(String),
    PathSeparator,
    Mark(char),
}

/// A source file of the program.
pub(super) struct Source {
    /// From the root of the repository: `src/model/path.rs`.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// Whether a word stands in the code.
    pub(super) fn has_word(&self, word: &str) -> bool {
        lexemes(&self.text).contains(&Lexeme::Word(word.to_owned()))
    }

    /// The file's module: `model`, `path`. Empty for `lib.rs` and `main.rs`.
    pub(super) fn module(&self) -> Vec<String> {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let path = path.strip_suffix(".rs").unwrap_or(path);
        let mut module: Vec<String> = path.split('/').map(ToOwned::to_owned).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        module
    }

    /// All paths of two or more parts. Paths into this crate begin with `crate`, wherever they were written from.
    pub(super) fn paths(&self) -> Vec<Vec<String>> {
        let lexemes = lexemes(&self.text);
        let mut paths = Vec::new();
        let mut depth = 0_usize;
        // Modules written inside the file, with the depth of braces outside each.
        let mut inline: Vec<(String, usize)> = Vec::new();
        let mut place = 0;
        while let Some(lexeme) = lexemes.get(place) {
            let mut next = place + 1;
            match lexeme {
                Lexeme::Mark('{') => depth += 1,
                Lexeme::Mark('}') => {
                    depth = depth.saturating_sub(1);
                    if inline.last().is_some_and(|(_, outside)| *outside == depth) {
                        inline.pop();
                    }
                }
                Lexeme::Word(word) if word == "mod" => {
                    if let [Lexeme::Word(name), Lexeme::Mark('{'), ..] = &lexemes[place + 1..] {
                        inline.push((name.clone(), depth));
                    }
                }
                Lexeme::Word(word) => {
                    let begins = place == 0 || lexemes[place - 1] != Lexeme::PathSeparator;
                    if begins && lexemes.get(place + 1) == Some(&Lexeme::PathSeparator) {
                        let mut module = self.module();
                        module.extend(inline.iter().map(|(name, _)| name.clone()));
                        let (base, rest) = resolve(word, &module, &lexemes[place + 2..]);
                        // Groups are read to their end: what stands inside begins no path of its own.
                        next = lexemes.len() - unfold(base, rest, &mut paths).len();
                    }
                }
                Lexeme::PathSeparator | Lexeme::Mark(_) => {}
            }
            place = next;
        }
        paths
    }
}

/// The absolute begin of a path that starts with `word`, and what follows it.
fn resolve<'a>(word: &str, module: &[String], mut rest: &'a [Lexeme]) -> (Vec<String>, &'a [Lexeme]) {
    let in_crate = |module: &[String]| -> Vec<String> {
        std::iter::once("crate".to_owned()).chain(module.iter().cloned()).collect()
    };
    match word {
        // The binary reaches the library by its name.
        "crate" | "lwm2mqtt" => (in_crate(&[]), rest),
        "self" => (in_crate(module), rest),
        "super" => {
            let mut base = in_crate(module);
            base.pop();
            while let [Lexeme::Word(word), Lexeme::PathSeparator, after @ ..] = rest {
                if word != "super" {
                    break;
                }
                base.pop();
                rest = after;
            }
            (base, rest)
        }
        other => (vec![other.to_owned()], rest),
    }
}

/// Adds every path that begins with `base` and goes on with `rest`; returns what follows.
fn unfold<'a>(mut base: Vec<String>, rest: &'a [Lexeme], paths: &mut Vec<Vec<String>>) -> &'a [Lexeme] {
    match rest {
        [Lexeme::Word(word), Lexeme::PathSeparator, after @ ..] => {
            base.push(word.clone());
            unfold(base, after, paths)
        }
        [Lexeme::Word(word), after @ ..] => {
            if word != "self" {
                base.push(word.clone());
            }
            paths.push(base);
            after
        }
        [Lexeme::Mark('{'), after @ ..] => {
            let mut rest = after;
            loop {
                match rest {
                    [] => return rest,
                    [Lexeme::Mark('}'), after @ ..] => return after,
                    [Lexeme::Word(_) | Lexeme::Mark('{' | '*'), ..] => rest = unfold(base.clone(), rest, paths),
                    [_, after @ ..] => rest = after,
                }
                // A renamed import: the new name is no path.
                if let [Lexeme::Word(word), _, after @ ..] = rest
                    && word == "as"
                {
                    rest = after;
                }
            }
        }
        // A glob, or the type parameters of a path: what they hang on is named.
        [_, after @ ..] => {
            paths.push(base);
            after
        }
        [] => rest,
    }
}

fn lexemes(text: &str) -> Vec<Lexeme> {
    let mut lexemes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        rest = if rest.starts_with("//") {
            rest.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            after_block_comment(comment)
        } else if let Some(string) = rest.strip_prefix('"') {
            after_string(string)
        } else if first == '\'' {
            after_quote(rest)
        } else if let Some(after) = rest.strip_prefix("::") {
            lexemes.push(Lexeme::PathSeparator);
            after
        } else if is_word(first) {
            let (word, after) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
            if let ("r" | "br" | "cr", Some(after)) = (word, after_raw_string(after)) {
                after
            } else {
                lexemes.push(Lexeme::Word(word.to_owned()));
                after
            }
        } else {
            if !first.is_whitespace() {
                lexemes.push(Lexeme::Mark(first));
            }
            &rest[first.len_utf8()..]
        };
    }
    lexemes
}

fn after_block_comment(mut rest: &str) -> &str {
    let mut open = 1;
    while open > 0 {
        let Some(place) = rest.find("/*").into_iter().chain(rest.find("*/")).min() else { return "" };
        if rest[place..].starts_with("/*") {
            open += 1;
        } else {
            open -= 1;
        }
        rest = &rest[place + 2..];
    }
    rest
}

fn after_string(rest: &str) -> &str {
    let mut escaped = false;
    for (place, character) in rest.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return &rest[place + 1..],
            _ => {}
        }
    }
    ""
}

/// After the `r` of a raw string; `None` if it was none, as in `r#type`.
fn after_raw_string(rest: &str) -> Option<&str> {
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let content = rest[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(content.split_once(&end).map_or("", |(_, after)| after))
}

/// After a character literal, or after the quote of a lifetime.
fn after_quote(rest: &str) -> &str {
    let mut characters = rest.char_indices().skip(1);
    let (second, third) = (characters.next(), characters.next());
    match (second, third) {
        (Some((_, '\\')), Some((place, escaped))) => {
            let content = &rest[place + escaped.len_utf8()..];
            content.split_once('\'').map_or("", |(_, after)| after)
        }
        (Some(_), Some((place, '\''))) => &rest[place + 1..],
        _ => &rest[1..],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(path: &str, text: &str) -> Vec<String> {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        source.paths().into_iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn groups_are_unfolded_and_renames_left_out() {
        let found = paths("src/a.rs", "use crate::{b::{self, c as d, e::*}, f}; fn g() { std::fs::read::<u8>() }");
        assert_eq!(found, ["crate::b", "crate::b::c", "crate::b::e", "crate::f", "std::fs::read"]);
    }

    #[test]
    fn super_is_resolved_from_files_and_from_modules_inside_them() {
        assert_eq!(paths("src/a/b.rs", "use super::super::c::D;"), ["crate::c::D"]);
        assert_eq!(paths("src/a/mod.rs", "use super::c::D;"), ["crate::c::D"]);
        let inline = "mod tests { use super::super::c::D; fn f() {} } use super::x::Y; use self::z::Z;";
        assert_eq!(paths("src/a/b.rs", inline), ["crate::a::c::D", "crate::a::x::Y", "crate::a::b::z::Z"]);
        assert_eq!(paths("src/main.rs", "lwm2mqtt::cli::run()"), ["crate::cli::run"]);
    }

    #[test]
    fn comments_and_literals_name_nothing() {
        for text in [
            "// a::b",
            "/// a::b\n",
            "/* a::b /* c::d */ e::f */",
            "\"a::b \\\" c::d\"",
            "r#\"a::b \" c::d\"#",
            "br\"a::b\"",
            "'\"' \"a::b\" '\\'' \"c::d\"",
        ] {
            assert_eq!(paths("src/a.rs", text), [""; 0], "{text}");
        }
        assert_eq!(paths("src/a.rs", "fn f<'a>(x: &'a str) { r#in::b }").len(), 1);
    }
}
