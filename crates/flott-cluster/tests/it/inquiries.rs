//! TaskManagers are asked about themselves over their connections.

use crate::cluster::Cluster;
use crate::toys::World;
use crate::until;
use flott_cluster::inquiry::{Answer, Extent, InquiryError, LogName, PIECE_BYTES, Question};
use flott_cluster::resources::TaskManagerGateway;
use std::sync::Arc;

async fn asked(gateway: &Arc<dyn TaskManagerGateway>, question: Question) -> Result<Answer, InquiryError> {
    gateway.ask(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_come_in_pieces_and_a_lost_task_manager_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("tm.log");
    let text: Vec<u8> = (0..3 * PIECE_BYTES / 2).map(|i| i as u8).collect();
    std::fs::write(&log, &text).unwrap();
    let path = log.display().to_string();
    let world = World::with(1);
    let mut cluster = Cluster::start(&world, &[("taskmanager.log.path", &path)], &[1]).await;
    assert!(cluster.dispatcher.task_manager("nobody").is_none());
    let gateway = cluster.dispatcher.task_manager("tm-0").unwrap().gateway;

    let Ok(Answer::Logs(logs)) = asked(&gateway, Question::Logs).await else {
        panic!("no list")
    };
    assert_eq!((logs[0].name.as_str(), logs[0].bytes), ("tm.log", text.len() as u64));
    let Ok(Answer::Extent(mut extent)) = asked(&gateway, Question::Extent(LogName::Log)).await else {
        panic!("no extent")
    };
    assert_eq!(extent.to, text.len() as u64);
    let mut found = vec![];
    while !extent.is_empty() {
        let Ok(Answer::Piece(piece)) = asked(&gateway, Question::Piece(LogName::Log, extent)).await else {
            panic!("no piece")
        };
        extent = Extent {
            from: extent.from + piece.0.len() as u64,
            ..extent
        };
        found.extend_from_slice(&piece.0);
    }
    assert_eq!(found, text);
    let outside = LogName::Named("../tm.log".to_owned());
    let refused = asked(&gateway, Question::Extent(outside)).await;
    assert!(matches!(refused, Err(InquiryError::NoName { .. })), "{refused:?}");
    let Ok(Answer::Threads(threads)) = asked(&gateway, Question::Threads).await else {
        panic!("no threads")
    };
    assert!(threads.iter().any(|thread| thread.id == u64::from(std::process::id())));

    drop(cluster.managers.remove(0));
    until("the TaskManager is lost", || {
        cluster.dispatcher.task_managers().is_empty()
    })
    .await;
    let gone = async {
        // It is taken from the list before who waits is told.
        loop {
            match asked(&gateway, Question::Logs).await {
                Err(InquiryError::Gone { why }) if why.contains("tm-0") => return why,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    assert!(gone.await.contains("is lost"));
}
