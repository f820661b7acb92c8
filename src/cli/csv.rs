//! Tables in text as spreadsheets write them (RFC 4180): cells between commas, semicolons or tabs, quotes around what
//! holds one of them.

/// A row and the line of the file that it begins on, from 1.
pub(super) type Row = (usize, Vec<String>);

/// The cells of a text. The separator is the first of the three in the first line; empty lines are skipped.
///
/// # Errors
/// The line of a quote that is not closed, or is followed by something else than a separator.
pub(super) fn parse(text: &str) -> Result<Vec<Row>, (usize, &'static str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_separator = |character: &char| matches!(character, ',' | ';' | '\t');
    let separator = text.lines().next().and_then(|line| line.chars().find(is_separator)).unwrap_or(',');
    let (mut rows, mut row, mut cell): (Vec<Row>, Vec<String>, String) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut first_line) = (1, 1);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if cell.is_empty() => {
                let begun = line;
                loop {
                    match characters.next() {
                        Some('"') if characters.peek() == Some(&'"') => {
                            characters.next();
                            cell.push('"');
                        }
                        Some('"') => break,
                        Some(inside) => {
                            line += usize::from(inside == '\n');
                            cell.push(inside);
                        }
                        None => return Err((begun, "a quote is not closed")),
                    }
                }
                let ends = |next: &char| *next == separator || matches!(next, '\r' | '\n');
                if !characters.peek().is_none_or(ends) {
                    return Err((line, "something stands behind a closed quote"));
                }
            }
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' => {
                row.push(std::mem::take(&mut cell));
                rows.push((first_line, std::mem::take(&mut row)));
                line += 1;
                first_line = line;
            }
            _ if character == separator => row.push(std::mem::take(&mut cell)),
            _ => cell.push(character),
        }
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push((first_line, row));
    }
    rows.retain(|(_, cells)| cells.iter().any(|cell| !cell.trim().is_empty()));
    Ok(rows)
}

/// A cell, quoted where it needs to be.
pub(super) fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', ';', '\t', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(text: &str) -> Vec<(usize, Vec<String>)> {
        parse(text).unwrap()
    }

    fn row(line: usize, cells: &[&str]) -> Row {
        (line, cells.iter().map(|cell| (*cell).to_owned()).collect())
    }

    #[test]
    fn rows_have_cells_and_lines() {
        let text = "\u{feff}a,b\r\n1,\r\n\r\n\"x,\"\"y\"\"\n2\",z\n,,\nlast,1";
        let expected = [row(1, &["a", "b"]), row(2, &["1", ""]), row(4, &["x,\"y\"\n2", "z"]), row(7, &["last", "1"])];
        assert_eq!(cells(text), expected);
        assert_eq!(cells("a;b,c\n1;2"), [row(1, &["a", "b,c"]), row(2, &["1", "2"])]);
        assert_eq!(cells("a\tb\n1\t2\n"), [row(1, &["a", "b"]), row(2, &["1", "2"])]);
        assert_eq!(cells(""), []);
    }

    #[test]
    fn broken_quotes_are_told_with_their_line() {
        assert_eq!(parse("a,b\n1,\"x\ny"), Err((2, "a quote is not closed")));
        assert_eq!(parse("a,b\n\"x\"y,1"), Err((2, "something stands behind a closed quote")));
    }

    #[test]
    fn a_written_cell_is_read_back() {
        for cell in ["plain", "a,b", "say \"x\"", "two\nlines"] {
            assert_eq!(cells(&format!("{},1", quoted(cell))), [row(1, &[cell, "1"])]);
        }
    }
}
