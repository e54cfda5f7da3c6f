//! Our broker passes the checks that a real Kafka passes.

use flott_broker::Broker;
use flott_broker::conformance::check_broker;

#[tokio::test]
async fn our_broker_passes_every_check() -> anyhow::Result<()> {
    let broker = Broker::builder().start().await?;
    let passed = check_broker(&broker.bootstrap()).await?;
    assert!(passed.len() > 20, "{passed:?}");
    broker.shutdown().await;
    Ok(())
}
