//! LOAD MODULE, UNLOAD MODULE and SHOW MODULES.
//!
//! There are two modules: `core`, the built-in functions, and `state`, whose one function `savepoint_metadata` is built in too. So loading only
//! changes what SHOW MODULES lists; scripts of Flink run as they are.

use super::{Outcome, Session};
use crate::error::{SqlError, SqlResult, Step};
use crate::parser::ast::ModuleStatement;
use flott_core::suggest;

const CORE: &str = "core";
const STATE: &str = "state";

/// Which modules are loaded beside `core`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Modules {
    state: bool,
}

impl Modules {
    fn names(self) -> Vec<String> {
        let state = self.state.then_some(STATE);
        std::iter::once(CORE).chain(state).map(str::to_owned).collect()
    }
}

impl Session {
    pub(super) fn change_modules(&mut self, statement: &ModuleStatement) -> SqlResult<Outcome> {
        let name = statement.name.value.as_str();
        let wrong = |message: String| Err(SqlError::new(Step::Name, message).at_span(statement.name.span));
        let is_loaded = self.modules.names().iter().any(|n| n == name);
        match (name, statement.load) {
            (STATE, load) if load != is_loaded => {
                self.modules.state = load;
                Ok(Outcome::Done)
            }
            (CORE | STATE, true) => wrong(format!("a module with name '{name}' is loaded already")),
            (CORE, false) => wrong(format!(
                "the module '{CORE}' cannot be unloaded: all queries use its functions"
            )),
            (STATE, false) => wrong(format!("no module with name '{name}' is loaded")),
            _ => wrong(format!(
                "there is no module '{name}'{}",
                suggest::hint(name, [CORE, STATE])
            )),
        }
    }

    pub(super) fn show_modules(&self, full: bool) -> Outcome {
        let names = self.modules.names().into_iter();
        match full {
            false => Outcome::Rows {
                columns: vec!["module name".to_owned()],
                rows: names.map(|name| vec![name]).collect(),
            },
            true => Outcome::Rows {
                columns: vec!["module name".to_owned(), "used".to_owned()],
                rows: names.map(|name| vec![name, "TRUE".to_owned()]).collect(),
            },
        }
    }
}
