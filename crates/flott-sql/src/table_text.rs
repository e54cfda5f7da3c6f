//! Rows as Flink's client prints them: a frame, every cell flush right, wide characters counted as two.

use unicode_width::UnicodeWidthChar;

/// Columns of a terminal that a text takes.
pub fn display_width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    // Flink's client counts what does not show, such as a line's end, as one column.
    c.width().unwrap_or(1)
}

/// A cell of exactly `width` columns: flush right, or cut with `...` at its end.
pub fn cell(text: &str, width: usize) -> String {
    let taken = display_width(text);
    if taken <= width {
        return " ".repeat(width - taken) + text;
    }
    let room = width.saturating_sub(3);
    let (mut cut, mut used) = (String::new(), 0);
    for c in text.chars() {
        if used + char_width(c) > room {
            break;
        }
        used += char_width(c);
        cut.push(c);
    }
    " ".repeat(room - used) + &cut + &"..."[..width.min(3)]
}

/// The line between rows.
pub fn border(widths: &[usize]) -> String {
    let lines: String = widths.iter().map(|w| format!("+{}", "-".repeat(w + 2))).collect();
    lines + "+"
}

/// A row of cells.
pub fn line<'a>(cells: impl IntoIterator<Item = &'a str>, widths: &[usize]) -> String {
    let cells: String = cells
        .into_iter()
        .zip(widths)
        .map(|(text, width)| format!("| {} ", cell(text, *width)))
        .collect();
    cells + "|"
}

/// Below a table: how many rows it has.
pub fn footer(rows: usize) -> String {
    match rows {
        1 => "1 row in set".to_owned(),
        n => format!("{n} rows in set"),
    }
}

/// The whole answer of a statement.
pub fn table(columns: &[String], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return "Empty set".to_owned();
    }
    let width = |i: usize| {
        let cells = rows.iter().map(|r| display_width(&r[i]));
        cells.max().unwrap_or(0).max(display_width(&columns[i]))
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let (border, names) = (border(&widths), line(columns.iter().map(String::as_str), &widths));
    let lines: String = rows
        .iter()
        .map(|r| line(r.iter().map(String::as_str), &widths) + "\n")
        .collect();
    format!("{border}\n{names}\n{border}\n{lines}{border}\n{}", footer(rows.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns_and_long_texts_are_cut() {
        assert_eq!(cell("ab", 4), "  ab");
        assert_eq!(cell("水の", 5), " 水の");
        assert_eq!(cell("abcdefgh", 6), "abc...");
        assert_eq!(cell("水水水水", 6), " 水...");
        assert_eq!(display_width(&cell("水水水水", 6)), 6);
    }

    #[test]
    fn no_rows_are_an_empty_set() {
        assert_eq!(table(&["a".to_owned()], &[]), "Empty set");
        let text = table(&["ab".to_owned()], &[vec!["c".to_owned()]]);
        assert_eq!(text, "+----+\n| ab |\n+----+\n|  c |\n+----+\n1 row in set");
    }
}
