//! Standard output without panics: a reader that has gone ends the process quietly, as other tools do.

use flott_sql::table_text::display_width;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Exit code of a process whose output nobody reads any more: that of SIGPIPE.
const NOBODY_READS: i32 = 141;

/// Prints a line.
pub fn line(text: impl Display) {
    self::text(format_args!("{text}\n"));
}

/// Prints a text as it is.
pub fn text(text: impl Display) {
    let mut out = io::stdout().lock();
    if let Err(error) = write!(out, "{text}").and_then(|()| out.flush()) {
        end_unread(&error);
        tracing::error!(%error, "standard output cannot be written");
    }
}

/// Ends the process if a failure to write says that nobody reads any more.
pub fn end_unread(error: &io::Error) {
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(NOBODY_READS);
    }
}

/// Rows as lines, their cells flush left below each other, two blanks apart; all rows have as many cells.
pub fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| display_width(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let line = |row: &Vec<String>| {
        let cell = |(text, width): (&String, &usize)| format!("{text}{}", " ".repeat(width - display_width(text) + 2));
        let cells: String = row.iter().zip(&widths).map(cell).collect();
        format!("{}\n", cells.trim_end())
    };
    rows.iter().map(line).collect()
}

/// A size in the largest unit of which it has one at least.
pub fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = (bytes.max(1).ilog2() / 10).min(units.len() as u32 - 1);
    let unit = 1_u64 << (10 * power);
    match bytes % unit {
        0 => format!("{} {}", bytes / unit, units[power as usize]),
        _ => format!("{:.1} {}", bytes as f64 / unit as f64, units[power as usize]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_each_other() {
        let rows = [["n", "name"], ["10", "水"], ["", "x"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(columns(&rows), "n   name\n10  水\n    x\n");
        assert_eq!(columns(&[]), "");
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        let sizes = [0, 1_023, 1_024, 1_536, 2 << 30, 3 << 50].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1 KiB", "1.5 KiB", "2 GiB", "3072 TiB"]);
    }
}
