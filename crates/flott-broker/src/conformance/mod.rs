//! Checks of what a broker does on the wire, the same for ours and for a real Apache Kafka.
//!
//! [`check_broker`] runs them all against an address; every check makes topics and ids of its own, so it can run on a
//! broker in use and again on the same one. On one broker (no replicas), with Kafka's defaults for what clients may do.
//! What differs by nature is waited for: a real coordinator answers first and writes its markers afterwards.

mod admin;
mod client;
mod groups;
mod producer;
mod reading;
mod session;
mod transactions;
mod writing;

pub use client::{CheckError, Client};
use session::Session;

/// A check that failed.
#[derive(Debug, thiserror::Error)]
#[error("check {check} failed against {bootstrap}")]
pub struct CheckFailure {
    /// Its name.
    pub check: &'static str,
    /// The broker.
    pub bootstrap: String,
    /// What was not as it should be.
    #[source]
    pub source: CheckError,
}

/// Runs every check against the broker at `bootstrap` (`host:port`); returns their names.
///
/// # Errors
/// The first check that fails.
pub async fn check_broker(bootstrap: &str) -> Result<Vec<&'static str>, CheckFailure> {
    let mut passed = Vec::new();
    macro_rules! run {
        ($($module:ident :: $check:ident),* $(,)?) => {$(
            let check = stringify!($check);
            let outcome = async {
                let mut session = Session::open(bootstrap).await?;
                $module::$check(&mut session).await
            };
            outcome.await.map_err(|source| CheckFailure { check, bootstrap: bootstrap.to_owned(), source })?;
            passed.push(check);
        )*};
    }
    run!(
        admin::versions_are_negotiated,
        admin::topics_come_and_go,
        admin::a_topic_made_again_has_another_id,
        admin::cluster_and_configs_are_described,
        writing::records_come_back_in_every_version,
        writing::bad_batches_are_refused,
        writing::compressed_batches_stay_as_they_are,
        writing::acks_zero_gets_no_answer,
        writing::sequences_are_checked,
        reading::reads_respect_offsets_and_limits,
        reading::a_waiting_fetch_wakes,
        reading::offsets_are_found_by_time,
        reading::leader_epochs_are_checked,
        groups::offsets_are_committed,
        groups::offsets_commit_with_a_transaction,
        transactions::commits_and_aborts_are_seen,
        transactions::a_waiting_committed_reader_wakes_at_the_commit,
        transactions::ending_can_be_repeated_not_reversed,
        transactions::old_producers_are_fenced,
        transactions::a_producer_bumps_its_own_epoch,
        transactions::a_producer_starts_over_an_open_transaction,
        transactions::only_added_partitions_take_records,
        transactions::transactions_time_out,
        transactions::transactions_are_listed,
    );
    Ok(passed)
}
