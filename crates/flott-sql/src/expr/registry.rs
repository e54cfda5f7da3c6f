//! The table of functions.

/// Whether a function's value changes without its arguments changing (clock, random numbers).
pub fn is_dynamic(function: &str) -> bool {
    matches!(
        function,
        "RAND"
            | "RAND_INTEGER"
            | "UUID"
            | "NOW"
            | "CURRENT_TIMESTAMP"
            | "CURRENT_ROW_TIMESTAMP"
            | "LOCALTIMESTAMP"
            | "LOCALTIME"
            | "CURRENT_TIME"
            | "CURRENT_DATE"
            | "PROCTIME"
            | "UNIX_TIMESTAMP"
            | "CURRENT_WATERMARK"
    )
}

/// Names of all scalar functions and operators, sorted.
pub fn function_names() -> Vec<&'static str> {
    vec![]
}
