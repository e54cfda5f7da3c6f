//! Scripts that are uploaded to a JobManager, planned where it runs.
//!
//! What `${NAME}` stands for a request says alone: the environment is the JobManager's, and may hold its secrets. Files of catalogs are those of its machine.

use crate::job;
use crate::script::{only_job, session};
use anyhow::{Result, anyhow, bail};
use flott_core::Options;
use flott_plan::Plan;
use flott_rest::ScriptPlanner;
use flott_runtime::Registry;
use flott_sql::script::{Outcome, Script};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Plans scripts of the kinds of a registry.
pub(super) struct Planner {
    registry: Arc<Registry>,
}

impl Planner {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    fn planned(&self, text: &str, variables: &BTreeMap<String, String>, options: Options) -> Result<Plan> {
        let script = Script::parse(text, &|name| variables.get(name).cloned()).map_err(|e| anyhow!("{e}"))?;
        let mut session = session(self.registry.clone(), options)?;
        let mut jobs = vec![];
        for outcome in session.execute_all(&script).map_err(|e| anyhow!("{e}"))? {
            match outcome {
                Outcome::Job(job) => jobs.push(*job),
                Outcome::Warned(warning) => tracing::warn!("an uploaded script: {warning}"),
                Outcome::StopJob(_) => bail!("STOP JOB is a statement of the shell (flott sql)"),
                // Nobody reads what they tell.
                Outcome::Done | Outcome::Text(_) | Outcome::Rows { .. } | Outcome::Jobs | Outcome::DescribeJob(_) => {}
            }
        }
        let job = only_job(jobs, "an uploaded script")?;
        job::check_options(&job.plan.options)?;
        for warning in &job.warnings {
            tracing::warn!(name = job.plan.name, "{warning}");
        }
        Ok(job.plan)
    }
}

impl ScriptPlanner for Planner {
    fn plan(&self, text: &str, variables: &BTreeMap<String, String>, options: Options) -> Result<Plan, String> {
        self.planned(text, variables, options)
            .map_err(|error| format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::Rows;

    const TABLES: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen');
        CREATE TABLE nothing (n BIGINT) WITH ('connector' = 'blackhole');";

    fn plan(sql: &str, variables: &[(&str, &str)]) -> Result<Plan, String> {
        let planner = Planner::new(Arc::new(job::registry(&Rows::default())));
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let options = [("pipeline.name", "given"), ("parallelism.default", "3")];
        planner.plan(
            &format!("{TABLES} {sql}"),
            &variables.iter().map(text).collect(),
            options.into_iter().collect(),
        )
    }

    #[test]
    fn a_script_is_planned_with_what_it_sets_and_is_given() {
        let sql = "SET 'pipeline.name' = '${NAME}'; SHOW TABLES; INSERT INTO nothing SELECT n FROM numbers;";
        let planned = plan(sql, &[("NAME", "a name")]).unwrap();
        assert_eq!(planned.name, "a name");
        assert!(planned.nodes.iter().all(|node| node.parallelism == 3), "{planned:?}");
    }

    #[test]
    fn what_is_no_single_job_is_refused_before_anything_runs() {
        let insert = "INSERT INTO nothing SELECT n FROM numbers;";
        let two = insert.repeat(2);
        for (sql, wanted) in [
            ("", "no INSERT"),
            (two.as_str(), "STATEMENT SET"),
            ("SELECT n FROM numbers;", "INSERT INTO"),
            ("INSERT INTO nowhere SELECT n FROM numbers;", "nowhere"),
            (
                "SET 'execution.checkpointing.num-retained' = '0'; INSERT INTO nothing SELECT n FROM numbers;",
                "at least 1",
            ),
            ("STOP JOB '000000000000000000000000000000ff';", "flott sql"),
            // A variable of the environment is not looked for.
            ("SET 'pipeline.name' = '${PATH}';", "PATH"),
        ] {
            let error = plan(sql, &[]).unwrap_err();
            assert!(error.contains(wanted), "{sql}: {error}");
        }
    }
}
